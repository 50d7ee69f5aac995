"""Rationales: what they are, as training rows, and as ShareGPT files in and out.

A rationale's thinking is three paragraphs: the analysis, a line "Candidates: A, B, C.", the comparison. The released
file (``Fine-R1-Stage1-data.json``) has plain headings instead, which differ from row to row.

1. *Prompt.* The released rows hold the bare question, and a system prompt that neither training nor evaluation uses
   afterwards. Here rows ask in the words of training (``prompts.train_prompt``), without system prompt; a file's own
   system prompt is read and dropped.
2. *Thinking.* ``full`` is the paper's; ``short`` keeps the comparison alone; ``none`` the answer alone. What others
   found about long reasoning in this task goes both ways, so all three are data.
3. *Short without headings.* Where no comparison can be told apart in what was read, its last paragraph stands for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fgvr.errors import InputError
from fgvr.labels.normalise import normalise
from fgvr.methods.fine_r1 import prompts
from fgvr.methods.fine_r1.prompts import Style
from fgvr.methods.fine_r1.reasoning_filters import without_brackets
from fgvr.methods.fine_r1.reasoning_replies import read_candidates
from fgvr.runs import write_json
from fgvr.training.rows import MARK, TrainingRow, read_rows, require_rows
from fgvr.types import SetAside

Thinking = Literal["full", "short", "none"]
Form = Literal["messages", "conversations"]

_WHOLE = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_TAG = re.compile(r"</?(?:think|answer)>")
_LISTED = re.compile(r"(?m)^Candidates: ([^\n]+)\.$")
_HEADING = re.compile(
    r"(?mi)^[ \t#*\d.]{0,8}(?:step\s+\d+\s*[:.]\s*)?"
    r"(?P<name>candidate\s+sub-?categor\w+|comparison(?:\s+\w+){0,3}|final\s+\w+)\b[^\n.]{0,60}$"
)


@dataclass(frozen=True)
class Rationale:
    """The reasoning about one picture that leads to its true name."""

    id: str
    path: Path
    category: str
    """The true name."""
    question: str
    """Without picture marks and without a sentence about tags."""
    think: str
    """All of the reasoning, without tags."""
    answer: str
    """What stands in the answer tags: the true name."""
    candidates: tuple[str, ...] = ()
    comparison: str = ""
    """The last part of ``think``; "" where it is not known apart."""
    super_category: str = ""


@dataclass(frozen=True)
class ReadRationales:
    """What a file holds; ``rationales`` is never empty."""

    rationales: tuple[Rationale, ...]
    set_aside: tuple[SetAside, ...] = ()


def think_of(analysis: str, candidates: Sequence[str], comparison: str) -> str:
    """The three sections as one text: a paragraph each."""
    return f"{_one_line(analysis)}\nCandidates: {', '.join(candidates)}.\n{_one_line(comparison)}"


def answer_text(rationale: Rationale, *, thinking: Thinking = "full") -> str:
    """What the model is to say: ``<think>...</think>``, an empty line, ``<answer>...</answer>``.

    Raises ``InputError`` for an unknown ``thinking``.
    """
    answer = f"<answer>{rationale.answer}</answer>"
    if _check_thinking(thinking) == "none":
        return answer
    text = rationale.think if thinking == "full" else rationale.comparison or comparison_of(rationale.think)
    return f"<think>{text}</think>\n\n{answer}"


def sft_rows(
    rationales: Sequence[Rationale], *, style: Style = "paper", thinking: Thinking = "full", seed: int = 0
) -> list[TrainingRow]:
    """Rows for ``fgvr.training``, one a rationale, in order; every picture with its question and the answer text.

    Args:
        style: of the prompt (``prompts.train_prompt``).
        thinking: how much of the reasoning is learned; ``none`` also asks for none.
        seed: draws a question for a rationale that has none of its own.
    """
    rows = []
    for one in rationales:
        question = one.question or prompts.question_of(one.super_category or None, key=one.id, seed=seed)
        rows.append(
            TrainingRow(
                id=one.id,
                images=(one.path,),
                prompt=prompts.train_prompt(question, style=style, thinking=thinking != "none"),
                answer=answer_text(one, thinking=thinking),
                meta={"category": one.category, "thinking": thinking},
            )
        )
    return rows


# --- ShareGPT ---------------------------------------------------------------------------------------------------------


def write_sharegpt(
    path: str | Path,
    rationales: Sequence[Rationale],
    *,
    style: Style | None = "paper",
    thinking: Thinking = "full",
    form: Form = "messages",
    system: str | None = None,
) -> None:
    """Write ShareGPT JSON, atomically; pictures relative to the file's folder where they lie below it.

    Args:
        style: of the prompt; ``None`` writes the bare question, as the released file has it.
        form: ``messages`` (role, content; the released file) or ``conversations`` (from, value; LLaVA).
        system: a system prompt for every row; the released file has one.

    Raises ``InputError`` for no rationales or an unknown ``form``, ``RunError`` where the file cannot be written.
    """
    if form not in get_args(Form):
        raise InputError("no such form of ShareGPT", remedy=f"Use one of {', '.join(get_args(Form))}.", form=form)
    if not rationales:
        raise InputError("there is no rationale to write", remedy="Build some first.", file=str(path))
    folder = Path(path).resolve().parent
    write_json(
        Path(path),
        [_record(one, folder, style=style, thinking=thinking, form=form, system=system) for one in rationales],
    )


def _record(
    one: Rationale, folder: Path, *, style: Style | None, thinking: Thinking, form: Form, system: str | None
) -> dict[str, Any]:
    asked = prompts.train_prompt(one.question, style=style, thinking=thinking != "none") if style else one.question
    said = [("user", f"{MARK}{asked}"), ("assistant", answer_text(one, thinking=thinking))]
    if system:
        said.insert(0, ("system", system))
    if form == "messages":
        turns = [{"role": role, "content": text} for role, text in said]
    else:
        old = {"system": "system", "user": "human", "assistant": "gpt"}
        turns = [{"from": old[role], "value": text} for role, text in said]
    picture = one.path.resolve()
    shown = picture.relative_to(folder).as_posix() if picture.is_relative_to(folder) else os.fspath(picture)
    meta = {"category": one.category, "candidates": list(one.candidates), "super_category": one.super_category}
    return {"id": one.id, form: turns, "images": [shown], "meta": meta}


def read_sharegpt(path: str | Path, *, root: str | Path | None = None) -> ReadRationales:
    """Rationales of a ShareGPT file in either form, the released one among them.

    Args:
        root: what pictures are relative to; default: the file's folder. Pictures are not opened here.

    A row is set aside where it is no training row (``fgvr.training.rows``), shows more or fewer than one picture
    (``not one picture``), or answers otherwise than in one pair of think and one of answer tags (``format``); an answer
    without thinking is read with empty ``think``. The class is the file's own ``meta.category`` where it has one, else
    the answer. Raises ``ManifestError`` where the file cannot be read, ``InputError`` where no row is good.
    """
    rows = read_rows(path, root=root)
    good, bad = [], list(rows.set_aside)
    for row in rows.rows:
        parts = split_answer(row.answer)
        if parts is None or not parts[1]:
            bad.append(SetAside(row.id, str(path), "format", "not one pair of think and one of answer tags"))
        elif len(row.images) != 1:
            bad.append(SetAside(row.id, str(path), "not one picture", f"{len(row.images)} pictures"))
        else:
            good.append(_rationale(row, *parts))
    if not good:
        require_rows((), bad, source=path)
    return ReadRationales(tuple(good), tuple(bad))


def _rationale(row: TrainingRow, think: str, answer: str) -> Rationale:
    listed = row.meta.get("candidates")
    known = isinstance(listed, list) and all(isinstance(one, str) for one in listed)
    return Rationale(
        id=row.id,
        path=row.images[0],
        category=str(row.meta.get("category") or answer),
        question=question_in(row.prompt),
        think=think,
        answer=answer,
        candidates=tuple(listed) if known and listed else candidates_of(think),
        comparison=_after_candidates(think),
        super_category=str(row.meta.get("super_category") or ""),
    )


def split_answer(text: str) -> tuple[str, str] | None:
    """(thinking, answer) of one answer text; ("", answer) without thinking; ``None`` where tags are amiss."""
    whole = _WHOLE.fullmatch(text) or re.fullmatch(r"()\s*<answer>(.*?)</answer>\s*", text, re.DOTALL)
    if whole is None or any(_TAG.search(part) for part in whole.groups()):
        return None
    return whole[1].strip(), whole[2].strip()


def question_in(prompt: str) -> str:
    """The question in a prompt of ``prompts.train_prompt``; any other prompt is all question."""
    for template in (prompts.TRAIN, prompts.PLAIN, prompts.SHORT, prompts.PLAIN_SHORT):
        ending = template.partition("{question}")[2]
        if prompt.endswith(ending):
            return prompt.removesuffix(ending).strip()
    return prompt


def candidates_of(think: str) -> tuple[str, ...]:
    """The candidates in a rationale's thinking: of its line "Candidates: ...", or of the list under such a heading."""
    if listed := _LISTED.search(think):
        return read_candidates(listed[1])
    headings = list(_HEADING.finditer(think))
    for number, heading in enumerate(headings):
        if not heading["name"].lower().startswith("candidate"):
            continue
        end = headings[number + 1].start() if number + 1 < len(headings) else len(think)
        found: dict[str, str] = {}
        for name in read_candidates("\n".join(_top_items(think[heading.end() : end]))):
            found.setdefault(normalise(without_brackets(name)) or normalise(name), name)  # a list may come twice there
        if found:
            return tuple(found.values())
    return ()


