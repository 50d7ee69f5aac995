"""How sound a file of reasoning data is: every filter over every rationale, one's own or the released ones.

Of the released 404 rows the project's specification counts 97 whose thinking never holds the exact label, against the
paper's own rule ("Fiat 500 Convertible" for "FIAT 500 Convertible 2012"). Here names are compared after normalisation,
which forgives case and hyphens; ``exact=True`` counts as they did.

1. *Thinking as one text.* What was written elsewhere has headings, not sections: the label is looked for in all of the
   thinking, and candidates where a list of them can be told apart. Where none can, the rules about candidates are not
   applied, and the rationale is counted under ``no list of candidates`` without being called broken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fgvr.methods.fine_r1 import reasoning_filters as filters
from fgvr.methods.fine_r1.rationales import Rationale, split_answer
from fgvr.methods.fine_r1.reasoning_filters import Names, Rules

UNLISTED = "no list of candidates"
ANSWER = "answer is not the label"


@dataclass(frozen=True)
class RationaleCheck:
    """Which rationales break which filter."""

    rows: int
    classes: int
    broken: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Reason code to ids, the most frequent first."""
    unlisted: tuple[str, ...] = ()
    """Ids of rationales whose candidates cannot be told apart."""
    words: tuple[int, float, int] = (0, 0.0, 0)
    """Of the thinking: fewest, mean, most."""

    @property
    def sound(self) -> int:
        """Rationales that break nothing."""
        return self.rows - len({name for ids in self.broken.values() for name in ids})

    def lines(self) -> list[str]:
        """For people: one line a finding."""
        fewest, mean, most = self.words
        return [
            f"{self.rows} rationales of {self.classes} classes, {fewest} to {most} words of thinking (mean {mean:.0f})",
            f"break nothing: {self.sound}/{self.rows}",
            *(f"{reason}: {len(ids)}/{self.rows}" for reason, ids in self.broken.items()),
            *([f"{UNLISTED}: {len(self.unlisted)}/{self.rows}"] if self.unlisted else []),
        ]


def check_rationales(
    rationales: Sequence[Rationale],
    *,
    accepted: Mapping[str, Sequence[str]] | None = None,
    rules: Rules | None = None,
    exact: bool = False,
) -> RationaleCheck:
    """Every filter over every rationale.

    Args:
        accepted: class to further names, which may be in any script.
        rules: of length, number of candidates, language.
        exact: the label must occur in the thinking to the letter, case included.
    """
    found: dict[str, list[str]] = {}
    for one in rationales:
        names = Names(one.category, tuple((accepted or {}).get(one.category, ())))
        for reason in broken_by(one, names, rules=rules, exact=exact):
            found.setdefault(reason, []).append(one.id)
    lengths = [len(one.think.split()) for one in rationales]
    return RationaleCheck(
        rows=len(rationales),
        classes=len({one.category for one in rationales}),
        broken={reason: tuple(ids) for reason, ids in sorted(found.items(), key=lambda pair: -len(pair[1]))},
        unlisted=tuple(one.id for one in rationales if not one.candidates),
        words=(min(lengths), sum(lengths) / len(lengths), max(lengths)) if lengths else (0, 0.0, 0),
    )


def broken_by(one: Rationale, names: Names, *, rules: Rules | None = None, exact: bool = False) -> tuple[str, ...]:
    """Reason codes of the filters that one finished rationale breaks."""
    rules = rules or Rules()
    whole = f"<think>{one.think}</think>\n\n<answer>{one.answer}</answer>"
    if not one.think or split_answer(whole) is None:
        return (filters.FORMAT,)
    missing = filters.REASONING if names.label not in one.think else ""
    candidates = (
        (
            filters.not_a_candidate(one.candidates, names),
            filters.wrong_number(one.candidates, most=rules.most_candidates, least=rules.least_candidates),
        )
        if one.candidates
        else ()
    )
    reasons = (
        "" if filters.same_name(one.answer, names.label) else ANSWER,
        missing if exact else filters.not_reasoned(one.think, names, one.candidates),
        *candidates,
        filters.wrong_length(one.think, words=rules.words),
        filters.other_language(one.think, (names.label, *names.accepted)) if rules.english else "",
        filters.was_told(one.think) if rules.told else "",
        filters.saw_nothing(one.think),
    )
    return tuple(filter(None, reasons))
