"""Damaged, truncated and foreign files in a memory's folder: refused with a remedy, never believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fgvr.errors import RunError
from fgvr.memory import Memory, storage
from fgvr.memory.storage import MANIFEST
from tests.memory.vectors import filled


def image_file(folder: Path) -> Path:
    return next(folder.glob("image-*.safetensors"))


def truncate(folder: Path) -> None:
    file = image_file(folder)
    file.write_bytes(file.read_bytes()[:-10])


def lengthen(folder: Path) -> None:
    with image_file(folder).open("ab") as file:
        file.write(b"more")


def emptied(folder: Path) -> None:
    image_file(folder).write_bytes(b"")


def foreign(folder: Path) -> None:
    save_file({"weight": np.zeros((3, 3), np.float32)}, image_file(folder))


def foreign_of_the_same_size(folder: Path) -> None:
    file = image_file(folder)
    file.write_bytes(b"\xff" * file.stat().st_size)


def another_memorys(folder: Path) -> None:
    filled(seed=5).save(folder / "other")
    shutil.copyfile(image_file(folder / "other"), image_file(folder))


def flip(folder: Path, *, tensor: str) -> None:
    file = image_file(folder)
    data = bytearray(file.read_bytes())
    length = int.from_bytes(data[:8], "little")
    at = 8 + length + json.loads(data[8 : 8 + length])[tensor]["data_offsets"][0]
    data[at + 1] ^= 4
    file.write_bytes(data)


def missing(folder: Path) -> None:
    image_file(folder).unlink()


def a_folder_instead(folder: Path) -> None:
    file = image_file(folder)
    file.unlink()
    file.mkdir()


def edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **changes}))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (truncate, "truncated"),
    "longer": (lengthen, "longer than it was written"),
    "empty": (emptied, "truncated"),
    "foreign": (foreign, "damaged"),
    "noise": (foreign_of_the_same_size, "no safetensors file"),
    "another memory's": (another_memorys, "not the file that was written"),
    "label": (lambda folder: flip(folder, tensor="classes"), "labels, sources or hashes were changed"),
    "hash": (lambda folder: flip(folder, tensor="hashes"), "labels, sources or hashes were changed"),
    "vector": (lambda folder: flip(folder, tensor="vectors"), "does not match its checksum"),
    "missing": (missing, "missing"),
    "folder": (a_folder_instead, "damaged"),
    "dimension": (lambda folder: edit_manifest(folder, dim=9), "manifest is damaged"),
    "version": (lambda folder: edit_manifest(folder, version=99), "manifest is damaged"),
    "name": (lambda folder: edit_manifest(folder, names=["Wren", "Heron", "Fern"]), "manifest is damaged"),
    "newer": (lambda folder: edit_manifest(folder, format=2), "newer fgvr"),
    "no JSON": (lambda folder: (folder / MANIFEST).write_text("{"), "manifest is damaged"),
    "a list": (lambda folder: (folder / MANIFEST).write_text("[1]"), "manifest is damaged"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "no memory in this folder"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_memory_is_refused_with_a_remedy(tmp_path: Path, fault: str):
    damage, message = FAULTS[fault]
    filled().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(RunError, match=message) as caught:
        Memory.load(tmp_path)
    assert caught.value.remedy


def test_a_changed_vector_in_a_large_memory_is_found_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    filled().save(tmp_path)
    flip(tmp_path, tensor="vectors")
    monkeypatch.setattr(storage, "VERIFY_UP_TO", 100)
    Memory.load(tmp_path)
    with pytest.raises(RunError, match="checksum"):
        Memory.load(tmp_path, verify=True)


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path):
    filled().save(tmp_path / "m")
    manifest = json.loads((tmp_path / "m" / MANIFEST).read_text())
    outside = image_file(tmp_path / "m").rename(tmp_path / image_file(tmp_path / "m").name)
    manifest["segments"][0]["file"] = f"../{outside.name}"
    del manifest["sha256"]
    manifest["sha256"] = storage._content_digest(manifest)
    (tmp_path / "m" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="not its own"):
        Memory.load(tmp_path / "m")


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError):
        filled().save(tmp_path / "file")
