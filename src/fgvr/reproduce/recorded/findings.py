"""Everything that is measured on the recordings, for the page and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from fgvr.metrics import Interval
from fgvr.reproduce.recorded.agreement import Bought, Pair, Sign
from fgvr.reproduce.recorded.alignment import Fit
from fgvr.reproduce.recorded.heldout import Method
from fgvr.reproduce.recorded.material import IMAGE_ENCODER
from fgvr.reproduce.recorded.neighbours import Coverage, Neighbours
from fgvr.reproduce.recorded.quality import Quality


@dataclass
class Findings:
    """All figures, in the order of the recordings."""

    encoder: str
    """Sentence encoder of every sACC."""
    draws: int
    runs: int
    resamples: int
    seed: int
    models: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Title to (model, images, classes)."""
    quality: list[Quality] = field(default_factory=list)
    mentioned: dict[str, tuple[float, float]] = field(default_factory=dict)
    shifts: dict[str, tuple[Fit, ...]] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    bought: list[Bought] = field(default_factory=list)
    coverage: list[Coverage] = field(default_factory=list)
    neighbours: list[Neighbours] = field(default_factory=list)
    methods: list[Method] = field(default_factory=list)
    differences: dict[tuple[str, str], list[tuple[str, str, Interval]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-like; answers and scores of single images are left out."""
        rows = {
            name: [asdict(one) for one in getattr(self, name)]
            for name in ("quality", "pairs", "signs", "bought", "coverage", "neighbours")
        }
        methods = [
            {"title": one.title, "name": one.name, "figures": {key: asdict(f) for key, f in one.figures.items()}}
            for one in self.methods
        ]
        compared = [
            {"title": title, "metric": key, "one": one, "other": other, "difference": asdict(interval)}
            for (title, key), several in self.differences.items()
            for one, other, interval in several
        ]
        plain: dict[str, Any] = _plain(
            {
                "sentence_encoder": self.encoder,
                "image_encoder": IMAGE_ENCODER,
                "seed": self.seed,
                "resamples": self.resamples,
                "models": {title: model for title, (model, _, _) in self.models.items()},
                "mentioned": self.mentioned,
                "shifts": {title: [asdict(fit) for fit in fits] for title, fits in self.shifts.items()},
                **rows,
                "methods": methods,
                "differences": compared,
            }
        )
        return plain


def _plain(value: Any) -> Any:
    """JSON knows no NaN: what could not be measured becomes null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and value != value else value
