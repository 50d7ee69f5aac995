"""MATLAB files (version 5, as the data sets of Stanford and Oxford ship them): variables as plain lists.

Such a file nests everything: a cell array is an object array, each text an array of one string, each number an array of
shape (1, 1). Functions below flatten that, whatever its depth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.data.benchmarks.layout import damaged

MAX_BYTES = 64 * 2**20
"""No list of these data sets has more than a few megabytes."""
_DEEPEST = 8


def read_mat(file: Path, *names: str) -> dict[str, Any]:
    """The variables ``names`` of ``file``. Raises ``ManifestError`` when it cannot be read or lacks one of them."""
    from scipy.io import loadmat

    if file.is_file() and file.stat().st_size > MAX_BYTES:
        raise damaged(file, f"it has more than {MAX_BYTES:,} bytes")
    try:
        found = loadmat(file, variable_names=list(names), appendmat=False)
    except OSError as error:
        raise damaged(file, error.strerror or "it is not a MATLAB file") from error
    except NotImplementedError as error:  # what scipy says to HDF5
        raise damaged(file, "it is a MATLAB 7.3 file; the data set ships version 5") from error
    except Exception as error:  # scipy lets through whatever broken bytes lead to: zlib, struct, Unicode, memory
        raise damaged(file, "it is not a MATLAB file, or it was cut off") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise damaged(file, f"it has no variable {missing[0]!r}")
    return {name: found[name] for name in names}


def texts(value: Any, file: Path) -> list[str]:
    """All strings of a cell array, in order. Raises ``ManifestError`` when something else is in it."""
    flat = list(_flat(value, file))
    if not flat or any(not isinstance(text, str) for text in flat):
        raise damaged(file, "a list of names holds something else")
    return [text.strip() for text in flat]


def integers(value: Any, file: Path) -> list[int]:
    """All numbers of an array or cell array, in order. Raises ``ManifestError`` when one is not whole."""
    flat = list(_flat(value, file))
    if not flat or not all(_is_whole(number) for number in flat):
        raise damaged(file, "a list of numbers holds something else")
    return [int(number) for number in flat]


def field(struct: Any, name: str, file: Path) -> Any:
    """One field of a struct array. Raises ``ManifestError`` when it has none."""
    if not isinstance(struct, np.ndarray) or name not in (struct.dtype.names or ()):
        raise damaged(file, f"its records have no field {name!r}")
    return struct[name]


def _flat(value: Any, file: Path, depth: int = 0) -> Iterator[Any]:
    if depth > _DEEPEST:
        raise damaged(file, "its cells are nested too deep")
    if isinstance(value, np.ndarray):
        for inner in value.ravel():
            yield from _flat(inner, file, depth + 1)
    else:
        yield value.item() if isinstance(value, np.generic) else value


def _is_whole(number: Any) -> bool:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return False
    return math.isfinite(number) and number == math.floor(number)
