"""Rationales composed of a small model's own short answers, for a model that cannot follow the structured prompt.

Not the paper's: its teacher is told the label and writes. A model of a few million parameters knows a handful of
questions. Here it is asked those about each picture; what it said is put into sentences, and only the label is given.

1. *Analysis.* Its answers about attributes ("What is the crown colour of the bird?"), or one description cut into
   phrases, in short phrases; which of them are said is chosen as in ``concepts.py``. Nothing corrects them: a wrong
   answer stands in the rationale.
2. *Candidates.* The label; what the model itself calls the picture, asked in several ways; names given as look-alikes;
   and the other classes of the data whose pictures it describes most alike.
3. *Comparison.* How another candidate looks is what the model said of that candidate's own pictures in the data (the
   most frequent answer of each attribute). A candidate without a picture is only weighed by name.
4. *One sample.* Answers are greedy; the seed draws order and wording. What fails a filter is set aside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fgvr.labels.lists import plain_phrase
from fgvr.labels.normalise import normalise
from fgvr.methods.fine_r1 import composed_text as text
from fgvr.methods.fine_r1.reasoning_filters import Names, broken_rules
from fgvr.methods.fine_r1.reasoning_input import Asking, Subject
from fgvr.methods.fine_r1.reasoning_prompts import THING
from fgvr.methods.fine_r1.reasoning_written import Attempts
from fgvr.mllm.base import Mllm, Parameters, Request
from fgvr.mllm.outcomes import Answers

if TYPE_CHECKING:
    from fgvr.methods.fine_r1.reasoning import ReasoningSettings

LOOK, NAME = "fine-r1:look", "fine-r1:name"
"""Stages in ledger and cost."""
NAMING = ("What is this?", "What species of {kind} is this?", "Name the {kind} in the picture.")
DESCRIBE = "Describe the {kind} in this picture."
ATTRIBUTE = "What is the {attribute} of the {kind}?"
TRAITS = {"full": 6, "short": 3}
"""Phrases in the analysis."""
CANDIDATES = {"full": 4, "short": 3}
"""At most; the label is one of them."""
DIFFERENCES = {"full": 3, "short": 1}
"""Said of each other candidate."""
NOTHING = "nothing visible was said"
"""Reason code."""


def compose(
    subjects: Sequence[Subject],
    teacher: Mllm,
    asked: Asking,
    settings: ReasoningSettings,
    *,
    attributes: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    lookalikes: Mapping[str, Sequence[str]] | None = None,
    among: Sequence[str] | None = None,
) -> tuple[Attempts, dict[str, tuple[str, ...]], tuple[str, ...]]:
    """What became of each picture, its concepts by item id, and notes; see ``build_reasoning`` for the arguments."""
    looks = {one.id: look_requests(one, attributes) for one in subjects}
    names = {one.id: name_requests(one) for one in subjects}
    seen = asked([request for own in looks.values() for request in own.values()], teacher)
    called = asked([request for own in names.values() for request in own], teacher)
    found = Attempts()
    if seen.not_asked or called.not_asked:  # a comparison needs what was said of all others
        found.waiting = tuple(one.id for one in subjects)
        return found, {}, ()
    traits = _traits(subjects, looks, seen)
    guesses = {one.id: text.own_names(_texts(names[one.id], called)) for one in subjects}
    chosen = text.telling_traits(subjects, traits, most=TRAITS[settings.length], redundancy=settings.redundancy)
    typical = text.typical_traits(subjects, traits)
    for one in subjects:
        failures = [seen.failures[each.item_id] for each in looks[one.id].values() if each.item_id in seen.failures]
        if not traits[one.id] and failures:
            found.unanswered[one.id] = failures[0]
        elif not traits[one.id]:  # a name where a description was asked for, mostly
            found.rejected[one.id] = [NOTHING]
        else:
            named = [*guesses[one.id], *(lookalikes or {}).get(one.item.label or "", ())]
            others = text.candidates_for(one, subjects, typical, traits[one.id], named, among=among)
            _judge(one, others, traits[one.id], chosen[one.id], typical, settings, found, among)
    return found, chosen, _notes(subjects, guesses)


def _judge(
    one: Subject,
    others: Sequence[str],
    own: text.Traits,
    chosen: Sequence[str],
    typical: Mapping[str, text.Traits],
    settings: ReasoningSettings,
    found: Attempts,
    among: Sequence[str] | None,
) -> None:
    """Compose one rationale, and note in ``found`` what the filters say of it."""
    rules = settings.rules_in_use()
    most = min(rules.most_candidates, CANDIDATES[settings.length])
    sections = text.composed_sections(
        one, others[: most - 1], own, chosen, typical, most=DIFFERENCES[settings.length], seed=settings.seed
    )
    if reasons := broken_rules(sections, Names(one.label, one.item.accepted), rules=rules, among=among):
        found.rejected[one.id] = ["; ".join(reasons)]
    else:
        found.passed[one.id] = sections


def _traits(
    subjects: Sequence[Subject], looks: Mapping[str, Mapping[str, Request]], seen: Answers
) -> dict[str, text.Traits]:
    hidden = [name for one in subjects for name in (one.label, *one.item.accepted)]
    found = {}
    for one in subjects:
        own = {
            key: seen.replies[asked.item_id].text
            for key, asked in looks[one.id].items()
            if asked.item_id in seen.replies
        }
        found[one.id] = text.read_traits(own, kind=one.kind, names=hidden)
    return found


def _texts(requests: Sequence[Request], answers: Answers) -> list[str]:
    return [answers.replies[one.item_id].text for one in requests if one.item_id in answers.replies]


def _notes(subjects: Sequence[Subject], guesses: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    right = sum(any(normalise(one.label) == normalise(name) for name in guesses[one.id]) for one in subjects)
    return (
        "rationales were composed of the teacher's own answers; only the label was given",
        f"the teacher itself named {right} of {len(subjects)} pictures rightly, in any of {len(NAMING)} questions",
    )


# --- questions --------------------------------------------------------------------------------------------------------


def look_requests(
    subject: Subject, attributes: Mapping[str, Sequence[str]] | Sequence[str] | None
) -> dict[str, Request]:
    """Attribute to question; one under ``""`` asks for a description where no attributes are given."""
    own = attributes.get(subject.kind, ()) if isinstance(attributes, Mapping) else attributes or ()
    kind = subject.kind or THING
    known = [phrase for one in own if (phrase := plain_phrase(one))]
    if not known:
        return {"": _request(subject, "look", DESCRIBE.replace("{kind}", kind), LOOK, max_tokens=120)}
    texts = {one: ATTRIBUTE.replace("{attribute}", one).replace("{kind}", kind) for one in known}
    return {one: _request(subject, one, text, LOOK, max_tokens=24) for one, text in texts.items()}


def name_requests(subject: Subject) -> tuple[Request, ...]:
    """What is this, asked in several ways."""
    kind = subject.kind or THING
    return tuple(
        _request(subject, f"name-{number}", text.replace("{kind}", kind), NAME, max_tokens=32)
        for number, text in enumerate(NAMING, start=1)
    )


def _request(subject: Subject, what: str, prompt: str, stage: str, *, max_tokens: int) -> Request:
    return Request(
        f"{subject.id}#{what}",
        prompt,
        (subject.item.path,),
        (subject.digest,) if subject.digest else (),
        parameters=Parameters(max_tokens=max_tokens),
        stage=stage,
    )
