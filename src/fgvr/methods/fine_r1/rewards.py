"""Rewards of one reply: format and accuracy (paper, section 3.3; released ``cls_thinking.py``), and what may be added.

1. *Two rules.* ``rule="official"`` is the released function, to the letter; ``rule="strict"``, the default, is what it
   was meant to be: one answer, and that answer the true name (``answers.py``). What each makes of known exploits is
   tabled in ``tests/methods/fine_r1/exploits.py``.
2. *Independent.* In both rules accuracy and format are earned separately: a right answer without a think block earns
   0.9, a well-formed wrong one 0.1. In the released rule nothing but the answer tags is needed for accuracy.
3. *Quirks of the released rule*, kept: blanks around every ``<``, ``>`` and ``/`` go first, so a truth with `` / `` in
   it can never be found; tags count only in lower case; the *first* answer block counts, also inside the thinking; a
   reply without answer tags has no accuracy; the truth itself is neither cleaned nor trimmed, and an empty one is
   always found; a reply that was cut off is judged like any other.
4. *Not said* by the release: a format without thinking. ``thinking=False`` asks both rules for ``<answer>`` alone.
5. *Cut off.* Strict: a reply that did not end by itself never has the format; a complete answer in it still counts.
6. *Additions*, off unless called: a soft penalty for length (DAPO, equation 13), partial credit for near misses from a
   taxonomy or from text similarities. They change ``total``, never ``accuracy``, so dynamic sampling is not moved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from fgvr.errors import InputError
from fgvr.labels.normalise import normalise
from fgvr.methods.fine_r1.answers import name_reason, read_tags

Rule = Literal["strict", "official"]
ACCURACY, FORMAT = 0.9, 0.1
"""The released weights."""

# As ``\s*(<|>|/)\s*``, but linear in runs of blanks: a match begins where a run does, or at a sign.
_AROUND_SIGNS = re.compile(r"(?:(?<!\s)\s++)?+([<>/])\s*+")


@dataclass(frozen=True)
class Reward:
    """What one reply earns."""

    total: float
    accuracy: float
    """0 or 1."""
    format: float
    """0 or 1."""
    reason: str = ""
    """Why the accuracy is 0, as a short code (``answers.py``); empty where it is 1."""
    format_reason: str = ""
    """Why the format is 0; empty where it is 1."""
    answer: str = ""
    """What the answer block holds, trimmed; empty without one."""


def reward(
    reply: str,
    truth: str,
    *,
    accepted: Sequence[str] = (),
    rule: Rule = "strict",
    ended: bool = True,
    weights: tuple[float, float] = (ACCURACY, FORMAT),
    thinking: bool = True,
) -> Reward:
    """Judge one reply; never raises on a string, linear in its length.

    Args:
        reply: what the model wrote, without special tokens.
        truth: the true name.
        accepted: other names of the class (``official`` knows none).
        ended: whether the reply ended by itself, before the limit of tokens (``official`` does not ask).
        weights: of accuracy and format in the total.
        thinking: whether a think block is asked for.
    """
    if rule == "official":
        return _official(reply, truth, weights=weights, thinking=thinking)
    if rule not in get_args(Rule):
        raise InputError("no such rule of reward", remedy=f"Use one of {', '.join(get_args(Rule))}.", rule=rule)
    tagged = read_tags(reply, thinking=thinking, ended=ended)
    reason = tagged.answer_reason if tagged.answer is None else name_reason(tagged.answer, (truth, *accepted))
    return _weighed(reason, tagged.format_reason, tagged.answer or "", weights)


def length_penalty(tokens: int, limit: int, *, share: float = 0.2) -> float:
    """Soft overlong punishment in [-1, 0], to be added to the total (DAPO, equation 13).

    0 up to ``(1 - share) * limit`` tokens, then falling in a line to -1 at ``limit`` and beyond. DAPO: ``limit`` 20480,
    the last 4096 of them (0.2) punished.
    """
    if limit < 1 or not 0 < share <= 1:
        raise InputError("no such limit of length", remedy="Give limit >= 1, 0 < share <= 1.", limit=limit, share=share)
    return -min(max((tokens - (1 - share) * limit) / (share * limit), 0.0), 1.0)


def with_length_penalty(earned: Reward, tokens: int, limit: int, *, share: float = 0.2, weight: float = 1.0) -> Reward:
    """``earned`` with ``weight`` times the ``length_penalty`` of its tokens."""
    return replace(earned, total=earned.total + weight * length_penalty(tokens, limit, share=share))


def with_credit(earned: Reward, credit: float, *, weight: float = ACCURACY) -> Reward:
    """``earned`` with partial credit in [0, 1] where the answer is wrong; a right one has its full reward."""
    if not 0 <= credit <= 1:
        raise InputError("credit lies outside [0, 1]", remedy="Give a share of the reward of accuracy.", credit=credit)
    return earned if earned.accuracy else replace(earned, total=earned.total + weight * credit)


def taxonomy_credit(
    answer: str, truth: str, *, groups: Mapping[str, str], sibling: float = 0.3, group: float = 0.1
) -> float:
    """Credit of a wrong ``answer``: ``sibling`` for a class of the truth's group, ``group`` for the group's own name.

    ``groups``: class name to group (genus), as ``multiple_choice.taxonomy.Taxonomy.groups``. 0 for everything else, and
    where the truth has no group. The values are ours; no paper gives any. ``group`` is kept below ``sibling`` so that
    naming the genus alone does not become the safe answer.
    """
    by_key = {normalise(name): normalise(its) for name, its in groups.items()}
    said, own = normalise(answer), by_key.get(normalise(truth), "")
    if not own or said == normalise(truth):
        return 0.0
    return sibling if by_key.get(said) == own else group if said == own else 0.0


def similarity_credit(similarities: Sequence[float], *, floor: float = 0.0) -> float:
    """Credit from text similarities (cosines) of the answer with each accepted name: the best one above ``floor``.

    ``max(0, (s - floor) / (1 - floor))``, the form of the paper's relative semantic similarity (appendix), where
    ``floor`` is the similarity of the super-category's word with the truth. 0 where nothing was compared.
    """
    if floor >= 1:
        raise InputError("the floor leaves no room", remedy="Give floor < 1.", floor=floor)
    best = max(similarities, default=floor)
    return min(max((best - floor) / (1 - floor), 0.0), 1.0)


def _official(reply: str, truth: str, *, weights: tuple[float, float], thinking: bool) -> Reward:
    text = _AROUND_SIGNS.sub(r"\1", reply)
    start = text.find("<answer>")
    end = text.find("</answer>", start) if start >= 0 else -1
    answer = text[start + len("<answer>") : end].strip() if end >= 0 else ""
    reason = "no answer" if end < 0 else "" if truth.lower() in answer.lower() else "wrong name"
    return _weighed(reason, "" if _official_format(text, thinking=thinking) else "not matched", answer, weights)


def _official_format(text: str, *, thinking: bool) -> bool:
    """Whether ``<think>.*?</think>\\s*<answer>.*?</answer>`` fits all of a cleaned text, in linear time.

    It does exactly where the text begins and ends so and the two inner tags meet somewhere between.
    """
    first, last = ("<think>" if thinking else "<answer>"), "</answer>"
    if not text.startswith(first) or not text.endswith(last):
        return False
    if not thinking:
        return len(text) >= len(first) + len(last)
    return "</think><answer>" in text[len(first) : -len(last)]


def _weighed(reason: str, format_reason: str, answer: str, weights: tuple[float, float]) -> Reward:
    accuracy, form = float(not reason), float(not format_reason)
    return Reward(weights[0] * accuracy + weights[1] * form, accuracy, form, reason, format_reason, answer)
