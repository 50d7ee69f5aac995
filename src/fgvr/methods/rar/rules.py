"""What a fit has learned besides the memory: a handful of numbers, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

Asking = Literal["margin", "always", "never"]

UNKNOWN_SHARE = 0.05
"""Share of left-out memory images that the probability threshold would call unknown."""
STRANGE_SHARE = 0.01
"""The same for the cosine threshold."""


@dataclass(frozen=True)
class Rules:
    """When the MLLM is asked, how much its word counts, and when the answer is "unknown". Defaults: retrieval alone."""

    asking: Asking = "never"
    margin: float = 1.0
    """With ``asking = "margin"``: ask where p1 - p2 of the retriever is below it."""
    temperature: float = 1.0
    """The retriever's log-probabilities over the candidates are divided by it before fusion."""
    weight: float = 0.0
    """Of the MLLM's log-probabilities in the fusion."""
    heard: tuple[str, ...] | None = None
    """Classes the MLLM recognises: it is heard only where retrieval finds one of them likeliest (``worth.py``). Classes
    added later are not among them until the next fit. ``None``: nothing is known about single classes, all are."""
    weight_from: str = "none"
    """``leave-one-out``, ``truth in set``, ``agreement``, ``given`` or ``none``."""
    probability_floor: float = 0.0
    """Less probable best names are reported as unknown."""
    cosine_floor: float = -1.0
    """Of the cosine to the nearest memory image; below it an image is unlike the collection."""
    mllm: str = ""
    """Name and revision of the MLLM the weight was learned for; another one's word would have another worth."""
    study: Mapping[str, Any] = field(default_factory=dict)
    """What the calibration saw (JSON-like): images asked, accuracies, the cascade's curve."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rules:
        """What ``to_dict`` gave, perhaps by way of JSON. Raises ``TypeError`` for values that are no rules."""
        heard = values["heard"]
        return cls(**{**values, "heard": None if heard is None else tuple(heard)})


def floors(
    probabilities: np.ndarray,
    cosines: np.ndarray,
    *,
    unknown_share: float = UNKNOWN_SHARE,
    strange_share: float = STRANGE_SHARE,
) -> tuple[float, float]:
    """(probability floor, cosine floor) from left-out memory images.

    Args:
        probabilities: (N,) of the best candidate, each image's own row left out.
        cosines: (N,) to the nearest other memory image; NaN where there is none.
        unknown_share, strange_share: quantiles in [0, 1); 0 switches a threshold off.
    """
    known = cosines[np.isfinite(cosines)]
    low = float(np.quantile(probabilities, unknown_share)) if unknown_share > 0 and len(probabilities) else 0.0
    far = float(np.quantile(known, strange_share)) if strange_share > 0 and len(known) else -1.0
    return low, far
