"""Several processes, and weights spread over them, through accelerate's own configuration.

``accelerate launch`` (or the environment variables it sets) decides; nothing here asks again.

1. *Plain data parallelism*: every process has all weights, gradients are averaged.
2. *FSDP* (``fsdp_version: 2``): every weight is spread over the processes. The model is prepared first, the optimiser
   holds the spread weights, and checkpoints and adapters hold whole ones, gathered from all processes: a training may
   go on with another number of processes, or one. Version 1 flattens weights and is refused.
3. *DeepSpeed* updates the weights inside every ``accelerator.backward``, and an objective calls that several times a
   step (micro-batches, gradient caching): it is refused. FSDP spreads weights, gradients and moments as ZeRO-3 does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

log = logging.getLogger(__name__)


def make_accelerator(*, precision: str) -> Accelerator:
    """As the environment says. ``precision``: ``bf16``, ``no``, or ``auto`` (bf16 where there is CUDA).

    Raises ``MissingExtraError`` without accelerate, ``InputError`` for DeepSpeed and FSDP version 1.
    """
    from datetime import timedelta

    import torch

    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
        from accelerate.state import AcceleratorState
        from accelerate.utils import parse_flag_from_env
    except ImportError as error:
        raise MissingExtraError("accelerate", extra="train") from error
    if parse_flag_from_env("ACCELERATE_USE_DEEPSPEED"):
        remedy = "Use FSDP (accelerate launch --use_fsdp --fsdp_version 2), which spreads weights as ZeRO-3 does."
        raise InputError("training under DeepSpeed is not supported", remedy=remedy)
    automatic = "bf16" if torch.cuda.is_available() else "no"
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a tower's last layers may not be read
    waiting = InitProcessGroupKwargs(timeout=timedelta(days=2))  # while the first process asks a teacher or examines
    AcceleratorState._reset_state()  # else the first training of a process would set the precision of all
    chosen = automatic if precision == "auto" else precision
    accelerator = Accelerator(mixed_precision=chosen, kwargs_handlers=[unused, waiting])
    if is_spread(accelerator) and not accelerator.is_fsdp2:
        raise InputError("FSDP version 1 is not supported", remedy="Set fsdp_version: 2 in accelerate's configuration.")
    return accelerator


def is_spread(accelerator: Accelerator) -> bool:
    """True where each process holds only a part of every weight."""
    return str(accelerator.distributed_type.value) == "FSDP"


def prepare(accelerator: Accelerator, model: Any, optimiser: torch.optim.Optimizer) -> tuple[Any, Any]:
    """Model and optimiser as accelerate wants them; the optimiser then holds the weights that are trained."""
    if is_spread(accelerator):
        plugin = accelerator.state.fsdp_plugin
        # Every process has read the whole model already, and this way around asks transformers' methods of ``model``.
        plugin.cpu_ram_efficient_loading = False
        if plugin.transformer_cls_names_to_wrap is None:
            plugin.transformer_cls_names_to_wrap = blocks_of(model)
    prepared, wrapped = accelerator.prepare(model, optimiser)
    return prepared, wrapped


def restored(accelerator: Accelerator, prepared: Any) -> Any:
    """The model without accelerate's wrapping and without the autocast around its ``forward``."""
    return accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)


def blocks_of(model: Any) -> list[str]:
    """Class names of the blocks that transformers asks not to split, as far as ``model`` has them.

    The model itself may be any module around a transformers model.
    """
    present = {type(module).__name__ for module in model.modules()}
    asked = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    return sorted(present & asked)


def whole(tensor: Any) -> Any:
    """The whole of a tensor that is spread over processes (all must ask), any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def spread_like(tensor: Any, like: Any) -> Any:
    """A whole tensor on the device of ``like`` and spread as ``like`` is."""
    moved = tensor.to(like.device)
    if not hasattr(like, "device_mesh"):
        return moved
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(moved, like.device_mesh, like.placements)


def is_main_process() -> bool:
    """True in the first process, and where there is only one."""
    import torch.distributed as dist

    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
