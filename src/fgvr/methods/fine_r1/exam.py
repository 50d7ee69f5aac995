"""What an examination asks: settings of both worlds, what can be asked about, the requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgvr.data.benchmarks.questions import Question
from fgvr.errors import NoImagesError
from fgvr.methods.fine_r1.closed import ClosedSettings, closed_requests
from fgvr.methods.fine_r1.open_world import OpenSettings, open_requests
from fgvr.methods.fine_r1.parts import CLOSED, OPEN
from fgvr.methods.fine_r1.prompts import Style
from fgvr.mllm.base import Request
from fgvr.multiple_choice.asking import ChoiceSettings, choice_requests
from fgvr.multiple_choice.questions import located_only
from fgvr.types import ImageItem, SetAside

SuperCategory = str | Mapping[str, str] | None
"""One for all, or by item and question id."""

NAMES = ChoiceSettings("names")
"""How ``free`` asks closed questions."""


@dataclass(frozen=True)
class Wording:
    """How both parts are asked."""

    style: Style = "paper"
    thinking: bool = True
    rotations: bool = True
    official: bool = True
    """Ask closed questions in the released order too."""
    blank: Path | None = None
    text_only: bool = False
    free: bool = False
    max_tokens: int = 2048
    seed: int = 0

    @property
    def closed(self) -> ClosedSettings:
        """Of the closed world."""
        return ClosedSettings(
            self.style,
            self.thinking,
            self.rotations,
            self.official,
            self.blank,
            self.text_only,
            self.max_tokens,
            self.seed,
        )

    @property
    def open(self) -> OpenSettings:
        """Of the open world."""
        return OpenSettings(self.style, self.thinking, self.free, max_tokens=self.max_tokens, seed=self.seed)


def exam_requests(
    wording: Wording,
    *,
    closed: Sequence[Question] = (),
    open_items: Sequence[ImageItem] = (),
    super_category: SuperCategory = None,
    texts: Mapping[str, str] | None = None,
    hashes: Mapping[str, str] | None = None,
) -> dict[str, list[Request]]:
    """The requests ``examine`` makes, by part; what ``--dry-run`` counts."""
    about: dict[str, Any] = {"super_category": super_category, "hashes": hashes}
    questions, items, _ = usable(closed, open_items)
    found: dict[str, list[Request]] = {}
    if questions and wording.free:
        found[CLOSED] = choice_requests(questions, settings=NAMES, blank=wording.blank, **about)
    elif questions:
        found[CLOSED] = closed_requests(questions, wording.closed, **about)
    if items:
        found[OPEN] = open_requests(items, wording.open, texts=texts, **about)
    return found


def askable(items: Sequence[ImageItem]) -> tuple[list[ImageItem], list[SetAside]]:
    """Items that can be asked about, and those that cannot: no label, no picture, an id that was there before."""
    good: dict[str, ImageItem] = {}
    aside: list[SetAside] = []
    for item in items:
        if not item.label:
            aside.append(SetAside(item.id, str(item.path), "no label", "its true name is not known"))
        elif item.id in good:
            aside.append(SetAside(item.id, str(item.path), "duplicate", "an earlier item has this id"))
        elif not item.path.is_file():
            aside.append(SetAside(item.id, str(item.path), "missing", "no picture at this place"))
        else:
            good[item.id] = item
    return list(good.values()), aside


def usable(
    closed: Sequence[Question], open_items: Sequence[ImageItem]
) -> tuple[list[Question], list[ImageItem], tuple[SetAside, ...]]:
    """What can be asked, and what cannot. Raises ``NoImagesError`` when nothing of a part can."""
    questions, bad_questions = located_only(closed)
    items, bad_items = askable(open_items)
    for given, good, bad in ((closed, questions, bad_questions), (open_items, items, bad_items)):
        if given and not good:
            first = f"{bad[0].id}: {bad[0].reason} {bad[0].detail}"
            remedy = "Check the pictures' folder, the labels and the options."
            raise NoImagesError("nothing here can be asked about", remedy=remedy, given=len(given), first=first)
    return questions, items, tuple(dict.fromkeys((*bad_questions, *bad_items)))
