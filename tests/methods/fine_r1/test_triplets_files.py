"""Files of triplets: the released layout, every field of ours, and rows that are wrong."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fgvr.errors import InputError, ManifestError, MissingExtraError
from fgvr.methods.fine_r1.prompts import train_prompt
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.methods.fine_r1.triplets_files import read_triplets, write_triplets


def png(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        (tmp_path / name).write_bytes(png(number))
    return tmp_path


def full(folder: Path) -> Triplet:
    return Triplet(
        "a",
        folder / "a.png",
        "Grey_Jay",
        "What bird is this?",
        folder / "b.png",
        folder / "c.png",
        "Blue Jay",
        "bird",
        ("gray jay", "Whisky, Jack"),
        0.8125,
    )


def released(path: Path, rows: list[dict], **columns: pa.DataType) -> Path:
    """A Parquet file as EasyR1's data sets are: pictures are structs of bytes and path in a list."""
    pictures = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    kinds = {"problem": pa.string(), "answer": pa.string(), "images": pictures}
    kinds |= {name: pictures for name in ("image_noisy", "image_aug") if any(name in row for row in rows)}
    schema = pa.schema([*{**kinds, **columns}.items()])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def held(*data: bytes) -> list[dict]:
    return [{"bytes": one, "path": None} for one in data]


def lines(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


class TestRoundTrip:
    @pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".JSONL"])
    def test_every_field_comes_back(self, folder, suffix):
        bare = Triplet("bare", folder / "b.png", "7", "What is this?")
        write_triplets(folder / f"t{suffix}", [full(folder), bare])
        found = read_triplets(folder / f"t{suffix}")
        assert found.triplets == (full(folder), bare)
        assert found.set_aside == ()
        assert [note.split(" (")[0] for note in found.notes] == [
            "1 of 2 rows have no positive",
            "1 of 2 rows have no negative",
        ]

    def test_embedded_pictures_come_back_byte_for_byte_anywhere(self, folder, tmp_path_factory):
        far = tmp_path_factory.mktemp("far")
        write_triplets(folder / "t.parquet", [full(folder)], embed=True)
        os.rename(folder / "t.parquet", far / "t.parquet")
        (one,) = read_triplets(far / "t.parquet", out=far / "pictures").triplets
        assert one.anchor.read_bytes() == png(0)
        assert one.positive.read_bytes() == png(1)
        assert one.negative.read_bytes() == png(2)
        assert one.negative.name == f"{hashlib.sha256(png(2)).hexdigest()}.png"
        assert one.negative.is_relative_to(far / "pictures")
        assert (one.id, one.similarity, one.accepted) == ("a", 0.8125, full(folder).accepted)

    def test_the_released_columns_hold_what_the_released_code_reads(self, folder):
        write_triplets(folder / "t.parquet", [full(folder)], embed=True)
        table = pq.read_table(folder / "t.parquet")
        assert table.column_names[:5] == ["problem", "answer", "images", "image_noisy", "image_aug"]
        (row,) = table.to_pylist()
        assert row["problem"] == "<image> What bird is this?"
        assert row["answer"] == "Grey_Jay"
        assert [Image.open(io.BytesIO(row[name][0]["bytes"])).size for name in table.column_names[2:5]] == [(8, 6)] * 3

    def test_a_folder_can_be_moved_and_pictures_elsewhere_are_found(self, folder, tmp_path_factory):
        home = tmp_path_factory.mktemp("home")
        (home / "a.png").write_bytes(png(9))
        triplet = Triplet("a", home / "a.png", "jay", "What?", negative=folder / "c.png")
        for suffix in (".jsonl", ".parquet"):
            write_triplets(home / f"t{suffix}", [triplet])
        moved = home.with_name("moved")
        os.rename(home, moved)
        for suffix in (".jsonl", ".parquet"):
            (one,) = read_triplets(moved / f"t{suffix}").triplets
            assert (one.anchor, one.negative) == (moved / "a.png", folder / "c.png")

    def test_more_rows_than_are_read_at_once(self, folder):
        rows = [
            Triplet(f"{n}", folder / "a.png", "jay", "What?", folder / "b.png", folder / "c.png") for n in range(70)
        ]
        write_triplets(folder / "t.parquet", rows, embed=True)
        assert [one.id for one in read_triplets(folder / "t.parquet", out=folder / "out").triplets] == [
            str(n) for n in range(70)
        ]
        assert len(list((folder / "out").rglob("*.png"))) == 3

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text(min_size=1).filter(str.strip), st.lists(st.text().filter(str.strip), max_size=3))
    def test_any_names_survive_json_lines(self, folder, name, accepted):
        triplet = Triplet(name.strip(), folder / "a.png", name.strip(), "What?", accepted=tuple(accepted))
        write_triplets(folder / "t.jsonl", [triplet])
        assert read_triplets(folder / "t.jsonl").triplets == (triplet,)


