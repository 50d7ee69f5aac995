"""Triplets: a picture, another of its class, and the most similar one of another class (paper, section 3.3).

The miner was not published; only a data file's columns are. What is decided here:

1. *Positive.* Random, among the class's pictures for reinforcement learning (``positives="shots"``) or among all that
   are given (``"all"``); never a copy of the anchor.
2. *Negative.* "The most visually similar other sub-category": ``image-image``, the most similar picture of any other
   class; ``image-text``, the class whose name's text vector is nearest to the anchor, then its most similar picture.
   Among the same pictures for reinforcement learning, within the anchor's super-category where that is known; where the
   super-category has no other class, among all (noted).
3. *Another class* is one under another name after spelling and plural are levelled, whose name is not accepted for the
   anchor's (``class_names``). A copy of the anchor filed under another class is no negative.
4. *Other kinds of negative*, to compare with: ``random`` (a class, then a picture, drawn evenly) and ``masked`` (PAPO's
   blackened patches, see ``masking``), which has no class.
5. *Ties* go to the smaller id; nothing depends on the order of the input, and all is exact.
6. *A class of one picture* has no positive; its triplets take part with the anchor alone. No other class at all is an
   error.

Reason codes: ``no name``, and those of ``fgvr.images`` for pictures that cannot be masked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from fgvr.errors import ImageError, InputError
from fgvr.methods.fine_r1.class_names import SuperCategory
from fgvr.methods.fine_r1.masking import write_masked
from fgvr.methods.fine_r1.mining import (
    Pool,
    Rivals,
    nearest_by_name,
    nearest_by_picture,
    positive_of,
    random_pictures,
    spellings,
    unit_vectors,
)
from fgvr.methods.fine_r1.nearest import Found
from fgvr.methods.fine_r1.prompts import question_of
from fgvr.types import ImageItem, SetAside

Similarity = Literal["image-image", "image-text"]
Negatives = Literal["hard", "random", "masked"]
Positives = Literal["shots", "all"]


@dataclass(frozen=True)
class Triplet:
    """One training example of TAPO."""

    id: str
    """Of the anchor."""
    anchor: Path
    category: str
    """The true name (``answer``)."""
    question: str
    """Without picture marks and without the sentence about tags (``problem``)."""
    positive: Path | None = None
    """Another picture of the class (released column ``image_noisy``); ``None`` where the class has one picture."""
    negative: Path | None = None
    """The most similar picture of another class (``image_aug``); ``None`` where there is none."""
    negative_category: str = ""
    super_category: str = ""
    accepted: tuple[str, ...] = ()
    """Other names that count as right."""
    similarity: float | None = None
    """Of anchor and negative, cosine."""

    def picture(self, positive: bool) -> Path:
        """The positive, where that is asked for and there is one; else the anchor."""
        return self.positive if positive and self.positive is not None else self.anchor


@dataclass(frozen=True)
class Mined:
    """Triplets, sorted by id when mined and in the file's order when read; never none."""

    triplets: tuple[Triplet, ...]
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()
    """What a figure on them must state."""


@dataclass(frozen=True)
class Masking:
    """Where and how masked negatives are written."""

    folder: Path
    patch: int = 14
    """Side in pixels."""
    share: float = 0.6
    """Of the patches, blackened."""


def mine_triplets(
    items: Sequence[ImageItem],
    features: np.ndarray,
    *,
    shots: int | None = 4,
    exclude: Collection[str] = (),
    positives: Positives = "shots",
    negatives: Negatives = "hard",
    similarity: Similarity = "image-image",
    text_features: Mapping[str, np.ndarray] | None = None,
    masking: Masking | None = None,
    super_category: SuperCategory = None,
    nested_names: bool = False,
    seed: int = 0,
) -> Mined:
    """One triplet a picture for reinforcement learning; see the module for the rules.

    Args:
        items: with labels (true names, or names an MLLM gave: ``named.named_items``), ids distinct.
        features: (N, D) unit norm, one row an item, of a dual encoder.
        shots: pictures a class, drawn by seed and id; ``None`` for all. Fewer where a class has fewer.
        exclude: ids that must not be used: the pictures of SFT.
        text_features: for ``image-text``, class name to (D,) unit norm, of the same dual encoder.
        masking: for ``masked``.
        super_category: one word, or class name to word; also what the question asks about.
        nested_names: "Warbler" is no negative of "Yellow Warbler"; for names an MLLM gave.

    Raises ``InputError`` for unknown options, features or text vectors that do not fit, a repeated id, no named picture
    left, and fewer than two classes.
    """
    _check(positives, negatives, similarity, shots, masking)
    rows, aside = _usable(items, exclude)
    vectors = unit_vectors(features, len(items))[rows]
    pool = Pool.of([items[row] for row in rows], vectors, shots=shots, seed=seed)
    rivals = Rivals.among(pool, super_category, nested=nested_names)
    taken: Mapping[int, Found] = {}
    if negatives == "random":
        taken = random_pictures(pool, rivals, seed=seed)
    elif negatives == "hard":
        by_text = similarity == "image-text"
        taken = nearest_by_name(pool, rivals, text_features) if by_text else nearest_by_picture(pool, rivals)
    triplets, spelled = [], spellings(pool)
    for place in sorted(pool.anchors.tolist(), key=lambda at: pool.items[at].id):
        other = positive_of(pool, place, drawn=positives == "shots", seed=seed)
        names = (*pool.items[place].accepted, *spelled[pool.labels[place]])
        triplets.append(_triplet(pool, rivals, place, other, taken.get(place, (-1, 0.0)), names, seed))
    notes = _notes(triplets, pool, rivals, negatives)
    if masking is not None and negatives == "masked":
        triplets, unreadable = _masked(triplets, masking, seed)
        aside += unreadable
    if not triplets:
        raise InputError("no triplet is left", remedy="Check the pictures and the reasons.", set_aside=len(aside))
    return Mined(tuple(triplets), tuple(sorted(aside, key=lambda one: one.id)), tuple(notes))


