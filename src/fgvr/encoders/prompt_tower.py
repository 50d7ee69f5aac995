"""Prompt-tunable text towers: learned context in, unit text features out, the weights frozen.

CoOp (Zhou et al. 2022, eq. 3) learns M context vectors shared by all classes, class token at the end. Two exact savings
over its released code, which runs every class at the padded length (77 for CLIP):

1. *Truncation.* A causal tower is read at the end token, so nothing behind it matters; a bidirectional tower that
   masks its padding does not see it either, and its classes run in groups of one length.
2. *Shared prefix.* In a causal tower ``[start] [context]`` is the same for all classes. Each layer computes its keys
   and values once; only ``name . [end]`` runs per class, attending to the shared keys without copying them. All tokens
   go through a layer's matrix products together (``packed.py``).

Both give the padded path's value and gradient up to rounding. ``chunked_features`` adds the two-pass gradient of
GradCache (Gao et al. 2021): memory for one chunk of classes, whatever their number, at 1.5 times the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from fgvr.encoders.packed import Block, Packing
from fgvr.encoders.prompt_tokens import PromptFormat, by_length, name_ids, prompt_format, suffixes, token_ids
from fgvr.errors import EncoderError

CONTEXT_STD = 0.02
"""Standard deviation of CoOp's random initialisation."""


