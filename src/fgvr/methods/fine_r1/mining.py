"""Which picture is whose positive and negative, as places in a pool sorted by class and id; rules in ``triplets``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fgvr.errors import InputError
from fgvr.methods.fine_r1.class_names import SuperCategory, apart, by_class, class_key, rank, super_categories, written
from fgvr.methods.fine_r1.nearest import Found, exact, is_copy, nearest_named, nearest_pictures
from fgvr.types import ImageItem


@dataclass(frozen=True)
class Pool:
    """Named pictures: a class is a range of places, and of two places of a class the smaller has the smaller id."""

    items: tuple[ImageItem, ...]
    vectors: np.ndarray
    """(N, D) float32, unit norm."""
    labels: np.ndarray
    """(N,) int, class of each place, ascending."""
    keys: tuple[str, ...]
    """(C,) class keys, sorted."""
    anchors: np.ndarray
    """(A,) int ascending, the places drawn for reinforcement learning; negatives come from these too."""
    order: np.ndarray
    """(N,) int, how many ids are smaller."""

    @classmethod
    def of(cls, items: Sequence[ImageItem], vectors: np.ndarray, *, shots: int | None, seed: int) -> Pool:
        """Draw ``shots`` pictures a class. Raises ``InputError`` for fewer than two classes."""
        classes = by_class(items)
        if len(classes) < 2:
            remedy = "Give pictures of two or more classes: there is nothing to tell apart."
            raise InputError("negatives need another class", remedy=remedy, classes=len(classes))
        ordered = [item for members in classes.values() for item in members]
        place = {item.id: number for number, item in enumerate(ordered)}
        row = {item.id: number for number, item in enumerate(items)}
        chosen = [
            place[item.id]
            for members in classes.values()
            for item in sorted(members, key=lambda one: (rank(seed, one.id), one.id))[:shots]
        ]
        return cls(
            items=tuple(ordered),
            vectors=vectors[[row[item.id] for item in ordered]],
            labels=np.repeat(np.arange(len(classes)), [len(members) for members in classes.values()]),
            keys=tuple(classes),
            anchors=np.array(sorted(chosen)),
            order=np.argsort(sorted(range(len(ordered)), key=lambda at: ordered[at].id)),
        )

    def key(self, place: int) -> str:
        """The class of a place."""
        return self.keys[int(self.labels[place])]

    def members(self, label: int, *, drawn: bool) -> np.ndarray:
        """Places of a class: those drawn, or all."""
        start, end = np.searchsorted(self.labels, [label, label + 1])
        if not drawn:
            return np.arange(start, end)
        return self.anchors[np.searchsorted(self.anchors, start) : np.searchsorted(self.anchors, end)]

    def classes(self) -> dict[str, list[ImageItem]]:
        """All items by class key."""
        return by_class(self.items)


@dataclass(frozen=True)
class Rivals:
    """Which classes may be whose negatives."""

    kinds: Mapping[str, str]
    """Class key to super-category, empty where it is not known."""
    of: Mapping[int, np.ndarray]
    """Class number to the numbers of the classes that may be taken, ascending."""
    widened: tuple[int, ...]
    """Classes that are alone in their super-category and take from all."""

    @classmethod
    def among(cls, pool: Pool, super_category: SuperCategory, *, nested: bool) -> Rivals:
        """Other classes of the same super-category that are not ``apart``; for a class without one, all others."""
        classes = pool.classes()
        kinds = super_categories({key: written(members) for key, members in classes.items()}, super_category)
        number = {key: at for at, key in enumerate(pool.keys)}
        kin: dict[str, list[int]] = defaultdict(list)
        for key in pool.keys:
            kin[kinds[key]].append(number[key])
        everyone = np.arange(len(pool.keys))
        of, widened = {}, []
        for key, same in apart(classes, nested=nested).items():
            barred = [number[key], *(number[other] for other in same)]
            near = np.array(kin[kinds[key]]) if kinds[key] else everyone
            of[number[key]] = np.setdiff1d(near, barred)
            if not len(of[number[key]]):
                of[number[key]] = np.setdiff1d(everyone, barred)
                widened.append(number[key])
        return cls(kinds, of, tuple(number for number in widened if len(of[number])))


def nearest_by_picture(pool: Pool, rivals: Rivals) -> dict[int, Found]:
    """The most similar picture of a rival class, for each anchor."""
    found: dict[int, Found] = {}
    for anchors, places in _tasks(pool, rivals):
        labels = pool.labels[places]
        present = np.unique(labels)
        barred = {}
        for label in np.unique(pool.labels[anchors]).tolist():
            others = np.setdiff1d(present, rivals.of[label])
            ends = zip(np.searchsorted(labels, others), np.searchsorted(labels, others + 1), strict=True)
            barred[label] = np.concatenate([np.arange(start, end) for start, end in ends])
        nearest = nearest_pictures(pool.vectors, anchors, places, barred, pool.labels, pool.order)
        found.update(zip(anchors.tolist(), nearest, strict=True))
    return found


def nearest_by_name(pool: Pool, rivals: Rivals, texts: Mapping[str, np.ndarray] | None) -> dict[int, Found]:
    """The most similar picture of the rival class whose name is nearest, for each anchor."""
    members = {label: pool.members(label, drawn=True) for label in range(len(pool.keys))}
    vectors = text_vectors(pool, texts)
    found = nearest_named(pool.vectors, pool.anchors, vectors, rivals.of, pool.labels, members, pool.order)
    return dict(zip(pool.anchors.tolist(), found, strict=True))


def random_pictures(pool: Pool, rivals: Rivals, *, seed: int) -> dict[int, Found]:
    """A rival class drawn evenly and one of its pictures, for each anchor; the same whatever the input's order."""
    found = {}
    for place in pool.anchors.tolist():
        allowed = rivals.of[int(pool.labels[place])]
        if not len(allowed):
            continue
        label = int(allowed[rank(seed, "class", pool.items[place].id) % len(allowed)])
        at = _other(pool, place, pool.members(label, drawn=True), rank(seed, "picture", pool.items[place].id))
        if at is not None:
            found[place] = at, float(exact(pool.vectors[[at]], pool.vectors[place])[0])
    return found


