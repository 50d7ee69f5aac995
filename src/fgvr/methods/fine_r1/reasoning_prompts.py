"""What is asked to get reasoning data: captions of a picture, and the structured prompt (paper, section 3.2).

1. *What is published.* Of the structured prompt two stretches are printed in the paper; they stand here to the letter
   (``TOLD``, ``ASKED``, ``NOTE``), with "a" before every name and a full stop behind every question. What the paper
   leaves out between and after them is our wording: how to write the four sections, and not to speak of having been
   told the name.
2. *Short.* ``length="short"`` says the same in few words, and asks for a sentence or two a section: for models with few
   positions. The first two lines are equal in both lengths.
3. *Nothing to show.* Without visual concepts the clause about visual features is left out.
4. *Which candidates.* Not in the paper: a last line may list the only names allowed as candidates, so that rationales
   for training do not tell the names of classes that are to stay unseen.
5. *Captions.* "Many captions of one image emphasising different attributes" is all that is published; ``CAPTIONS`` is
   our wording of it. No caption prompt names the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from fgvr.errors import InputError
from fgvr.labels.normalise import display_name

Length = Literal["full", "short"]

CAPTIONS = (
    "Describe the {kind} in this image in one sentence.",
    "Describe the colours of the {kind} in this image, part by part, in short phrases.",
    "Describe the shape and the proportions of the {kind} in this image in short phrases.",
    "Describe the pattern, markings and texture of the {kind} in this image in short phrases.",
    "Describe the parts of the {kind} in this image that tell it from similar ones, in short phrases.",
    "Describe the size, pose and surroundings of the {kind} in this image in short phrases.",
)
"""Each a caption of the same picture with another emphasis."""

TOLD = "This is a picture of a {label} with the following visual features: {concepts}."
TOLD_NOTHING = "This is a picture of a {label}."
ASKED = "Question: {question}."
NOTE = (
    "Note that you MUST first analyze the visual features that help you provide at most four candidate subcategories "
    "of the same super-category, then pay attention to the differences between candidate subcategories and make a "
    "detailed comparison"
)
FULL = (
    NOTE + " that leads to your prediction. Write in English, and as someone who sees only the picture: say nothing "
    "of this description, and nothing of having been told the name. Write four sections, each between its tags, in "
    "this order:\n"
    "<analysis>What can be seen of the {kind}, part by part, and what it tells.</analysis>\n"
    "<options>The candidate subcategories, at most four, one on each line, your prediction among them.</options>\n"
    "<comparison>How the candidates differ, which of the differences this picture shows, and which candidate that "
    "leaves, by name.</comparison>\n"
    "<prediction>The name of the subcategory alone, spelt as above.</prediction>"
)
SHORT = (
    "Be brief, and say nothing of having been told the name. Write <analysis>a sentence on what can be seen</analysis> "
    "<options>at most four names of similar {kind} subcategories, the right one among them, with commas</options> "
    "<comparison>a sentence or two on how they differ, ending with the right name</comparison> "
    "<prediction>the name alone</prediction>"
)
ALLOWED = "Candidates only from: {names}"
THING = "object"


def caption_prompts(kind: str | None, *, templates: Sequence[str] = CAPTIONS) -> tuple[str, ...]:
    """One question a caption about a picture of a ``kind`` ("bird"; ``None``: an object)."""
    return tuple(template.replace("{kind}", kind or THING) for template in templates)


def structured_prompt(
    label: str,
    concepts: Sequence[str],
    question: str,
    *,
    kind: str | None = None,
    length: Length = "full",
    among: Sequence[str] | None = None,
) -> str:
    """The prompt for one rationale: three paragraphs, the first naming label and concepts, the second the question.

    Args:
        label: the true name; put on one line.
        concepts: short phrases of what can be seen; may be empty.
        question: as in training (``prompts.question_of``), without a sentence about tags.
        kind: super-category, singular; ``None``: an object.
        among: the only names that may be candidates, in a last line; ``None``: any.

    Raises ``InputError`` for an unknown ``length``.
    """
    if length not in get_args(Length):
        raise InputError("no such length of rationale", remedy=f"Use {' or '.join(get_args(Length))}.", length=length)
    before, _, after = (TOLD if concepts else TOLD_NOTHING).partition("{label}")  # a name may hold braces itself
    first = before + display_name(label) + after.replace("{concepts}", ", ".join(map(display_name, concepts)))
    second = ASKED.replace("{question}", " ".join(question.split()))
    last = (FULL if length == "full" else SHORT).replace("{kind}", kind or THING)
    allowed = f"\n{ALLOWED.replace('{names}', ', '.join(map(display_name, among)))}" if among else ""
    return f"{first}\n{second}\n{last}{allowed}"
