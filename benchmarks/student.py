"""The student between the teacher's replies and the finished classifier, by size of the pool.

Protocol: Features of 512 dimensions drawn like CLIP's (see "Memory"), about 20 images a class, at most 1,000 classes.
The teacher is drawn, too: 70 % of its replies are right, 18 % another class of the same kind, 8 % the kind alone, 2 % a
spelling of the right name, 2 % nothing; it gives a confidence and up to two further names. The text tower is a stub
with random features, so that its time, like the image tower's and the teacher's, is left out: features count as stored,
replies as given. "Default": the settings of `fgvr fit student`. "Every part": evidence, all heads but the prompt, and a
fifth of the labels kept back for second opinions, for which the student learns twice. Each row is a process of its own;
memory is the growth of its peak, features included. A stage's seconds are without those of stages inside it, and over
all folds and rounds of it; medians of three runs up to 3,000 images, one run above. Exponents: slope of log seconds
against log images over the rows with a tenth labelled.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from benchmarks.common import Measured, in_fresh_process, table, write_section
from benchmarks.demo_profile import REST, Clock
from benchmarks.memory import DIM, draw
from fgvr.types import NamedImage

SIZES = ((1_000, 0.1), (3_000, 0.1), (3_000, 1.0), (10_000, 0.1), (30_000, 0.1), (100_000, 0.1))
DRAWN, MADE_UP = 10, 6
"""Names a call gives where it draws several replies, and how many of these are of no class."""
QUICK = ((400, 0.2),)
REPEATED = 3_000
"""Images up to which a row is the median of three runs."""
EVERY = 10_000
"""Images up to which every part is measured, too."""
PER_CLASS, MOST_CLASSES = 20, 1_000
CHUNK = 25_000
FURTHER = 0.2
"""Of the labels, kept back for second opinions where every part is on."""
STAGES = {
    "choosing": ("fgvr.naming.choose:choose_support",),
    "graph": ("fgvr.methods.student.pool:neighbour_graph", "fgvr.methods.student.pool:affinity"),
    "label space": (
        "fgvr.methods.student.pipeline:read",
        "fgvr.methods.student.pipeline:settled_names",
        "fgvr.methods.student.pipeline:pool_of",
    ),
    "evidence": ("fgvr.methods.student.pool:evidence",),
    "propagation": ("fgvr.methods.student.pool:propagate",),
    "heads, cross-fit": ("fgvr.methods.student.pipeline:judged_heads",),
    "self-training": ("fgvr.methods.student.pipeline:self_train",),
    "second opinions": ("fgvr.methods.student.asking:worth_asking_again",),
    "groups": ("fgvr.methods.student.record:groups_in",),
}
"""What is timed, and as what; only looked up where it is used, so that the clock sits where the calls go."""
ADJECTIVES = ("Lesser", "Greater", "Common", "Northern", "Southern", "Eastern", "Western", "Spotted", "Barred", "Plain")
COLOURS = ("Black", "Red", "Green", "Blue", "Grey", "Rufous", "Yellow", "White", "Brown", "Olive")
PARTS = ("Crowned", "Winged", "Throated", "Tailed", "Backed", "Bellied", "Cheeked", "Footed", "Billed", "Browed")
KINDS = ("Warbler", "Finch", "Wren", "Thrush", "Tern", "Gull", "Heron", "Kite", "Owl", "Lark", "Pipit", "Bunting")


class Texts:
    """The text half of a dual encoder: a random direction a text, the same in every run."""

    name, fingerprint, dim, logit_scale, image_size = "stub", "0" * 64, DIM, 100.0, 224

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 512) float32, unit norm."""
        drawn = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIM) for text in texts]
        rows = np.array(drawn, dtype=np.float32).reshape(-1, DIM)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def class_names(count: int) -> list[str]:
    """Distinct names like those of birds; neighbours in the list are of different kinds."""
    words = [f"{adjective} {colour}-{part.lower()}" for adjective, colour, part in product(ADJECTIVES, COLOURS, PARTS)]
    words = [words[at] for at in np.random.default_rng(0).permutation(len(words))]
    return [f"{words[at // len(KINDS)]} {KINDS[at % len(KINDS)]}" for at in range(count)]


