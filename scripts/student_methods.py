"""What the student's study compares: each method names the test photographs of a world after a given number of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from student_worlds import REPLIES, World

from fgvr.methods.near import FAST, LITE, SetSettings
from fgvr.methods.near.candidates import make_sets
from fgvr.methods.near.pipeline import FitSettings, fit_classifier
from fgvr.methods.near.tuning import tune
from fgvr.methods.student.asking import informative_rounds, worth_asking_again
from fgvr.methods.student.pipeline import Learned, learn
from fgvr.methods.student.settings import EvidenceSettings, StudentSettings
from fgvr.naming import label_space
from fgvr.naming.choose import LabelsSoFar, choose_support, labels_so_far
from fgvr.reproduce.recorded.heldout import TUNING, prototypes
from fgvr.types import NamedImage

NOTHING = ""
"""The answer where there is none; counted as wrong."""
DEFAULT = StudentSettings()
EVIDENCE = EvidenceSettings()
LIKELIEST = f"direct MLLM, the likeliest of {max(REPLIES)} replies"
ONE, EIGHT = "student, one reply a call", "student, eight replies a call"


@dataclass(frozen=True)
class Student:
    """One row: how images are chosen, which features are used, what is learned."""

    settings: StudentSettings = DEFAULT
    choose: str = "spread"
    views: bool = True
    samples: int = max(REPLIES)
    """Replies drawn in each call, where the teacher can; else one."""
    second: float = 0.0
    """Share of the calls kept back for second opinions."""


def student_row(**parts: object) -> Student:
    """The default with some parts of the settings replaced."""
    return Student(replace(DEFAULT, **parts))  # type: ignore[arg-type]


def heads_only(name: str) -> Student:
    """The default with one head."""
    return student_row(heads=replace(DEFAULT.heads, heads=(name,)))  # type: ignore[arg-type]


ABLATIONS: dict[str, Student] = {
    "random choice": Student(choose="random"),
    "facility location": Student(choose="facility"),
    "rounds of most informative": Student(choose="active"),
    "class-balanced choice (uses the truth)": Student(choose="balanced"),
    "no views": Student(views=False),
    "with evidence": student_row(evidence=EVIDENCE),
    "with evidence but neighbours": student_row(evidence=replace(EVIDENCE, neighbours=False)),
    "with evidence but mutual": student_row(evidence=replace(EVIDENCE, mutual=False)),
    "with evidence but agreement": student_row(evidence=replace(EVIDENCE, agreement=False)),
    "with evidence but names": student_row(evidence=replace(EVIDENCE, names=False)),
    "with evidence but confidence": student_row(evidence=replace(EVIDENCE, confidence=False)),
    "with evidence but alternatives": student_row(evidence=replace(EVIDENCE, alternatives=False)),
    "no propagation": student_row(propagation=replace(DEFAULT.propagation, on=False)),
    "no self-training": student_row(self_training=replace(DEFAULT.self_training, rounds=0)),
    "names not merged by images": student_row(label_space=replace(DEFAULT.label_space, merge_by_images=False)),
    "no name dropped": student_row(label_space=replace(DEFAULT.label_space, drop=False)),
    "zero-shot head alone": heads_only("zero-shot"),
    "prototypes alone": heads_only("prototypes"),
    "em alone": heads_only("em"),
    "gaussian alone": heads_only("gaussian"),
    "residual alone": heads_only("residual"),
    "cache alone": heads_only("cache"),
    "all heads but the prompt": student_row(
        heads=replace(DEFAULT.heads, heads=("zero-shot", "prototypes", "em", "gaussian", "residual", "cache"))
    ),
    "best head by held-out names": student_row(heads=replace(DEFAULT.heads, rule="best")),
    "equal shares": student_row(heads=replace(DEFAULT.heads, rule="equal")),
    "a fifth of the calls for second opinions": Student(second=0.2),
    "prompt alone": heads_only("prompt"),
}


def chosen_rows(
    world: World,
    calls: int,
    how: str,
    *,
    seed: int,
    features: np.ndarray,
    named: Sequence[NamedImage] | None = None,
) -> np.ndarray:
    """Pool rows to ask about, ascending; the whole pool where the calls reach that far. ``named``: what is answered."""
    pool = world.pool
    answers = pool.named if named is None else named
    count = len(pool.named)
    if calls >= count:
        return np.arange(count)
    if how == "balanced":
        return balanced_rows(pool.classes, calls, seed=seed)

    asked: list[int] = []

    def label(rows: np.ndarray) -> LabelsSoFar | None:
        asked.extend(rows.tolist())
        assert world.encoder is not None
        return labels_so_far([answers[row] for row in asked], world.encoder)

    rounds = how == "active" and world.encoder is not None
    rows = choose_support(
        features,
        pool.hashes,
        calls,
        how="spread" if how == "active" and not rounds else how,  # type: ignore[arg-type]
        seed=seed,
        label=label if rounds else None,
        informative=informative_rounds(features, DEFAULT) if rounds else None,
    )
    return np.sort(rows)


def balanced_rows(classes: list[str], calls: int, *, seed: int) -> np.ndarray:
    """As many of every true class as can be, at random: for comparison only, since it uses the truth."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(classes))
    _, number = np.unique(np.array(classes)[order], return_inverse=True)
    turn = np.zeros(len(order), dtype=np.int64)
    seen: dict[int, int] = {}
    for at, one in enumerate(number.tolist()):
        turn[at] = seen.get(one, 0)
        seen[one] = int(turn[at]) + 1
    lots = rng.random(len(order))
    return np.sort(order[np.lexsort((lots, turn))[:calls]])


