"""CLIP's causal text tower over packed tokens: one shared prefix, then every class's own tokens, in one (T, E) matrix.

Norms, projections and MLPs see all tokens of all classes at once: large matrix products, nothing padded. Attention
alone knows where a class begins: it runs group by group, a group being the classes of one length.

Letters: T all tokens, p prefix tokens, c classes of a group, t (or s) suffix tokens of its classes, h heads, d head
channels, E width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

QUICK_GELU = 1.702


@dataclass(frozen=True)
class Packing:
    """Which rows of a packed (T, ...) tensor are whose: the prefix's first, then group after group."""

    prefix: int
    """Tokens of the prefix, p."""
    groups: tuple[tuple[int, int], ...]
    """(c, t) of each group."""

    def parts(self, packed: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(T, ...) to the prefix (p, ...) and each group's (c, t, ...)."""
        first, *rest = packed.split_with_sizes([self.prefix, *(classes * tokens for classes, tokens in self.groups)])
        return first, [part.view(*shape, *packed.shape[1:]) for part, shape in zip(rest, self.groups, strict=True)]

    def ends(self, packed: Tensor) -> Tensor:
        """Rows (C, ...) of the last token of every class."""
        return torch.cat([part[:, -1] for part in self.parts(packed)[1]])

    @property
    def of_ends(self) -> Packing:
        """The packing of what ``ends`` returns."""
        return Packing(0, tuple((classes, 1) for classes, _ in self.groups))


def run_layer(layer: Any, hidden: Tensor, packing: Packing, *, last: bool) -> Tensor:
    """A pre-norm transformer block, (T, E) to (T, E); in the last one only the end tokens are read: (C, E)."""
    attended = attention(layer.self_attn, layer.layer_norm1(hidden), packing, last=last)
    hidden = (packing.ends(hidden) if last else hidden) + attended
    return hidden + mlp(layer.mlp, layer.layer_norm2(hidden))


def attention(module: Any, hidden: Tensor, packing: Packing, *, last: bool) -> Tensor:
    """Causal attention within the prefix, and of each class over the prefix and itself; projected, (T, E) or (C, E)."""

    def heads(projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:-1], module.num_heads, module.head_dim)

    prefix_key, keys = packing.parts(heads(module.k_proj(hidden)))
    prefix_value, values = packing.parts(heads(module.v_proj(hidden)))
    asked, asking = (packing.of_ends, packing.ends(hidden)) if last else (packing, hidden)
    prefix_query, queries = asked.parts(heads(module.q_proj(asking) * module.scale))
    found = [
        attend(query, key, value, prefix_key, prefix_value).flatten(0, 1)
        for query, key, value in zip(queries, keys, values, strict=True)
    ]
    if not last:
        query, key, value = (part.transpose(0, 1)[None] for part in (prefix_query, prefix_key, prefix_value))
        own = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
        found.insert(0, own[0].transpose(0, 1))
    projected: Tensor = module.out_proj(torch.cat(found).flatten(-2))
    return projected


def attend(query: Tensor, key: Tensor, value: Tensor, prefix_key: Tensor, prefix_value: Tensor) -> Tensor:
    """Attention of suffix queries (c, t, h, d), already scaled, over the shared prefix and the suffix so far.

    ``key`` and ``value`` are (c, s, h, d), the prefix's (p, h, d). A single query (t = 1) is the end
    token, which sees everything.

    By hand instead of ``scaled_dot_product_attention``, which would need the prefix copied for every class and keep
    the copies for the backward pass; the scores of so few tokens are small.
    """
    to_prefix = torch.einsum("cthd,phd->chtp", query, prefix_key)
    to_suffix = torch.einsum("cthd,cshd->chts", query, key)
    if query.shape[1] > 1:
        length = key.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=key.device).triu(1)
        to_suffix = to_suffix.masked_fill(future, float("-inf"))
    weights = torch.cat([to_prefix, to_suffix], dim=-1).softmax(dim=-1)
    shared = prefix_key.shape[0]
    from_prefix, from_suffix = weights[..., :shared], weights[..., shared:]
    return torch.einsum("chtp,phd->cthd", from_prefix, prefix_value) + torch.einsum(
        "chts,cshd->cthd", from_suffix, value
    )


def mlp(module: Any, hidden: Tensor) -> Tensor:
    """The block's MLP, (T, E) to (T, E).

    QuickGELU, ``x sigmoid(1.702 x)``, is ``silu(1.702 x) / 1.702``: one pass that keeps one tensor for the backward
    pass where the library's three keep two, a quarter of a step's memory. The factors ride on the matrix products.
    """
    if type(module.activation_fn).__name__ != "QuickGELUActivation":
        return module.fc2(module.activation_fn(module.fc1(hidden)))  # type: ignore[no-any-return]
    fc1, fc2 = module.fc1, module.fc2
    inner = torch.addmm(fc1.bias, hidden, fc1.weight.T, alpha=QUICK_GELU, beta=QUICK_GELU)
    return torch.addmm(fc2.bias, torch.nn.functional.silu(inner), fc2.weight.T, alpha=1 / QUICK_GELU)
