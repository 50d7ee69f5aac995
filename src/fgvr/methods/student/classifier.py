"""What is left when the student has learned: one matrix, perhaps a few keys, the names, and when to say "unknown".

Needs only image features: no text tower, no MLLM, no torch. Saved as safetensors and JSON, as NeaR's classifier is.

The mixture of heads is a sum of logits, and a sum of linear functions is linear: all linear heads become one matrix and
one bias. A cache head is not linear and keeps its keys and values.

NeaR calls an image unknown when its best cosine to a name is low, too. A mixture has no such cosine; here an image is
unknown when its best name is improbable, or when it is unlike every image of ``support``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.errors import EncoderError, RunError
from fgvr.methods.near.calibrate import Calibration, probabilities
from fgvr.methods.near.classifier import ARRAYS, FORMAT, MANIFEST, SEAL, damaged, manifest_in, ranked, seal
from fgvr.methods.student.heads import CacheHead, Head, LinearHead, Mixture
from fgvr.naming.choose_clusters import nearest_centres
from fgvr.runs import load_arrays, save_arrays, write_json
from fgvr.types import Prediction

METHOD = "student"
LINEAR = "linear"
"""The head that all linear ones become."""
MEANING = ("method", "names", "encoder", "views", "caches", "calibration")
"""Keys of the manifest that give the arrays their meaning."""


@dataclass(frozen=True)
class StudentClassifier:
    """A named classifier in an encoder's image space. Letters: B images, D dimensions, C names, M support images."""

    names: tuple[str, ...]
    head: Mixture
    """Collapsed: at most one linear head, and caches."""
    encoder: str
    fingerprint: str
    """Of the encoder; image features of any other are refused."""
    views: int = 0
    """Crops whose features are averaged with those of the whole image; features given here are such averages."""
    calibration: Calibration = field(default_factory=Calibration)
    support: np.ndarray | None = None
    """(M, D) float32 features for the out-of-distribution test; ``None`` skips it."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """JSON-like: settings, what became of the names, weights of the heads, rounds."""
    method: str = METHOD

    @property
    def dim(self) -> int:
        """D."""
        return width(next(iter(self.head.heads.values())))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Features (B, D), unit norm, averaged over ``views``, to (B, C) float32. Raises ``EncoderError``."""
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise EncoderError(
                f"features {features.shape} do not fit a classifier of {self.dim} dimensions",
                remedy="Use the encoder the classifier was fitted with.",
                encoder=self.encoder,
            )
        return self.head.logits(features)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Calibrated probabilities over the names, (B, C) float64."""
        return probabilities(self.logits(features), self.calibration.temperature)

    def unknown(self, features: np.ndarray) -> np.ndarray:
        """(B,) bool: too uncertain, or unlike the collection."""
        return self._unknown(features, self.probabilities(features))

    def predict(self, features: np.ndarray, item_ids: Sequence[str], *, top_k: int = 5) -> list[Prediction]:
        """Classify image features (B, D). Equal probabilities go to the earlier name."""
        if len(features) != len(item_ids):
            raise ValueError(f"{len(features)} features for {len(item_ids)} items")
        if not len(features):
            return []
        chances = self.probabilities(features)
        return ranked(self.names, chances, self._unknown(features, chances), item_ids, top_k=top_k)

    def _unknown(self, features: np.ndarray, chances: np.ndarray) -> np.ndarray:
        found = chances.max(axis=1) < self.calibration.probability_floor
        if self.support is not None and len(self.support):
            found |= nearest_centres(features, self.support)[1] < self.calibration.support_floor
        return np.asarray(found)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``classifier.safetensors`` and then ``classifier.json``, each atomically."""
        folder = Path(folder)
        arrays, caches = _parts(collapsed(self.head))
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "method": self.method,
            "names": list(self.names),
            "encoder": {"name": self.encoder, "fingerprint": self.fingerprint, "dim": self.dim},
            "views": self.views,
            "caches": caches,
            "calibration": self.calibration.to_dict(),
        }
        arrays[SEAL] = seal(manifest, MEANING)
        if self.support is not None:
            arrays["support"] = self.support
        checksum = save_arrays(folder / ARRAYS, arrays)
        manifest |= {"arrays": {"file": ARRAYS, "checksum": checksum}, "notes": dict(self.notes)}
        write_json(folder / MANIFEST, manifest)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> StudentClassifier:
        """Read what ``save`` wrote. Raises ``RunError`` for a missing, damaged or foreign classifier."""
        folder = Path(folder)
        manifest = manifest_in(folder)
        if manifest.get("method") != METHOD:
            raise RunError(
                "this is a classifier of another method", remedy="fgvr.load reads it, whichever.", path=str(folder)
            )
        arrays, _ = load_arrays(folder / ARRAYS)
        try:
            if not np.array_equal(arrays[SEAL], seal(manifest, MEANING)):
                raise ValueError("its JSON is not the one that was saved with its arrays")
            return cls(
                names=tuple(manifest["names"]),
                head=_mixture(arrays, manifest["caches"], names=len(manifest["names"])),
                encoder=manifest["encoder"]["name"],
                fingerprint=manifest["encoder"]["fingerprint"],
                views=int(manifest["views"]),
                calibration=Calibration(**manifest["calibration"]),
                support=arrays.get("support"),
                notes=manifest["notes"],
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise damaged(folder, error) from error


def is_student(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a student: a saved classifier, or the run folder of a fit, finished or not."""
    from fgvr.runs import read_manifest

    place = Path(folder)
    try:
        return bool(manifest_in(place / "classifier" if (place / "classifier").is_dir() else place)["method"] == METHOD)
    except (RunError, KeyError):
        pass
    try:
        settings = read_manifest(place)["settings"]
    except RunError:
        return False
    return isinstance(settings, dict) and settings.get("method") == METHOD


def collapsed(mixture: Mixture) -> Mixture:
    """The same function with its linear heads as one; heads without a weight are gone. Raises ``ValueError`` for none.

    A name that a head rules out (a bias of minus infinity) stays ruled out.
    """
    used = {name: weight for name, weight in mixture.weights.items() if weight}
    linear = [(mixture.heads[name], np.float32(weight)) for name, weight in used.items()]
    flat = [(head, weight) for head, weight in linear if isinstance(head, LinearHead)]
    heads: dict[str, Head] = {}
    weights: dict[str, float] = {}
    if flat:
        matrix = np.asarray(sum(weight * head.weights for head, weight in flat), dtype=np.float32)
        bias = np.asarray(sum(weight * head.bias for head, weight in flat), dtype=np.float32)
        heads[LINEAR], weights[LINEAR] = LinearHead(matrix, bias), 1.0
    for name, weight in used.items():
        if not isinstance(mixture.heads[name], LinearHead):
            heads[name], weights[name] = mixture.heads[name], float(weight)
    if not heads:
        raise ValueError("a mixture needs a head with a weight")
    return Mixture(heads, weights)


def width(head: Head) -> int:
    """Dimensions of the features a head takes. Raises ``TypeError`` for one that is neither linear nor a cache."""
    if isinstance(head, LinearHead):
        return int(head.weights.shape[1])
    if isinstance(head, CacheHead):
        return int(head.keys.shape[1])
    raise TypeError(f"{type(head).__name__} is no head that can be kept")


def _parts(mixture: Mixture) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """A collapsed mixture as arrays and what else a cache needs."""
    arrays: dict[str, np.ndarray] = {}
    caches: list[dict[str, Any]] = []
    for name, head in mixture.heads.items():
        if isinstance(head, LinearHead):
            arrays |= {"weights": head.weights, "bias": head.bias}
        elif isinstance(head, CacheHead):
            arrays |= {f"cache.{len(caches)}.keys": head.keys, f"cache.{len(caches)}.values": head.values}
            caches.append({"name": name, "weight": float(mixture.weights[name]), "sharpness": float(head.sharpness)})
        else:
            raise TypeError(f"{type(head).__name__} is no head that can be kept")
    return arrays, caches


def _mixture(arrays: Mapping[str, np.ndarray], caches: Sequence[Mapping[str, Any]], *, names: int) -> Mixture:
    heads: dict[str, Head] = {}
    weights: dict[str, float] = {}
    if "weights" in arrays:
        heads[LINEAR], weights[LINEAR] = LinearHead(arrays["weights"], arrays["bias"]), 1.0
        _fits(len(arrays["weights"]), names)
        _fits(len(arrays["bias"]), names)
    for number, one in enumerate(caches):
        keys, values = arrays[f"cache.{number}.keys"], arrays[f"cache.{number}.values"]
        _fits(values.shape[1], names)
        heads[one["name"]], weights[one["name"]] = (
            CacheHead(keys, values, float(one["sharpness"])),
            float(one["weight"]),
        )
    if not heads:
        raise ValueError("no head")
    return Mixture(heads, weights)


def _fits(found: int, names: int) -> None:
    if found != names:
        raise ValueError(f"{found} rows for {names} names")
