"""Two LoRA adapters, the second trained on base plus first, as one adapter on the base.

With update W + s1 B1 A1 of the first and + s2 B2 A2 of the second on top, the sum is that of one adapter of rank
r1 + r2: A = [A1; A2], B = [s1 B1, s2 B2]. Nothing is lost and no base is needed; a truncated SVD would be smaller and
only near.

1. *Scaling* (alpha / rank, or alpha / sqrt(rank) with rslora) goes into B, so that every layer's alpha is its rank:
   a reader that knows nothing of ``rank_pattern`` and ``alpha_pattern`` scales rightly too.
2. *Layers* that one of the two leaves alone keep the other's rank. All are named in full in the target expression:
   which they are is read off the weights, not off the two settings.
3. *Exact* up to rounding: weights are joined in float64 and written in float32. Where a merged first adapter was
   rounded to a half-precision base (bfloat16), the joined one is without that rounding.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError, MllmError
from fgvr.mllm.adapters import CONFIG, NOTES, WEIGHTS, adapter_settings
from fgvr.mllm.adapters import base_digest as noted_digest
from fgvr.runs import atomic_path, write_json, write_text
from fgvr.training.lora import model_card

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = "base_model.model."
_NAMES = {"lora_A.weight": "lora_B.weight", "lora_embedding_A": "lora_embedding_B"}
"""peft's names of A, of linear and of embedding layers, with that of its B."""
_REMEDY = "The folder must be what fgvr or peft wrote when it saved a LoRA adapter."


@dataclass(frozen=True)
class LayerUpdate:
    """The update scale * B A of one layer. A is (rank, in), B is (out, rank); of a convolution with trailing axes."""

    a: Tensor
    b: Tensor
    scale: float
    kind: str = "lora_A.weight"
    """peft's name of A."""


