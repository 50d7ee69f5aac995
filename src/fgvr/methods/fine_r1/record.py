"""What a Fine-R1 run takes in and leaves behind: its division, rationales of a file, digests, summary, model card."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError
from fgvr.methods.fine_r1.prompts import Style, open_prompt, question_of
from fgvr.methods.fine_r1.rationales import Rationale
from fgvr.methods.fine_r1.shots import Division
from fgvr.mllm.adapters import NOTES
from fgvr.runs import write_json, write_text
from fgvr.training.lora import base_of, model_card
from fgvr.types import ImageItem, SetAside

if TYPE_CHECKING:
    from fgvr.data.items import Items
    from fgvr.methods.fine_r1.reasoning import Reasoned
    from fgvr.methods.fine_r1.run import Job

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The division of a run's pictures."""

    division: Division
    kinds: Mapping[str, str]
    """Class name to super-category, where it is known."""

    def kinds_by_id(self, items: Sequence[ImageItem]) -> dict[str, str]:
        """Item id to super-category, where it is known."""
        return {item.id: self.kinds[str(item.label)] for item in items if str(item.label) in self.kinds}


def write_parts(path: Path, parts: Parts) -> None:
    """The division as a file, for people and for ``read_parts``."""
    one = parts.division
    write_json(
        path,
        {
            "seen": list(one.seen),
            "unseen": list(one.unseen),
            "kinds": dict(parts.kinds),
            **{name: [item.id for item in getattr(one, name)] for name in ("sft", "rl", "test")},
            "notes": list(one.notes),
            "set_aside": [asdict(each) for each in one.set_aside],
        },
    )


def read_parts(path: Path, items: Sequence[ImageItem], *, test: Sequence[ImageItem] | None) -> Parts:
    """What ``write_parts`` wrote, with the items of its ids. ``test``: the user's own test pictures, where given."""
    found = json.loads(path.read_bytes())
    own = {item.id: item for item in items}
    places = {"sft": own, "rl": own, "test": own if test is None else {item.id: item for item in test}}
    division = Division(
        seen=tuple(found["seen"]),
        unseen=tuple(found["unseen"]),
        **{name: tuple(known[one] for one in found[name]) for name, known in places.items()},
        notes=tuple(found["notes"]),
        set_aside=tuple(SetAside(**one) for one in found["set_aside"]),
    )
    return Parts(division, found["kinds"])


def unexplained(items: Sequence[ImageItem], kinds: Mapping[str, str], *, seed: int) -> tuple[Rationale, ...]:
    """Names without reasons, for ``thinking="none"``."""
    return tuple(
        Rationale(
            id=item.id,
            path=item.path,
            category=str(item.label),
            question=question_of(kinds.get(str(item.label)), key=item.id, seed=seed),
            think="",
            answer=str(item.label),
            super_category=kinds.get(str(item.label), ""),
        )
        for item in items
    )


def matched(items: Sequence[ImageItem], rationales: Sequence[Rationale]) -> tuple[Rationale, ...]:
    """The rationales of ``items``, by path, else by id. Raises ``InputError`` where none belongs to any of them."""
    by_path = {str(one.path.absolute()): one for one in rationales}
    by_id = {one.id: one for one in rationales}
    found = []
    for item in items:
        one = by_path.get(str(item.path.absolute())) or by_id.get(item.id)
        if one is not None:
            found.append(replace(one, id=item.id, path=item.path))
    if not found:
        remedy = "Give rationales of the pictures in division.json under sft, by path or id."
        raise InputError("no rationale belongs to any picture", remedy=remedy, pictures=len(items), file=len(by_id))
    if len(found) < len(items):
        log.warning(
            "%d of %d pictures have no rationale: the fine-tuning leaves them out", len(items) - len(found), len(items)
        )
    return tuple(found)


def counted(found: Reasoned) -> dict[str, Any]:
    """What became of the teacher's replies, JSON-like."""
    return {
        "rationales": len(found.rationales),
        "set_aside": [asdict(one) for one in found.set_aside],
        "rejected_samples": dict(found.rejected),
        "usage": asdict(found.usage),
        "notes": [*found.notes, *lacking(found)],
    }