class TestReleased:
    def test_embedded_bytes_and_paths_and_bare_structs(self, folder):
        rows = [
            {"problem": "<image> Which jay?", "answer": "Blue_Jay", "images": held(png(1)), "image_aug": held(png(2))},
            {"problem": "<image>\nWhich jay? ", "answer": "Jay", "images": [{"bytes": None, "path": "b.png"}]},
        ]
        found = read_triplets(released(folder / "train.parquet", rows), out=folder / "out")
        one, two = found.triplets
        assert (one.question, two.question) == ("Which jay?", "Which jay?")
        assert one.category == "Blue_Jay"
        assert (one.id, two.id) == ("train/0000000", "train/0000001")
        assert one.negative.read_bytes() == png(2)
        assert two.anchor == folder / "b.png"
        assert any("would blacken patches" in note for note in found.notes)

    def test_pictures_without_a_list_and_plain_paths(self, folder):
        table = {"problem": ["Which?"], "answer": ["jay"], "images": ["a.png"], "image_aug": [{"bytes": png(4)}]}
        pq.write_table(pa.table({**table, "image_noisy": [png(5)]}), folder / "t.parquet")
        (one,) = read_triplets(folder / "t.parquet", out=folder / "out").triplets
        assert one.anchor == folder / "a.png"
        assert (one.negative.read_bytes(), one.positive.read_bytes()) == (png(4), png(5))

    def test_the_sentence_about_tags_is_not_part_of_the_question(self, folder):
        row = {"problem": "<image>" + train_prompt("Which jay?"), "answer": "jay", "images": held(png(1))}
        (one,) = read_triplets(released(folder / "t.parquet", [row]), out=folder / "out").triplets
        assert one.question == "Which jay?"

    def test_pictures_inside_need_a_place(self, folder):
        row = {"problem": "Which?", "answer": "jay", "images": held(png(1))}
        with pytest.raises(InputError, match="inside this file"):
            read_triplets(released(folder / "t.parquet", [row]))

    def test_reading_twice_writes_nothing_new(self, folder):
        path = released(folder / "t.parquet", [{"problem": "Which?", "answer": "jay", "images": held(png(1))}])
        (one,) = read_triplets(path, out=folder / "out").triplets
        before = one.anchor.stat().st_mtime_ns
        assert read_triplets(path, out=folder / "out").triplets == (one,)
        assert one.anchor.stat().st_mtime_ns == before