def join_adapters(
    first: Path,
    second: Path,
    out: Path,
    *,
    base: str,
    base_digest: str,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write to ``out`` the adapter on ``base`` that does what ``first``, merged, and ``second`` on top of it do.

    ``first``, ``second``: folders of ``save_adapter`` (or of peft) with plain LoRA weights. ``base``, ``base_digest``:
    of ``base_of``. ``facts``: data counts and settings for card and notes, as for ``save_adapter``. Returns ``out``,
    which ``load_mllm("local:OUT")`` loads. What ``second`` notes of its own base is not read: that was base plus
    ``first``.

    Raises ``InputError`` for an adapter with more than LoRA weights (DoRA, biases, whole modules), a ``first`` of
    another base, layers that do not fit, or an ``out`` that is one of the two; ``MllmError`` for a damaged folder.
    """
    if out.resolve() in (first.resolve(), second.resolve()):
        raise InputError("the joined adapter would replace one of its parts", remedy="Write it elsewhere.", folder=out)
    noted = noted_digest(first)
    if noted is not None and noted != base_digest:
        raise InputError("the first adapter was trained on another base", remedy="Name its base.", folder=first)
    ours, theirs = adapter_settings(first), adapter_settings(second)
    turned = bool(ours.get("fan_in_fan_out"))
    if turned != bool(theirs.get("fan_in_fan_out")):
        raise InputError("one adapter is of transposed weights", remedy="Join adapters of one base.", folder=second)
    updates = joined_updates(read_updates(first), read_updates(second))
    notes = {"base": base, "base_digest": base_digest, **_quantised(first, second), **(facts or {})}
    _write(out, updates, config=joined_config(updates, base=base, fan_in_fan_out=turned), notes=notes)
    return out


def read_updates(folder: Path) -> dict[str, LayerUpdate]:
    """The updates of an adapter folder by module name. Raises as ``join_adapters``."""
    settings = adapter_settings(folder)
    _require_plain(settings, folder)
    weights = _read_weights(folder)
    updates = {}
    for key in sorted(weights):
        kind = next((name for name in _NAMES if key.endswith(f".{name}")), None)
        if kind is None:
            continue
        module = key.removesuffix(f".{kind}").removeprefix(_PREFIX)
        a, b = weights[key], weights.pop(f"{key.removesuffix(kind)}{_NAMES[kind]}", None)
        if b is None or a.dim() < 2 or b.dim() < 2 or a.shape[0] != b.shape[1]:
            raise _damaged(folder, key)
        updates[module] = LayerUpdate(a, b, scale_of(settings, module, rank=int(a.shape[0])), kind)
    unknown = [key for key in weights if not any(key.endswith(f".{name}") for name in _NAMES)]
    if unknown or not updates:
        raise _damaged(folder, unknown[0] if unknown else "none")
    return updates


def scale_of(settings: Mapping[str, Any], module: str, *, rank: int) -> float:
    """Factor of B A in a layer, as peft computes it: alpha / rank, or alpha / sqrt(rank) with rslora.

    ``rank``: of the layer's weights; where the settings say another, the adapter is damaged (``InputError``).
    """
    if rank != int(_for_module(settings, "rank_pattern", module, settings.get("r", 8))):
        raise InputError("an adapter's weights are not of the rank its settings say", remedy=_REMEDY, layer=module)
    alpha = float(_for_module(settings, "alpha_pattern", module, settings.get("lora_alpha", 8)))
    return alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank


def joined_updates(first: Mapping[str, LayerUpdate], second: Mapping[str, LayerUpdate]) -> dict[str, LayerUpdate]:
    """The sum of two adapters by module name, scale 1, float32. Raises ``InputError`` where widths differ."""
    joined = {}
    for module in sorted({*first, *second}):
        parts = [updates[module] for updates in (first, second) if module in updates]
        try:
            joined[module] = _sum(parts)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                "the two adapters do not fit each other", remedy="Join adapters of one base.", layer=module
            ) from error
    return joined


def joined_config(updates: Mapping[str, LayerUpdate], *, base: str, fan_in_fan_out: bool = False) -> dict[str, Any]:
    """``adapter_config.json`` of updates of scale 1: the commonest rank for all, the others by layer."""
    ranks = {module: int(update.a.shape[0]) for module, update in updates.items()}
    rank = max(Counter(ranks.values()).items(), key=lambda pair: (pair[1], pair[0]))[0]
    others = {f"^{re.escape(module)}": own for module, own in ranks.items() if own != rank}
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": "|".join(re.escape(module) for module in updates),
        "rank_pattern": others,
        "alpha_pattern": others,
        "bias": "none",
        "fan_in_fan_out": fan_in_fan_out,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "init_lora_weights": True,
    }


def _sum(parts: list[LayerUpdate]) -> LayerUpdate:
    import torch

    if len({part.kind for part in parts}) > 1:
        raise ValueError("different kinds of layers")
    a = torch.cat([part.a.double() for part in parts], dim=0)
    b = torch.cat([part.b.double() * part.scale for part in parts], dim=1)
    return LayerUpdate(a.float().contiguous(), b.float().contiguous(), 1.0, parts[0].kind)


def _for_module(settings: Mapping[str, Any], pattern: str, module: str, default: Any) -> Any:
    """A setting that may differ between layers: that of the first key that matches the end of the name, as in peft."""
    given = settings.get(pattern) or {}
    return next((value for key, value in given.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _require_plain(settings: Mapping[str, Any], folder: Path) -> None:
    more = {
        "use_dora": settings.get("use_dora"),
        "lora_bias": settings.get("lora_bias"),
        "bias": settings.get("bias") not in (None, "none"),
        "modules_to_save": settings.get("modules_to_save"),
    }
    found = [name for name, value in more.items() if value]
    if found:
        raise InputError(
            "an adapter with more than LoRA weights cannot be joined exactly",
            remedy="Train it without these settings, or merge it into the base.",
            folder=folder,
            settings=found,
        )


def _read_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise MllmError("the adapter's weights cannot be read", remedy=_REMEDY, folder=folder) from error
    broken = [key for key, value in weights.items() if not value.isfinite().all()]
    if broken:
        remedy = "Its training diverged: take an earlier checkpoint."
        raise MllmError("the adapter holds numbers that are not finite", remedy=remedy, folder=folder, weight=broken[0])
    return dict(weights)


def _quantised(*folders: Path) -> dict[str, Any]:
    """What ``save_adapter`` notes of an adapter trained on 4-bit weights holds for the sum as well."""
    for folder in folders:
        try:
            notes = json.loads((folder / NOTES).read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(notes, dict) and "quantised" in notes:
            return {"quantised": notes["quantised"]}
    return {}


def _write(
    folder: Path, updates: Mapping[str, LayerUpdate], *, config: Mapping[str, Any], notes: dict[str, Any]
) -> None:
    """As ``save_adapter``: the config last, without it the folder is no adapter."""
    from safetensors.torch import save_file

    weights = {}
    for module, update in updates.items():
        weights[f"{_PREFIX}{module}.{update.kind}"] = update.a
        weights[f"{_PREFIX}{module}.{_NAMES[update.kind]}"] = update.b
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(weights, temporary)
    write_json(folder / NOTES, notes)
    write_text(folder / "README.md", model_card(notes, folder=folder.name))
    write_json(folder / CONFIG, config)


def _damaged(folder: Path, weight: str) -> MllmError:
    return MllmError("the adapter's weights are not whole pairs", remedy=_REMEDY, folder=folder, weight=weight)