def pool(images: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, 512) and classes (N,), made in chunks: the making must not weigh more than the learning."""
    count = max(2, min(MOST_CLASSES, images // PER_CLASS))
    classes = np.random.default_rng(7).integers(count, size=images)
    features = np.empty((images, DIM), dtype=np.float32)
    for at in range(0, images, CHUNK):
        features[at : at + CHUNK] = draw(classes[at : at + CHUNK], seed=at)
    return features, classes


def replies(classes: np.ndarray, rows: np.ndarray, *, seed: int, several: bool = False) -> list[NamedImage]:
    """What the drawn teacher says of ``rows``, one name or ``several``."""
    single = one_reply_each(classes, rows, seed=seed)
    if not several:
        return single
    rng = np.random.default_rng([9, seed])
    count = int(classes.max()) + 1
    invented = class_names(min(9 * count, len(KINDS) * 1000))[count:]
    return [with_chances(reply, invented, rng) if reply.name else reply for reply in single]


def with_chances(reply: NamedImage, invented: Sequence[str], rng: np.random.Generator) -> NamedImage:
    """A reply and further names, some of which are those of no class, with their probabilities."""
    made_up = [invented[at] for at in rng.integers(len(invented), size=MADE_UP)]
    others = [name for name in dict.fromkeys([*reply.alternatives, *made_up]) if name != reply.name]
    chances = np.sort(rng.dirichlet(np.full(len(others) + 1, 0.5)))[::-1]
    return replace(reply, alternatives=tuple(others[: DRAWN - 1]), chances=tuple(chances[:DRAWN].tolist()))


def one_reply_each(classes: np.ndarray, rows: np.ndarray, *, seed: int) -> list[NamedImage]:
    """One name each, mostly right."""
    names = class_names(int(classes.max()) + 1)
    rng = np.random.default_rng([8, seed])

    def of_its_kind(label: int) -> str:
        return names[int(rng.choice(np.arange(label % len(KINDS), len(names), len(KINDS))))]

    def one(row: int) -> NamedImage:
        label, luck = int(classes[row]), float(rng.random())
        right, other = names[label], of_its_kind(label)
        said = right if luck < 0.7 else other if luck < 0.88 else right.split()[-1] if luck < 0.96 else right.upper()
        if luck >= 0.98:
            return NamedImage(str(row), None, status="refused")
        further = tuple(dict.fromkeys(name for name in (right, other) if name != said and rng.random() < 0.7))
        return NamedImage(str(row), said, alternatives=further, confidence=float(rng.beta(5, 2)))

    return [one(int(row)) for row in rows]


def whole(images: int, share: float, every: bool, several: bool = False) -> dict[str, Any]:
    """Seconds of each stage of one student, from stored features and given replies."""
    from fgvr.methods.student.settings import StudentSettings

    features, classes = pool(images)
    clock = clocked()
    settings = every_part() if every else StudentSettings()
    seconds, names = student(features, classes, share, settings, clock, several=several)
    return {"seconds": seconds, "names": names}


def every_part() -> Any:
    """Everything on but the prompt head, whose time is the text tower's."""
    from fgvr.methods.student.settings import HEADS, EvidenceSettings, SecondOpinionSettings, StudentSettings

    usual = StudentSettings()
    return replace(
        usual,
        evidence=EvidenceSettings(),
        heads=replace(usual.heads, heads=tuple(name for name in HEADS if name != "prompt")),
        second_opinion=SecondOpinionSettings(share=FURTHER),
    )


