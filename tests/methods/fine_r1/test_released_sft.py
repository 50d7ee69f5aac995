"""The check of reasoning data, on rows with the faults of the released file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fgvr.methods.fine_r1.rationales import Rationale, think_of
from fgvr.methods.fine_r1.reasoning_filters import Rules
from fgvr.methods.fine_r1.released_sft import check_rationales

FIAT = "FIAT 500 Convertible 2012"
SOUND = Rationale(
    id="1",
    path=Path("1.jpg"),
    category=FIAT,
    question="What model of car is this?",
    think=think_of("A small round car.", ["Mini Cooper", FIAT], f"The Mini Cooper is wider, so this is the {FIAT}."),
    answer=FIAT,
    candidates=("Mini Cooper", FIAT),
)
RULES = Rules(words=(5, 100))


def with_think(name: str, think: str, candidates: tuple[str, ...] = ()) -> Rationale:
    return replace(SOUND, id=name, think=think, candidates=candidates)


def test_a_file_with_faults():
    rows = [
        SOUND,
        with_think("year", "Small and round: the Fiat 500 Convertible it is.", ("Fiat 500 Convertible", "Mini Cooper")),
        with_think("case", "Small and round: the Fiat 500 convertible 2012."),
        with_think("told", f"It matches the description of nothing, the label says {FIAT}."),
        with_think("blind", f"There is no image attached, but it may be the {FIAT}."),
        with_think("mixed", f"A small 汽车 that is the {FIAT}."),
        with_think("brief", FIAT),
        with_think("tags", f"<think>the small and round {FIAT}"),
        with_think("none", ""),
        replace(SOUND, id="other", answer="Mini Cooper"),
    ]
    check = check_rationales(rows, rules=RULES)
    assert dict(check.broken) == {
        "format": ("tags", "none"),
        "label not in the reasoning": ("year",),
        "label not among the candidates": ("year",),
        "speaks of having been told": ("told",),
        "says it saw no picture": ("blind",),
        "language": ("mixed",),
        "too short": ("brief",),
        "answer is not the label": ("other",),
    }
    assert (check.rows, check.classes, check.sound) == (10, 1, 2)
    assert check.unlisted == ("case", "told", "blind", "mixed", "brief", "tags", "none")
    assert check.lines()[:2] == [
        "10 rationales of 1 classes, 0 to 24 words of thinking (mean 11)",
        "break nothing: 2/10",
    ]
    assert "label not in the reasoning: 1/10" in check.lines()


def test_to_the_letter():
    check = check_rationales(
        [with_think("case", "Small and round: Fiat 500 convertible 2012.")], rules=RULES, exact=True
    )
    assert check.broken == {"label not in the reasoning": ("case",)}


def test_accepted_names_in_another_script():
    penguin = replace(
        SOUND, category="Penguin", answer="Penguin", candidates=(), think="This black bird, a Пингвин, is a Penguin."
    )
    assert check_rationales([penguin], rules=RULES).broken == {"language": ("1",)}
    assert check_rationales([penguin], rules=RULES, accepted={"Penguin": ["Пингвин"]}).broken == {}


def test_nothing_to_check():
    assert check_rationales([]).lines() == [
        "0 rationales of 0 classes, 0 to 0 words of thinking (mean 0)",
        "break nothing: 0/0",
    ]
