"""Which layers LoRA is put on: regular expressions on whole module names, as peft reads them.

1. *Connector.* What stands between the vision tower and the language model: LLaVA's ``multi_modal_projector``, the
   ``connector`` of Idefics2 (modality projection and perceiver resampler), Idefics3 and SmolVLM, Qwen-VL's
   ``visual.merger`` and Qwen3-VL's ``visual.deepstack_merger_list``. Vision tower and output layer are never named.
2. *The paper's expression* (Finedefics, released code) is written for Idefics2. With transformers 5 it still hits
   there what it was meant to hit: attention and MLP of the text model and of the perceiver resampler, and the modality
   projection (``LANGUAGE_AND_CONNECTOR`` hits the same layers). On Idefics3 and SmolVLM it misses the connector, whose
   one layer is called ``proj``; on LLaVA and Qwen-VL it hits nothing.
3. *No connector found.* Where an expression of this file that means a connector hits none, ``require_connector`` says
   so: a training without it would not be the one asked for. An expression of one's own is taken as it is.
"""

from __future__ import annotations

import re
from typing import Any

from fgvr.errors import InputError

LANGUAGE_LINEAR = r".*\b(language_model|text_model)\.layers\.\d+\.(self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj"
"""The linear layers of the language model's blocks, in LLaVA, Qwen-VL, Idefics2/3 and SmolVLM; nothing of the vision
tower, connector or output layer."""
CONNECTOR_LINEAR = (
    r".*\b(multi_modal_projector|connector|visual\.merger|visual\.deepstack_merger_list\.\d+)\."
    r"(.*\.)?(linear_\w+|mlp\.[02]|proj|(q|k|v|o|gate|up|down)_proj)"
)
"""The linear layers of the connector, in the same models; Qwen2-VL's ``mlp.1`` between two of them has no weights."""
LANGUAGE_AND_CONNECTOR = f"{LANGUAGE_LINEAR}|{CONNECTOR_LINEAR}"
"""Language model, connector and, where there is one, resampler: what Finedefics tunes (paper, appendix A.2)."""
FINEDEFICS_TARGETS = r".*(text_model|modality_projection|perceiver_resampler).*(down|gate|up|k|q|v|o)_proj.*"
"""Of Finedefics' released code, for Idefics2."""
VISION = r"\b(vision_tower|vision_model|visual)\.(?!merger|deepstack_merger_list)"
"""Weights of the vision tower, for ``Lora(full=True, frozen=...)``."""
VISION_AND_CONNECTOR = r"\b(vision_tower|vision_model|visual|multi_modal_projector|connector)\."
"""Weights of vision tower and connector: what LLaMA-Factory leaves frozen in what it calls full tuning, and so what
Fine-R1's released recipe trains is the language model alone."""
_MEAN_A_CONNECTOR = (CONNECTOR_LINEAR, LANGUAGE_AND_CONNECTOR, FINEDEFICS_TARGETS)


def layers_hit(model: Any, targets: str) -> list[str]:
    """Names of the modules of ``model`` that ``targets`` matches whole, in the model's order."""
    expression = re.compile(targets)
    return [name for name, _ in model.named_modules() if expression.fullmatch(name)]


def require_connector(model: Any, targets: str) -> None:
    """Raises ``InputError`` where ``targets``, an expression of this file, means a connector and ``model`` has none."""
    if targets not in _MEAN_A_CONNECTOR:
        return
    hit = layers_hit(model, targets)
    if not any(re.fullmatch(CONNECTOR_LINEAR, name) for name in hit):
        raise InputError(
            "no layer of a connector was found in this model",
            remedy="Use LANGUAGE_AND_CONNECTOR, LANGUAGE_LINEAR, or an expression that names this model's connector.",
            model=type(model).__name__,
            layers=len(hit),
        )
