"""From what was typed after ``fgvr examine`` to questions, items and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli.multiple_choice_input import WrongOptions, drawn, is_question_file, pose
from fgvr.errors import InputError

if TYPE_CHECKING:
    from fgvr.data.benchmarks.questions import Question, Questions
    from fgvr.metrics.semantic import TextEncoder
    from fgvr.multiple_choice.distractors import Source
    from fgvr.types import ImageItem, SetAside

CLOSED, OPEN, BOTH = "closed", "open", "both"


@dataclass(frozen=True)
class Material:
    """What is asked about."""

    closed: tuple[Question, ...]
    items: tuple[ImageItem, ...]
    names: tuple[str, ...]
    """All class names."""
    super_category: str | Mapping[str, str] | None
    texts: Mapping[str, str] = field(default_factory=dict)
    """The question of an open item by its id, where a file brought one."""
    source: Source | None = None
    origin: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()

    def described(self) -> dict[str, Any]:
        """What makes two runs the same run: everything but how many questions are asked."""
        kind = self.super_category
        return {
            "from": list(self.origin),
            "distractors": asdict(self.source) if self.source else None,
            "super_category": kind if kind is None or isinstance(kind, str) else "by item",
        }


def material(
    sources: Sequence[str],
    *,
    world: str,
    pictures: Path | None,
    wrong: WrongOptions,
    super_category: str | Mapping[str, str] | None,
    split: str | None,
    limit: int | None,
    seed: int,
) -> Material:
    """The questions of files, or made from labelled pictures. Raises ``InputError`` for options that do not go
    together, and what the readers raise."""
    files = [Path(source).expanduser() for source in sources]
    are_questions = [is_question_file(file) for file in files]
    if all(are_questions):
        if wrong.kind or split:
            raise InputError("a question file brings its own options", remedy="Leave out --distractors and --split.")
        return _from_files(files, world, pictures, super_category, limit, seed)
    if len(sources) > 1:
        remedy = "Give one folder or manifest, or several question files (..._seen.jsonl ..._unseen.jsonl)."
        raise InputError("several sources are not all question files", remedy=remedy, sources=", ".join(sources))
    if pictures is not None:
        raise InputError("--images belongs to question files", remedy="Leave it out.", source=sources[0])
    return _from_pictures(sources[0], world, wrong, super_category, split, limit, seed)


def seen_names(seen: Path | None, unseen: Path | None, names: Sequence[str]) -> tuple[str, ...] | None:
    """Names of the classes trained on, from a file of them or of the others; ``None`` without a file.

    Raises ``InputError`` for both files, and for a file that names none of ``names``.
    """
    from fgvr.labels.normalise import normalise

    if seen is not None and unseen is not None:
        raise InputError("--seen and --unseen say the same thing twice", remedy="Give one of them.")
    file = seen or unseen
    if file is None:
        return None
    listed = {normalise(line) for line in _lines(file)} - {""}
    here = {normalise(name) for name in names}
    if not listed & here:
        remedy = "Give one class name a line, as the labels have them."
        raise InputError("this file names none of the classes", remedy=remedy, file=str(file))
    return tuple(name for name in names if (normalise(name) in listed) == (seen is not None))


def load_texts(spec: str | None, *, device: str = "auto") -> TextEncoder | None:
    """The encoder of ``--sentences``: ``none``, a sentence encoder, or ``text:ENCODER``, a dual one's text tower."""
    from fgvr.cli.inputs import load_dual_encoder, load_sentences
    from fgvr.methods.fine_r1.similarity import DualTexts

    if spec is not None and spec.startswith("text:"):
        return DualTexts(load_dual_encoder(spec.removeprefix("text:"), device=device))
    found: TextEncoder | None = None if spec is None or spec == "none" else load_sentences(spec)
    return found


def _lines(file: Path) -> list[str]:
    try:
        return file.expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError("the list of names cannot be read", remedy="Check the path.", file=str(file)) from error


