"""Folders, patterns, lists and manifests: what is found, what is set aside, what never escapes its root."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.data import load_items
from fgvr.data.items import folder_label
from fgvr.errors import ManifestError, NoImagesError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def ids(found) -> list[str]:
    return [item.id for item in found.items]


def reasons(found) -> dict[str, str]:
    return {aside.id: aside.reason for aside in found.set_aside}


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_flat_folder_is_sorted_unlabelled_and_free_of_other_files(tmp_path):
    touch(
        tmp_path, "b.JPG", "a.png", "notes.txt", ".hidden.jpg", "._a.png", "Thumbs.db", "__MACOSX/c.jpg", ".git/d.jpg"
    )
    found = load_items(tmp_path)
    assert ids(found) == ["a.png", "b.JPG"]
    assert not found.set_aside
    assert all(item.label is None and item.path.is_file() for item in found.items)


def test_one_folder_per_class_gives_true_labels(tmp_path):
    touch(tmp_path, "001.Black_footed_Albatross/1.jpg", "002.Sooty_Albatross/1.jpg", "002.Sooty_Albatross/2.jpg")
    labels = [item.label for item in load_items(tmp_path).items]
    assert labels == ["Black footed Albatross", "Sooty Albatross", "Sooty Albatross"]
    assert {item.label for item in load_items(tmp_path, labels="none").items} == {None}


def test_labels_are_not_guessed_from_other_layouts(tmp_path):
    touch(tmp_path, "DCIM/1.jpg", "DCIM/2.jpg")
    assert {item.label for item in load_items(tmp_path).items} == {None}  # a single folder is no class
    assert {item.label for item in load_items(tmp_path, labels="folders").items} == {"DCIM"}
    touch(tmp_path, "Wren/1.jpg", "top.jpg")
    assert {item.label for item in load_items(tmp_path).items} == {None}  # not every image is one folder down
    with_folders = {item.id: item.label for item in load_items(tmp_path, labels="folders").items}
    assert with_folders == {"DCIM/1.jpg": "DCIM", "DCIM/2.jpg": "DCIM", "Wren/1.jpg": "Wren", "top.jpg": None}


def test_a_sub_folder_can_serve_as_split(tmp_path):
    touch(tmp_path, "train/Wren/1.jpg", "train/Robin/2.jpg", "test/Wren/3.jpg")
    found = load_items(tmp_path, split="train")
    assert [(i.id, i.label, i.split) for i in found.items] == [
        ("train/Robin/2.jpg", "Robin", "train"),
        ("train/Wren/1.jpg", "Wren", "train"),
    ]
    with pytest.raises(ManifestError, match="split"):
        load_items(tmp_path, split="none")


@pytest.mark.parametrize(
    ("name", "label"), [("12.a_b", "a b"), ("Wren", "Wren"), ("3.", "3."), ("747_Boeing", "747 Boeing"), ("_", "_")]
)
def test_folder_labels(name, label):
    assert folder_label(name) == label


def test_links_that_loop_repeat_or_leave_the_root(tmp_path):
    touch(tmp_path, "photos/real/a.jpg", "outside/secret.jpg", "outside/deep/b.jpg")
    photos = tmp_path / "photos"
    (photos / "real" / "up").symlink_to(photos)
    (photos / "again").symlink_to(photos / "real")
    (photos / "parent").symlink_to(tmp_path)
    (photos / "leak").symlink_to(tmp_path / "outside")
    (photos / "leak.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    found = load_items(photos)
    assert ids(found) == ["real/a.jpg"]
    assert reasons(found) == {
        "leak": "outside root",
        "parent": "outside root",
        str(photos / "leak.jpg"): "outside root",
    }
    wider = load_items(photos, root=tmp_path)
    assert ids(wider) == ["photos/leak.jpg", "photos/leak/deep/b.jpg", "photos/leak/secret.jpg", "photos/real/a.jpg"]


def test_a_folder_reached_through_a_link_keeps_short_ids(tmp_path):
    touch(tmp_path, "real/x/a.jpg", "real/y/b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = load_items(tmp_path / "link")
    assert ids(found) == ["x/a.jpg", "y/b.jpg"]
    assert [item.label for item in found.items] == ["x", "y"]


def test_names_that_are_not_utf8_get_printable_ids(tmp_path):
    with open(os.fsencode(tmp_path) + b"/b\xe9.jpg", "wb") as file:
        file.write(b"x")
    (item,) = load_items(tmp_path).items
    assert item.id == "b\\xe9.jpg"
    assert item.path.read_bytes() == b"x"
    (tmp_path / "m.csv").write_bytes(b"image\nb\xe9.jpg\n")
    assert load_items(tmp_path / "m.csv").items[0].path.read_bytes() == b"x"


# --- patterns, files, lists -------------------------------------------------------------------------------------------


def test_patterns_files_and_lists(tmp_path, monkeypatch):
    touch(tmp_path, "p/x/1.jpg", "p/y/2.PNG", "p/y/notes.txt", "q/3.jpg", "p/[odd].jpg")
    monkeypatch.chdir(tmp_path)
    assert ids(load_items("p/*/*")) == ["x/1.jpg", "y/2.PNG"]
    assert [item.label for item in load_items("p/*/*").items] == ["x", "y"]
    assert ids(load_items("**/*.jpg")) == ["p/[odd].jpg", "p/x/1.jpg", "q/3.jpg"]
    assert ids(load_items("p/[odd].jpg")) == ["[odd].jpg"]  # an existing file is not a pattern
    assert ids(load_items(["q/3.jpg", "p/x", Path("q/3.jpg"), "p/../q/3.jpg"])) == ["p/x/1.jpg", "q/3.jpg"]
    assert ids(load_items([tmp_path / "q" / "3.jpg"])) == ["3.jpg"]
    for nothing in ("p/*.gif", [], "q/none*"):
        with pytest.raises(NoImagesError):
            load_items(nothing)
    with pytest.raises(ManifestError, match="no such"):
        load_items("absent")
    found = load_items("p/*/*")
    assert load_items(found) is found


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(NoImagesError):
        load_items(tmp_path)


# --- manifests --------------------------------------------------------------------------------------------------------

ROWS = [
    {"image": "a/1.jpg", "label": "Wren", "split": "train", "accepted": ["Jenny wren", "Troglodytes"]},
    {"image": "a/2.jpg", "label": "Robin", "split": "test", "accepted": []},
]


def write_manifest(path: Path) -> Path:
    touch(path.parent, *(row["image"] for row in ROWS))
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**r, "box": [1, 2]} for r in ROWS]), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({**row, "extra": {"deep": 1}}) + "\n" for row in ROWS))
    else:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(["Image", "label", "split", "synonyms", "other"])
            writer.writerows([r["image"], r["label"], r["split"], ";".join(r["accepted"]), "?"] for r in ROWS)
    return path


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.parquet"])
def test_every_manifest_format_says_the_same(tmp_path, name):
    manifest = write_manifest(tmp_path / name)
    found = load_items(manifest)
    assert [(i.id, i.label, i.split, i.accepted) for i in found.items] == [
        ("a/1.jpg", "Wren", "train", ("Jenny wren", "Troglodytes")),
        ("a/2.jpg", "Robin", "test", ()),
    ]
    assert ids(load_items(str(manifest), split="test")) == ["a/2.jpg"]
    with pytest.raises(NoImagesError, match="test, train"):
        load_items(manifest, split="val")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_no_manifest_path_leaves_the_root(tmp_path, suffix):
    touch(tmp_path, "in/ok.jpg", "in/sub/ok2.jpg", "out/secret.jpg", "in-sibling/x.jpg")
    inside = tmp_path / "in"
    (inside / "link.jpg").symlink_to(tmp_path / "out" / "secret.jpg")
    (inside / "linked").symlink_to(tmp_path / "out")
    out = [
        "../out/secret.jpg",
        "sub/../../out/secret.jpg",
        str(tmp_path / "out" / "secret.jpg"),
        "link.jpg",
        "linked/secret.jpg",
        "../in-sibling/x.jpg",
        "/etc/passwd",
        "..\\out\\secret.jpg",
    ]
    fine = ["ok.jpg", "sub/../sub/ok2.jpg", str(inside / "ok.jpg")]
    rows = [*out, *fine, "https://host/x.jpg", "gone.jpg"]
    lines = ["image", *rows] if suffix == "csv" else [json.dumps({"image": row}) for row in rows]
    (inside / f"m.{suffix}").write_text("\n".join(lines))
    found = load_items(inside / f"m.{suffix}")
    assert ids(found) == ["ok.jpg", "sub/ok2.jpg"]
    by_id = reasons(found)
    assert {by_id[row] for row in out} == {"outside root"}
    assert (by_id["https://host/x.jpg"], by_id["gone.jpg"], by_id["ok.jpg"]) == ("url", "missing", "duplicate")
    wider = load_items(inside / f"m.{suffix}", root=tmp_path)
    assert "out/secret.jpg" in ids(wider)
    assert reasons(wider)["/etc/passwd"] == "outside root"


def test_a_bad_csv_row_never_stops_the_rest(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    (tmp_path / "m.csv").write_text(
        'image,label\n1.jpg,Wren\n"2.jpg,unclosed\n,no path\n3.jpg,a,b,c\n\n4.jpg,"two\nlines"\nx\0y.jpg,NUL\n2.jpg\n'
    )
    found = load_items(tmp_path / "m.csv")
    assert [(i.id, i.label) for i in found.items] == [("1.jpg", "Wren"), ("2.jpg", None), ("4.jpg", "two\nlines")]
    assert [a.detail[:6] for a in found.set_aside if a.id.startswith("row")] == ["row 3:", "row 4:", "row 5:"]
    assert reasons(found)["x\\x00y.jpg"] == "bad row"


def test_a_bad_jsonl_row_never_stops_the_rest(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg")
    bad = [
        "{",
        "[1]",
        "null",
        '{"image": 3.5e999}',
        '{"image": ["x"]}',
        "[" * 100_000,
        '{"label": "x"}',
        '{"image": " "}',
    ]
    bad += ['{"image": "1.jpg", "label": {"a": 1}}', '{"image": "\\ud800.jpg"}', '{"image": "' + "x" * 5000 + '.jpg"}']
    lines = ['{"image": "1.jpg", "label": 7}', *bad, '{"image": "2.jpg", "accepted": ["a", null, " "]}']
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    found = load_items(tmp_path / "m.jsonl")
    assert [(i.id, i.label, i.accepted) for i in found.items] == [("1.jpg", "7", ()), ("2.jpg", None, ("a",))]
    assert len(found.set_aside) == len(bad)


@pytest.mark.parametrize(
    ("name", "data"), [("m.csv", b"a,b\n1,2\n"), ("m.csv", b""), ("m.parquet", b"junk"), ("m.csv", None)]
)
def test_an_unusable_manifest_is_one_clear_error(tmp_path, name, data):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ManifestError):
        load_items(tmp_path / name)


def test_a_repeated_image_is_kept_once_and_a_conflict_is_named(tmp_path):
    touch(tmp_path, "1.jpg")
    (tmp_path / "m.csv").write_text("file;label\n1.jpg;Wren\n./1.jpg;Robin\n")
    found = load_items(tmp_path / "m.csv")
    assert [(i.id, i.label) for i in found.items] == [("1.jpg", "Wren")]
    assert "Wren" in found.set_aside[0].detail
    assert "row 3" in found.set_aside[0].detail


_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)
_names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:"), min_size=1, max_size=8)
_rows = st.lists(
    st.tuples(_names.filter(lambda n: n.strip(". ") != ""), _text, st.lists(_text.map(lambda t: t.replace(";", "")))),
    min_size=1,
    max_size=5,
    unique_by=lambda row: row[0],
)


@settings(deadline=None, max_examples=50)
@given(rows=_rows, kind=st.sampled_from(["csv", "jsonl"]))
def test_manifests_come_back_as_written(rows, kind):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        touch(root, *(f"p/{name}.jpg" for name, _, _ in rows))
        records = [{"image": f"p/{n}.jpg", "label": label, "accepted": accepted} for n, label, accepted in rows]
        with (root / f"m.{kind}").open("w", newline="", encoding="utf-8") as file:
            if kind == "jsonl":
                file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            else:
                writer = csv.DictWriter(file, ["image", "label", "accepted"])
                writer.writeheader()
                writer.writerows({**record, "accepted": ";".join(record["accepted"])} for record in records)
        found = load_items(root / f"m.{kind}")
        assert not found.set_aside
        expected = {
            f"p/{n}.jpg": (label.strip() or None, tuple(dict.fromkeys(a.strip() for a in accepted if a.strip())))
            for n, label, accepted in rows
        }
        assert {item.id: (item.label, item.accepted) for item in found.items} == expected
        assert ids(found) == sorted(expected)


@settings(deadline=None, max_examples=50)
@given(junk=st.binary(max_size=300), kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_random_bytes_after_a_good_row_never_crash(junk, kind):
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), "1.jpg")
        good = b'{"image": "1.jpg"}\n' if kind == "jsonl" else b"image\n1.jpg\n"
        (Path(folder) / f"m.{kind}").write_bytes(good + junk)
        if kind == "parquet":
            with pytest.raises(ManifestError):
                load_items(Path(folder) / "m.parquet")
        else:
            assert "1.jpg" in ids(load_items(Path(folder) / f"m.{kind}"))


def test_bare_carriage_returns_end_lines_or_cost_their_row_but_hide_nothing(tmp_path):
    touch(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "old.csv").write_bytes(b"image,label\r1.jpg,Wren\r2.jpg,Robin\r")
    assert [(i.id, i.label) for i in load_items(tmp_path / "old.csv").items] == [("1.jpg", "Wren"), ("2.jpg", "Robin")]
    (tmp_path / "odd.csv").write_bytes(b"image,label\n1.jpg,Wren\r2.jpg,Robin\n3.jpg,Jay\n")
    found = load_items(tmp_path / "odd.csv")
    assert ids(found) == ["3.jpg"]
    assert reasons(found) == {"row 2": "bad row"}


_cells = st.text(st.characters(exclude_characters="\0"), max_size=8)


@settings(deadline=None, max_examples=100)
@given(
    columns=st.lists(_cells, max_size=4),
    rows=st.lists(st.lists(_cells, max_size=6), max_size=8),
    kind=st.sampled_from(["csv", "tsv"]),
)
def test_every_row_of_any_table_becomes_an_image_or_is_set_aside(columns, rows, kind):
    """Hostile columns and cells: each written row is accounted for exactly once."""
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), "good.jpg")
        target = Path(folder) / f"m.{kind}"
        with target.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
            writer = csv.writer(
                file, delimiter="\t" if kind == "tsv" else ",", quoting=csv.QUOTE_ALL, lineterminator="\n"
            )
            writer.writerow(["image", *(f"x{column}" for column in columns)])
            writer.writerow(["good.jpg"])
            writer.writerows(rows)
        found = load_items(target)
        assert "good.jpg" in ids(found)
        written = [row for row in rows if any(row) or len(row) > 1 + len(columns)]
        assert len(found.items) + len(found.set_aside) == 1 + len(written)
