"""``fieldguide-text``: stands in for a language model where a method reasons in words and the tiny MLLM cannot.

It sees no picture. It knows the field guide's text: **the true names and descriptions of all species, also of those the
MLLM was withheld**, as GPT-3.5 knows the names of real birds from books. That is an advantage over the MLLM, to be
stated beside every result it had a part in (``ADVANTAGE``; as a teacher of reasoning also ``rationales.ADVANTAGE``). It
is a program, not a model: it reads the few prompts that FineR, E-FineR, FiNDR, Finedefics and Fine-R1 put, and says
plainly that it does not understand anything else.

=================  ===================================================================================================
how-to             the attributes that the guide gives for a super-category
guess              the three species whose attributes agree best with the answers in the prompt, wrong ones included
sentences          what the guide says about a name, two attributes a sentence; fewer than asked where it knows no more
conversion         the names in a text as a Python dictionary
summary            five sentences made of the answers in the prompt, uncorrected: it sees no picture
tags               the guide's value of each attribute asked about, for a name
reasoning          a rationale in four sections for the name in the prompt (``rationales``), from the guide's attributes
                   and not from the features in the prompt; its candidates are those of a line "Candidates only from:
                   A, B, C" where the prompt has one, else any species of the guide
=================  ===================================================================================================

Deterministic, and neither ``temperature`` nor ``seed`` changes a reply, with one exception: **reasoning** is written
anew for another prompt, seed or temperature, so that asking again can bring another text; sampled without a seed, also
for another item id. Replies are cached by just these (``mllm.cache.request_key``), so a cached one is the one that
would be written. Token counts are rules of thumb.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence

from fgvr.errors import MllmError
from fgvr.fieldguide import language_knowledge as knowledge
from fgvr.fieldguide import rationales
from fgvr.fieldguide.language_summary import summary
from fgvr.labels import parse_reply
from fgvr.labels.lists import read_list
from fgvr.mllm.base import Reply, Request
from fgvr.mllm.cache import is_repeatable
from fgvr.mllm.tokens import likely_input_tokens, text_tokens
from fgvr.types import Usage

NAME = "fieldguide-text"
ADVANTAGE = "it knows the true names and descriptions of all species of the field guide, as a book does"
PUZZLED = "I do not understand this. I know only the field guide, and a few kinds of question about it."

_HOW_TO = re.compile(
    r"useful attributes for distinguishing (?:specific )?([\w -]{1,40}?) \w+ in a photo of an? ([\w -]+)"
)
_GUESS = re.compile(r"I have a photo of an? ([\w -]{1,40}?)[ .,\n]")
_GENERAL = re.compile(r"'''General Description''': '''(.{0,2000}?)'''", re.DOTALL)
_PAIR = re.compile(r"(?m)^\s*- '''([^'\n]{1,120})''': '''(.{0,1000}?)'''\s*$")
_SENTENCES = re.compile(r'Generate (\d{1,4}) .{0,60}?sentences with noun "([^"\n]{1,120})"')
_CONVERT = re.compile(r"Convert the below text.*?\bThe text:\s*(.*)", re.DOTALL)
_TAGS = re.compile(r'What does the [\w -]{1,40} called "([^"\n]{1,120})" look like\?[^\n]{0,200}\n(\[[^\n]{0,4000}\])')
_REASONING = re.compile(
    r"(?m)This is a picture of an? ([^\n]{1,120}?)(?: with the following visual features:|\.?[^\S\n]*$)"
)
_ALLOWED = re.compile(r"(?i)\bcandidates only from: ?([^\n]{1,20000})")
_TEMPLATE = "attribute name"
"""What stands where an attribute would in the prompt's description of its own format."""