def _top_items(text: str) -> list[str]:
    """The lines of the outermost list in ``text``; numbered ones where there are any."""
    items = [item for line in text.splitlines() if (item := re.match(r"(\s*)(?:[-*•]|(\d{1,2})[.)])\s", line))]
    chosen = [item for item in items if item[2]] or items
    margin = min((len(item[1]) for item in chosen), default=0)
    return [item.string for item in chosen if len(item[1]) == margin]


def comparison_of(think: str) -> str:
    """The comparison in a rationale's thinking (deviation 3)."""
    return _after_candidates(think) or next(
        (part for part in reversed(re.split(r"\n\s*\n", think.strip())) if part), ""
    )


def _after_candidates(think: str) -> str:
    if listed := _LISTED.search(think):
        return think[listed.end() :].strip()
    found = list(_HEADING.finditer(think))
    start = next((place for place, one in enumerate(found) if one["name"].lower().startswith("comparison")), None)
    if start is None:
        return ""
    end = next((one.start() for one in found[start + 1 :] if one["name"].lower().startswith("final")), len(think))
    return think[found[start].end() : end].strip()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _check_thinking(thinking: str) -> str:
    if thinking not in get_args(Thinking):
        known = ", ".join(get_args(Thinking))
        raise InputError("no such amount of thinking", remedy=f"Use one of {known}.", thinking=thinking)
    return thinking
