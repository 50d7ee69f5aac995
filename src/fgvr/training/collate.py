"""Training rows to tensors: the very text the model sees in use, then the answer and the token that ends it.

1. *Same text.* Prompt and picture placeholders come from ``LocalMllm.prompt_text`` and the model's own processor, the
   answer's tokens from ``LocalMllm.option_ids``: training, option scoring and generation read the same.
2. *Loss on the answer only*, end token included: labels are -100 elsewhere.
3. *Which end.* The token that the chat template writes after an answer where it ends generation, else the tokenizer's.
4. *No row can stop a run.* A row whose picture has gone bad, or that is too long for the model, is left out and noted;
   where nothing is left (or a process has no share of a small batch), a blank picture without labels stands in, so that
   all processes still meet at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr import images
from fgvr.errors import ImageError, InputError
from fgvr.mllm.base import Request
from fgvr.training.rows import TrainingRow
from fgvr.types import SetAside

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from fgvr.mllm.local import LocalMllm

IGNORED = -100
_PER_TOKEN = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
_SENTINEL = "answer"


@dataclass(frozen=True)
class Batch:
    """Model inputs of B rows."""

    inputs: dict[str, torch.Tensor]
    """What the processor gives, the answers appended: input_ids and attention_mask (B, T), pixels, ..."""
    labels: torch.Tensor
    """(B, T) int64; ``labels[b, t]`` is the token at t, -100 outside the answer."""
    rows: tuple[TrainingRow, ...]
    """The rows in it, in order; empty for the blank batch."""
    set_aside: tuple[SetAside, ...] = ()

    @property
    def answer_tokens(self) -> int:
        return int((self.labels != IGNORED).sum())


class Collator:
    """Rows to batches for the model of a ``LocalMllm``.

    Args:
        mllm: whose processor, chat template, ``max_side``, device and dtype are used.
        padding_side: ``right`` or ``left``; the loss is the same to rounding.
        max_tokens: longer rows are left out; default what the model's positions allow.
    """

    def __init__(self, mllm: LocalMllm, *, padding_side: str = "right", max_tokens: int | None = None) -> None:
        if padding_side not in ("left", "right"):
            raise InputError("padding_side must be left or right", remedy="Correct it.", given=padding_side)
        self.mllm = mllm
        self.padding_side = padding_side
        self.end = end_token(mllm)
        positions = getattr(mllm.model.config.get_text_config(), "max_position_embeddings", None)
        self.max_tokens = min(filter(None, (max_tokens, positions)), default=None)

    def __call__(self, rows: Sequence[TrainingRow]) -> Batch:
        """One batch. Raises nothing for a bad row: see ``Batch.set_aside``."""
        from PIL import Image

        pictures, aside = _decoded(rows, self.mllm.max_side)
        kept = [row for row in rows if row.id in pictures]
        encoded = self._encode(kept, [pictures[row.id] for row in kept]) if kept else None
        if encoded is not None and self.max_tokens is not None:
            long = {kept[i].id: n for i, n in enumerate(_lengths(encoded[0], encoded[1])) if n > self.max_tokens}
            if long:
                aside += [SetAside(name, "", "too long", f"{n} > {self.max_tokens} tokens") for name, n in long.items()]
                kept = [row for row in kept if row.id not in long]
                encoded = self._encode(kept, [pictures[row.id] for row in kept]) if kept else None
        if encoded is None:
            blank = TrainingRow("", (Path("blank"),), "", "")
            encoded = self._encode([blank], [[Image.new("RGB", (64, 64), "white")]])
        batch, answers = encoded
        inputs, labels = self._joined(batch, answers if kept else [[]])
        return Batch(inputs, labels, tuple(kept), tuple(aside))

    def _encode(
        self, rows: Sequence[TrainingRow], pictures: Sequence[list[Image.Image]]
    ) -> tuple[dict[str, Any], list[list[int]]]:
        """The processor's tensors of the prompts, and the answers' tokens."""
        asked = [Request(row.id, row.prompt, row.images, system=row.system) for row in rows]
        prompts = [self.mllm.prompt_text(request) for request in asked]
        batch = self.mllm.processor(
            text=prompts, images=list(pictures) if any(pictures) else None, padding=True, return_tensors="pt"
        )
        answers = [
            [*self.mllm.option_ids(prompt, row.answer), self.end] if row.answer else []
            for prompt, row in zip(prompts, rows, strict=True)
        ]
        return dict(batch), answers

    def _joined(self, batch: dict[str, Any], answers: list[list[int]]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Prompt and answer tokens row by row, padded anew on ``padding_side``; pictures on the model's device."""
        import torch

        model, real = self.mllm.model, batch["attention_mask"].bool()
        starts = [int(row.sum()) for row in real]
        fill = {"input_ids": self.mllm.processor.tokenizer.pad_token_id}
        joined = {}
        for key, value in batch.items():
            if key not in _PER_TOKEN:
                joined[key] = value.to(model.dtype) if value.is_floating_point() else value
                continue
            tails = answers if key == "input_ids" else [[int(key == "attention_mask")] * len(ids) for ids in answers]
            lines = [torch.cat([row[keep], row.new_tensor(t)]) for row, keep, t in zip(value, real, tails, strict=True)]
            joined[key] = self._padded(lines, fill.get(key, 0))
        wanted = [torch.tensor([IGNORED] * n + ids) for n, ids in zip(starts, answers, strict=True)]
        labels = self._padded(wanted, IGNORED)
        return {key: value.to(model.device) for key, value in joined.items()}, labels.to(model.device)

    def _padded(self, lines: list[torch.Tensor], value: int) -> torch.Tensor:
        from torch.nn.utils.rnn import pad_sequence

        return pad_sequence(lines, batch_first=True, padding_value=value, padding_side=self.padding_side)


def end_token(mllm: LocalMllm) -> int:
    """The token that ends an answer of this model: after an answer in its chat template, else the tokenizer's end."""
    tokenizer, ends = mllm.processor.tokenizer, mllm._ends
    if getattr(mllm.processor, "chat_template", None):
        turns = [("user", "question"), ("assistant", _SENTINEL)]
        messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
        written = str(mllm.processor.apply_chat_template(messages, tokenize=False))
        after = tokenizer(written.rpartition(_SENTINEL)[2].strip(), add_special_tokens=False)["input_ids"]
        if after and after[0] in ends:
            return int(after[0])
    return int(tokenizer.eos_token_id if tokenizer.eos_token_id in ends else ends[0])


def _decoded(rows: Sequence[TrainingRow], max_side: int) -> tuple[dict[str, list[Image.Image]], list[SetAside]]:
    """Pictures by row id, and the rows whose pictures cannot be read."""
    from fgvr.mllm.local_inputs import shrunk

    good: dict[str, list[Image.Image]] = {}
    bad: list[SetAside] = []
    for row in rows:
        try:
            good[row.id] = [shrunk(images.decode(path, side=max_side).image, max_side) for path in row.images]
        except ImageError as error:
            bad.append(SetAside(row.id, str(error.context.get("file", "")), error.reason, error.message))
    return good, bad


def _lengths(batch: dict[str, Any], answers: list[list[int]]) -> list[int]:
    return [int(n) + len(ids) for n, ids in zip(batch["attention_mask"].sum(dim=1), answers, strict=True)]
