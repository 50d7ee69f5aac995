"""SUN397 (Xiao et al., CVPR 2010): 108,754 images of 397 scenes; 50 for training and 50 for testing a class are used.

Layout: ``SUN397/a/abbey/sun_<id>.jpg``, some classes one folder deeper (``a/apartment_building/outdoor``);
``ClassName.txt`` with lines ``/a/abbey``; ``Partitions/Training_01.txt`` and ``Testing_01.txt`` with lines
``/a/abbey/sun_<id>.jpg`` (the lists come in an archive of their own, unpacked in various places). Of ten official
divisions the first is read, as CoOp does; CoOp takes its val out of train, test is the same.

Names are turned round as CoOp does: ``apartment_building/outdoor`` is "outdoor apartment building". Typing errors of
the folders are corrected; the name without its "indoor" or "outdoor" counts as right where no sibling class bears it.
"""

from __future__ import annotations

from pathlib import Path

from fgvr.data.benchmarks import coop
from fgvr.data.benchmarks.base import Benchmark
from fgvr.data.benchmarks.layout import (
    ClassName,
    Entry,
    assemble,
    class_list_problems,
    damaged,
    read_lines,
    require_file,
    words,
)
from fgvr.data.benchmarks.wanted import official_or_coop

NAME = "sun397"
TITLE = "SUN397"
MARKS = ("SUN397/a/abbey",)
COUNTS = {"train": 19850, "test": 19850}
CLASSES = 397
CLASSES_SHA256 = "b0f7f5f4613286eb7908a1bd7040bd1a5a4fc87b6464bfcadd1af91b6dc153d6"
"""Of the lines of ``ClassName.txt``."""

CORRECTED = {
    "c/carrousel": "carousel",
    "f/fastfood_restaurant": "fast-food restaurant",
    "k/kindergarden_classroom": "kindergarten classroom",
    "t/theater/indoor_procenium": "indoor proscenium theater",
    "t/theater/indoor_seats": "indoor theater seats",
    "u/underwater/coral_reef": "underwater coral reef",
    "t/temple/east_asia": "East Asian temple",
    "t/temple/south_asia": "South Asian temple",
    "t/thriftshop": "thrift shop",
    "t/toyshop": "toy shop",
    "v/videostore": "video store",
    "b/barndoor": "barn door",
    "b/batters_box": "batter's box",
    "b/butchers_shop": "butcher's shop",
    "c/childs_room": "child's room",
    "d/dentists_office": "dentist's office",
    "v/veterinarians_office": "veterinarian's office",
}
ACCEPTED = {
    "t/toyshop": ("toy store",),
    "u/underwater/coral_reef": ("coral reef",),
    "j/jewelry_shop": ("jewelry store",),
    "d/drugstore": ("drug store",),
    "o/oilrig": ("oil rig",),
    "h/harbor": ("harbour",),
    "p/playground": ("children's playground",),
    "v/veterinarians_office": ("vet's office",),
}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """SUN397 below ``folder``; ``split`` is ``official`` (partition 01) or ``coop``."""
    other = official_or_coop(split, TITLE)
    names, entries = coop.by_folder(folder, NAME) if other else _official(folder)
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=[class_name(name) for name in names],
        counts=coop.FILES[NAME].counts if other else COUNTS,
        original_names=original_names,
        notes=coop.stated(NAME, other=other, test=COUNTS["test"]),
        problems=class_list_problems([f"/{name}" for name in names], count=CLASSES, sha256=CLASSES_SHA256),
    )


def class_name(folder: str) -> ClassName:
    """``"a/apartment_building/outdoor"`` to "outdoor apartment building", with "apartment building" accepted."""
    _, *parts = folder.split("/")
    listed = words(" ".join(reversed(parts)))
    shorter = (words(parts[0]),) if parts[1:] in (["indoor"], ["outdoor"]) else ()
    return ClassName(CORRECTED.get(folder, listed), listed, (*shorter, *ACCEPTED.get(folder, ())))


def _official(folder: Path) -> tuple[list[str], list[Entry]]:
    file = _list(folder, "ClassName.txt")
    names = [_without_slash(line, file, number) for number, line in read_lines(file)]
    position = {name: index for index, name in enumerate(names)}
    entries = []
    for part, title in (("train", "Training_01.txt"), ("test", "Testing_01.txt")):
        file = _list(folder, title)
        for number, line in read_lines(file):
            image = _without_slash(line, file, number)
            scene = image.rpartition("/")[0]
            if scene not in position:
                raise damaged(file, f"{scene!r} is no class of ClassName.txt", line=number)
            entries.append(Entry(f"SUN397/{image}", position[scene], part))
    return names, entries


def _list(folder: Path, name: str) -> Path:
    return require_file(folder, f"Partitions/{name}", name, f"SUN397/{name}", f"SUN397/Partitions/{name}")


def _without_slash(line: str, file: Path, number: int) -> str:
    if not line.startswith("/") or line.count("/") < 2:
        raise damaged(file, "expected lines that start with '/', a letter and '/'", line=number)
    return line.removeprefix("/")
