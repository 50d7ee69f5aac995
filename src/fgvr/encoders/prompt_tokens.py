"""Class names to token ids, laid out as ``[start] [context x M] name . [end]`` (CoOp, class token at the end).

Pure functions of a ``transformers`` tokenizer; nothing here knows a model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fgvr.errors import EncoderError

UNLIMITED = 100_000
"""Tokenizers without a limit report 1e30; any text tower has fewer positions than this."""


@dataclass(frozen=True)
class PromptFormat:
    """What surrounds a text in this tokenizer: CLIP ``[SOS] .. [EOT]``, BERT ``[CLS] .. [SEP]``, SigLIP ``.. </s>``."""

    start: tuple[int, ...]
    end: tuple[int, ...]
    max_length: int
    """Tokens the tower can hold, start and end included."""

    def room(self, context_length: int) -> int:
        """Tokens left for a name and its full stop. Raises ``EncoderError`` when the context leaves none."""
        room = self.max_length - len(self.start) - context_length - len(self.end)
        if room < 1:
            raise EncoderError(
                f"a context of {context_length} tokens leaves no room for a name",
                remedy="Use fewer context tokens.",
                max_length=self.max_length,
            )
        return room


def prompt_format(tokenizer: Any, max_positions: int) -> PromptFormat:
    """Read the special tokens off an encoded word instead of trusting names that differ by tokenizer family."""
    bare = token_ids(tokenizer, "a")
    full = list(tokenizer("a").input_ids)
    at = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    limit = min(int(max_positions), int(min(tokenizer.model_max_length, UNLIMITED)))
    return PromptFormat(tuple(full[:at]), tuple(full[at + len(bare) :]), limit)


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of ``text`` without start and end tokens."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)  # long names are cut later


def name_ids(tokenizer: Any, names: Sequence[str], layout: PromptFormat) -> list[list[int]]:
    """Ids of ``name .`` as they are *inside* a sentence; underscores become spaces.

    A name is tokenised behind the word "a", which is then cut off: sentence-piece and byte-level tokenizers give a
    word at the start of a text other ids than the same word after a space. Start, end and padding ids inside a name
    (a hostile "<|endoftext|>") are dropped, so that the end token stays the only one.
    """
    lead = token_ids(tokenizer, "a")
    structural = {*layout.start, *layout.end, tokenizer.pad_token_id}
    if tokenizer.unk_token_id not in layout.end:
        structural.discard(tokenizer.unk_token_id)
    found = []
    for name in names:
        text = " ".join(name.replace("_", " ").split())
        ids = token_ids(tokenizer, f"a {text}.")
        ids = ids[len(lead) :] if ids[: len(lead)] == lead else token_ids(tokenizer, f"{text}.")
        found.append([i for i in ids if i not in structural])
    return found


def suffixes(names: Iterable[Sequence[int]], layout: PromptFormat, context_length: int) -> list[tuple[int, ...]]:
    """What follows the context: ``name . [end]``, the name cut where the tower ends so that the end token stays."""
    room = layout.room(context_length)
    return [(*ids[:room], *layout.end) for ids in names]


def by_length(sequences: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """Indices grouped by exact length, shortest first: a group needs neither padding nor a mask."""
    groups: dict[int, list[int]] = defaultdict(list)
    for index, ids in enumerate(sequences):
        groups[len(ids)].append(index)
    return dict(sorted(groups.items()))
