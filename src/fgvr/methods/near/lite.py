"""``near-lite``: NeaR without a text tower, a learned residual on the text features. Not in the paper.

The classifier is ``normalise(T + R)`` with T (C, D) the frozen zero-shot text features and R (C, D) learned from zero.
A step costs B*C*D multiplications: milliseconds. It has C*D parameters against CoOp's M*E and shares nothing between
classes, so a name without support keeps its zero-shot feature; weight decay pulls R back to zero-shot.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class ResidualHead(torch.nn.Module):
    """Text features (C, D) plus a learned residual; ``residual`` is the only parameter."""

    text: Tensor

    def __init__(self, text_features: np.ndarray | Tensor) -> None:
        super().__init__()
        text = torch.as_tensor(text_features, dtype=torch.float32).clone()
        self.register_buffer("text", text)
        self.residual = torch.nn.Parameter(torch.zeros_like(text))

    def forward(self) -> Tensor:
        """Text features (C, D), unit norm, differentiable in the residual."""
        return torch.nn.functional.normalize(self.text + self.residual, dim=-1)
