"""A student of an MLLM that has seen a part of a collection named, and looks at all of it.

NeaR ends a little below the MLLM it learns from. A student can end above its teacher, because the teacher sees each
photograph alone and the student sees many of the same thing. In the order of ``pipeline.py``:

1. What to label: ``fgvr.naming.choose`` and ``choosing``; asked for by ``asking``.
2. What the teacher said, as numbers (``opinions``), and how far to believe it: ``evidence``, with ``noise`` and
   ``name_similarity``.
3. The names: ``label_space``, ``merging``, ``size_curve``.
4. What the rest of the pool is taken for: ``graph``, ``propagation``, ``self_training``.
5. Heads (``heads``): ``prototypes``, ``gaussian``, ``residual``, ``cache``, ``prompt``, on features averaged over
   ``views``; weighed against each other by held-out replies: ``held_out``, ``mixing``, ``calibration``.
6. Where to ask again: ``second_opinion``.
7. What no name covers: ``unknown``.

``settings`` has a switch for every part. ``estimator`` is the whole from photographs to a ``classifier`` on disk, with
a ``record`` for reports. Importing this does not import torch or scipy.
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
