"""What choosing, tuning and calibrating work on, and those three steps.

With a folder, each step leaves there what a killed fit goes on from: ``tuning-*.safetensors`` and ``cross_fit/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fgvr.encoders.base import DualEncoder
from fgvr.methods.near.calibrate import Calibration, calibrate
from fgvr.methods.near.candidates import CandidateSets
from fgvr.methods.near.cross_fit import cross_fit, held_out_votes
from fgvr.methods.near.durable import inputs_digest, sound_or_absent
from fgvr.methods.near.select import Selection, select
from fgvr.methods.near.settings import SetSettings, TuneSettings

if TYPE_CHECKING:
    from fgvr.methods.near.tuning import Epoch, Tuned


@dataclass(frozen=True)
class Problem:
    """Named support images and a label space, in an encoder's space. Letters: N images, V views, C names."""

    features: np.ndarray
    """(N, D) or (N, V, D) float32, unit norm, view 0 plain."""
    labels: np.ndarray
    """(N,) indices into ``names``, -1 for unnamed."""
    names: Sequence[str]
    encoder: DualEncoder
    text_features: np.ndarray
    """(C, D) zero-shot features of the names."""
    sets: SetSettings
    folds: int
    """Of cross-fitting; below 2 there is none."""
    seed: int
    folder: Path | None = None
    progress: Callable[[str, int, int], None] | None = None
    """Called with (stage, done, total)."""

    @property
    def plain(self) -> np.ndarray:
        """(N, D): the features of the plain views."""
        return self.features if self.features.ndim == 2 else self.features[:, 0]

    def chosen(self, candidates: Mapping[str, TuneSettings]) -> tuple[TuneSettings, Selection | None]:
        """The tuning settings, chosen on the support when there are several; with its held-out predictions."""
        if len(candidates) == 1:
            return next(iter(candidates.values())), None
        self._report("select", 0, len(candidates))
        selection = select(
            self.features,
            self.labels,
            self.encoder.prompt_tower(),
            self.names,
            text_features=self.text_features,
            candidates=candidates,
            sets=self.sets,
            folds=max(2, self.folds),
            logit_scale=self.encoder.logit_scale,
            seed=self.seed,
            folder=self._cross_fit_folder(),
        )
        return selection.settings, selection

    def tuned(self, sets: CandidateSets, tuning: TuneSettings) -> Tuned:
        """The classifier, tuned on candidate sets over all support images."""
        from fgvr.methods.near.tuning import tune

        def report(epoch: Epoch, total: int) -> None:
            self._report("tune", epoch.epoch + 1, total)

        return tune(
            self.features,
            sets,
            self.text_features if tuning.head == "lite" else self.encoder.prompt_tower(),
            tuning,
            names=self.names,
            logit_scale=self.encoder.logit_scale,
            seed=self.seed,
            checkpoint=self._checkpoint(sets, tuning),
            progress=report,
        )

    def calibration(
        self,
        tuned: Tuned,
        tuning: TuneSettings,
        kept: np.ndarray,
        selection: Selection | None,
        *,
        unknown_share: float,
        strange_share: float,
    ) -> Calibration:
        """Temperature and thresholds over the kept names, from held-out predictions where there are any."""
        cosines, source = self._held_out(tuning, selection), "cross-fit"
        if cosines is None:
            cosines, source = self.plain @ tuned.text_features.T, "support"
        votes = held_out_votes(self.features, self.labels, len(self.names))[:, kept]
        totals = votes.sum(axis=1, keepdims=True)
        return calibrate(
            cosines[:, kept],
            np.divide(votes, totals, out=np.zeros_like(votes), where=totals > 0),
            self.plain,
            logit_scale=self.encoder.logit_scale,
            unknown_share=unknown_share,
            strange_share=strange_share,
            source=source,
        )

    def _held_out(self, tuning: TuneSettings, selection: Selection | None) -> np.ndarray | None:
        """Cosines (N, C) of images to names by classifiers tuned without them; ``None`` where folds make no sense."""
        if selection is not None:
            return selection.cosines
        if self.folds < 2 or len(np.unique(self.plain, axis=0)) < 2 * self.folds:
            return None
        self._report("calibrate", 0, 1)
        return cross_fit(
            self.features,
            self.labels,
            self.encoder.prompt_tower() if tuning.head == "prompt" else None,
            self.names,
            tuning,
            text_features=self.text_features,
            sets=self.sets,
            folds=self.folds,
            logit_scale=self.encoder.logit_scale,
            seed=self.seed,
            folder=self._cross_fit_folder(),
        )

    def _checkpoint(self, sets: CandidateSets, tuning: TuneSettings) -> Path | None:
        """Named by its inputs: a run that goes on with more labels than before starts a new checkpoint."""
        if self.folder is None:
            return None
        given = [list(self.names), tuning.to_dict(), self.encoder.logit_scale, self.seed]
        key = inputs_digest(self.features, sets.members, sets.offsets, sets.values, self.text_features, given)
        return sound_or_absent(self.folder / f"tuning-{key[:16]}.safetensors")

    def _cross_fit_folder(self) -> Path | None:
        return None if self.folder is None else self.folder / "cross_fit"

    def _report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)
