"""The questions that rank candidates: the paper's prompts, the released code's, and what option scoring asks.

Text of the paper (appendix B, figure 4, error analysis), released code, and what is done here:

1. *Number.* Appendix B prints "the {top-k} similarity" and replaces ``{top-k}`` "with the number of categories"; its
   own example with five reads "the top 5 similarity", and so does the code. Here ``top 5``.
2. *Wording.* The paper has "the provided categories" and no space after "image."; the code "the provided 5 categories"
   and a space. ``paper`` and ``released`` are the two, letter for letter.
3. *In context.* Appendix B adds the form of the answer (``in_context``); the error analysis shows an imagined picture
   of a chair instead (``imagined``). Both are text only, no example picture. Both speak of five; for another number of
   candidates the letters and the number word follow it.
4. *List.* Figure 4 shows names without quotes (``short``); the code prints a Python list, in which a name with an
   apostrophe changes its quotes (and is then not found by the code's parser). ``python_list`` is that. By default names
   are printed as people write them (underscores are spaces, no hidden characters or line breaks) between the same
   quotes, without escapes (`listed`).
5. *Training.* The released fine-tuning data ask otherwise than the test ("a aircraft classification expert"), see
   `released_training_prompt`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Literal

from fgvr.errors import InputError
from fgvr.labels.normalise import display_name
from fgvr.naming.prompts import PAPER_PROMPT

PromptKind = Literal["paper", "released", "in_context", "imagined", "short"]

NAMING_QUESTION = PAPER_PROMPT
"""Asked when names are scored: no list in it, hence no order of a list to be swayed by."""
CHOICE_QUESTION = "Which of these is in the picture?"
"""Asked above lettered names."""

_ROLE = "Please play the role of a classification expert, and sort the provided"
_PAPER = _ROLE + (
    " categories from high to low according to the top {k} similarity with the input image."
    "Here are the optional categories:{names}."
)
_RELEASED = _ROLE + (
    " {k} categories from high to low according to the top {k} similarity with the input image. "
    "Here are the optional categories:{names}."
)
_IN_CONTEXT = _PAPER + (
    "Your answer should follow the following format, like:{form}. Only choose {number} categories, and no further "
    "information."
)
_IMAGINED = (
    "Please play the role of a classification expert, suppose you are given a picture and {k} categories, then you "
    "need to sort the provided {k} categories from high to low according to the top {k} similarity with the input "
    "image. For example, you are given a picture of a chair, and the provided categories are ['armchair', 'recliner', "
    "'chair', 'rocking_chair', 'loveseat'], the sorted categories should be like: \"['chair', 'armchair', "
    "'rocking_chair', 'recliner', 'loveseat']\", and your answer is: \"['chair', 'armchair', 'rocking_chair', "
    "'recliner', 'loveseat']\", no more information. Now, according to the input pictures, sort the provided "
    "categories: {names}."
)
_TEMPLATES = {"paper": _PAPER, "released": _RELEASED, "in_context": _IN_CONTEXT, "imagined": _IMAGINED}
PROMPTS: tuple[str, ...] = (*_TEMPLATES, "short")

_RELEASED_TRAINING = (
    "Here is a image:<Img index=1><image></Img>. Please play the role of a {kind} classification expert, and sort the "
    "provided categories from high to low according to the top {k} similarity with the input image. "
    "Here are the optional categories:{names}."
)
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def shown(name: str) -> str:
    """A class name as people write it: underscores are spaces, hidden characters and line breaks dropped."""
    return display_name(name.replace("_", " "))


def listed(names: Sequence[str]) -> str:
    """``['Arctic Tern', "Forster's Tern"]``: a Python list to the eye, readable for names with any sign in them."""
    return "[" + ", ".join(map(_quoted, map(shown, names))) + "]"


def python_list(names: Sequence[str]) -> str:
    """The Python list of the released code, names as they are."""
    return repr([str(name) for name in names])


def ranking_prompt(
    names: Sequence[str], *, kind: PromptKind = "paper", form: Callable[[Sequence[str]], str] = listed
) -> str:
    """The question that asks for the candidates in order, best first.

    Args:
        names: the candidates, in the order they are shown.
        kind: see the module docstring; ``short`` ignores ``form``.
        form: how the list is written: `listed` or `python_list`.

    Raises InputError for an unknown kind or without names.
    """
    if kind not in PROMPTS or not names:
        raise InputError(
            "no such ranking prompt", remedy=f"Use one of {', '.join(PROMPTS)}, and give names.", kind=kind
        )
    if kind == "short":
        return f"Sort the optional categories: [{', '.join(map(shown, names))}]"
    count = len(names)
    example = python_list([f"category {letter}" for letter in _letters(count)])
    number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
    return _filled(_TEMPLATES[kind], k=str(count), names=form(names), form=example, number=number)


def released_training_prompt(names: Sequence[str], *, kind: str = "aircraft") -> str:
    """The user's turn of the released fine-tuning data; ``<image>`` is where the picture goes."""
    return _filled(_RELEASED_TRAINING, k=str(len(names)), names=python_list(names), kind=kind)


def _filled(template: str, **parts: str) -> str:
    """One pass over the template, so that braces in a name stay what they are."""
    return template.format(**parts)


def _letters(count: int) -> list[str]:
    """A, B, ..., Z, AA, AB, ..."""
    alphabet = string.ascii_uppercase
    return [(alphabet[i // 26 - 1] if i >= 26 else "") + alphabet[i % 26] for i in range(count)]


def _quoted(name: str) -> str:
    if "'" not in name:
        return f"'{name}'"
    return '"' + name.replace('"', "'") + '"'
