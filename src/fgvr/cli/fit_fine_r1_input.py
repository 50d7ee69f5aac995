"""What ``fgvr fit fine-r1`` makes of its options: the objective, lists of names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError

if TYPE_CHECKING:
    from fgvr.methods.fine_r1.tapo_settings import TapoSettings, Variant


def objective_of(
    name: str,
    *,
    variant: Variant,
    conditioning: str | None,
    intra: bool,
    inter: bool,
    kl_coef: float,
    kl_ref: float,
) -> TapoSettings:
    """The objective of ``--objective`` and its ablations; GRPO keeps its own weight of the reference unless given."""
    from fgvr.methods.fine_r1.tapo_settings import TapoSettings

    if name != "tapo":
        made = TapoSettings.dapo if name == "dapo" else TapoSettings.grpo
        return made(**({"kl_ref": kl_ref} if kl_ref or name == "dapo" else {}))
    more: dict[str, Any] = {"intra": intra, "kl_ref": kl_ref}
    if conditioning is not None:
        more["conditioning"] = conditioning
    return TapoSettings.tapo(variant, gamma=kl_coef, **more) if inter else TapoSettings.dapo(**more)


def names_of(file: Path | None) -> tuple[str, ...] | None:
    """Class names of a file, one a line."""
    if file is None:
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the file of class names cannot be read", remedy="Give UTF-8 text.", file=file) from error
    return tuple(line.strip() for line in lines if line.strip())