class _Tower:
    """What both towers share: token embeddings, the names, and putting groups of classes back in order."""

    def __init__(self, model: Any, tokenizer: Any, max_positions: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._embeddings: torch.nn.Embedding = model.text_model.get_input_embeddings()
        self._layout: PromptFormat = prompt_format(tokenizer, max_positions)
        self._names: list[list[int]] = []
        self.embedding_dim: int = self._embeddings.embedding_dim

    def initial_context(self, length: int, *, words: str | None = None, seed: int = 0) -> Tensor:
        """Starting context, (M, E) float32: the embeddings of ``words`` (M is then their token count), or
        N(0, 0.02^2) of M = ``length``, drawn on the CPU so that a seed gives the same start on every device."""
        if words is None:
            noise = torch.randn(length, self.embedding_dim, generator=torch.Generator().manual_seed(seed))
            return (noise * CONTEXT_STD).to(self._embeddings.weight.device)
        ids = token_ids(self._tokenizer, words.replace("_", " "))
        with torch.no_grad():
            return self._embed(ids).float().clone()

    def set_names(self, names: Sequence[str]) -> None:
        """Tokenise the C class names once (underscores become spaces; CoOp's full stop is appended)."""
        if not names:
            raise EncoderError("a prompt tower needs at least one class name", remedy="Pass the label space.")
        self._names = name_ids(self._tokenizer, names, self._layout)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each name with its full stop, before any cut; chunks are made of classes of like length."""
        return [len(ids) for ids in self._names]

    def _embed(self, ids: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        device = self._embeddings.weight.device
        return torch.nn.functional.embedding(torch.tensor(ids, device=device), self._embeddings.weight)

    def _rows(self, context: Tensor, classes: Sequence[int] | None) -> list[tuple[int, ...]]:
        """Tokens behind the context, one row a class."""
        if not self._names:
            raise EncoderError("no class names were set", remedy="Call set_names before the tower.")
        chosen = self._names if classes is None else [self._names[i] for i in classes]
        return suffixes(chosen, self._layout, len(context))


class CausalPromptTower(_Tower):
    """CLIP's text tower with the shared prefix computed once. ``model`` is a ``CLIPModel`` (or holds its text tower).

    Args:
        model: has ``text_model`` (CLIP's causal one) and ``text_projection``.
        tokenizer: the checkpoint's.
        max_positions: 77 for CLIP.
    """

    def __init__(self, model: Any, tokenizer: Any, max_positions: int) -> None:
        super().__init__(model, tokenizer, max_positions)
        text_model = model.text_model
        self._blocks = [Block(layer) for layer in text_model.encoder.layers]
        self._positions: Tensor = text_model.embeddings.position_embedding.weight
        self._final_norm = text_model.final_layer_norm

    def __call__(self, context: Tensor, classes: Sequence[int] | None = None) -> Tensor:
        """Context (M, E) to text features (C, D) float32, unit norm, differentiable in ``context``.

        ``classes`` picks some of the names (in that order); all by default. Raises ``EncoderError`` without names, or
        when the context leaves no room for one.
        """
        rows = self._rows(context, classes)
        hidden = self._packed(context, rows)
        packing = Packing(len(self._layout.start) + len(context), [len(row) for row in rows], device=hidden.device)
        for block in self._blocks:
            hidden = block(hidden, packing, last=block is self._blocks[-1])
        return _unit(self._model.text_projection(self._final_norm(hidden)))

    def _packed(self, context: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
        """Embedded tokens (T, E) with their positions: ``[start] [context]``, then ``name . [end]`` of every class."""
        start = self._embed(self._layout.start)
        names = self._embed([token for row in rows for token in row])
        length = len(start) + len(context)
        places = [*range(length), *(length + at for row in rows for at in range(len(row)))]
        positions = self._positions[torch.tensor(places, device=self._positions.device)]
        return torch.cat([start, context.to(self._positions.dtype), names]) + positions


class GenericPromptTower(_Tower):
    """Any text tower through its own forward pass, with the context written over placeholder embeddings by a hook.

    For bidirectional towers: BERT and its kin (exact without padding, since their mask hides it) and SigLIP, which
    was trained without a mask on texts padded to full length and must get them so.

    Not for use from two threads at once on one model: the hook is on the shared embedding layer while it runs.

    Args:
        model: has ``get_text_features`` and ``text_model``.
        tokenizer: the checkpoint's.
        max_positions: 512 for BERT, 64 for SigLIP.
        pad_to_max: pad to ``max_positions`` without a mask (SigLIP).
    """

    def __init__(self, model: Any, tokenizer: Any, max_positions: int, *, pad_to_max: bool = False) -> None:
        super().__init__(model, tokenizer, max_positions)
        self._pad_to_max = pad_to_max

    def __call__(self, context: Tensor, classes: Sequence[int] | None = None) -> Tensor:
        """Context (M, E) to text features (C, D) float32, unit norm, differentiable in ``context``.

        ``classes`` picks some of the names (in that order); all by default. Raises ``EncoderError`` without names, or
        when the context leaves no room for one.
        """
        rows = self._rows(context, classes)
        groups = by_length(rows)
        parts = [self._features([rows[i] for i in members], context) for members in groups.values()]
        return _in_order(torch.cat(parts), groups)

    def _features(self, rows: Sequence[Sequence[int]], context: Tensor) -> Tensor:
        """Features (c, D) of classes of one length; that the context begins at one place holds for any padding."""
        layout = self._layout
        length = len(layout.start) + len(context) + len(rows[0])
        padding = [self._tokenizer.pad_token_id] * (layout.max_length - length) if self._pad_to_max else []
        left, right = ([], padding) if self._tokenizer.padding_side == "right" else (padding, [])
        before = [*left, *layout.start]
        placeholder = [layout.end[-1] if layout.end else 0] * len(context)
        texts = [[*before, *placeholder, *row, *right] for row in rows]
        ids = torch.tensor(texts, device=self._embeddings.weight.device)
        mask = {} if self._pad_to_max else {"attention_mask": torch.ones_like(ids)}
        with _written_over(self._embeddings, context, len(before)):
            output = self._model.get_text_features(input_ids=ids, **mask)
        return _unit(pooled_output(output))


def chunked_features(tower: ChunkableTower, context: Tensor, *, chunk: int) -> Tensor:
    """``tower(context)`` with memory for ``chunk`` classes: the graph is rebuilt piece by piece in the backward pass.

    Exact (GradCache's two passes: features without a graph, then each chunk again with the gradient arriving at it).
    Differentiable once. ``chunk`` is in classes, at least 1; the classes are taken in order of length.
    """
    if chunk < 1:
        raise ValueError("chunk must be at least 1")
    features: Tensor = _Chunked.apply(context, tower, chunk)  # type: ignore[no-untyped-call]
    return features


def features_chunked(
    tower: ChunkableTower, context: Tensor, loss_of_features: Callable[[Tensor], Tensor], *, chunk: int
) -> Tensor:
    """The loss of all C features, (C, D) to a scalar, computed chunk by chunk; ``backward()`` on it is exact."""
    return loss_of_features(chunked_features(tower, context, chunk=chunk))


class ChunkableTower(Protocol):
    """Both towers here: a ``PromptTower`` that can also run some of its classes."""

    @property
    def lengths(self) -> list[int]: ...

    def __call__(self, context: Tensor, classes: Sequence[int] | None = None) -> Tensor: ...


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, context: Tensor, tower: ChunkableTower, chunk: int) -> Tensor:
        ctx.save_for_backward(context)
        ctx.tower, ctx.chunk = tower, chunk
        ctx.precision = _autocast_of(context.device.type)
        chunks = list(_chunks(tower.lengths, chunk))
        with torch.no_grad():
            parts = torch.cat([tower(context, classes) for classes in chunks])
        return _in_order(parts, dict(enumerate(chunks)))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (context,) = ctx.saved_tensors
        total = torch.zeros_like(context)
        for classes in _chunks(ctx.tower.lengths, ctx.chunk):
            with torch.enable_grad(), torch.autocast(**ctx.precision):
                leaf = context.detach().requires_grad_()
                features = ctx.tower(leaf, classes)
            total += torch.autograd.grad(features, leaf, grad[classes])[0]
        return total, None, None


def _autocast_of(device: str) -> dict[str, Any]:
    """Arguments that give ``torch.autocast`` the state it has now; a backward pass starts without it."""
    return {
        "device_type": device,
        "dtype": torch.get_autocast_dtype(device),
        "enabled": torch.is_autocast_enabled(device),
    }


def _chunks(lengths: Sequence[int], chunk: int) -> Iterator[list[int]]:
    """Class indices, shortest names first, ``chunk`` at a time."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for at in range(0, len(order), chunk):
        yield order[at : at + chunk]


@contextmanager
def _written_over(embeddings: torch.nn.Module, context: Tensor, at: int) -> Iterator[None]:
    """While open, the embedding layer's output carries ``context`` at positions at .. at + M of every text."""

    def write(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        middle = context.to(output.dtype).expand(len(output), -1, -1)
        return torch.cat([output[:, :at], middle, output[:, at + len(context) :]], dim=1)

    handle = embeddings.register_forward_hook(write)
    try:
        yield
    finally:
        handle.remove()


def pooled_output(output: Any) -> Tensor:
    """The projected features of ``get_text_features`` / ``get_image_features``: an output object in transformers 5,
    a tensor before."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _in_order(parts: Tensor, groups: dict[int, list[int]]) -> Tensor:
    """Undo the grouping: row i of the result is class i."""
    order = torch.tensor([index for members in groups.values() for index in members], device=parts.device)
    return parts[torch.argsort(order)]


def _unit(features: Tensor) -> Tensor:
    """Rows to unit length, in float32 at least (bf16 norms are off by a part in 250)."""
    features = features if features.dtype == torch.float64 else features.float()
    return torch.nn.functional.normalize(features, dim=-1)
