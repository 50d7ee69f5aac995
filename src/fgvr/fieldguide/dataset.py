"""The field guide as ordinary files: image folders by split and species, a manifest with the truth, and scenes.

Work is cut into pieces, one a species and one a scene. A piece's rows are written once all its pictures are, and
``manifest.jsonl`` only when every piece is there: a folder without it is incomplete, and ``make`` goes on from the
pieces it finds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgvr.errors import InputError
from fgvr.fieldguide.guide import accepted_names, all_species, split_seen_unseen
from fgvr.fieldguide.plate import contact_sheet as contact_sheet
from fgvr.fieldguide.readme import readme
from fgvr.fieldguide.render import render, render_scene
from fgvr.fieldguide.species import Species
from fgvr.runs import write_json, write_text
from fgvr.runs.atomic import write_error
from fgvr.runs.lock import FolderLock

EVALUATION_SEEDS = 900_000_000
"""View seeds of these files stay below this; the models' model card and training pictures take those above."""
SEED_STRIDE = 200_000
"""View seeds that one ``seed`` owns, so that two of them never share a picture."""
SPLIT_SEEDS = {"support": range(0, 10_000), "train": range(10_000, 170_000), "test": range(170_000, 190_000)}
"""Where in the stride each split lies: no picture is in two splits."""
SCENE_SEEDS = range(190_000, 200_000)
SEEDS_PER_SCENE = 5
SCENE_SCALE = 2
"""Side of a scene in sides of a picture, so that an organism has about as many pixels in either."""
JPEG_QUALITY = 92
FORMAT = 1

