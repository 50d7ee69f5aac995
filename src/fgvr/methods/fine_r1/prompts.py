"""What the model is asked: in training, in the closed world (with options) and in the open world (without).

1. *Three wordings of one wish.* The released code asks for thinking and answer tags in three different sentences: in
   training (``TRAIN``), closed (``CLOSED``) and open (``OPEN``) evaluation; the paper's Appendix B swaps the labels of
   the last two. ``style="paper"`` is the released code, to the letter.
2. *Options* are a Python list in the released prompt, and so they are here.
3. *Short.* ``style="short"`` says the same in few words, for models with few positions; one sentence everywhere.
4. *No thinking* (Li et al. 2025, the paper's baseline "No-Thinking-RL"): the answer tags alone.
5. *System prompt.* The released SFT data has one, training and evaluation after it have none. Here none anywhere, so
   that what was learned is asked for in the same words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

from fgvr.errors import InputError

Style = Literal["paper", "short"]
QUESTIONS = (
    "What kind of {kind} is this?",
    "What type of {kind} is shown in the image?",
    "What is the {kind} featured in this picture?",
    "What is the {kind} shown in the photo?",
    "What is the name of the {kind} in the photo?",
    "Do you know what {kind} this is?",
    "Can you help me recognize the {kind} in this photo?",
    "Can you identify the {kind} in this image?",
    "What {unit} is the {kind} in this picture?",
    "Could you tell me the {unit} of this {kind}?",
)
"""The ten templates of the released evaluation files; ``unit`` is species or model."""
UNITS = {"car": "model", "aircraft": "model"}
ANY_KIND, ANY_UNIT = "object", "species"

TRAIN = (
    "{question} You first think through the reasoning process as an internal monologue, enclosed within <think> "
    "</think> tags. Then, provide your final answer enclosed within <answer> </answer> tags."
)
CLOSED = (
    "Given the question: {question}, based on the options provided in {options}, output the thinking process in "
    "<think> </think> and final choice in <answer> </answer> tags. The response format should be: "
    "<think>...</think> <answer>choice</answer>."
)
OPEN = (
    "Given the question: {question}. This is a fine-grained question. Output reasoning in <think></think> and the "
    "final answer in <answer></answer>."
)
SHORT = "{question} Think in <think> tags, then answer in <answer> tags."
SHORT_CLOSED = "{question} Options: {options}. Think in <think> tags, then give one option in <answer> tags."
PLAIN = "{question} Provide your final answer enclosed within <answer> </answer> tags."
PLAIN_CLOSED = "{question} Choose one of {options}. Provide your final answer enclosed within <answer> </answer> tags."
PLAIN_SHORT = "{question} Answer in <answer> tags."
PLAIN_SHORT_CLOSED = "{question} Options: {options}. Give one option in <answer> tags."


def question_of(kind: str | None, *, key: str = "", seed: int = 0) -> str:
    """One of ``QUESTIONS`` about a super-category, drawn by ``seed`` and ``key`` (the picture's id); ``key=""``: the
    first."""
    word = kind or ANY_KIND
    digest = hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
    template = QUESTIONS[int.from_bytes(digest[:8], "big") % len(QUESTIONS) if key else 0]
    return template.replace("{unit}", UNITS.get(word, ANY_UNIT)).replace("{kind}", word)


def train_prompt(question: str, *, style: Style = "paper", thinking: bool = True) -> str:
    """The prompt of SFT and reinforcement learning: no options."""
    check_style(style)
    template = {("paper", True): TRAIN, ("paper", False): PLAIN, ("short", True): SHORT, ("short", False): PLAIN_SHORT}
    return template[style, thinking].replace("{question}", question)


def open_prompt(question: str, *, style: Style = "paper", thinking: bool = True) -> str:
    """The prompt of open-world evaluation."""
    if style == "paper" and thinking:
        return OPEN.replace("{question}", question)
    return train_prompt(question, style=style, thinking=thinking)


def closed_prompt(question: str, options: Sequence[str], *, style: Style = "paper", thinking: bool = True) -> str:
    """The prompt of closed-world evaluation; ``options`` as they are to be shown, in their order."""
    check_style(style)
    template = {
        ("paper", True): CLOSED,
        ("paper", False): PLAIN_CLOSED,
        ("short", True): SHORT_CLOSED,
        ("short", False): PLAIN_SHORT_CLOSED,
    }[style, thinking]
    listed = repr(list(options)) if style == "paper" else ", ".join(options)
    before, _, after = template.partition("{options}")
    return before.replace("{question}", question) + listed + after


def check_style(style: str) -> None:
    """Raises ``InputError`` for an unknown style."""
    if style not in get_args(Style):
        raise InputError("no such style of prompt", remedy=f"Use one of {', '.join(get_args(Style))}.", style=style)
