"""NeaR: an MLLM names a few photographs, visual neighbours clean the names up, a CLIP-like model learns them.

Base text: Kuchibhotla et al., "Fine-Grained Visual Recognition in the Age of Multimodal LLMs". ``pipeline.py`` reads
like its Figure 1; every idea has a file named by the paper's word. Importing this does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fgvr.methods.near.candidates import CandidateSets as CandidateSets
from fgvr.methods.near.candidates import candidate_sets as candidate_sets
from fgvr.methods.near.candidates import coverage as coverage
from fgvr.methods.near.candidates import no_sets as no_sets
from fgvr.methods.near.candidates import random_sets as random_sets
from fgvr.methods.near.classifier import Classifier as Classifier
from fgvr.methods.near.estimator import NeaR as NeaR
from fgvr.methods.near.settings import FAST as FAST
from fgvr.methods.near.settings import LITE as LITE
from fgvr.methods.near.settings import RefineSettings as RefineSettings
from fgvr.methods.near.settings import SetSettings as SetSettings
from fgvr.methods.near.settings import TuneSettings as TuneSettings

if TYPE_CHECKING:
    from fgvr.methods.near.proden import proden_loss as proden_loss
    from fgvr.methods.near.proden import update_weights as update_weights
    from fgvr.methods.near.prompt_learner import PromptLearner as PromptLearner
    from fgvr.methods.near.tuning import Tuned as Tuned
    from fgvr.methods.near.tuning import tune as tune

_NEEDS_TORCH = {
    "proden_loss": "proden",
    "update_weights": "proden",
    "PromptLearner": "prompt_learner",
    "Tuned": "tuning",
    "tune": "tuning",
}


def __getattr__(name: str) -> Any:
    if name in _NEEDS_TORCH:
        return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
