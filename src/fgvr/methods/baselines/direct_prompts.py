"""The questions that papers put to an MLLM about a picture, by name, letter by letter.

Those with ``{category}``, ``{unit}`` or ``{expert}`` need the super-category ("bird"), its unit ("species", "breed",
"model") and who knows it ("zoologist"). FineR and FiNDR learn these from the support set; here they are settings, and
stating them is help that the other questions do not get.

1. *FiNDR's expert* is a message of its own (role "developer") for OpenAI and Qwen, and the first text for Gemini. Here
   a system message; the trailing line break and blanks of the code's string are dropped.
2. *FiNDR's limits* asks for one name only. Left out: the variants that name a data set's own habits, and the one that
   asks for ranked attributes and several names first.
3. *CaSED's* three are for BLIP-2. The code splits the answers at commas and lets CLIP choose; here the first name of
   the answer is taken. The third ends in "a" on purpose: the model continues the sentence.
4. *FineR's* is its code's question for naming the object (``tell_me_the_obj``); "Questions" is its spelling.
5. *RAR* asks an MLLM alone only with the class names at hand (appendix B). There are none here: the list is what the
   MLLM itself said of the support images, five of which are asked for.
6. *Finedefics* tunes on open-set questions that are not published; its evaluation has options. Fine-R1's questions
   (ten templates, of which the first is used) stand in its evaluation files, its two wrappers in its code.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from fgvr.errors import InputError
from fgvr.naming.prompts import PAPER_PROMPT, PAPER_PROMPT_INTRODUCTION

STRUCTURED = "structured"
"""Ours: asked through ``fgvr.naming.label_images``, which first asks what the collection shows."""


@dataclass(frozen=True)
class Question:
    """One paper's question."""

    text: str
    source: str
    system: str | None = None
    max_tokens: int = 64
    """Room for the reply; short for a name, long where the question asks for reasons."""
    listed: bool = False
    """The reply is a list of things separated by commas, as CaSED's code reads it."""

    @property
    def needs(self) -> frozenset[str]:
        """Which of ``category``, ``unit``, ``expert`` and ``names`` it speaks of."""
        fields = string.Formatter().parse(self.text + (self.system or ""))
        return frozenset(field for _, field, _, _ in fields if field)


_EXAMPLES = {"category": "+category=bird", "unit": "+unit=species", "expert": "+expert=ornithologist"}
_FINDR = "FiNDR (arXiv 2512.18897), data/generate_classnames.py, "
_CASED = "CaSED (arXiv 2306.00917), altndrr/vic, configs/experiment/baseline/"
_EXPERT = "You are a professional {expert} and an expert in {category} classification."
_EXACT = "What is the exact {category} {unit} in the provided image?"

QUESTIONS: dict[str, Question] = {
    "paper": Question(PAPER_PROMPT, "Fine-Grained Visual Recognition in the Age of Multimodal LLMs, section 3"),
    "paper_introduction": Question(PAPER_PROMPT_INTRODUCTION, "the same, introduction (with a full stop)"),
    "rar": Question(
        "Please play the role of a classification expert, and sort the provided categories from high to low according "
        "to the top 5 similarity with the input image.Here are the optional categories:{names}.Your answer should "
        "follow the following format, like:['category A', 'category B', 'category C', 'category D', 'category E']. "
        "Only choose five categories, and no further information.",
        "RAR (arXiv 2403.13805), appendix B",
        max_tokens=256,
    ),
    "cased_caption": Question("Question: what's in the image? Answer:", _CASED + "blip2_caption.yaml", listed=True),
    "cased_list": Question("Question: list the objects in the image. Answer:", _CASED + "blip2_list.yaml", listed=True),
    "cased_single": Question(
        "Question: what's the name of the object in the image? Answer: a", _CASED + "blip2_single.yaml", listed=True
    ),
    "finer": Question(
        "Questions: What is the {unit} of the {category} in this photo? Answer:",
        "FineR (arXiv 2401.13837), agents/vqa_bot.py, tell_me_the_obj",
    ),
    "findr_base": Question("What is the exact main object in the provided image?", _FINDR + "base", max_tokens=512),
    "findr_meta": Question(_EXACT, _FINDR + "base_meta-category", max_tokens=512),
    "findr_expert": Question(_EXACT, _FINDR + "base_meta-category_expert (its default)", _EXPERT, max_tokens=512),
    "findr_limits": Question(
        _EXACT + "\nEnsure that only one specific {category} {unit} is suggested, do not suggest {unit_plural} "
        "combinations or hybrids.",
        _FINDR + "base_meta-category_expert_limits",
        _EXPERT,
        max_tokens=512,
    ),
    "fine_r1": Question(
        "Given the question: What kind of {category} is this?. This is a fine-grained question. Output reasoning in "
        "<think></think> and the final answer in <answer></answer>.",
        "Fine-R1 (ICLR 2026), open world evaluation, code",
        max_tokens=2048,
    ),
    "fine_r1_question": Question("What kind of {category} is this?", "Fine-R1 (ICLR 2026), eval/data, first template"),
}
NAMES: tuple[str, ...] = (*QUESTIONS, STRUCTURED)


def question(name: str) -> Question:
    """The question of that name. Raises ``InputError`` for an unknown one."""
    if name not in QUESTIONS:
        raise InputError("no such prompt", remedy=f"Use one of: {', '.join(NAMES)}.", prompt=name)
    return QUESTIONS[name]


def filled(
    asked: Question,
    *,
    category: str | None = None,
    unit: str | None = None,
    expert: str | None = None,
    names: Sequence[str] = (),
) -> tuple[str, str | None]:
    """(question, system message) with what is stated put in. Raises ``InputError`` where something is missing."""
    listed = "[" + ", ".join(f"'{name}'" if "'" not in name else '"' + name.replace('"', "'") + '"' for name in names)
    stated = {
        "category": category,
        "unit": unit,
        "unit_plural": plural(unit) if unit else None,
        "expert": expert,
        "names": listed + "]" if names else None,
    }
    missing = sorted(field.removesuffix("_plural") for field in asked.needs if not stated[field])
    if missing:
        raise InputError(
            f"this prompt speaks of {' and '.join(dict.fromkeys(missing))}",
            remedy=f"State it in the settings: direct:prompt=...{''.join(_EXAMPLES.get(one, '') for one in missing)}.",
            source=asked.source,
        )
    text, system = (None if one is None else one.format(**stated) for one in (asked.text, asked.system))
    return str(text), system


def plural(unit: str) -> str:
    """``breeds`` for ``breed``; ``species`` stays."""
    return unit if unit.endswith("s") else f"{unit}s"
