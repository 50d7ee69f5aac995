"""Where the tokens of a packed text batch lie, by hand; values and gradients are in ``test_prompt_tower``."""

from __future__ import annotations

import torch

from fgvr.encoders.packed import Packing

PACKING = Packing(2, ((3, 1), (2, 3)))
"""Two prefix tokens, three classes of one token, two of three."""


def test_parts_and_ends() -> None:
    packed = torch.arange(11)[:, None] * torch.ones(4)
    prefix, (short, long) = PACKING.parts(packed)
    assert prefix[:, 0].tolist() == [0, 1]
    assert short[..., 0].tolist() == [[2], [3], [4]]
    assert long[..., 0].tolist() == [[5, 6, 7], [8, 9, 10]]
    assert PACKING.ends(packed)[:, 0].tolist() == [2, 3, 4, 7, 10]


def test_ends_are_packed_one_token_a_class() -> None:
    nothing, (short, long) = PACKING.of_ends.parts(torch.arange(5.0)[:, None])
    assert len(nothing) == 0
    assert (short.shape, long.shape) == ((3, 1, 1), (2, 1, 1))
    assert long.flatten().tolist() == [3, 4]