def student(
    features: np.ndarray, classes: np.ndarray, share: float, settings: Any, clock: Clock, *, several: bool
) -> tuple[dict[str, float], int]:
    """What ``Student.fit`` does, without encoders, calls and files: seconds by stage, and how many names there are."""
    choose, pipeline = importlib.import_module("fgvr.naming.choose"), importlib.import_module(f"{HOME}.pipeline")
    asking, record = importlib.import_module(f"{HOME}.asking"), importlib.import_module(f"{HOME}.record")
    clock.seconds.clear()
    with clock.stage(REST):
        size, kept = asking.allowance(len(features), labels=None, share=share, second=settings.second_opinion.share)
        rows = choose.choose_support(features, (), size, how="spread", seed=0)
        first, encoder = replies(classes, rows, seed=0, several=several), Texts()
        learned = pipeline.learn(features, rows, first, encoder, settings)
        if kept:
            again = asking.worth_asking_again(features, learned, settings, most=kept)
            second = (again, replies(classes, again, seed=1, several=several))
            learned = pipeline.learn(features, rows, first, encoder, settings, second=second)
        record.groups_in(features, learned, settings)
    return dict(clock.seconds), len(learned.names)


HOME = "fgvr.methods.student"


def clocked() -> Clock:
    """A clock around the functions of ``STAGES``, in this process."""
    clock = Clock()
    for name, places in STAGES.items():
        for place in places:
            module, function = place.split(":")
            owner = importlib.import_module(module)
            setattr(owner, function, clock.timed(name, getattr(owner, function)))
    return clock


def _prepare() -> None:
    """Make every lazy import happen."""
    whole(*QUICK[0], every=True)


def measured(
    images: int, share: float, *, every: bool, several: bool, repeats: int
) -> tuple[dict[str, float], int, float]:
    """Median seconds of each stage, names, MiB."""
    runs: list[Measured] = [
        in_fresh_process(whole, images, share, every, several, prepare=_prepare) for _ in range(max(1, repeats))
    ]
    parts = {part for run in runs for part in run.result["seconds"]}
    seconds = {part: statistics.median(run.result["seconds"].get(part, 0.0) for run in runs) for part in parts}
    seconds["all"] = statistics.median(sum(run.result["seconds"].values()) for run in runs)
    return seconds, runs[0].result["names"], statistics.median(run.growth_mib for run in runs)


def exponents(sizes: Sequence[int], each: Sequence[dict[str, float]]) -> list[str]:
    """Slope of log seconds against log images by stage; a dash where a stage never ran or there is one size."""

    def slope(part: str) -> str:
        seconds = [one.get(part, 0.0) for one in each]
        if len(sizes) < 2 or min(seconds) <= 0:
            return "-"
        return f"**{np.polyfit(np.log(sizes), np.log(seconds), 1)[0]:.2f}**"

    return [slope(part) for part in COLUMNS]


COLUMNS = (*STAGES, REST, "all")
HEADER = ("images", "labels", "names", *COLUMNS, "memory, MiB")


def rows_of(
    sizes: Sequence[tuple[int, float]], *, every: bool, repeats: int, several: bool = False
) -> list[tuple[object, ...]]:
    """The rows of one setting, its exponents last."""
    rows: list[tuple[object, ...]] = []
    tenth: dict[int, dict[str, float]] = {}
    for images, share in sizes:
        runs = repeats if images <= REPEATED else 1
        seconds, names, memory = measured(images, share, every=every, several=several, repeats=runs)
        if share < 1:
            tenth[images] = seconds
        times = [f"{seconds[part]:.2f}" if part in seconds else "-" for part in COLUMNS]
        rows.append((f"{images:,}", f"{round(share * images):,}", f"{names:,}", *times, f"{memory:.0f}"))
        print(rows[-1], flush=True)
    rows.append(("*exponent*", "", "", *exponents(list(tenth), list(tenth.values())), ""))
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small size; writes nothing")
    parser.add_argument("--most", type=int, default=max(SIZES)[0], help="leave out larger pools; writes nothing if any")
    given = parser.parse_args()
    sizes = QUICK if given.quick else tuple(size for size in SIZES if size[0] <= given.most)
    parts = [(__doc__ or "").split("Protocol: ")[1]]
    for title, every in (("Default, seconds:", False), ("Every part, seconds:", True)):
        measured_on = [size for size in sizes if not every or size[0] <= EVERY]
        rows = rows_of(measured_on, every=every, repeats=1 if given.quick else 3)
        parts.append(f"{title}\n\n{table(HEADER, rows)}")
    body = "\n\n".join(parts)
    print(body)
    if sizes == SIZES:
        write_section("student", "The student by size of the pool", body)


if __name__ == "__main__":
    main()
