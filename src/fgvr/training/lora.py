"""What is trained and how it is saved: LoRA by peft, or all weights.

An adapter folder holds ``adapter_model.safetensors``, ``adapter_config.json`` (peft reads it too), a model card and
``fgvr_training.json`` with the digest of the base weights, without which an adapter means nothing. The config is
written last: a folder without it is no adapter. ``load_mllm("local:FOLDER")`` loads base and adapter.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from fgvr.errors import InputError, MissingExtraError
from fgvr.fieldguide import weights_folder
from fgvr.mllm.adapters import CONFIG, FIELDGUIDE, NOTES, WEIGHTS, peft_model
from fgvr.mllm.local_loading import quantisation_of
from fgvr.mllm.weights import content_digest, model_files
from fgvr.runs import atomic_path, write_json, write_text
from fgvr.training.distributed import is_main_process, whole
from fgvr.training.targets import LANGUAGE_LINEAR, require_connector

if TYPE_CHECKING:
    from fgvr.mllm.local import LocalMllm

log = logging.getLogger(__name__)
Init = Literal["uniform", "gaussian"]


@dataclass(frozen=True)
class Lora:
    """Low-rank updates W + (alpha / rank) B A of the linear layers whose full name matches ``targets``."""

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    targets: str = LANGUAGE_LINEAR
    """Regular expression on the whole module name; see ``targets.py`` for those that include the connector."""
    full: bool = False
    """Train all weights instead, but those of ``frozen``; the rest is then without effect."""
    frozen: str | None = None
    """With ``full``: regular expression found in the names of the weights that are left as they are; see ``targets.py``
    (``VISION``, ``VISION_AND_CONNECTOR``)."""
    init: Init = "uniform"
    """How A begins (B is zero): ``uniform`` (Kaiming's, peft's default) or ``gaussian`` (deviation 1 / rank; what
    Finedefics uses)."""


def prepare_model(mllm: LocalMllm, lora: Lora, *, seed: int) -> Any:
    """The model of ``mllm`` made trainable: a ``PeftModel`` around it (A random by ``seed``, B zero), or itself whole.

    The model inside ``mllm`` is changed in place: what ``mllm`` answers from now on is what has been learned, so that
    it can be asked before, during and after. Trained weights are float32; a 4-bit model's are frozen as they lie, and
    nothing else of it is cast (autocast computes norms in float32 by itself). Raises ``InputError`` when no layer
    matches, or for full training of a 4-bit model.
    """
    import torch

    if lora.full and quantisation_of(mllm.model):
        raise InputError("4-bit weights cannot be trained", remedy="Use LoRA, or load the model without quantise.")
    if lora.full:
        return _whole_model(mllm.model, lora.frozen)
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise MissingExtraError("peft", extra="train") from error
    if lora.init not in get_args(Init):
        raise InputError("unknown init", remedy=f"Use one of {get_args(Init)}.", init=lora.init)
    require_connector(mllm.model, lora.targets)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        init_lora_weights="gaussian" if lora.init == "gaussian" else True,
    )
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = peft_model(mllm.model, config)
    except ValueError as error:
        raise InputError(
            "LoRA cannot be put on this model", remedy="Correct the target expression.", targets=lora.targets,
            reason=str(error)[:200],
        ) from error  # fmt: skip
    return model


def _whole_model(model: Any, frozen: str | None) -> Any:
    """All weights to be trained but those whose names ``frozen`` is found in."""
    model = model.float().requires_grad_(True)
    if frozen is None:
        return model
    expression = re.compile(frozen)
    left = [weight for name, weight in model.named_parameters() if expression.search(name)]
    if not left:
        raise InputError("no weight of this model is meant by frozen", remedy="Correct the expression.", frozen=frozen)
    for weight in left:
        weight.requires_grad_(False)
    return model


def trainable(model: Any) -> dict[str, Any]:
    """Names and parameters that are trained."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def save_adapter(
    model: Any, folder: Path, *, base: str, base_digest: str, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write the adapter of a ``PeftModel``; returns ``folder``.

    ``base``, ``base_digest``: of ``base_of``. ``facts``: data counts and settings (JSON-like) for card and notes. An
    adapter trained on 4-bit weights names the base they were made from, and card and notes say what that means. Under
    FSDP every process must call this; the first one writes.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = {name: whole(value.detach()).cpu().contiguous() for name, value in found.items()}
    if not is_main_process():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(weights, temporary)
    notes = {"base": base, "base_digest": base_digest, **_quantised_note(model), **(facts or {})}
    write_json(folder / NOTES, notes)
    write_text(folder / "README.md", model_card(notes, folder=folder.name))
    write_json(folder / CONFIG, _config(model, base))
    return folder


