"""What reasoning data are built from, checked; and one way to ask for all stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fgvr.errors import ImageError, InputError
from fgvr.images import content_hash
from fgvr.labels.lists import plain_phrase
from fgvr.labels.normalise import display_name
from fgvr.methods.fine_r1 import prompts
from fgvr.mllm.base import Mllm, Request
from fgvr.mllm.outcomes import Answers
from fgvr.mllm.scheduler import ask_all
from fgvr.types import ImageItem, SetAside, Usage

Kinds = str | Mapping[str, str]
"""A super-category for all images, or by item id or label."""
Report = Callable[[str, int, int], None]
"""Progress: (stage, done, total)."""


@dataclass(frozen=True)
class Subject:
    """One labelled picture that a rationale is wanted for."""

    item: ImageItem
    label: str
    """Its true name on one line."""
    question: str
    kind: str = ""
    """Its super-category, singular; "" where nobody said."""
    digest: str = ""
    """SHA-256 of the file; "" where replies are known by item."""

    @property
    def id(self) -> str:
        """Of the item."""
        return self.item.id


class Asking:
    """``ask_all`` with one run's options, and a tally over its stages."""

    def __init__(self, options: Mapping[str, Any], report: Report | None = None) -> None:
        self.options, self.report = options, report
        self.by_stage: dict[str, Usage] = {}
        self.reused, self.saved = 0, Usage()
        self.stopped: str | None = None

    def __call__(self, requests: Sequence[Request], mllm: Mllm) -> Answers:
        """Answers to requests of one stage; ``{}`` of nothing."""
        if not requests:
            return Answers({}, {}, (), Usage(), Usage())
        stage, options, report = requests[0].stage, dict(self.options), self.report
        if report is not None:
            options["progress"] = lambda done, total, _usage: report(stage, done, total)
        answers = ask_all(requests, mllm, **options)
        self.by_stage[stage] = self.by_stage.get(stage, Usage()) + answers.usage
        self.reused += answers.reused
        self.saved += answers.saved
        self.stopped = self.stopped or answers.stopped
        return answers


def subjects_of(
    items: Sequence[ImageItem], super_category: Kinds | None, *, seed: int, by_item: bool = False
) -> tuple[list[Subject], list[SetAside]]:
    """The pictures to reason about, and those left out: ``no label``, ``duplicate id``, or unreadable.

    ``by_item``: replies are known by item id, so that files are not read.

    Raises ``InputError`` where nothing is left, or a super-category is missing or no short noun phrase.
    """
    good: list[Subject] = []
    bad: list[SetAside] = []
    seen: set[str] = set()
    for item in items:
        label = display_name(item.label or "")
        if not label or item.id in seen:
            bad.append(SetAside(item.id, str(item.path), "duplicate id" if label else "no label"))
            continue
        seen.add(item.id)
        kind = kind_of(item, super_category)
        try:
            digest = "" if by_item else content_hash(item.path)
        except ImageError as error:
            bad.append(SetAside(item.id, str(item.path), error.reason, str(error)))
            continue
        good.append(Subject(item, label, prompts.question_of(kind or None, key=item.id, seed=seed), kind, digest))
    if not good:
        raise InputError(
            "there is no picture to reason about",
            remedy="Give readable images with their class names.",
            images=len(items),
            first=bad[0].reason if bad else "none given",
        )
    return good, bad


def kind_of(item: ImageItem, given: Kinds | None) -> str:
    """The super-category of an item; "" where ``given`` is ``None``. Raises ``InputError`` where one is missing."""
    if given is None:
        return ""
    kind = given if isinstance(given, str) else given.get(item.id) or given.get(item.label or "") or ""
    if not kind or kind != plain_phrase(kind, letters=40, words=3):
        raise InputError(
            "a super-category must be a short noun phrase" if kind else "no super-category for this image",
            remedy="Give one for all images, or one for every image id or class name, e.g. bird; or none at all.",
            item=item.id,
            label=item.label,
            given=kind[:60],
        )
    return kind