MANIFEST, SETTINGS, SCENES, CATALOGUE = "manifest.jsonl", "field_guide.json", "scenes.jsonl", "species.json"
_DRAWING = ".drawing"
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a folder holds; stored in ``field_guide.json``."""

    seed: int
    size: int
    support_per_species: int
    train_per_species: int
    test_per_species: int
    scenes: int
    species: tuple[str, ...]
    """Keys."""

    def view_seeds(self, split: str) -> range:
        """The view seeds of a split's pictures of one species, in file order."""
        first = self.seed * SEED_STRIDE + SPLIT_SEEDS[split].start
        return range(first, first + int(getattr(self, f"{split}_per_species")))

    def scene_seeds(self, number: int) -> range:
        """The view seeds of the organisms in scene ``number``; the first also seeds the scene."""
        first = self.seed * SEED_STRIDE + SCENE_SEEDS.start + number * SEEDS_PER_SCENE
        return range(first, first + SEEDS_PER_SCENE)

    def check(self) -> None:
        """Raise ``InputError`` where a number is out of range or nothing would be drawn."""
        most = {f"{split}_per_species": len(seeds) for split, seeds in SPLIT_SEEDS.items()}
        most |= {"scenes": len(SCENE_SEEDS) // SEEDS_PER_SCENE, "seed": EVALUATION_SEEDS // SEED_STRIDE - 1}
        for name, limit in most.items():
            if not 0 <= getattr(self, name) <= limit:
                raise InputError(f"{name} must be from 0 to {limit}", **{name: getattr(self, name)})
        if self.size < 32:
            raise InputError("a picture needs a side of 32 pixels or more", size=self.size)
        if not self.species or len(set(self.species)) < len(self.species):
            raise InputError("name at least one species, and each one once", species=len(self.species))
        if not any(getattr(self, f"{split}_per_species") for split in SPLIT_SEEDS):
            raise InputError("no pictures are asked for", remedy="Ask for at least one picture of each species.")


def make(
    directory: str | os.PathLike[str],
    *,
    seed: int = 0,
    size: int = 192,
    support_per_species: int = 3,
    train_per_species: int = 0,
    test_per_species: int = 10,
    scenes: int = 24,
    species: Sequence[Species] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw the field guide into ``directory`` and return the path of its ``manifest.jsonl``.

    The same settings give the same bytes, with any number of ``workers`` (default: one a processor; 1 draws in this
    process). A folder made before with the same settings is completed, or left alone when it is complete.

    Args:
        directory: new, empty, or an earlier field guide of the same settings.
        seed: 0 to 4,499; every value gives other pictures, none of which the field guide's models were trained on.
        size: side of a picture in pixels, at least 32; scenes are twice as large.
        support_per_species: likewise ``train_per_species`` and ``test_per_species``: pictures of each, in each split.
        scenes: pictures of two to five organisms with a box each.
        species: the whole guide when ``None``.
        progress: called with (pieces done, pieces in all); a piece is a species or a scene.

    Raises:
        InputError: a number is out of range, or the folder holds something else.
        RunError: another process is drawing into the folder, or it cannot be written.
    """
    chosen = tuple(all_species() if species is None else species)
    keys = tuple(one.key for one in chosen)
    plan = Plan(seed, size, support_per_species, train_per_species, test_per_species, scenes, keys)
    plan.check()
    folder = Path(directory).expanduser()
    _claim(folder, plan)
    if not _is_complete(folder):
        lock = FolderLock.acquire(folder / _DRAWING)
        try:
            _draw_all(folder, plan, chosen, workers or os.cpu_count() or 1, progress)
            _finish(folder, plan, chosen)
        finally:
            lock.release()
    shutil.rmtree(folder / _DRAWING, ignore_errors=True)
    return folder / MANIFEST


# --- the folder -------------------------------------------------------------------------------------------------------


def _claim(folder: Path, plan: Plan) -> None:
    """Write the settings into a new folder; refuse one that holds anything but a field guide of these settings."""
    settings = {"format": FORMAT, **asdict(plan), "species": list(plan.species)}
    file = folder / SETTINGS
    remedy = "Choose another folder."
    try:
        if file.exists():
            found = json.loads(file.read_bytes())
            found = found if isinstance(found, dict) else {}
            differing = ", ".join(name for name in settings if found.get(name) != settings[name])
            if differing:
                raise InputError("this folder holds another drawn world", remedy=remedy, folder=folder, other=differing)
            return
        if folder.exists() and any(not entry.name.startswith(".tmp-") for entry in folder.iterdir()):
            raise InputError("this folder holds something else", remedy=remedy, folder=folder)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the folder: {error}", remedy=remedy, folder=folder) from error
    write_json(file, settings)


def _is_complete(folder: Path) -> bool:
    """Whether the manifest is there, and every picture and scene that the folder's tables name."""
    try:
        rows = [*_read_rows(folder / MANIFEST), *_read_rows(folder / SCENES)]
        return all((folder / row["image"]).is_file() for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _finish(folder: Path, plan: Plan, species: Sequence[Species]) -> None:
    """Join the pieces into the tables; the manifest comes last and says that all is there."""
    by_species = [row for one in species for row in _read_rows(_piece(folder, one.key))]
    rows = [row for split in SPLIT_SEEDS for row in by_species if row["split"] == split]
    scenes = [row for n in range(plan.scenes) for row in _read_rows(_piece(folder, _scene_name(n)))]
    write_json(folder / CATALOGUE, [_facts(one) for one in species])
    write_text(folder / SCENES, _lines(scenes))
    write_text(folder / "README.md", readme(asdict(plan), rows, scenes))
    write_text(folder / MANIFEST, _lines(rows))


def _facts(species: Species) -> Row:
    return {
        "key": species.key,
        "label": species.name,
        "accepted": list(accepted_names(species)),
        "scientific": species.scientific,
        "genus": species.genus,
        "super_category": species.super_category,
        "attributes": species.attributes,
        "seen": species in split_seen_unseen()[0],
    }


def _piece(folder: Path, name: str) -> Path:
    return folder / _DRAWING / f"{name}.jsonl"


def _read_rows(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


# --- drawing ----------------------------------------------------------------------------------------------------------


def _draw_all(
    folder: Path,
    plan: Plan,
    species: tuple[Species, ...],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Draw every piece that is not there yet."""
    pieces: dict[str, Callable[[], None]] = {one.key: partial(_draw_species, folder, plan, one) for one in species}
    pieces |= {_scene_name(n): partial(_draw_scene, folder, plan, species, n) for n in range(plan.scenes)}
    left = [draw for name, draw in pieces.items() if not _piece(folder, name).exists()]
    drawn = _one_by_one(left) if workers == 1 or len(left) < 2 else _side_by_side(left, min(workers, len(left)))
    for done, _ in enumerate(drawn, start=len(pieces) - len(left) + 1):
        if progress is not None:
            progress(done, len(pieces))


def _one_by_one(pieces: Sequence[Callable[[], None]]) -> Iterator[None]:
    for piece in pieces:
        yield piece()


def _side_by_side(pieces: Sequence[Callable[[], None]], workers: int) -> Iterator[None]:
    """Yield as pieces are finished, in any order."""
    # A forked child would inherit locks held by other threads (a loaded model has many); a spawned one starts clean.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_follow_parent) as pool:
        try:
            for finished in as_completed([pool.submit(piece) for piece in pieces]):
                yield finished.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _follow_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when the parent is killed instead of waiting for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def end() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _draw_species(folder: Path, plan: Plan, species: Species) -> None:
    """Draw all pictures of one species, then write their rows."""
    rows: list[Row] = []
    for split in SPLIT_SEEDS:
        for number, view_seed in enumerate(plan.view_seeds(split)):
            drawn = render(species, view_seed, size=plan.size)
            # Read as a folder of classes, the folder's name is the common name again.
            image = f"images/{split}/{species.name.replace(' ', '_')}/{species.key}_{number:04d}.jpg"
            _write_jpeg(folder / image, drawn.image)
            rows.append(
                {"image": image, "split": split}
                | _facts(species)
                | {"box": [round(v) for v in drawn.box], "width": plan.size, "height": plan.size}
                | {"sex": drawn.view.sex, "background": drawn.view.background}
                | {"difficulty": drawn.view.difficulty, "view_seed": view_seed}
            )
    _make_durable([folder / row["image"] for row in rows])
    write_text(_piece(folder, species.key), _lines(rows))


def _scene_name(number: int) -> str:
    return f"scene_{number:04d}"


def _draw_scene(folder: Path, plan: Plan, species: tuple[Species, ...], number: int) -> None:
    """Draw one scene, then write its row; species differ as long as there are enough."""
    seeds, side = plan.scene_seeds(number), SCENE_SCALE * plan.size
    rng = np.random.default_rng([seeds.start, zlib.crc32(b"cast")])
    count = int(rng.integers(2, SEEDS_PER_SCENE + 1))
    cast = rng.choice(len(species), size=count, replace=len(species) < count)
    specimens = [(species[int(i)], view_seed) for i, view_seed in zip(cast, seeds, strict=False)]
    scene = render_scene(specimens, seeds.start, size=side)
    image = f"scenes/{_scene_name(number)}.jpg"
    _write_jpeg(folder / image, scene.image)
    objects = [
        {"label": one.name, "key": one.key, "box": [round(v) for v in box]}
        for one, box in zip(scene.species, scene.boxes, strict=True)
    ]
    _make_durable([folder / image])
    row = {"image": image, "width": side, "height": side, "background": scene.background, "objects": objects}
    write_text(_piece(folder, _scene_name(number)), _lines([row]))


def _write_jpeg(path: Path, image: Image.Image) -> None:
    """Not durable and perhaps half there after a kill: a picture counts only once the rows of its piece do."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    except OSError as error:
        raise write_error(error, path) from error


def _make_durable(paths: Sequence[Path]) -> None:
    """Wait for the disk once a piece: one wait a picture takes a quarter as long as drawing it."""
    for path in (*paths, *dict.fromkeys(path.parent for path in paths)):
        try:
            handle = os.open(path, os.O_RDONLY)
        except PermissionError:
            continue  # a folder, on Windows
        try:
            os.fsync(handle)
        except OSError as error:
            if path in paths:  # some filesystems refuse it for folders
                raise write_error(error, path) from error
        finally:
            os.close(handle)