class FieldGuideText:
    """A provider (``fgvr.mllm.base.Mllm``) of text only; free, local, deterministic."""

    def __init__(self) -> None:
        self.name = NAME
        self.revision = hashlib.sha256((knowledge.as_text() + rationales.as_text()).encode()).hexdigest()[:16]
        self.preprocessing = "text only"
        self.batch_size = 64
        self.local = True
        self.supports_options = False

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """Replies in order. Raises ``MllmError`` for a request with pictures or options."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Reply:
        if request.images or request.options:
            raise MllmError(
                f"{NAME} reads words only",
                remedy="Ask an MLLM about pictures; use this one for steps of pure text (--llm).",
                item=request.item_id,
            )
        started = time.perf_counter()
        text = reply_to(request.prompt, variation=_variation(request))
        usage = Usage(
            calls=1,
            input_tokens=likely_input_tokens(request, self.name),
            output_tokens=text_tokens(text),
            seconds=time.perf_counter() - started,
        )
        return Reply(request.item_id, text, self.name, usage, usage_estimated=True)


def _variation(request: Request) -> str:
    """What besides the prompt may change how a rationale is worded."""
    said = request.parameters
    sampled = "" if is_repeatable(said) else request.item_id
    return f"{said.seed}\0{said.temperature}\0{sampled}"


def reply_to(prompt: str, *, variation: str = "") -> str:
    """What the field guide says to ``prompt``; ``PUZZLED`` to anything but the prompts of the module docstring.

    ``variation``: any text; another one words a rationale in another way.
    """
    if "<prediction>" in prompt and (reasoned := _REASONING.search(prompt)):
        return _reasoning(reasoned.group(1), prompt, variation)
    if "Output a Python list object" in prompt and (found := list(_HOW_TO.finditer(prompt))):
        return _attributes(found[0].group(1))
    if "three possible" in prompt and (said := _GUESS.search(prompt)):
        return _guess(said.group(1), prompt)
    if "Summarize the information" in prompt and (said := _GUESS.search(prompt)):
        return _summary(said.group(1), prompt)
    if tagged := _TAGS.search(prompt):
        return _tags(tagged.group(1), read_list(tagged.group(2), most=100))
    if asked := _SENTENCES.search(prompt):
        return _sentences(asked.group(2), int(asked.group(1)))
    if text := _CONVERT.search(prompt):
        return _converted(text.group(1))
    return PUZZLED


def _attributes(kind: str) -> str:
    known = knowledge.attributes_of(kind.strip())
    return str(list(known)) if known else f"The field guide says nothing about the attributes of a {kind.strip()}."


def _guess(kind: str, prompt: str) -> str:
    """The reply that FineR's prompt asks for: a summary, three names, and JSON of each name with five sentences."""
    general, pairs = _told(prompt)
    best = knowledge.likely_species(kind, general, pairs, most=3)
    if not best:
        return f"From this description I cannot tell which {kind} it is."
    names = [species.name for species in best]
    told = [f"The {attribute} is {answer}." for attribute, answer in pairs][:5]
    answer = {species.name: knowledge.five_sentences(species) for species in best}
    return "\n".join(
        [
            f"Summary: {' '.join(told)}",
            f"Three possible species: {', '.join(names)}",
            f"Output JSON: {json.dumps(answer, indent=1)}",
        ]
    )


def _told(prompt: str) -> tuple[str, list[tuple[str, str]]]:
    """General description and (attribute, answer) pairs that a prompt holds."""
    found = _GENERAL.search(prompt)
    pairs = [(attribute, answer) for attribute, answer in _PAIR.findall(prompt) if attribute != _TEMPLATE]
    return found.group(1) if found else "", pairs


def _summary(kind: str, prompt: str) -> str:
    general, pairs = _told(prompt)
    written = summary(kind, general, pairs)
    return f"Summary: {written}" if written else f"I cannot say anything about this {kind}."


def _tags(name: str, attributes: Sequence[str]) -> str:
    known = knowledge.values_of(name)
    values = {attribute: known[attribute] for attribute in attributes if attribute in known}
    return json.dumps(values) if values else f'The field guide knows nothing called "{name}".'


def _reasoning(name: str, prompt: str, variation: str) -> str:
    """The four sections that Fine-R1's structured prompt asks for; brief ones where it says so."""
    if knowledge.species_called(name) is None:
        return f'The field guide knows nothing called "{name}".'
    length: rationales.Length = "short" if re.search(r"\b[Bb]e brief\b", prompt) else "full"
    told = rationales.sections(name, key=f"{prompt}\0{variation}", length=length, among=_allowed(prompt))
    options = ("\n" if length == "full" else ", ").join(told.options)
    parts = {
        "analysis": told.analysis,
        "options": options,
        "comparison": told.comparison,
        "prediction": told.prediction,
    }
    return "\n".join(f"<{part}>{text}</{part}>" for part, text in parts.items())


def _allowed(prompt: str) -> tuple[str, ...] | None:
    """The names that a prompt allows as candidates, a list or set apart by commas; ``None`` where it says nothing."""
    line = _ALLOWED.search(prompt)
    if line is None:
        return None
    names = read_list(line.group(1), most=10_000) if line.group(1).startswith("[") else line.group(1).split(",")
    return tuple(name.strip(" .") for name in names)


def _sentences(name: str, count: int) -> str:
    written = knowledge.sentences_about(name, most=count)
    return json.dumps(written) if written else f'The field guide knows nothing called "{name}".'


def _converted(text: str) -> str:
    """``{1: "Kelp Wrasse"}``; names that the guide knows first, else what ``parse_reply`` reads."""
    names = knowledge.names_in(text)
    if not names and (name := parse_reply(text).name):
        names = (name,)
    body = ", ".join(f"{number}: {json.dumps(name)}" for number, name in enumerate(names, start=1))
    return f"{{{body}}}"
