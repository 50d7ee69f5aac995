"""UCF-101 (Soomro et al., 2012) as still images: the middle frame of each of 13,320 clips, 101 actions.

Layout (CoOp's ``UCF-101-midframes.zip``): ``UCF-101-midframes/Apply_Eye_Makeup/v_ApplyEyeMakeup_g01_c01.jpg``. Official
lists: ``ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt`` with lines ``ApplyEyeMakeup/v_..._c01.avi 1``. Of the
three official divisions the first is read, as CoOp does; CoOp takes its val out of train, test is the same. Clips of
one group (``g01``) come from one video; the official lists keep groups together, CoOp's val does not.
"""

from __future__ import annotations

import re
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

NAME = "ucf101"
TITLE = "UCF-101 (middle frames)"
MARKS = ("UCF-101-midframes",)
COUNTS = {"train": 9537, "test": 3783}
CLASSES = 101
CLASSES_SHA256 = "89e0b40e5df4b43fa6dd266f24a38478df96ddcb01c9f6aa256ea71c47f0c527"
"""Of the frame folders in alphabetical order, one a line."""

CORRECTED = {
    "Skijet": "Jet Ski",
    "Shotput": "Shot Put",
    "Yo_Yo": "Yo-Yo",
    "Pull_Ups": "Pull-Ups",
    "Push_Ups": "Push-Ups",
    "Wall_Pushups": "Wall Push-Ups",
    "Handstand_Pushups": "Handstand Push-Ups",
    "Skate_Boarding": "Skateboarding",
    "Sky_Diving": "Skydiving",
    "Frisbee_Catch": "Catching a Frisbee",
    "Throw_Discus": "Discus Throw",
    "Clean_And_Jerk": "Clean and Jerk",
}
ACCEPTED = {
    "Biking": ("Cycling", "Riding a Bike"),
    "Breast_Stroke": ("Breaststroke",),
    "Blow_Dry_Hair": ("Blow Drying Hair",),
    "Brushing_Teeth": ("Tooth Brushing",),
    "Haircut": ("Cutting Hair",),
    "Hula_Hoop": ("Hula Hooping",),
    "Ice_Dancing": ("Ice Dance",),
    "Jump_Rope": ("Skipping Rope", "Rope Skipping", "Jumping Rope"),
    "Playing_Dhol": ("Dhol",),
    "Playing_Guitar": ("Guitar Playing",),
    "Table_Tennis_Shot": ("Table Tennis", "Ping Pong"),
    "Walking_With_Dog": ("Walking a Dog", "Dog Walking"),
}


def read(folder: Path, *, split: str = "official", original_names: bool = False) -> Benchmark:
    """The middle frames below ``folder``; ``split`` is ``official`` (lists 01) or ``coop``."""
    other = official_or_coop(split, TITLE)
    names, entries = coop.by_folder(folder, NAME) if other else _official(folder)
    return assemble(
        folder,
        entries,
        name=NAME,
        title=TITLE,
        split=split,
        classes=[ClassName(CORRECTED.get(name, words(name)), words(name), ACCEPTED.get(name, ())) for name in names],
        counts=coop.FILES[NAME].counts if other else COUNTS,
        original_names=original_names,
        notes=(
            *coop.stated(NAME, other=other, test=COUNTS["test"]),
            "One still frame a clip, not the video.",
        ),
        problems=class_list_problems(sorted(names), count=CLASSES, sha256=CLASSES_SHA256),
    )


def frame_folder(action: str) -> str:
    """``"ApplyEyeMakeup"`` to ``"Apply_Eye_Makeup"``: the frames' folder of an action of the official lists."""
    return "_".join(re.findall("[A-Z][^A-Z]*", action))


def _official(folder: Path) -> tuple[list[str], list[Entry]]:
    names = _actions(require_file(folder, "ucfTrainTestlist/classInd.txt", "classInd.txt"))
    position = {name: index for index, name in enumerate(names)}
    entries = []
    for part in ("train", "test"):
        file = require_file(folder, f"ucfTrainTestlist/{part}list01.txt", f"{part}list01.txt")
        for number, line in read_lines(file):
            action, _, clip = line.split(" ")[0].rpartition("/")
            frames = frame_folder(action)
            if frames not in position or not clip.endswith(".avi"):
                raise damaged(file, "expected Action/clip.avi with an action of classInd.txt", line=number)
            image = f"UCF-101-midframes/{frames}/{clip.removesuffix('.avi')}.jpg"
            entries.append(Entry(image, position[frames], part))
    return names, entries


def _actions(file: Path) -> list[str]:
    names: list[str] = []
    for number, line in read_lines(file):
        position, _, action = line.partition(" ")
        if position != str(len(names) + 1) or not frame_folder(action):
            raise damaged(file, "expected lines '1 ApplyEyeMakeup', numbered in order", line=number)
        names.append(frame_folder(action))
    return names
