"""RAR for regions: given boxes are cropped, compared with class names, and the likeliest classes ranked by an MLLM.

The paper's "zero-shot region recognition" (section 3.2, Table 12), from annotations to COCO results::

    boxes --crop, resize, blur--> features --text memory--> candidates --MLLM--> reordered --300 rule--> results

Paper, released code (there is none for detection), and what we do:

1. *Crops.* Window, scale by area and blur: ``fgvr.regions``.
2. *Retrieval* is from image to text alone, as in the paper: "CLIP's ability to extract features from these
   low-resolution images is limited", so crops are not compared with images.
3. *Scores.* The paper reports AP but no scores: its output is an order. Here a class's score is its probability:
   softmax over all classes at the encoder's scale. How ranking changes it: ``regions_rank``.
4. *Classes a box.* LVIS counts 300 detections a picture, and a box may carry several classes: each gets
   ``max(1, min(most_classes, 300 // boxes in the picture))`` of them, by default as many as there is room for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fgvr.data.boxes import Box, Category
from fgvr.data.boxes_results import Results
from fgvr.encoders.base import DualEncoder
from fgvr.encoders.zero_shot import text_classifier
from fgvr.errors import InputError
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.regions_features import RegionTable as RegionTable
from fgvr.methods.rar.regions_features import crop_id as crop_id
from fgvr.methods.rar.regions_features import crops as crops
from fgvr.methods.rar.regions_features import region_features as region_features
from fgvr.methods.rar.retrieve import PlainMemory, RetrieveSettings, retrieve
from fgvr.metrics.detection import MAX_DETECTIONS

BLOCK = 8192
"""Boxes looked up at once: with 300 candidates each, 30 MB."""
TEMPLATES = ("a photo of a {}.",)


def text_memory(
    encoder: DualEncoder, categories: Sequence[Category], *, templates: Sequence[str] = TEMPLATES
) -> PlainMemory:
    """A memory of class names alone: one text feature a category, in the order given.

    Two categories of one name stay two, equally likely. Raises ``InputError`` without a category, or for a template
    without ``{}``.
    """
    if not categories:
        raise InputError("there is no class to compare with", remedy="Give an annotation file with categories.")
    if not all(template.count("{}") == 1 for template in templates):
        raise InputError("a template holds {} once, for the name", remedy="Correct it.", templates=list(templates))
    names = tuple(category.name for category in categories)
    texts = text_classifier(encoder, names, templates=templates)
    return PlainMemory.of(names, texts=texts, logit_scale=encoder.logit_scale)


def classes_a_box(
    boxes: Sequence[Box], *, most_detections: int = MAX_DETECTIONS, most_classes: int = MAX_DETECTIONS
) -> np.ndarray:
    """(N,) int64: how many classes each box may carry, at least 1, by the number of boxes of its picture."""
    if most_detections < 1 or most_classes < 1:
        raise InputError("at least one class a box and one detection a picture are needed", remedy="Raise the limit.")
    held = Counter(box.image for box in boxes)
    room = [max(1, min(most_classes, most_detections // held[box.image])) for box in boxes]
    return np.array(room, dtype=np.int64)


def candidates(features: np.ndarray, memory: PlainMemory, *, k: int) -> Candidates:
    """The ``k`` likeliest classes by name of boxes (N, D); all classes where there are fewer."""
    return retrieve(features, memory, RetrieveSettings(k=max(1, min(k, len(memory.names))), source="text"))


def results_of(
    boxes: Sequence[Box],
    features: np.ndarray,
    memory: PlainMemory,
    categories: Sequence[Category],
    *,
    head: Candidates | None = None,
    most_detections: int = MAX_DETECTIONS,
    most_classes: int = MAX_DETECTIONS,
) -> Results:
    """Retrieve, put the ranked candidates in their places, and keep as many classes a box as there is room for.

    Args:
        boxes: N boxes, all that were cropped.
        features: (N, D) float32, unit norm.
        memory: as ``text_memory`` makes it, of C classes.
        categories: the C categories, in the memory's order.
        head: (N, k) the first k candidates after ranking (``regions_rank.rank_regions``); ``None``: retrieval alone.

    Memory: what is kept, and ``BLOCK`` boxes' candidates. Raises ``InputError`` for a limit below 1.
    """
    room = classes_a_box(boxes, most_detections=most_detections, most_classes=most_classes)
    numbers = np.array([category.id for category in categories], dtype=np.int64)
    rows, classes, scores = [], [], []
    for start in range(0, len(boxes), BLOCK):
        part = np.arange(start, min(start + BLOCK, len(boxes)))
        depth = max(int(room[part].max()), head.k if head is not None else 1)
        found = candidates(features[part], memory, k=depth)
        if head is not None:
            found = with_head(found, head.rows(part))
        kept = (np.arange(found.k) < room[part][:, None]) & (found.classes >= 0)
        rows.append(np.repeat(part, kept.sum(axis=1)))
        classes.append(numbers[found.classes[kept]])
        scores.append(np.exp(found.log_probs[kept].astype(np.float64)))
    joined = [np.concatenate(parts) if parts else np.zeros(0) for parts in (rows, classes, scores)]
    return Results(tuple(boxes), joined[0].astype(np.int64), joined[1].astype(np.int64), joined[2])


def with_head(found: Candidates, head: Candidates) -> Candidates:
    """Candidates (Q, n) whose first ``head.k`` slots are ``head`` (Q, k), sorted by score again; ties keep their order.

    After fusion the last of the head may be less probable than the first class behind it.
    """
    classes, log_probs = found.classes.copy(), found.log_probs.copy()
    width = min(head.k, found.k)
    classes[:, :width], log_probs[:, :width] = head.classes[:, :width], head.log_probs[:, :width]
    order = np.argsort(-log_probs, axis=1, kind="stable")
    return Candidates(np.take_along_axis(classes, order, axis=1), np.take_along_axis(log_probs, order, axis=1))
