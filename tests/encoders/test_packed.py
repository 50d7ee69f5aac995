"""Where the tokens of a packed text batch lie, by hand; values and gradients are in ``test_prompt_tower``."""

from __future__ import annotations

import torch

from fgvr.encoders.packed import Packing

PACKING = Packing(2, (1, 3, 2))
"""Two prefix tokens, then classes of one, three and two."""
PACKED = torch.arange(8)[:, None] * torch.ones(4)


def test_padding_keeps_every_token_in_its_class() -> None:
    padded = PACKING.padded(PACKED)
    assert padded.shape == (3, 3, 4)
    assert padded[..., 0][PACKING.filled].tolist() == [2, 3, 4, 5, 6, 7]
    assert PACKING.filled.tolist() == [[True, False, False], [True, True, True], [True, True, False]]


def test_unpadding_is_the_inverse() -> None:
    assert torch.equal(PACKING.unpadded(PACKING.padded(PACKED)), PACKED[2:])


def test_ends_are_the_last_tokens() -> None:
    assert PACKING.ends(PACKED)[:, 0].tolist() == [2, 5, 7]


def test_an_empty_slot_lies_in_the_future_of_every_token() -> None:
    seen = ~PACKING.future & PACKING.filled[:, :, None]  # (c, t, s): real tokens and the slots they see
    assert not (seen & ~PACKING.filled[:, None]).any()
