"""Pictures named by an MLLM, in place of true names: what Fine-R1 learns from where nobody has labelled anything.

1. *Names.* Spellings and a scientific name seen beside a common one are merged (``fgvr.naming.label_space``); the label
   is the class's commonest name, the other forms count as right.
2. *Rare names.* A name given to fewer than ``fewest`` pictures is mostly a slip; with ``fewest=2`` every class has a
   positive. The default keeps all.
3. *What it is worth.* A wrong name is learned like a right one. Figures on such data must say who named the pictures.

Reason codes: ``not named`` (a refusal, no reply, no row), ``rare name``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgvr.errors import InputError, ManifestError
from fgvr.naming import label_space
from fgvr.types import ImageItem, NamedImage, SetAside


@dataclass(frozen=True)
class NamedItems:
    """Items with an MLLM's names as labels; never none."""

    items: tuple[ImageItem, ...]
    set_aside: tuple[SetAside, ...]


def named_items(
    items: Sequence[ImageItem], named: Iterable[NamedImage], *, fewest: int = 1, **merging: Any
) -> NamedItems:
    """The items that were named, ``label`` and ``accepted`` being the MLLM's; labels they had are forgotten.

    ``merging`` goes to ``fgvr.labels.merge_synonyms`` (``encoder``, ``threshold``). Raises ``InputError`` when none was
    named, or none often enough.
    """
    answers = {one.item_id: one for one in named}
    asked = [answers.get(item.id, NamedImage(item.id, None, status="unanswered")) for item in items]
    space, labels = label_space(asked, **merging)
    scientific: dict[int, set[str]] = {}
    for one, label in zip(asked, labels.tolist(), strict=True):
        if one.scientific and label >= 0:
            scientific.setdefault(label, set()).add(one.scientific)
    counts = Counter(labels.tolist())
    good, bad = [], []
    for item, one, label in zip(items, asked, labels.tolist(), strict=True):
        if label < 0:
            bad.append(SetAside(item.id, str(item.path), "not named", one.status))
        elif counts[label] < fewest:
            bad.append(SetAside(item.id, str(item.path), "rare name", f"{space.names[label]}: {counts[label]}"))
        else:
            name = space.names[label]
            forms = dict.fromkeys((*space.members[name], *sorted(scientific.get(label, ()))))
            good.append(replace(item, label=name, accepted=tuple(form for form in forms if form != name)))
    if not good:
        raise InputError(
            "no name was given often enough", remedy="Lower fewest.", fewest=fewest, names=len(space.names)
        )
    return NamedItems(tuple(good), tuple(bad))


def read_named(path: str | os.PathLike[str]) -> tuple[NamedImage, ...]:
    """The answers in ``labels.jsonl`` of ``fgvr label``; lines that are none are left out.

    Raises ``ManifestError`` when the file cannot be read or holds no answer.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().decode("utf-8-sig", "replace").split("\n")
    except OSError as error:
        raise ManifestError(f"the answers cannot be read: {error.strerror}", remedy=_REMEDY, file=str(path)) from error
    found = tuple(one for line in lines if (one := _answer(line)) is not None)
    if not found:
        raise ManifestError("this file holds no answer", remedy=_REMEDY, file=str(path))
    return found


def _answer(line: str) -> NamedImage | None:
    try:
        row = json.loads(line)
        name, scientific, alternatives = row.get("name"), row.get("scientific"), row.get("alternatives") or ()
        texts = [row["image"], *(one for one in (name, scientific) if one is not None), *alternatives]
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    return NamedImage(
        row["image"], name or None, scientific or None, tuple(alternatives), status=str(row.get("status", "named"))
    )


_REMEDY = "Give RUN/labels.jsonl as fgvr label writes it."
