"""The MLLM on every test image: no encoder, no support set, one question a picture, for ever.

"Fine-Grained Visual Recognition in the Age of Multimodal LLMs", section 4 (direct MLLM), with the question of any of
the papers (``direct_prompts``). Papers and what is done here:

1. *Reading.* The papers do not say how names are read from replies (FiNDR lets the model itself turn its answer into a
   Python dictionary and evaluates that). Here ``fgvr.labels.parse_reply``, for every method alike; it reads a
   reply in tags by its answer alone. Of a reply to CaSED's questions only what comes before the first comma is read.
2. *No answer.* An image without a reply, and one whose reply is a refusal or names nothing, has no name; both are
   counted apart.
3. *Probability.* What the reply or its log-probabilities say, 1 where they say nothing; not calibrated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fgvr.errors import InputError
from fgvr.labels import parse_reply
from fgvr.labels.tagged import answer_in
from fgvr.methods.baselines.direct_prompts import STRUCTURED, Question, filled, question
from fgvr.methods.baselines.task import Naming, Task
from fgvr.mllm.base import BY_ITEM, Parameters, Request
from fgvr.mllm.outcomes import Answers
from fgvr.naming import label_images, label_space
from fgvr.naming.labelling import naming_requests
from fgvr.types import NamedImage

TITLE = "the MLLM on every image"


@dataclass(frozen=True)
class Settings:
    """Defaults are the workshop paper's."""

    prompt: str = "paper"
    """A name of ``direct_prompts.NAMES``."""
    category: str | None = None
    """What the pictures show, in the singular (bird), for the prompts that say it."""
    unit: str | None = "species"
    """What kinds of it are called (species, breed, model)."""
    expert: str | None = None
    """Who knows them (zoologist); for ``findr_expert`` and ``findr_limits``."""
    max_tokens: int | None = None
    """Room for a reply; ``None`` takes what suits the question."""


def calls(support: int, test: int, settings: Settings) -> int:
    """One question a test image; the structured prompt asks of the collection first, RAR's of the support set."""
    return test + (settings.prompt == STRUCTURED) + (support if settings.prompt == "rar" else 0)


def name_images(task: Task, settings: Settings) -> Naming:
    """Ask about every test image. Raises ``InputError`` for an unknown prompt or one that lacks its words."""
    if settings.max_tokens is not None and settings.max_tokens < 1:
        raise InputError("max_tokens is at least 1", remedy="Correct the setting.", max_tokens=settings.max_tokens)
    if settings.prompt == STRUCTURED:
        labelled = label_images(
            task.test.items, task.mllm, prompt="structured", hashes=task.test.hashes, **task.asking()
        )
        notes = [f"asked of {labelled.category or 'things'}"]
        return _naming(labelled.named, labelled.answers, settings, notes=[*notes, *_replayed(task)])
    asked = question(settings.prompt)
    names, notes = _listed(task, asked)
    text, system = filled(asked, category=settings.category, unit=settings.unit, expert=settings.expert, names=names)
    answers = task.ask(_requests(task, asked, text, system, settings))
    named = [
        read(answers.replies[item.id].text, item.id, listed=asked.listed)
        if item.id in answers.replies
        else NamedImage(item.id, None, status="unanswered")
        for item in task.test.items
    ]
    stated = {field: getattr(settings, field) for field in ("category", "unit", "expert") if field in asked.needs}
    told = [f"told: {', '.join(f'{field} {value}' for field, value in stated.items())}"] if stated else []
    return _naming(named, answers, settings, notes=[*told, *notes, *_replayed(task)])


def read(reply: str, item_id: str = "", *, listed: bool = False) -> NamedImage:
    """``parse_reply``; of a list (``listed``) its first part alone, with or without answer tags around the list."""
    if not listed:
        return parse_reply(reply, item_id)
    text = answer_in(reply).answer or reply
    first = next((part for part in text.split(",") if part.strip()), text)
    return replace(parse_reply(first, item_id), reply=reply)


def _listed(task: Task, asked: Question) -> tuple[tuple[str, ...], list[str]]:
    """The class names a question shows, where it shows any: the MLLM's own for the support images."""
    if "names" not in asked.needs:
        return (), []
    space, _ = label_space(task.label_support().named)
    return tuple(space.names), [f"shown a list of the MLLM's {len(space.names)} names for the support images"]


def _replayed(task: Task) -> list[str]:
    """A recording answers whatever the question is."""
    return ["replayed: what was asked when recording is not known here"] if task.mllm.preprocessing == BY_ITEM else []


def _requests(task: Task, asked: Question, text: str, system: str | None, settings: Settings) -> Sequence[Request]:
    """One question a test image; the paper's is the very request that labelling asks, so its reply is shared."""
    room = Parameters(max_tokens=settings.max_tokens or asked.max_tokens)
    plain = naming_requests(task.test.items, text=text, hashes=task.test.hashes)
    return [replace(request, system=system, parameters=room) for request in plain]


def _naming(
    named: Sequence[NamedImage],
    answers: Answers,
    settings: Settings,
    *,
    notes: Sequence[str],
) -> Naming:
    counts = Counter(one.status for one in named)
    return Naming(
        names=tuple(one.name for one in named),
        probabilities=tuple(_chance(one, answers) for one in named),
        notes=(f"prompt {settings.prompt!r}", *notes),
        figures={
            "unanswered": float(counts["unanswered"]),
            "refused": float(counts["refused"]),
            "replies without a name": float(counts["empty"] + counts["unparsed"]),
        },
    )


def _chance(named: NamedImage, answers: Answers) -> float:
    """What the reply says, else what its log-probabilities say, else 1; 0 without a name."""
    if named.name is None:
        return 0.0
    said = named.confidence if named.confidence is not None else answers.replies[named.item_id].confidence
    return 1.0 if said is None else float(said)
