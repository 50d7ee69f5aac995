"""What is left when the training is over: a matrix of text features, its names, and when to say "unknown".

Needs only image features: no text tower, no MLLM, no torch. Saved as safetensors and JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.errors import EncoderError, RunError
from fgvr.methods.near.calibrate import Calibration, probabilities
from fgvr.runs import load_arrays, save_arrays, write_json
from fgvr.types import Prediction

FORMAT = 1
MANIFEST = "classifier.json"
ARRAYS = "classifier.safetensors"
SEAL = "seal"
MEANING = ("method", "names", "encoder", "logit_scale", "calibration")


@dataclass(frozen=True)
class Classifier:
    """A named linear classifier in an encoder's image-text space."""

    names: tuple[str, ...]
    text_features: np.ndarray
    """(C, D) float32, unit norm."""
    encoder: str
    fingerprint: str
    """Of the encoder; image features of any other are refused."""
    logit_scale: float
    method: str = "near"
    calibration: Calibration = field(default_factory=Calibration)
    support: np.ndarray | None = None
    """(N, D) float32 support features for the out-of-distribution test; ``None`` skips it."""
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The learned ``context`` or ``residual``, kept for inspection."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """JSON-like: settings, provenance of the names, trace, costs."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Scale times cosine: features (B, D), unit norm, to (B, C) float32."""
        if features.ndim != 2 or features.shape[1] != self.text_features.shape[1]:
            raise EncoderError(
                f"features {features.shape} do not fit a classifier of {self.text_features.shape[1]} dimensions",
                remedy="Use the encoder the classifier was fitted with.",
                encoder=self.encoder,
            )
        return np.asarray(self.logit_scale * (features @ self.text_features.T), dtype=np.float32)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Calibrated probabilities over the names, (B, C) float64."""
        return probabilities(self.logits(features), self.calibration.temperature)

    def unknown(self, features: np.ndarray) -> np.ndarray:
        """(B,) bool: too uncertain, or unlike the collection; see ``calibrate.py``."""
        rules = self.calibration
        logits = self.logits(features)
        strange = logits.max(axis=1) / self.logit_scale < rules.cosine_floor
        unsure = probabilities(logits, rules.temperature).max(axis=1) < rules.probability_floor
        if self.support is not None and len(self.support):
            strange |= (features @ self.support.T).max(axis=1) < rules.support_floor
        return np.asarray(strange | unsure)

    def predict(self, features: np.ndarray, item_ids: Sequence[str], *, top_k: int = 5) -> list[Prediction]:
        """Classify image features (B, D), unit norm. Equal probabilities go to the earlier name."""
        if len(features) != len(item_ids):
            raise ValueError(f"{len(features)} features for {len(item_ids)} items")
        if not len(features):
            return []
        return ranked(self.names, self.probabilities(features), self.unknown(features), item_ids, top_k=top_k)

    def restricted(self, kept: np.ndarray) -> Classifier:
        """The same classifier over some of its names (label filtering)."""
        names = tuple(self.names[j] for j in kept)
        parameters = {key: value[kept] if key == "residual" else value for key, value in self.parameters.items()}
        return replace(self, names=names, text_features=self.text_features[kept], parameters=parameters)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``classifier.safetensors`` and then ``classifier.json``, each atomically."""
        folder = Path(folder)
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "method": self.method,
            "names": list(self.names),
            "encoder": {"name": self.encoder, "fingerprint": self.fingerprint, "dim": int(self.text_features.shape[1])},
            "logit_scale": self.logit_scale,
            "calibration": self.calibration.to_dict(),
        }
        arrays = {"text_features": self.text_features, SEAL: seal(manifest, MEANING)}
        arrays |= {f"parameter.{key}": value for key, value in self.parameters.items()}
        if self.support is not None:
            arrays["support"] = self.support
        checksum = save_arrays(folder / ARRAYS, arrays)
        manifest |= {"arrays": {"file": ARRAYS, "checksum": checksum}, "notes": dict(self.notes)}
        write_json(folder / MANIFEST, manifest)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Classifier:
        """Read what ``save`` wrote. Raises ``RunError`` for a missing, damaged or foreign classifier."""
        folder = Path(folder)
        manifest = manifest_in(folder)
        arrays, _ = load_arrays(folder / ARRAYS)
        try:
            if SEAL in arrays and not np.array_equal(arrays[SEAL], seal(manifest, MEANING)):
                raise ValueError("its JSON is not the one that was saved with its arrays")
            text = arrays["text_features"]
            if len(text) != len(manifest["names"]):
                raise ValueError(f"{len(text)} features for {len(manifest['names'])} names")
            return cls(
                names=tuple(manifest["names"]),
                text_features=text,
                encoder=manifest["encoder"]["name"],
                fingerprint=manifest["encoder"]["fingerprint"],
                logit_scale=float(manifest["logit_scale"]),
                method=manifest["method"],
                calibration=Calibration(**manifest["calibration"]),
                support=arrays.get("support"),
                parameters={k.removeprefix("parameter."): v for k, v in arrays.items() if k.startswith("parameter.")},
                notes=manifest["notes"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(folder, error) from error


def ranked(
    names: Sequence[str], chances: np.ndarray, unknown: np.ndarray, item_ids: Sequence[str], *, top_k: int
) -> list[Prediction]:
    """Probabilities (B, C) and who is unknown (B,) as predictions. Equal probabilities go to the earlier name."""
    order = np.argsort(-chances, axis=1, kind="stable")[:, : max(1, top_k)]
    found = []
    for row, item in enumerate(item_ids):
        top = tuple((names[j], float(chances[row, j])) for j in order[row])
        name = "unknown" if unknown[row] else top[0][0]
        found.append(Prediction(item, name, top[0][1], top, bool(unknown[row])))
    return found


def seal(manifest: Mapping[str, Any], keys: Sequence[str]) -> np.ndarray:
    """(32,) uint8: SHA-256 of what gives the arrays their meaning, the values of ``keys``.

    Kept among the arrays, whose own checksum guards it: a kill between the two files, or a changed letter in a name,
    is noticed. Notes do not count.
    """
    meaning = [manifest[key] for key in keys]
    return np.frombuffer(hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).digest(), dtype=np.uint8)


def manifest_in(folder: Path) -> dict[str, Any]:
    """``classifier.json`` of a saved classifier. Raises ``RunError`` for a missing, damaged or foreign one."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise RunError("the classifier was saved by another version", remedy="Use that version.", path=str(folder))
    except FileNotFoundError as error:
        raise RunError(
            "there is no classifier here", remedy="Give the folder of a finished fit.", path=str(folder)
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(folder, error) from error
    return dict(manifest)


def damaged(folder: Path, error: Exception) -> RunError:
    """What is raised for a classifier that cannot be read."""
    return RunError(f"the classifier cannot be read: {error!r}", remedy="Fit it again.", path=str(folder))
