"""A student of an MLLM that has seen a part of a collection named, and looks at all of it.

NeaR ends a little below the MLLM it learns from. A student can end above its teacher, because the teacher sees each
photograph alone and the student sees many of the same thing. In the order of ``pipeline.py``:

1. What to label: ``fgvr.naming.choose`` (all at once), ``choosing`` (in rounds); asked for by ``asking``. Features are
   averaged over ``views``.
2. What the teacher said, as numbers (``opinions``): where a call drew several replies, a distribution over names
   (``fgvr.naming.sampled``). How far to believe it: ``evidence`` with ``evidence_table``, ``noise`` and
   ``name_similarity``, off by default.
3. The names: ``label_space``, ``merging`` with ``name_images``, ``size_curve``.
4. What the rest of the pool is taken for: ``graph``, ``propagation``, ``self_training`` with ``scale``.
5. Heads (``heads``), fitted on a ``pool``: ``prototypes``, ``em`` with ``hearing``, ``gaussian``, ``residual``,
   ``cache``, ``prompt``; weighed against each other by held-out replies: ``held_out``, ``mixing`` with ``pooling``,
   ``calibration``.
6. Where to ask again, and what to believe then: ``second_opinion``.
7. What no name covers: ``unknown``; what a person names then: ``given_names``.

``settings`` has a switch for every part, ``pipeline`` puts them together. ``estimator`` is the whole from photographs
to a ``classifier`` on disk, with a ``record`` for reports. Importing this does not import torch or scipy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fgvr.methods.student.settings import EvidenceSettings as EvidenceSettings
from fgvr.methods.student.settings import HeadSettings as HeadSettings
from fgvr.methods.student.settings import LabelSpaceSettings as LabelSpaceSettings
from fgvr.methods.student.settings import PropagationSettings as PropagationSettings
from fgvr.methods.student.settings import SecondOpinionSettings as SecondOpinionSettings
from fgvr.methods.student.settings import SelfTrainingSettings as SelfTrainingSettings
from fgvr.methods.student.settings import StudentSettings as StudentSettings
from fgvr.methods.student.settings import UnknownSettings as UnknownSettings

if TYPE_CHECKING:
    from fgvr.methods.student.classifier import StudentClassifier as StudentClassifier
    from fgvr.methods.student.classifier import is_student as is_student
    from fgvr.methods.student.estimator import Student as Student
    from fgvr.methods.student.pipeline import Learned as Learned
    from fgvr.methods.student.pipeline import learn as learn

_LATER = {
    "Student": "estimator",
    "StudentClassifier": "classifier",
    "is_student": "classifier",
    "Learned": "pipeline",
    "learn": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