def positive_of(pool: Pool, place: int, *, drawn: bool, seed: int) -> int | None:
    """A random other picture of the anchor's class that is no copy of it."""
    members = pool.members(int(pool.labels[place]), drawn=drawn)
    return _other(pool, place, members[members != place], rank(seed, "positive", pool.items[place].id))


def spellings(pool: Pool) -> list[tuple[str, ...]]:
    """How each class is written, sorted."""
    return [tuple(sorted({(item.label or "").strip() for item in members})) for members in pool.classes().values()]


def text_vectors(pool: Pool, given: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """(C, D) the text vector of each class, of its written name or else of any spelling of it.

    Raises ``InputError`` for a class without one, and for another width or norm.
    """
    by_key = {class_key(name): vector for name, vector in sorted((given or {}).items())}
    names = {key: written(members) for key, members in pool.classes().items()}
    if missing := [names[key] for key in pool.keys if key not in by_key]:
        remedy = "Give the text vector of every class's name, of the same dual encoder."
        raise InputError("image-text needs text vectors", remedy=remedy, missing=len(missing), first=missing[0])
    vectors = [np.asarray((given or {}).get(names[key], by_key[key])) for key in pool.keys]
    if any(vector.shape != pool.vectors.shape[1:] for vector in vectors):
        raise InputError("text vectors do not fit the pictures'", remedy=FEATURES, width=pool.vectors.shape[1])
    return unit_vectors(np.stack(vectors), len(vectors))


def unit_vectors(features: np.ndarray, count: int) -> np.ndarray:
    """(count, D) float32. Raises ``InputError`` for another shape or norm."""
    vectors = np.asarray(features, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != count:
        raise InputError("features do not fit the pictures", remedy=FEATURES, shape=vectors.shape, pictures=count)
    if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):  # not finite ones fail here too
        raise InputError("features are not of unit norm", remedy=FEATURES)
    return vectors


FEATURES = "Give one vector of unit norm a picture, all of one dual encoder."


def _tasks(pool: Pool, rivals: Rivals) -> list[tuple[np.ndarray, np.ndarray]]:
    """(anchors, places that may be taken): one a super-category, so that others are not even multiplied."""
    groups: dict[str, list[int]] = defaultdict(list)
    for label, key in enumerate(pool.keys):
        groups["" if label in rivals.widened else rivals.kinds[key]].append(label)
    tasks = []
    for kind, labels in groups.items():
        anchors = pool.anchors[np.isin(pool.labels[pool.anchors], labels)]
        tasks.append((anchors, anchors if kind else pool.anchors))
    return tasks


def _other(pool: Pool, place: int, members: np.ndarray, draw: int) -> int | None:
    """The drawn member, or the next one that is no copy of the anchor."""
    for step in range(len(members)):
        at = int(members[(draw + step) % len(members)])
        if at != place and not is_copy(pool.vectors[at], pool.vectors[place]):
            return at
    return None
