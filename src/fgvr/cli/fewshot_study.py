"""What ``fgvr fewshot`` works on: two splits of labelled photographs, embedded, and what the protocol says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fgvr.cli.console import Progress, note, show_set_aside
from fgvr.cli.tables import percent

if TYPE_CHECKING:
    from fgvr.encoders import FeatureTable
    from fgvr.encoders.base import DualEncoder
    from fgvr.methods.rar.fewshot import FewShotData
    from fgvr.types import ImageItem


@dataclass(frozen=True)
class Plan:
    """What is run."""

    shots: tuple[int, ...]
    draws: int
    k: int | None
    seed: int
    studies: bool


@dataclass(frozen=True)
class Study:
    """The collection embedded."""

    train: FeatureTable
    test: FeatureTable
    data: FewShotData
    unseen: int
    """Test photographs left out because no training photograph has their class."""
    shared: int = 0
    """Test photographs whose bytes are also in training."""

    def without_leaks(self, *, allow: bool) -> Study:
        """Raises ``EvaluationError`` when a test photograph is also a training photograph, unless ``allow``."""
        from fgvr.errors import EvaluationError

        known = set(self.train.hashes)
        shared = [item.id for item, sha256 in zip(self.test.items, self.test.hashes, strict=True) if sha256 in known]
        if shared and not allow:
            raise EvaluationError(
                f"{len(shared)} test photographs are also in the training split",
                remedy="Take them out, or add --allow-leaks.",
                first=shared[0],
            )
        return replace(self, shared=len(shared))

    def protocol(self, plan: Plan, encoder: DualEncoder, held_out: float | None) -> list[str]:
        """What a figure must state."""
        data = self.data
        shots = ", ".join("all" if number == 0 else str(number) for number in plan.shots)
        lines = [
            f"{len(data.names)} classes, {len(data.train)} training and {len(data.test)} test photographs",
            f"shots {shots}; {plan.draws} nested draws from seed {plan.seed}, 95 % t interval over draws where several",
            f"encoder {encoder.name} ({encoder.fingerprint[:12]}), image size {encoder.image_size}",
        ]
        if held_out is not None:
            lines.append(f"no official split: {percent(held_out)} of each class held out for test by seed {plan.seed}")
        if self.unseen:
            lines.append(f"{self.unseen} test photographs of classes without a training photograph were left out")
        if self.shared:
            lines.append(f"{self.shared} test photographs are also in training: optimistic")
        return lines


def parse_shots(text: str) -> tuple[int, ...]:
    """``1,4,all`` to (1, 4, 0). Raises ``InputError``."""
    from fgvr.errors import InputError

    found = []
    for part in (piece.strip() for piece in text.split(",")):
        if part == "all":
            found.append(0)
        elif part.isdecimal() and int(part) > 0:
            found.append(int(part))
        else:
            raise InputError("these are no numbers of shots", remedy="Write them like 1,2,4,all.", shots=text)
    return tuple(dict.fromkeys(found))


def labelled_splits(
    images: str, train: str, test: str, held_out: float | None, seed: int
) -> tuple[list[ImageItem], list[ImageItem]]:
    """Labelled items of the two splits; the others are told of."""
    from fgvr.data import load_items
    from fgvr.errors import InputError

    if held_out is None:
        sides = [load_items(images, split=split) for split in (train, test)]
        found = [list(side.items) for side in sides]
        show_set_aside([aside for side in sides for aside in side.set_aside])
    else:
        everything = load_items(images)
        show_set_aside(everything.set_aside)
        found = held_out_items(everything.items, held_out, seed)
    labelled = [[item for item in side if item.label] for side in found]
    if not labelled[0] or not labelled[1]:
        raise InputError(
            "there are no labelled photographs in one of the splits",
            remedy="Use one folder per class, or a label column; --held-out where there are no splits.",
            images=images,
        )
    left = sum(map(len, found)) - sum(map(len, labelled))
    if left:
        note(f"{left} photographs without a label are left out")
    return labelled[0], labelled[1]


def held_out_items(items: Sequence[ImageItem], share: float, seed: int) -> list[list[ImageItem]]:
    """(training, test): of each class ``share``, at least one where it has two; a class of one stays in training."""
    from fgvr.data import draw_support

    classes: dict[str, list[ImageItem]] = {}
    for item in items:
        if item.label:
            classes.setdefault(item.label, []).append(item)
    train: list[ImageItem] = []
    test: list[ImageItem] = []
    for members in classes.values():
        wanted = min(len(members) - 1, max(1, round(share * len(members))))
        drawn, rest = draw_support(members, n=wanted, seed=seed) if wanted else ((), tuple(members))
        test, train = [*test, *drawn], [*train, *rest]
    return [train, test]


def embedded(
    train: Sequence[ImageItem],
    test: Sequence[ImageItem],
    encoder: DualEncoder,
    store: Path,
    bar: Progress,
    *,
    text: bool,
) -> Study:
    """Features of both splits and of the class names; the classes are those of the training split."""
    import numpy as np

    from fgvr.encoders import FeatureStore
    from fgvr.encoders.zero_shot import text_classifier
    from fgvr.methods.rar.fewshot import FewShotData

    features = FeatureStore(store)
    names = sorted({str(item.label) for item in train})
    index = {name: number for number, name in enumerate(names)}
    known = [item for item in test if item.label in index]
    tables = [
        features.features(side, encoder, progress=lambda done, total: bar("features", done, total))
        for side in (train, known)
    ]
    show_set_aside([aside for one in tables for aside in one.set_aside])
    labels = [np.array([index[str(item.label)] for item in one.items]) for one in tables]
    data = FewShotData(
        names=tuple(names),
        train=np.asarray(tables[0].features),
        train_labels=labels[0],
        test=np.asarray(tables[1].features),
        test_labels=labels[1],
        texts=text_classifier(encoder, names) if text else None,
        logit_scale=encoder.logit_scale,
        train_ids=tuple(item.id for item in tables[0].items),
        train_hashes=tables[0].hashes,
    )
    return Study(tables[0], tables[1], data, len(test) - len(known))
