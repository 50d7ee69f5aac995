"""Rationales written by a teacher: captions to concepts, the structured prompt, and sampling again what fails.

Deviations are numbered in ``reasoning.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fgvr.methods.fine_r1.concepts import select_concepts
from fgvr.methods.fine_r1.reasoning_filters import FORMAT, Names, Rules, broken_rules
from fgvr.methods.fine_r1.reasoning_input import Asking, Subject
from fgvr.methods.fine_r1.reasoning_prompts import Length, caption_prompts, structured_prompt
from fgvr.methods.fine_r1.reasoning_replies import Sections, read_sections
from fgvr.mllm.base import BY_ITEM, Mllm, Parameters, Reply, Request

CAPTION, WRITE = "fine-r1:caption", "fine-r1:reasoning"
"""Stages in ledger and cost."""
HOTTEST = 1.2
CUT_OFF = f"{FORMAT}: cut off"


@dataclass
class Attempts:
    """What the samples of each picture came to, by item id."""

    passed: dict[str, Sections] = field(default_factory=dict)
    rejected: dict[str, list[str]] = field(default_factory=dict)
    """Reasons, one text a sample."""
    unanswered: dict[str, str] = field(default_factory=dict)
    """Why the teacher gave no reply, in words: the last, where there are several."""
    waiting: tuple[str, ...] = ()
    """Ids that budget or deadline kept from being finished."""


def caption_requests(
    subjects: Sequence[Subject], *, templates: Sequence[str], max_tokens: int
) -> dict[str, tuple[Request, ...]]:
    """One request a caption, by item id."""
    return {
        one.id: tuple(
            Request(
                f"{one.id}#caption-{number}",
                text,
                (one.item.path,),
                (one.digest,) if one.digest else (),
                parameters=Parameters(max_tokens=max_tokens),
                stage=CAPTION,
            )
            for number, text in enumerate(caption_prompts(one.kind or None, templates=templates), start=1)
        )
        for one in subjects
    }


def concepts_from_captions(
    subjects: Sequence[Subject],
    captioner: Mllm,
    asked: Asking,
    *,
    templates: Sequence[str],
    max_tokens: int,
    most: int,
    redundancy: float,
) -> dict[str, tuple[str, ...]] | None:
    """Item id to visual concepts; ``None`` where the captions were stopped: which concepts tell a class apart depends
    on all of them, and a prompt made from half of them would be paid for again."""
    requests = caption_requests(subjects, templates=templates, max_tokens=max_tokens)
    answers = asked([request for own in requests.values() for request in own], captioner)
    if answers.not_asked:
        return None
    texts = [
        [answers.replies[each.item_id].text for each in requests[one.id] if each.item_id in answers.replies]
        for one in subjects
    ]
    chosen = select_concepts(
        texts,
        [one.label for one in subjects],
        kinds=[one.kind for one in subjects],
        names=[name for one in subjects for name in one.item.accepted],
        most=most,
        redundancy=redundancy,
    )
    return dict(zip((one.id for one in subjects), chosen, strict=True))


def writing_request(
    subject: Subject,
    concepts: Sequence[str],
    attempt: int,
    *,
    length: Length,
    sees: bool,
    by_item: bool,
    parameters: Parameters,
    among: Sequence[str] | None = None,
) -> Request:
    """The structured prompt of one sample."""
    prompt = structured_prompt(
        subject.label, concepts, subject.question, kind=subject.kind or None, length=length, among=among
    )
    return Request(
        subject.id if by_item else f"{subject.id}#sample-{attempt}",
        prompt,
        (subject.item.path,) if sees else (),
        (subject.digest,) if sees and subject.digest else (),
        parameters=parameters,
        stage=WRITE,
    )


def sample_parameters(
    subject: Subject, attempt: int, *, seed: int, temperature: float, hotter: float, max_tokens: int
) -> Parameters:
    """Of sample ``attempt`` (from 1): a seed of its own, and ``hotter`` more temperature each time up to ``HOTTEST``.

    The seed hangs on the picture's bytes and label, not on file names: a moved picture is not paid for again.
    """
    digest = hashlib.sha256(f"{seed}\0{subject.digest}\0{subject.label}\0{attempt}".encode("utf-8", "surrogatepass"))
    return Parameters(
        max_tokens=max_tokens,
        temperature=round(min(max(HOTTEST, temperature), temperature + hotter * (attempt - 1)), 6),
        seed=int.from_bytes(digest.digest()[:4], "big") >> 1,
    )


def sample(
    subjects: Sequence[Subject],
    teacher: Mllm,
    asked: Asking,
    ask: Callable[[Subject, int], Request],
    *,
    attempts: int,
    rules: Rules,
    among: Sequence[str] | None = None,
) -> Attempts:
    """Ask about every picture, and again about those whose reply was rejected, ``attempts`` times at most.

    A question the teacher did not answer is not asked in other words: ``ask_all`` has tried often enough.
    """
    found, left = Attempts(), list(subjects)
    rounds = 1 if teacher.preprocessing == BY_ITEM else attempts
    for attempt in range(1, rounds + 1):
        requests = {one.id: ask(one, attempt) for one in left}
        answers = asked(list(requests.values()), teacher)
        again = []
        for one in left:
            request = requests[one.id].item_id
            if request in answers.failures:
                found.unanswered[one.id] = answers.failures[request]
            elif request in answers.replies:
                sections, reasons = judged(answers.replies[request], one, rules, among)
                if not reasons:
                    found.passed[one.id] = sections
                else:
                    found.rejected.setdefault(one.id, []).append("; ".join(reasons))
                    again.append(one)
        unasked = set(answers.not_asked)
        stopped = [one.id for one in left if requests[one.id].item_id in unasked]
        if stopped or (asked.stopped and attempt < rounds):
            found.waiting = (*stopped, *(one.id for one in again if attempt < rounds))
            break
        left = again
        if not left:
            break
    return found


def judged(
    reply: Reply, subject: Subject, rules: Rules, among: Sequence[str] | None = None
) -> tuple[Sections, tuple[str, ...]]:
    """The sections of one reply, and why it may not be used."""
    sections = read_sections(reply.text)
    if reply.finish == "length":
        return sections, (CUT_OFF,)
    return sections, broken_rules(sections, Names(subject.label, subject.item.accepted), rules=rules, among=among)


def given_concepts(subjects: Sequence[Subject], given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The user's own concepts, by item id or label; pictures without any have none."""
    return {one.id: tuple(given.get(one.id) or given.get(one.item.label or "") or ()) for one in subjects}
