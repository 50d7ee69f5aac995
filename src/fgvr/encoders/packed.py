"""CLIP's causal text tower over packed tokens: one shared prefix, then every class's own tokens, in one (T, E) matrix.

Norms, projections and MLPs see all tokens of all classes at once: large matrix products, nothing padded. Attention
alone is padded, to the longest class: it is a hundredth of the work, and one call for all classes costs less than one
for each length.

Letters: T all tokens, p prefix tokens, c classes, t (or s) suffix tokens of the longest class, h heads, d head
channels, E width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

QUICK_GELU = 1.702


class Packing:
    """Which rows of a packed (T, ...) tensor are whose: the prefix's first, then class after class."""

    def __init__(self, prefix: int, lengths: Sequence[int], *, device: torch.device | str = "cpu") -> None:
        """``prefix`` tokens, then ``lengths`` of the classes, each at least 1."""
        tokens = torch.tensor(lengths, device=device)
        steps = torch.arange(max(lengths), device=device)
        first = prefix + tokens.cumsum(0) - tokens
        self.prefix = prefix
        self.shape = (len(lengths), len(steps))
        self.last = first + tokens - 1
        """(c,) row of each class's end token."""
        self.filled = steps < tokens[:, None]
        """(c, t) bool: which slots hold a token."""
        # An empty slot repeats the class's last token: harmless, since every mask hides it.
        self._slots = (first[:, None] + torch.minimum(steps, tokens[:, None] - 1)).flatten()
        self._tokens = self.filled.flatten().nonzero().flatten()
        self.future = torch.ones(len(steps), len(steps), dtype=torch.bool, device=device).triu(1)
        """(t, s) bool: what a suffix token must not see; empty slots lie in every token's future."""

    def padded(self, packed: Tensor) -> Tensor:
        """The classes' rows of (T, ...) as (c, t, ...)."""
        return packed.index_select(0, self._slots).view(*self.shape, *packed.shape[1:])

    def unpadded(self, padded: Tensor) -> Tensor:
        """(c, t, ...) back to the classes' rows, (T - p, ...)."""
        return padded.flatten(0, 1).index_select(0, self._tokens)

    def ends(self, packed: Tensor) -> Tensor:
        """Rows (c, ...) of the last token of every class."""
        return packed.index_select(0, self.last)


class Block:
    """A frozen pre-norm block of CLIP's text tower, for packed tokens. Query, key and value are one matrix product."""

    def __init__(self, layer: Any) -> None:
        """``layer`` of ``transformers``' CLIP; its projections are copied, so it must not be moved or trained after."""
        module = layer.self_attn
        projections = (module.q_proj, module.k_proj, module.v_proj)
        scales = (module.scale, 1.0, 1.0)
        self._layer = layer
        self._heads = (3, module.num_heads, module.head_dim)
        with torch.no_grad():
            self._weight = torch.cat([part.weight * scale for part, scale in zip(projections, scales, strict=True)])
            self._bias = torch.cat([part.bias * scale for part, scale in zip(projections, scales, strict=True)])

    def __call__(self, hidden: Tensor, packing: Packing, *, last: bool) -> Tensor:
        """(T, E) to (T, E); in the last block only the end tokens are read: (c, E)."""
        attended = self._attention(self._layer.layer_norm1(hidden), packing, last=last)
        hidden = (packing.ends(hidden) if last else hidden) + attended
        return hidden + mlp(self._layer.mlp, self._layer.layer_norm2(hidden))

    def _attention(self, hidden: Tensor, packing: Packing, *, last: bool) -> Tensor:
        """Causal attention within the prefix, and of each class over the prefix and itself; projected."""
        joint = torch.nn.functional.linear(hidden, self._weight, self._bias).view(-1, *self._heads)
        prefix_query, *prefix = joint[: packing.prefix].unbind(1)
        query, *own = packing.padded(joint).unbind(2)
        if last:
            query = packing.ends(joint)[:, None, 0]
            found = attend(query, *own, *prefix, hidden=~packing.filled[:, None, None])[:, 0]
        else:
            suffix = attend(query, *own, *prefix, hidden=packing.future)
            found = torch.cat([_within(prefix_query, *prefix), packing.unpadded(suffix)])
        projected: Tensor = self._layer.self_attn.out_proj(found.flatten(-2))
        return projected


def _within(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention of the prefix over itself, all (p, h, d); the query is already scaled."""
    query, key, value = (part.transpose(0, 1)[None] for part in (query, key, value))
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
    return attended[0].transpose(0, 1)


def attend(
    query: Tensor, key: Tensor, value: Tensor, prefix_key: Tensor, prefix_value: Tensor, *, hidden: Tensor
) -> Tensor:
    """Attention of suffix queries (c, t, h, d), already scaled, over the shared prefix and the suffix.

    ``key`` and ``value`` are (c, s, h, d), the prefix's (p, h, d); ``hidden`` tells which suffix tokens a query must
    not see, broadcast to (c, h, t, s).

    By hand instead of ``scaled_dot_product_attention``, which would need the prefix copied for every class and keep
    the copies for the backward pass; the scores of so few tokens are small.
    """
    to_prefix = torch.einsum("cthd,phd->chtp", query, prefix_key)
    to_suffix = torch.einsum("cthd,cshd->chts", query, key).masked_fill(hidden, float("-inf"))
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