def learned(world: World, calls: int, row: Student, *, seed: int) -> tuple[Learned, np.ndarray]:
    """The student, and the features of the test photographs it is to be used on."""
    features = world.pool.features if row.views else world.pool.plain
    test = world.test.features if row.views else world.test.plain
    kept_back = round(row.second * calls) if world.pool.second is not None else 0
    answers = world.pool.drawn.get(row.samples, world.pool.named)
    rows = chosen_rows(world, calls - kept_back, row.choose, seed=seed, features=features, named=answers)
    named = [answers[at] for at in rows]
    found = learn(features, rows, named, world.encoder, row.settings, seed=seed)
    if kept_back:
        again = worth_asking_again(features, found, row.settings, most=kept_back)
        assert world.pool.second is not None
        second = (again, [world.pool.second[at] for at in again])
        found = learn(features, rows, named, world.encoder, row.settings, second=second, seed=seed)
    return found, test


def student(world: World, calls: int, row: Student, *, seed: int) -> list[str]:
    """The student's name of every test photograph."""
    found, test = learned(world, calls, row, seed=seed)
    return [found.names[best] for best in found.head.logits(test).argmax(axis=1)]


def direct(world: World, calls: int, share: float, *, seed: int, samples: int = 1) -> list[str]:
    """The teacher, asked about that share of the *test* photographs; the others have no name."""
    named = world.test.drawn.get(samples, world.test.named)
    asked = set(np.random.default_rng(seed).permutation(len(named))[: max(1, round(share * len(named)))].tolist())
    return [one.name or NOTHING if at in asked else NOTHING for at, one in enumerate(named)]


def near(world: World, calls: int, *, choose: str, views: bool, seed: int, lite: bool = False) -> list[str]:
    """NeaR on the chosen images: neighbour sets of three, PRODEN; a text-free residual where there is no text tower."""
    features = world.pool.features if views else world.pool.plain
    test = world.test.features if views else world.test.plain
    rows = chosen_rows(world, calls, choose, seed=seed, features=features)
    named = [world.pool.named[at] for at in rows]
    if world.encoder is not None:
        settings = FitSettings(tuning=LITE if lite else FAST, folds=0)
        fitted = fit_classifier(features[rows], named, world.encoder, settings, seed=seed).classifier
        return [fitted.names[best] for best in fitted.logits(test).argmax(axis=1)]
    space, labels = label_space(named)
    sets = make_sets(features[rows], labels, SetSettings(), num_labels=len(space.names), seed=seed)
    begin = prototypes(features[rows], sets.weights(len(space.names)))
    tuned = tune(features[rows], sets, begin, TUNING, names=space.names, seed=seed).text_features
    return [space.names[best] for best in (test @ tuned.T).argmax(axis=1)]