class TestBadRows:
    def test_each_is_set_aside_with_its_reason(self, folder):
        good = {"problem": "Which?", "answer": "jay", "images": held(png(1))}
        rows = [
            good,
            {**good, "problem": "<image> "},
            {**good, "answer": None},
            {**good, "images": []},
            {**good, "images": held(b"MZ no picture")},
            {**good, "images": held(png(1), png(2))},
            {**good, "images": [{"bytes": None, "path": "gone.png"}]},
            {**good, "images": [{"bytes": None, "path": "https://x.org/a.png"}]},
            {**good, "images": [{"bytes": b"", "path": None}]},
        ]
        found = read_triplets(released(folder / "t.parquet", rows), out=folder / "out")
        assert len(found.triplets) == 1
        assert [(one.id, one.reason) for one in found.set_aside] == [
            ("row 2", "no question"),
            ("row 3", "no answer"),
            ("row 4", "no image"),
            ("row 5", "not an image"),
            ("row 6", "bad row"),
            ("row 7", "missing"),
            ("row 8", "url"),
            ("row 9", "no image"),
        ]

    def test_json_lines(self, folder):
        good = {"id": "1", "anchor": "a.png", "category": "jay", "question": "Which?"}
        path = lines(
            folder / "t.jsonl",
            good,
            good,
            "not json",
            "[1]",
            {**good, "id": 2, "category": 12},
            {**good, "id": "3", "accepted": "jay"},
            {**good, "id": "4", "similarity": "high"},
            {**good, "id": "5", "anchor": 3},
            {**good, "id": "6", "question": ["Which?"]},
            {**good, "id": "7", "anchor": "a\0.png"},
            "",
        )
        found = read_triplets(path)
        assert [(one.id, one.category) for one in found.triplets] == [("1", "jay"), ("2", "12")]
        assert [(one.id, one.reason) for one in found.set_aside] == [
            ("row 2", "duplicate id"),
            *((f"row {n}", "bad row") for n in (3, 4, 6, 7, 8, 9, 10)),
        ]

    def test_a_bad_positive_or_negative_counts_as_missing_and_is_told(self, folder):
        good = {"anchor": "a.png", "category": "jay", "question": "Which?"}
        found = read_triplets(lines(folder / "t.jsonl", {**good, "negative": "gone.png", "positive": 5}))
        assert (found.triplets[0].positive, found.triplets[0].negative) == (None, None)
        assert found.notes[-1] == "Left out: 1 (negative: missing), 1 (positive: bad row)."

    def test_nothing_outside_a_named_root_is_taken(self, folder):
        inner = folder / "inner"
        inner.mkdir()
        (inner / "d.png").write_bytes(png(7))
        (inner / "link.png").symlink_to(folder / "a.png")
        row = {"category": "jay", "question": "Which?"}
        names = ("d.png", "../a.png", str(folder / "a.png"), "link.png")
        path = lines(folder / "t.jsonl", *({**row, "id": name, "anchor": name} for name in names))
        found = read_triplets(path, root=inner)
        assert [one.id for one in found.triplets] == ["d.png"]
        assert {one.reason for one in found.set_aside} == {"outside root"}

    def test_a_file_that_breaks_off_gives_what_came_before(self, folder, monkeypatch):
        rows = [{"problem": "Which?", "answer": "jay", "images": [{"path": "a.png"}]} for _ in range(3)]
        pictures = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        schema = pa.schema([("problem", pa.string()), ("answer", pa.string()), ("images", pictures)])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "t.parquet", row_group_size=1)
        real, calls = pq.ParquetFile.iter_batches, []

        def broken(self, **options):
            calls.append(options["row_groups"])
            if options["row_groups"] == [1]:
                raise pa.ArrowInvalid("corrupt page")
            return real(self, **options)

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", broken)
        found = read_triplets(folder / "t.parquet")
        assert len(found.triplets) == 1
        assert [(one.id, one.reason) for one in found.set_aside] == [("row 2", "unreadable")]


class TestErrors:
    def test_files_that_cannot_be_read(self, folder):
        (folder / "bad.parquet").write_bytes(b"PAR1 no")
        for name in ("bad.parquet", "none.parquet", "none.jsonl"):
            with pytest.raises(ManifestError):
                read_triplets(folder / name)

    def test_no_good_row_is_an_error_with_the_reasons(self, folder):
        with pytest.raises(InputError, match="bad row: 2"):
            read_triplets(lines(folder / "t.jsonl", "x", "y"))
        pq.write_table(pa.table({"other": [1]}), folder / "t.parquet")
        with pytest.raises(InputError, match="no question: 1"):
            read_triplets(folder / "t.parquet")

    def test_nothing_to_write_and_wrong_suffixes(self, folder):
        with pytest.raises(InputError, match="no triplet"):
            write_triplets(folder / "t.jsonl", [])
        with pytest.raises(InputError, match="JSON Lines or Parquet"):
            write_triplets(folder / "t.csv", [full(folder)])
        with pytest.raises(InputError, match="JSON Lines or Parquet"):
            read_triplets(folder / "t.csv")
        with pytest.raises(InputError, match="holds no pictures"):
            write_triplets(folder / "t.jsonl", [full(folder)], embed=True)

    def test_a_picture_that_is_gone_leaves_no_half_file(self, folder):
        (folder / "c.png").unlink()
        with pytest.raises(InputError, match="cannot be read"):
            write_triplets(folder / "t.parquet", [full(folder)], embed=True)
        assert sorted(one.name for one in folder.iterdir()) == ["a.png", "b.png"]

    def test_without_pyarrow(self, folder, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
        with pytest.raises(MissingExtraError, match="parquet"):
            write_triplets(folder / "t.parquet", [full(folder)])