def save_full(mllm: LocalMllm, folder: Path, *, source: Path, facts: Mapping[str, Any] | None = None) -> Path:
    """Write the whole model as an ordinary model folder, processor files copied from ``source`` (the base's folder)."""
    part = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    weights = {name: whole(value) for name, value in mllm.model.state_dict().items()}
    if not is_main_process():
        return folder
    mllm.model.save_pretrained(part, state_dict=weights)
    for path in source.iterdir():
        if path.suffix in (".json", ".jinja", ".txt", ".model") and not (part / path.name).exists():
            if path.name.endswith(".index.json"):
                continue
            shutil.copyfile(path, part / path.name)
    write_json(part / NOTES, {"base": str(source), **(facts or {})})
    write_text(part / "README.md", model_card({"base": str(source), **(facts or {})}, folder=folder.name))
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return folder


def base_of(spec: str) -> tuple[str, str]:
    """How an adapter names its base, and the digest of the base's files.

    ``spec`` as for ``load_mllm``: ``fieldguide`` stays so (the model of this package, wherever it lies), a folder
    becomes absolute, a Hub id stays. Raises ``InputError`` for a provider whose weights are not here.
    """
    if spec == "fieldguide-text" or spec.startswith(("openai:", "replay:")):
        raise InputError("only a local model can be tuned", remedy="Use fieldguide or local:FOLDER.", mllm=spec)
    source = spec.removeprefix("local:")
    if source == FIELDGUIDE:
        return FIELDGUIDE, content_digest(model_files(str(weights_folder("mllm"))))
    place = Path(source).expanduser()
    return str(place.resolve()) if place.is_dir() else source, content_digest(model_files(source))


def model_card(notes: Mapping[str, Any], *, folder: str) -> str:
    """README.md of a tuned model: base, data, settings, how to load it."""
    rows = [f"| {key.replace('_', ' ')} | {_shown(value)} |" for key, value in notes.items()]
    return "\n".join(
        [
            "---",
            "library_name: peft",
            "tags: [fgvr, fine-grained, lora]",
            "---",
            "",
            f"# {folder}",
            "",
            f"Trained by fgvr on `{notes['base']}`.",
            "",
            "```python",
            "from fgvr.mllm import load_mllm",
            "",
            f'mllm = load_mllm("local:{folder}")',
            "```",
            "",
            "| | |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _quantised_note(model: Any) -> dict[str, str]:
    kind = quantisation_of(model.get_base_model())
    if kind is None:
        return {}
    said = (
        f"trained on the base in {kind} (4 bits a weight), saved for the base at full precision: there the base's "
        f"weights are not quite those it was trained on, and replies may differ; quantise='{kind}' at loading has both"
    )
    return {"quantised": said}


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
    return "`" + text.replace("|", "\\|").replace("`", "'").replace("\n", " ") + "`"


def _config(model: Any, base: str) -> dict[str, Any]:
    """adapter_config.json as peft would write it, with the base's name and sorted sets."""
    settings = model.peft_config["default"].to_dict()
    plain = {
        key: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for key, value in settings.items()
    }
    return {**plain, "base_model_name_or_path": base, "inference_mode": True}
