"""What is left when a fit is over: the memory, the retriever's settings, the rules. Needs no MLLM to retrieve.

Saved as the memory's own files and one JSON file beside them, each replaced atomically.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fgvr.errors import InputError, RunError
from fgvr.memory import Memory, nearest
from fgvr.memory.hnsw import Hnsw
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.cascade import margins
from fgvr.methods.rar.fuse import fuse
from fgvr.methods.rar.rank import RankSettings
from fgvr.methods.rar.retrieve import Retriever, RetrieveSettings
from fgvr.methods.rar.rules import Rules
from fgvr.methods.rar.worth import likeliest
from fgvr.runs import write_json
from fgvr.types import Prediction

INDEX_HITS = 100
"""Nearest images that count where an index finds them; the released code's number."""
FORMAT = 1
SETTINGS = "rar.json"
MEMORY = "memory"


@dataclass(frozen=True)
class Recogniser:
    """A memory that names pictures, with or without an MLLM's second opinion."""

    memory: Memory
    retrieval: RetrieveSettings = field(default_factory=RetrieveSettings)
    rules: Rules = field(default_factory=Rules)
    notes: Mapping[str, Any] = field(default_factory=dict)
    """JSON-like: settings and provenance."""
    ranking: RankSettings = field(default_factory=RankSettings)
    """How the MLLM is asked."""
    index: Hnsw | None = None
    """Approximate search of the memory's images (``fgvr memory index``); exact without one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.memory.names

    def candidates(self, features: np.ndarray) -> Candidates:
        """The k likeliest distinct classes of image features (Q, D), unit norm."""
        return self._retriever.candidates(features)

    @cached_property
    def _retriever(self) -> Retriever:
        settings = self.retrieval
        if self.index is not None:
            settings = replace(settings, hits=settings.hits or INDEX_HITS)
        return Retriever.of(self.memory, settings, searcher=self.index)

    def strange(self, features: np.ndarray) -> np.ndarray:
        """(Q,) bool: farther from every memory image than ``rules.cosine_floor``."""
        if self.rules.cosine_floor <= -1 or not len(self.memory.images):
            return np.zeros(len(features), dtype=bool)
        _, cosines = nearest(features, self.memory.images.pieces, k=1)
        return np.asarray(cosines[:, 0] < self.rules.cosine_floor)

    def asks(self, candidates: Candidates) -> np.ndarray:
        """(Q,) bool: where the MLLM is worth a call."""
        several = (candidates.classes >= 0).sum(axis=1) > 1
        if self.rules.asking == "never" or self.rules.weight == 0:
            return np.zeros(len(several), dtype=bool)
        several &= self.hears(candidates)
        if self.rules.asking == "always":
            return np.asarray(several)
        return np.asarray(several & (margins(candidates.log_probs) < self.rules.margin))

    def hears(self, candidates: Candidates) -> np.ndarray:
        """(Q,) bool: rows whose likeliest candidate the MLLM is known to recognise, or nothing is known about that."""
        if self.rules.heard is None:
            return np.ones(len(candidates), dtype=bool)
        heard = set(self.rules.heard)
        known = np.array([name in heard for name in self.names])
        return np.asarray(known[likeliest(candidates)])

    def probabilities(self, candidates: Candidates, said: np.ndarray | None = None) -> np.ndarray:
        """(Q, k) float64 probabilities of the candidates over *all* classes, in the candidates' order.

        ``said``: (Q, k) the MLLM's log-probabilities, NaN where it was not asked. The MLLM moves probability between
        candidates; how much they have together stays the retriever's word. A class that stands in a row twice
        (``distinct=False``) has all its probability in the first slot.
        """
        repeated = self._repeated(candidates)
        held = np.where(repeated, 0.0, np.exp(candidates.log_probs.astype(np.float64)))
        if said is None:
            return held
        fused = np.exp(fuse(candidates.log_probs, said, weight=self.rules.weight, temperature=self.rules.temperature))
        if repeated.any():
            same = candidates.classes[:, :, None] == candidates.classes[:, None, :]
            fused = np.where(repeated, 0.0, (same * fused[:, None, :]).sum(axis=2))
        moved = np.minimum(held.sum(axis=1, keepdims=True), 1.0) * fused
        asked = np.isfinite(said).any(axis=1) & self.hears(candidates)
        return np.minimum(np.where(asked[:, None], moved, held), 1.0)

    def _repeated(self, candidates: Candidates) -> np.ndarray:
        """(Q, k) bool: slots whose class stands in a slot before (``distinct=False``)."""
        if self.retrieval.distinct:
            return np.zeros(candidates.classes.shape, dtype=bool)
        same = candidates.classes[:, :, None] == candidates.classes[:, None, :]
        return np.asarray(np.tril(same, -1).any(axis=2) & (candidates.classes >= 0))

    def predictions(
        self,
        candidates: Candidates,
        item_ids: Sequence[str],
        *,
        said: np.ndarray | None = None,
        strange: np.ndarray | None = None,
        top_k: int = 5,
    ) -> list[Prediction]:
        """One prediction a row. Ties go to the better retrieved.

        ``strange``: (Q,) bool, unlike every memory image; says nothing against a class known by its name alone.
        """
        named = (candidates.classes >= 0) & ~self._repeated(candidates)
        chances = np.where(named, self.probabilities(candidates, said), -1.0)
        order = np.argsort(-chances, axis=1, kind="stable")[:, : max(1, top_k)]
        unknown = chances.max(axis=1) < self.rules.probability_floor
        if strange is not None and len(candidates):
            best = np.take_along_axis(candidates.classes, order[:, :1], axis=1)[:, 0]
            unknown |= strange & (self.memory.counts("image") > 0)[best]
        found = []
        for row, item in enumerate(item_ids):
            kept = [j for j in order[row] if named[row, j]]
            top = tuple((self.names[candidates.classes[row, j]], float(chances[row, j])) for j in kept)
            found.append(Prediction(item, "unknown" if unknown[row] else top[0][0], top[0][1], top, bool(unknown[row])))
        return found

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the memory, then ``rar.json``, each atomically."""
        folder = Path(folder)
        self.memory.save(folder / MEMORY)
        content = {
            "format": FORMAT,
            "retrieval": asdict(self.retrieval),
            "rules": self.rules.to_dict(),
            "ranking": asdict(self.ranking),
            "notes": dict(self.notes),
        }
        write_json(folder / SETTINGS, {**content, "sum": _sum(content)})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Recogniser:
        """Read what ``save`` wrote. Raises ``RunError`` for something missing, damaged or foreign."""
        folder = Path(folder)
        try:
            content = json.loads((folder / SETTINGS).read_bytes())
            if content["format"] != FORMAT:
                raise RunError("the run was made by another version", remedy="Use that version.", path=str(folder))
            if content.pop("sum") != _sum(content):
                raise ValueError("it was changed since it was written")
            retrieval, rules = RetrieveSettings(**content["retrieval"]), Rules.from_dict(content["rules"])
            ranking, notes = RankSettings(**content["ranking"]), dict(content["notes"])
        except FileNotFoundError as error:
            remedy = "Give the --out folder of a finished fgvr fit rar."
            raise RunError("there is no finished RAR run here", remedy=remedy, path=str(folder)) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InputError) as error:
            raise RunError(f"{SETTINGS} cannot be read: {error}", remedy="Fit again.", path=str(folder)) from error
        return cls(Memory.load(folder / MEMORY), retrieval, rules, notes, ranking)

    def retrieving_only(self) -> Recogniser:
        """The same without an MLLM."""
        return replace(self, rules=replace(self.rules, asking="never"))


def _sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
