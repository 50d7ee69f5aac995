"""One cell of a comparison, scored: what is kept of a method on one draw of one collection."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fgvr.errors import InputError
from fgvr.labels import normalise
from fgvr.methods.baselines.task import Naming
from fgvr.metrics.bootstrap import Interval
from fgvr.types import ImageItem, Usage

Status = Literal["done", "stopped", "failed"]
_CONTRACT = "A method gives a Naming: one name, or None, for each test image in order (methods/baselines/task.py)."
FIGURES = ("cacc", "sacc", "synonym", "siou_cased", "siou_split", "exact", "nmi", "ari")
"""What the tables show, in order; the cell's file keeps all."""


@dataclass(frozen=True)
class Row:
    """A method on one draw."""

    collection: str
    method: str
    """As asked for: ``finer:alpha=0.5``."""
    title: str
    seed: int
    status: Status
    """``stopped``: the spending cap left questions open; ``failed``: see ``error``. Neither loses the others."""
    error: str = ""
    figures: Mapping[str, Interval] = field(default_factory=dict)
    """Over the answered images."""
    images: int = 0
    answered: int = 0
    support: int = 0
    names: int = 0
    """Size of the label space; without one, of the names given."""
    truth_covered: float | None = None
    """Share of the true classes that have an accepted name in the label space."""
    sentence_encoder: str | None = None
    usage: Usage = field(default_factory=Usage)
    """What its questions took, had it run alone."""
    paid: float = 0.0
    """US dollars paid for it in this comparison; answers that another method had paid for cost nothing."""
    seconds: float = 0.0
    """Wall clock of the session that finished it, questions included."""
    extra: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of images answered."""
        return self.answered / self.images if self.images else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return {**asdict(self), "figures": {key: asdict(figure) for key, figure in self.figures.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """The inverse of ``to_dict``. Raises ``KeyError``, ``TypeError`` for anything else."""
        figures = {key: Interval(**figure) for key, figure in values["figures"].items()}
        rest = {**values, "figures": figures, "usage": Usage(**values["usage"]), "notes": tuple(values["notes"])}
        return cls(**rest)


def checked(naming: Any, count: int) -> Naming:
    """A method's answer if it is one for ``count`` images, plain types throughout. Raises ``InputError``."""
    if not isinstance(naming, Naming):
        raise InputError("the method gave no Naming", remedy=_CONTRACT, given=type(naming).__name__)
    if len(naming.names) != count:
        raise InputError(f"{len(naming.names)} names for {count} test images", remedy=_CONTRACT)
    for name in (*naming.names, *naming.vocabulary, *naming.notes):
        if not isinstance(name, str) and name is not None:
            raise InputError("a name that is no text", remedy=_CONTRACT, given=repr(name)[:80])
    chances = None if naming.probabilities is None else tuple(float(chance) for chance in naming.probabilities)
    if chances is not None and not (len(chances) == count and all(0 <= chance <= 1 for chance in chances)):
        raise InputError("probabilities must be one an image, in [0, 1]", remedy=_CONTRACT)
    figures = {str(key): float(value) for key, value in naming.figures.items()}
    if not all(map(math.isfinite, figures.values())):
        raise InputError("a further figure is not finite", remedy=_CONTRACT, figures=figures)
    names = tuple(None if name is None else str(name) for name in naming.names)
    return Naming(names, tuple(naming.vocabulary), chances, tuple(naming.notes), figures)


def scored(
    naming: Naming, truth: Sequence[ImageItem], *, sentence_encoder: Any = None, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """The scoring part of a ``Row``: figures, counts, coverage of the truth.

    An image without an answer is left out and counted, never scored as wrong. Raises ``EvaluationError`` where nothing
    is answered.
    """
    from fgvr.metrics import evaluate

    result = evaluate(
        naming.names,
        [(str(item.label), *item.accepted) for item in truth],
        sentence_encoder=sentence_encoder,
        probabilities=naming.probabilities,
        resamples=resamples,
        seed=seed,
        allow_missing=True,
    )
    space = naming.vocabulary or tuple({name for name in naming.names if name is not None})
    return {
        "figures": result.figures,
        "images": result.n,
        "answered": result.scored,
        "names": len(space),
        "truth_covered": truth_covered(space, truth) if naming.vocabulary else None,
        "sentence_encoder": result.sentence_encoder,
    }


def truth_covered(vocabulary: Sequence[str], truth: Sequence[ImageItem]) -> float:
    """Share of the true classes of which some accepted name stands in the vocabulary, after normalising."""
    spoken = {normalise(name) for name in vocabulary}
    classes = {str(item.label): (str(item.label), *item.accepted) for item in truth}
    return sum(any(normalise(name) in spoken for name in names) for names in classes.values()) / len(classes)
