"""RAR for regions from end to end: annotations and pictures in, classes with scores for every box out.

The figure in four lines: ``region_features`` (crop, blur, encode), ``candidates`` (retrieve by name), ``rank_regions``
(ask the MLLM), ``results_of`` (the 300 rule). What differs from the paper is numbered in ``regions`` and
``regions_rank``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fgvr.data.boxes import Boxes
from fgvr.data.boxes_results import Results
from fgvr.encoders.base import DualEncoder
from fgvr.methods.rar.rank import RankSettings, ranking_requests
from fgvr.methods.rar.regions import TEMPLATES, candidates, crop_id, region_features, results_of, text_memory
from fgvr.methods.rar.regions_rank import RankedRegions, RegionRankSettings, rank_regions
from fgvr.metrics.detection import MAX_DETECTIONS
from fgvr.mllm.base import Mllm, Request
from fgvr.regions import CropPolicy
from fgvr.types import ImageItem, SetAside

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


@dataclass(frozen=True)
class RegionSettings:
    """How boxes are recognised; the defaults are the specification's."""

    policy: CropPolicy = field(default_factory=CropPolicy)
    """Its ``side`` is that of the crops the MLLM sees; the encoder is given its own ``image_size``."""
    templates: tuple[str, ...] = TEMPLATES
    k: int = 5
    """Candidates that are ranked."""
    scores: RegionRankSettings = field(default_factory=RegionRankSettings)
    ranking: RankSettings = field(default_factory=RankSettings)
    most_detections: int = MAX_DETECTIONS
    """A picture."""
    most_classes: int = MAX_DETECTIONS
    """A box."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)


@dataclass(frozen=True)
class Recognised:
    """What became of the boxes."""

    results: Results
    ranked: RankedRegions | None
    """``None`` without an MLLM."""
    set_aside: tuple[SetAside, ...]
    """Pictures and boxes that could not be cropped."""


def likely_requests(
    boxes: Boxes,
    pictures: Mapping[int, ImageItem],
    settings: RegionSettings = RegionSettings(),
) -> list[Request]:
    """As many questions as ranking will ask at most, for an estimate: the crops and candidates are stand-ins.

    Nothing is decoded or looked up; the true candidates are known only after retrieval.
    """
    wanted = [box for box in boxes.boxes if not box.crowd and box.image in pictures]
    longest = sorted((category.name for category in boxes.categories), key=len, reverse=True)[: settings.k]
    asked = wanted[: math.ceil(settings.scores.ask * len(wanted))]
    items = [ImageItem(crop_id(box), pictures[box.image].path) for box in asked]
    return ranking_requests(items, [longest] * len(items), settings=settings.ranking)


def recognise_regions(
    boxes: Boxes,
    pictures: Mapping[int, ImageItem],
    encoder: DualEncoder,
    mllm: Mllm | None = None,
    *,
    settings: RegionSettings = RegionSettings(),
    crop_folder: Path | None = None,
    store: Path | None = None,
    progress: Progress | None = None,
    **asking: Any,
) -> Recognised:
    """Name every box that is no crowd and whose picture was found.

    Args:
        boxes: ``fgvr.data.boxes.read_boxes``.
        pictures: ``fgvr.data.boxes.locate``.
        mllm: ranks the first ``settings.k`` candidates; ``None``: retrieval alone.
        crop_folder: where the crops for the MLLM are kept; needed with ``mllm``.
        store: folder of kept features.
        asking: what ``ask_all`` takes: ledger, cache, concurrency, budget, ...

    Raises ``NoImagesError`` when no box could be cropped, ``ValueError`` for an MLLM without a ``crop_folder``, and
    what ``ask_all`` raises. Items the MLLM did not answer keep retrieval's order.
    """
    if mllm is not None and crop_folder is None:
        raise ValueError("an MLLM is shown files: give a crop_folder")
    tell = progress or (lambda _stage, _done, _total: None)
    table = region_features(
        boxes,
        pictures,
        encoder,
        replace(settings.policy, side=encoder.image_size),
        store=store,
        crop_folder=crop_folder if mllm is not None else None,
        shown=settings.policy,
        progress=lambda done, total: tell("crop and encode", done, total),
    )
    memory = text_memory(encoder, boxes.categories, templates=settings.templates)
    ranked = None
    if mllm is not None:
        ranked = rank_regions(
            candidates(table.features, memory, k=settings.k),
            table.crops,
            memory.names,
            mllm,
            settings=settings.scores,
            ranking=settings.ranking,
            progress=lambda done, total, _usage: tell("rank", done, total),
            **asking,
        )
    results = results_of(
        table.boxes,
        table.features,
        memory,
        boxes.categories,
        head=None if ranked is None else ranked.head,
        most_detections=settings.most_detections,
        most_classes=settings.most_classes,
    )
    return Recognised(results, ranked, table.set_aside)
