"""CoOp's prompt learner (Zhou et al. 2022): M context vectors shared by all classes, the text tower frozen.

Deviations from the released code:

1. The tower runs truncated and with the shared prefix computed once (``fgvr.encoders.prompt_tower``): the same
   features and gradients, an order of magnitude faster.
2. Only the unified context with the class token at the end is offered (``CSC=False``, ``CLASS_TOKEN_POSITION=end``):
   the variant of CoOp's own results on few shots, and the only one that shares a prefix.
3. float32 on the CPU. On CUDA the tower runs under bf16 autocast while it learns; context, features, logits and loss
   are float32, and features without a gradient (those of the finished classifier) too. The released default is fp16.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fgvr.encoders.base import PromptTower


class PromptLearner(torch.nn.Module):
    """Text features of C names under a learned context; ``context`` (M, E) is the only parameter.

    Args:
        tower: a frozen text tower. Its names are set here.
        names: the C class names.
        context_length: M, CoOp's ``N_CTX``; used when ``words`` is None.
        words: start from the embeddings of these words ("a photo of a") instead of N(0, 0.02^2).
        chunk: classes per piece of the two-pass gradient; None runs all at once. Bounds memory for large C.
        seed: of the random start.
        autocast: run the tower in bf16 where a gradient is wanted; None does so on CUDA only.
    """

    def __init__(
        self,
        tower: PromptTower,
        names: Sequence[str],
        *,
        context_length: int = 16,
        words: str | None = None,
        chunk: int | None = None,
        seed: int = 0,
        autocast: bool | None = None,
    ) -> None:
        super().__init__()
        tower.set_names(names)
        self._tower = tower
        self._chunk = chunk
        start = tower.initial_context(context_length, words=words, seed=seed)
        self.context = torch.nn.Parameter(start.detach().clone().float())
        self._autocast = self.context.is_cuda if autocast is None else autocast

    def forward(self) -> Tensor:
        """Text features (C, D) float32, unit norm, differentiable in the context."""
        from fgvr.encoders.prompt_tower import chunked_features

        half = self._autocast and torch.is_grad_enabled()
        with torch.autocast(self.context.device.type, dtype=torch.bfloat16, enabled=half):
            if self._chunk is None:
                return self._tower(self.context)
            return chunked_features(self._tower, self.context, chunk=self._chunk)  # type: ignore[arg-type]
