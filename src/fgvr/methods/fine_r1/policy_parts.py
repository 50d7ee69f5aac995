"""Small parts of the reinforcement loop: what is refused, the reference, the exchange between processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from fgvr.errors import InputError, RunError
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.rollouts import Group
from fgvr.training.distributed import is_spread

if TYPE_CHECKING:
    from accelerate import Accelerator


def require_whole(accelerator: Accelerator) -> None:
    """Raises ``InputError`` where weights are spread over the processes."""
    if is_spread(accelerator):
        remedy = "Launch without FSDP: every process then holds all weights; LoRA saves memory."
        raise InputError("reinforcement learning needs whole weights in every process", remedy=remedy)


def without_adapter(model: Any, settings: PolicySettings) -> Callable[[], AbstractContextManager[Any]] | None:
    """How the reference is had: a LoRA model without its adapter."""
    if not settings.objective.needs_reference:
        return None
    if not hasattr(model, "disable_adapter"):
        remedy = "Use LoRA, whose base is the reference, or kl_ref=0 as in the paper."
        raise InputError("full weights have no reference beside them", remedy=remedy)
    found: Callable[[], AbstractContextManager[Any]] = model.disable_adapter
    return found


def gathered(mine: list[Group], accelerator: Accelerator) -> list[list[Group]]:
    """All processes' groups, in the order of the processes."""
    if accelerator.num_processes == 1:
        return [mine]
    import torch.distributed as dist

    parts: list[Any] = [None] * accelerator.num_processes
    dist.all_gather_object(parts, mine)
    return parts


def drops_out(model: Any) -> bool:
    """Whether a pass of ``model`` in training mode draws random numbers."""
    return any(isinstance(part, torch.nn.Dropout) and part.p > 0 for part in model.modules())


def require_finite(noted: Mapping[str, float], step: int) -> None:
    """Raises ``RunError`` for a figure that is no number."""
    if not all(value == value and abs(value) != float("inf") for value in noted.values()):
        remedy = "Use a smaller learning rate; the last checkpoint is from before."
        raise RunError("the loss is not finite any more", remedy=remedy, step=step + 1, **noted)
