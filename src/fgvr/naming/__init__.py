"""Asking an MLLM what pictures show, with the papers' words: questions, answers, and the label space of all answers."""

from fgvr.naming.label_space import label_space as label_space
from fgvr.naming.labelling import Labelled as Labelled
from fgvr.naming.labelling import PromptKind as PromptKind
from fgvr.naming.labelling import label_images as label_images
from fgvr.naming.labelling import naming_requests as naming_requests

__all__ = ["Labelled", "PromptKind", "label_images", "label_space", "naming_requests"]