def lacking(found: Reasoned) -> list[str]:
    """Why so few pictures have a rationale, where it is fewer than half."""
    pictures = len(found.rationales) + len(found.set_aside)
    if found.stopped is not None or 2 * len(found.rationales) >= pictures:
        return []
    reasons = Counter(found.rejected) or Counter(one.reason for one in found.set_aside)
    why = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common(3))
    return [
        f"Only {len(found.rationales)} of {pictures} pictures have a rationale ({why}): the other classes are not "
        "fine-tuned on. Give more classes a super-category, more attempts, or another teacher; see reasoning.jsonl."
    ]


def meant(job: Job) -> dict[str, Any]:
    """What makes two runs the same."""
    base, digest = base_of(job.spec)
    settings = asdict(job.settings)
    settings["policy"] = job.settings.reinforced().meant()
    return {
        "method": "fine-r1",
        "settings": settings,
        "base": base,
        "base_digest": digest,
        "encoder": job.encoder.fingerprint,
        "triplets": {key: str(value) for key, value in job.mining.items()},
        "dividing": asdict(job.dividing),
        "super_category": job.super_category if isinstance(job.super_category, str) else dict(job.super_category or {}),
        "rotations": job.rotations,
        "seed": job.seed,
        "images": items_digest(job.items),
        "test": None if job.test is None else items_digest(job.test),
        "teaching": job.teaching.as_dict(),
    }


def card(job: Job) -> dict[str, Any]:
    """Of the model card."""
    return {
        "method": f"fine-r1, {job.settings.stages}",
        "settings": {**asdict(job.settings), "policy": job.settings.reinforced().meant()},
        "teaching": job.teaching.as_dict(),
        "dividing": asdict(job.dividing),
        "encoder": job.encoder.fingerprint,
        "seed": job.seed,
    }


def items_digest(items: Items) -> str:
    """Digest of ids and labels, in order."""
    lines = [[item.id, item.label] for item in items.items]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:32]


def summary_of(
    place: Path,
    parts: Parts,
    *,
    stages: Mapping[str, Any],
    exams: Mapping[str, dict[str, Any] | None],
    prompt: str,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The summary of a finished run; also puts the examinations' figures on the model's card.

    ``prompt``: how the model is best asked; ``notes``: what a figure must state besides the division's.
    """
    one = parts.division
    figures = {when: headline(found) for when, found in exams.items() if found}
    card = {
        **json.loads((place / NOTES).read_bytes()),
        "classes": {"seen": len(one.seen), "unseen": len(one.unseen)},
        "ask with": prompt,
        **{f"examined {when}": briefly(each) for when, each in figures.items()},
    }
    write_json(place / NOTES, card)
    write_text(place / "README.md", model_card(card, folder=place.name))
    return {
        "seen": len(one.seen),
        "unseen": len(one.unseen),
        "pictures": {"sft": len(one.sft), "reinforce": len(one.rl), "test": len(one.test)},
        "stages": dict(stages),
        "examined": figures,
        "model": str(place),
        "prompt": prompt,
        "notes": list(dict.fromkeys((*one.notes, *notes))),
        "set_aside": [asdict(each) for each in one.set_aside],
    }


def asked_as(kinds: Mapping[str, str], *, style: Style, thinking: bool) -> str:
    """The ``--prompt`` of ``fgvr label`` that is nearest to what was trained: a name, or a question about the one kind.

    A prompt that knows no kind asks about an object, which is what several kinds, or none, are here.
    """
    one = next(iter(set(kinds.values()))) if len(set(kinds.values())) == 1 else None
    if one is None and thinking:
        return "reasoned" if style == "paper" else "reasoned-short"
    return open_prompt(question_of(one), style=style, thinking=thinking)


def briefly(parts: Mapping[str, Any]) -> str:
    """An examination in a line: the strict figure of each part and group, with its interval and how many it is of."""
    told = []
    for part, groups in ((part, found["figures"]) for part, found in parts.items()):
        for group, figures in groups.items():
            one = figures["strict"]
            value, low, high = (100 * one[name] for name in ("value", "low", "high"))
            told.append(f"{part} world, {group}: {value:.1f} % [{low:.1f}, {high:.1f}] of {one['n']}")
    return "; ".join(told)


def headline(examined: Mapping[str, Any]) -> dict[str, Any]:
    """The examination's parts as they were scored, without its replies."""
    return dict(examined["parts"])