def _from_files(
    files: Sequence[Path],
    world: str,
    pictures: Path | None,
    super_category: str | Mapping[str, str] | None,
    limit: int | None,
    seed: int,
) -> Material:
    from fgvr.types import ImageItem, SetAside

    kept: dict[str, Question] = {}
    kinds: dict[str, str] = {}
    aside: list[SetAside] = []
    notes: list[str] = []
    for file in files:
        found = _read(file, pictures)
        aside += found.set_aside
        notes += [line for line in found.notes if "shuffle the options" not in line]  # they are
        for one in drawn(found.questions, limit, seed):
            if one.id in kept:
                aside.append(SetAside(one.id, str(one.path or ""), "duplicate", "another file asks about this picture"))
            else:
                kept[one.id] = one
                kinds |= {one.id: kind} if (kind := _kind(file)) else {}
    questions = tuple(kept.values())
    items = tuple(ImageItem(one.id, one.path, one.names[one.answer]) for one in questions if one.path is not None)
    return Material(
        closed=questions if world != OPEN else (),
        items=items if world != CLOSED else (),
        names=tuple(sorted({name for one in questions for name in one.names})),
        super_category=_by_item(items, super_category) or kinds or None,
        texts={one.id: one.text for one in questions if one.text},
        origin=tuple(str(file.resolve()) for file in files),
        hashes=_hashes(items),
        set_aside=tuple(aside),
        notes=tuple(dict.fromkeys(notes)),
    )


def _read(file: Path, pictures: Path | None) -> Questions:
    from fgvr.data.benchmarks.fine_r1 import read_fine_r1
    from fgvr.data.benchmarks.foci import read_foci

    folder = pictures or file.resolve().parent
    if file.suffix.lower() == ".json":
        return read_foci(file, images=folder)
    named = file.stem.rpartition("_")[2] in ("seen", "unseen")
    found = read_fine_r1(file, images=folder, seen=None if named else False)
    return found if named else _undivided(found)


def _undivided(found: Questions) -> Questions:
    """The file does not say which classes were trained on."""
    from dataclasses import replace

    return replace(found, questions=tuple(replace(one, seen=None) for one in found.questions))


def _kind(file: Path) -> str | None:
    """The super-category of a published file: the data set it is named by."""
    from fgvr.data.benchmarks.fine_r1 import COUNTS

    stem = file.stem.rpartition("_")[0]
    return stem if stem in COUNTS else None


def _from_pictures(
    source: str,
    world: str,
    wrong: WrongOptions,
    super_category: str | Mapping[str, str] | None,
    split: str | None,
    limit: int | None,
    seed: int,
) -> Material:
    from fgvr.data import load_items
    from fgvr.errors import NoImagesError

    found = load_items(source, split=split)
    labelled = [item for item in found.items if item.label]
    if not labelled:
        remedy = "Give one folder a class, or a manifest with labels."
        raise NoImagesError("no picture has a label", remedy=remedy, images=source)
    items = tuple(drawn(labelled, limit, seed)) if world != CLOSED else ()
    names = tuple(sorted({str(item.label) for item in labelled}))
    kinds = _by_item(labelled, super_category) or _wider(labelled, wrong)
    word = super_category if isinstance(super_category, str) else None
    if world == OPEN:
        origin = (str(Path(source).expanduser().absolute()),)
        return Material((), items, names, kinds, origin=origin, hashes=_hashes(items), set_aside=found.set_aside)
    posed = pose(source, pictures=None, wrong=wrong, super_category=word, split=split, limit=limit, seed=seed)
    return Material(
        closed=posed.questions,
        items=items,
        names=names,
        super_category=kinds,
        source=posed.source,
        origin=(posed.origin,),
        hashes={**_hashes(items), **posed.hashes},
        set_aside=posed.set_aside,
        notes=posed.notes,
    )


def _by_item(items: Sequence[ImageItem], super_category: str | Mapping[str, str] | None) -> str | dict[str, str] | None:
    """A word as it is; words by class name, by item id."""
    if super_category is None or isinstance(super_category, str):
        return super_category
    known = {item.id: super_category.get(str(item.label)) for item in items}
    return {item: kind for item, kind in known.items() if kind} or None


def _wider(items: Sequence[ImageItem], wrong: WrongOptions) -> dict[str, str] | None:
    """By item id, the taxonomy's wider group; ``None`` where there is none."""
    from fgvr.labels.normalise import normalise

    if wrong.taxonomy is None or not wrong.taxonomy.wider:
        return None
    wider = {normalise(name): group for name, group in wrong.taxonomy.wider.items()}
    known = {item.id: wider.get(normalise(str(item.label))) for item in items}
    return {item: group for item, group in known.items() if group} or None


def _hashes(items: Sequence[ImageItem]) -> dict[str, str]:
    from fgvr.cli.inputs import content_hashes

    return dict(zip((item.id for item in items), content_hashes(items), strict=True))