def nearest_image(world: World, calls: int, *, choose: str, views: bool, seed: int) -> list[str]:
    """The teacher's name of the nearest image it was asked about."""
    features = world.pool.features if views else world.pool.plain
    test = world.test.features if views else world.test.plain
    rows = chosen_rows(world, calls, choose, seed=seed, features=features)
    said = np.array([world.pool.named[at].name or "" for at in rows], dtype=object)
    rows, said = rows[said != ""], said[said != ""]
    return said[(test @ features[rows].T).argmax(axis=1)].tolist()


def told_the_truth(world: World, *, only_right: bool, seed: int) -> list[str]:
    """A bound: the student with labels for the whole pool that are all true, or only those of the teacher's that are."""
    from fgvr.metrics.accuracy import hits

    said = [
        replace(one, name=names[0], alternatives=(), chances=(), scientific=None)
        for one, names in zip(world.pool.named, world.pool.truth)
    ]
    rows = np.arange(len(said))
    if only_right:
        right = hits([one.name or NOTHING for one in world.pool.named], world.pool.truth) > 0
        rows, said = rows[right], [one for one, keep in zip(world.pool.named, right) if keep]
    found = learn(world.pool.features, rows, said, world.encoder, DEFAULT, seed=seed)
    return [found.names[best] for best in found.head.logits(world.test.features).argmax(axis=1)]


def named_best(world: World) -> list[str]:
    """A bound: every class under the name the teacher gives most of its pool images, and no other error."""
    votes: dict[str, dict[str, int]] = {}
    for truth, one in zip(world.pool.classes, world.pool.named):
        if one.name:
            some = votes.setdefault(truth, {})
            some[one.name] = some.get(one.name, 0) + 1
    best = {truth: max(sorted(some), key=some.__getitem__) for truth, some in votes.items()}
    return [best.get(truth, NOTHING) for truth in world.test.classes]


@dataclass(frozen=True)
class Row:
    """A method of the curve."""

    name: str
    predict: Callable[[World, int, float, int], list[str]]
    """(world, calls, share, seed) to the names of the test photographs."""
    note: str = field(default="")


CURVE: Mapping[str, Row] = {
    row.name: row
    for row in (
        Row("direct MLLM", lambda world, calls, share, seed: direct(world, calls, share, seed=seed)),
        Row(
            LIKELIEST,
            lambda world, calls, share, seed: direct(world, calls, share, seed=seed, samples=max(REPLIES)),
        ),
        Row("NeaR", lambda world, calls, share, seed: near(world, calls, choose="random", views=False, seed=seed)),
        Row(
            "NeaR, chosen images and views",
            lambda world, calls, share, seed: near(world, calls, choose="spread", views=True, seed=seed),
        ),
        Row(
            "near-lite, chosen images and views",
            lambda world, calls, share, seed: near(world, calls, choose="spread", views=True, seed=seed, lite=True),
        ),
        Row(
            "nearest image, chosen images and views",
            lambda world, calls, share, seed: nearest_image(world, calls, choose="spread", views=True, seed=seed),
        ),
        Row(ONE, lambda world, calls, share, seed: student(world, calls, Student(samples=1), seed=seed)),
        Row(EIGHT, lambda world, calls, share, seed: student(world, calls, Student(samples=8), seed=seed)),
        Row("student", lambda world, calls, share, seed: student(world, calls, Student(), seed=seed)),
    )
}