def _triplet(
    pool: Pool, rivals: Rivals, place: int, positive: int | None, taken: Found, names: Sequence[str], seed: int
) -> Triplet:
    item, kind, (at, cosine) = pool.items[place], rivals.kinds[pool.key(place)], taken
    negative = pool.items[at] if at >= 0 else None
    return Triplet(
        id=item.id,
        anchor=item.path,
        category=_name(item),
        question=question_of(kind or None, key=item.id, seed=seed),
        positive=None if positive is None else pool.items[positive].path,
        negative=None if negative is None else negative.path,
        negative_category="" if negative is None else _name(negative),
        super_category=kind,
        accepted=tuple(dict.fromkeys(name for name in names if name != _name(item))),
        similarity=None if negative is None else cosine,
    )


def _masked(triplets: Sequence[Triplet], masking: Masking, seed: int) -> tuple[list[Triplet], list[SetAside]]:
    """Triplets with their anchors, masked, as negatives; those whose anchor cannot be read."""
    good, bad = [], []
    for one in triplets:
        try:
            negative = write_masked(
                one.anchor, masking.folder, id=one.id, patch=masking.patch, share=masking.share, seed=seed
            )
        except ImageError as error:
            bad.append(SetAside(one.id, str(one.anchor), error.reason, error.message))
            continue
        good.append(replace(one, negative=negative))
    return good, bad


def _notes(triplets: Sequence[Triplet], pool: Pool, rivals: Rivals, negatives: Negatives) -> list[str]:
    alone = sum(one.positive is None for one in triplets)
    lonely = 0 if negatives == "masked" else sum(one.negative is None for one in triplets)
    firsts = np.searchsorted(pool.labels, rivals.widened) if negatives != "masked" else ()
    widened = [_name(pool.items[place]) for place in firsts]
    notes = []
    if alone:
        notes.append(f"{alone} of {len(triplets)} triplets have no positive: their class has no other picture.")
    if lonely:
        notes.append(f"{lonely} of {len(triplets)} triplets have no negative: no class is known to be another one.")
    if widened:
        notes.append(
            f"{len(widened)} classes are alone in their super-category, such as {widened[0]}: "
            "their negatives are of others."
        )
    return notes


# --- input ------------------------------------------------------------------------------------------------------------


def _usable(items: Sequence[ImageItem], exclude: Collection[str]) -> tuple[list[int], list[SetAside]]:
    """Rows of the named items that are not excluded, and those without a name."""
    if len({item.id for item in items}) < len(items):
        raise InputError("two pictures have the same id", remedy="Give every picture an id of its own.")
    without = set(exclude)
    left = [row for row, item in enumerate(items) if item.id not in without]
    bad = [
        SetAside(items[row].id, str(items[row].path), "no name", "a triplet needs its anchor's name")
        for row in left
        if not _name(items[row])
    ]
    return [row for row in left if _name(items[row])], bad


def _name(item: ImageItem) -> str:
    return (item.label or "").strip()


def _check(positives: str, negatives: str, similarity: str, shots: int | None, masking: Masking | None) -> None:
    known = (positives, Positives), (negatives, Negatives), (similarity, Similarity)
    if any(value not in get_args(kind) for value, kind in known) or (shots is not None and shots < 1):
        raise InputError(
            "triplets cannot be mined so",
            remedy="Take positives 'shots' or 'all', negatives 'hard', 'random' or 'masked', similarity 'image-image' "
            "or 'image-text', one shot or more.",
            positives=positives,
            negatives=negatives,
            similarity=similarity,
            shots=shots,
        )
    if (masking is not None) != (negatives == "masked"):
        remedy = "Give both: negatives='masked' and masking=Masking(folder)."
        raise InputError("masked negatives need a folder, and only they do", remedy=remedy, negatives=negatives)
    if masking is not None and (masking.patch < 1 or not 0 < masking.share <= 1):
        remedy = "Take patches of one pixel or more and a share in (0, 1]."
        raise InputError("pictures cannot be masked so", remedy=remedy, patch=masking.patch, share=masking.share)
