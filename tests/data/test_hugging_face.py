"""Hugging Face layouts without ``datasets``: folders with metadata, Parquet with pictures inside, and ``hf:`` names."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest

from fgvr.data import hugging_face, parquet_images
from fgvr.data.hugging_face import load_hugging_face, looks_like, split_of
from fgvr.data.parquet_images import columns_of, readme_class_names, suffix_of
from fgvr.errors import InputError, ManifestError, NoImagesError
from fgvr.images import decode
from tests.data.benchmarks.writing import images, jpeg, text

NAMES = ["apple_pie", "baby_back_ribs", "baklava"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any attempt to open a connection, or to ask the Hub, fails the test."""

    def refused(*_args, **_kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refused)


def embedded(
    file: Path,
    rows: list[tuple[object, object]],
    *,
    names: list[str] | None = NAMES,
    group: int = 2,
    path: str = "x.jpg",
) -> Path:
    """A Parquet file as ``push_to_hub`` writes it: an image struct, a class number, names in the schema."""
    pictures = [None if data is None else {"bytes": data, "path": path} for data, _ in rows]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    numbers = pyarrow.array([label for _, label in rows])
    table = pyarrow.table({"image": pyarrow.array(pictures, kind), "label": numbers})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        stated = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": stated})
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, file, row_group_size=group)
    return file


def shown(found) -> list[tuple[str, str | None, str | None]]:
    return [(item.id, item.label, item.split) for item in found.items]


# --- folders ----------------------------------------------------------------------------------------------------------


def test_metadata_in_split_folders(tmp_path):
    images(tmp_path, ["train/1.jpg", "train/2.jpg", "validation/3.jpg", "test/deep/4.jpg"])
    text(tmp_path, "train/metadata.csv", "file_name,label", "1.jpg,Wren", "2.jpg,Robin")
    text(tmp_path, "validation/metadata.jsonl", '{"file_name": "3.jpg", "species": "Wren"}')
    text(tmp_path, "test/metadata.csv", "file_name,label", "deep/4.jpg,Robin")
    assert looks_like(tmp_path)
    found = load_hugging_face(tmp_path, out=None)
    assert shown(found) == [
        ("test/deep/4.jpg", "Robin", "test"),
        ("train/1.jpg", "Wren", "train"),
        ("train/2.jpg", "Robin", "train"),
        ("validation/3.jpg", "Wren", "val"),
    ]
    assert all(item.path.is_file() for item in found.items)
    assert shown(load_hugging_face(tmp_path, out=None, split="validation")) == [("validation/3.jpg", "Wren", "val")]
    with pytest.raises(ManifestError, match="test, train, val"):
        load_hugging_face(tmp_path, out=None, split="support")


def test_one_metadata_file_with_a_split_column_and_numbers_named_in_the_readme(tmp_path):
    images(tmp_path, ["images/1.jpg", "images/2.jpg", "images/3.jpg"])
    text(tmp_path, "metadata.csv", "file_name,label,split", "images/1.jpg,0,train", "images/2.jpg,2,test")
    text(tmp_path, "README.md", "---", "dataset_info:", *readme_lines("  "), "---", "# A data set")
    assert shown(load_hugging_face(tmp_path, out=None)) == [
        ("images/1.jpg", "apple pie", "train"),
        ("images/2.jpg", "baklava", "test"),
        ("images/3.jpg", None, None),  # "images" is no class
    ]


def test_split_folders_of_class_folders_need_no_metadata(tmp_path):
    images(tmp_path, ["train/Winter_Wren/1.jpg", "test/Winter_Wren/2.jpg", "test/3.jpg", "test/train_station/4.jpg"])
    images(tmp_path, ["train/Train/5.jpg"])
    assert looks_like(tmp_path)
    assert shown(load_hugging_face(tmp_path, out=None)) == [
        ("test/3.jpg", None, "test"),
        ("test/Winter_Wren/2.jpg", "Winter Wren", "test"),
        ("test/train_station/4.jpg", "train station", "test"),
        ("train/Train/5.jpg", "Train", "train"),
        ("train/Winter_Wren/1.jpg", "Winter Wren", "train"),
    ]


def test_bad_rows_missing_pictures_and_ways_out_are_set_aside(tmp_path):
    root = tmp_path / "root"
    images(tmp_path, ["secret.jpg", "root/a.jpg"])
    text(
        root,
        "metadata.jsonl",
        '{"file_name": "a.jpg", "label": "Wren"}',
        '{"file_name": "a.jpg", "label": "Robin"}',
        '{"file_name": "gone.jpg", "label": "Wren"}',
        '{"file_name": "../secret.jpg", "label": "Wren"}',
        '{"file_name": "https://example.org/a.jpg", "label": "Wren"}',
        "not json",
    )
    found = load_hugging_face(root, out=None)
    assert shown(found) == [("a.jpg", "Wren", None)]
    assert sorted(aside.reason for aside in found.set_aside) == [
        "bad row",
        "duplicate",
        "missing",
        "outside root",
        "url",
    ]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["Wren/1.jpg", "Robin/2.jpg"], False),
        (["train/1.jpg"], False),  # one folder: it may be a class
        (["train/1.jpg", "Wren/2.jpg"], False),
        (["val/1.jpg", "test/2.jpg"], False),
        (["train/1.jpg", "test/2.jpg"], True),
    ],
)
def test_ordinary_folders_are_left_to_the_ordinary_reader(tmp_path, files, expected: bool):
    images(tmp_path, files)
    assert looks_like(tmp_path) is expected
    assert not looks_like(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("default/validation/0000.parquet", "val"),
        ("test_1.parquet", "test"),
        ("my-dev.parquet", "val"),
        ("trainer.parquet", None),
        ("testimony/file.parquet", None),
        ("train/eval-0.parquet", "test"),
    ],
)
def test_splits_are_whole_words(name: str, split: str | None):
    assert split_of(name) == split


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_pictures_are_taken_out_once_and_named_by_their_content(tmp_path):
    root, out = tmp_path / "set", tmp_path / "out"
    embedded(root / "data/train-00000-of-00001.parquet", [(jpeg(n), n % 3) for n in range(5)])
    embedded(root / "data/test-00000-of-00001.parquet", [(jpeg(0), 2), (jpeg(77), -1)])
    assert looks_like(root)
    found = load_hugging_face(root, out=out)
    assert shown(found) == [
        ("data/test-00000-of-00001/0000000", "baklava", "test"),
        ("data/test-00000-of-00001/0000001", None, "test"),
        ("data/train-00000-of-00001/0000000", "apple pie", "train"),
        ("data/train-00000-of-00001/0000001", "baby back ribs", "train"),
        ("data/train-00000-of-00001/0000002", "baklava", "train"),
        ("data/train-00000-of-00001/0000003", "apple pie", "train"),
        ("data/train-00000-of-00001/0000004", "baby back ribs", "train"),
    ]
    assert found.root == out
    for item in found.items:
        digest = hashlib.sha256(item.path.read_bytes()).hexdigest()
        assert item.path == out / "images" / digest[:2] / f"{digest}.jpg"
        assert decode(item.path).image.size == (4, 4)
    # the same picture in train and test is one file: what guards against leaks can see it
    assert found.items[0].path == found.items[2].path
    assert len([*out.rglob("*.jpg")]) == 6


def test_a_second_run_writes_nothing_and_a_cut_file_is_written_again(tmp_path, monkeypatch):
    file = embedded(tmp_path / "train.parquet", [(jpeg(n), 0) for n in range(3)])
    first = load_hugging_face(file, out=tmp_path / "out")
    first.items[1].path.write_bytes(b"\xff\xd8\xff cut")
    written: list[Path] = []
    really = parquet_images.write_bytes
    monkeypatch.setattr(parquet_images, "write_bytes", lambda path, data: (written.append(path), really(path, data)))
    assert load_hugging_face(file, out=tmp_path / "out") == first
    assert written == [first.items[1].path]


def test_a_run_that_is_stopped_goes_on(tmp_path, monkeypatch):
    file = embedded(tmp_path / "train.parquet", [(jpeg(n), 0) for n in range(6)])
    really, written = parquet_images.write_bytes, []

    def stopping(path, data):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        really(path, data)

    monkeypatch.setattr(parquet_images, "write_bytes", stopping)
    with pytest.raises(KeyboardInterrupt):
        load_hugging_face(file, out=tmp_path / "out")
    monkeypatch.setattr(parquet_images, "write_bytes", lambda path, data: (written.append(path), really(path, data)))
    assert len(load_hugging_face(file, out=tmp_path / "out").items) == 6
    assert len(written) == len({*written}) == 6


def test_only_the_wanted_split_is_opened(tmp_path):
    root = tmp_path / "set"
    embedded(root / "data/test-0.parquet", [(jpeg(1), 1)])
    (root / "data/train-0.parquet").write_bytes(b"broken")
    found = load_hugging_face(root, out=tmp_path / "out", split="test")
    assert shown(found) == [("data/test-0/0000000", "baby back ribs", "test")]
    assert found.set_aside == ()
    with pytest.raises(ManifestError, match="test, train"):
        load_hugging_face(root, out=tmp_path / "out", split="val")


def test_bad_rows_are_set_aside_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_images, "DEFAULT_LIMITS", parquet_images.DEFAULT_LIMITS.__class__(max_bytes=2000))
    rows = [(jpeg(1), 0), (b"GARBAGE", 0), (None, 0), (b"", 0), (jpeg(2), 3), (jpeg(3) + bytes(3000), 0)]
    file = embedded(tmp_path / "train.parquet", rows, path="gone.jpg")
    found = load_hugging_face(file, out=tmp_path / "out")
    assert [item.id for item in found.items] == ["train/0000000"]
    assert [(aside.id[-1], aside.reason) for aside in found.set_aside] == [
        ("1", "not an image"),
        ("2", "missing"),
        ("3", "missing"),
        ("4", "bad row"),
        ("5", "too large"),
    ]
    with pytest.raises(NoImagesError, match="not an image: 1"):
        load_hugging_face(embedded(tmp_path / "test.parquet", rows[1:2]), out=tmp_path / "out")


def test_rows_that_only_name_their_picture(tmp_path):
    root = tmp_path / "set"
    images(tmp_path, ["set/data/x.jpg", "away.jpg"])
    embedded(root / "data/train-0.parquet", [(None, 0)])
    table = parquet.read_table(root / "data/train-0.parquet")
    pictures = [{"bytes": None, "path": path} for path in ("x.jpg", "../../away.jpg", "gone.jpg")]
    kind = table.schema.field("image").type
    changed = pyarrow.table({"image": pyarrow.array(pictures, kind), "label": [1, 1, 1]})
    parquet.write_table(changed.replace_schema_metadata(table.schema.metadata), root / "data/train-0.parquet")
    found = load_hugging_face(root, out=tmp_path / "out")
    assert [item.path for item in found.items] == [(root / "data/x.jpg").resolve()]
    assert [aside.reason for aside in found.set_aside] == ["outside root", "missing"]


def test_a_broken_file_costs_itself_only(tmp_path):
    root = tmp_path / "set"
    good = embedded(root / "data/train-0.parquet", [(jpeg(n), 0) for n in range(40)], group=10)
    whole = good.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 400] = b"\0" * 400
    (root / "data/train-1.parquet").write_bytes(whole[: len(whole) // 2])
    (root / "data/train-2.parquet").write_bytes(bytes(damaged))
    (root / "data/train-3.parquet").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    found = load_hugging_face(root, out=tmp_path / "out")
    assert sum(item.id.startswith("data/train-0/") for item in found.items) == 40
    broken = {aside.id: aside for aside in found.set_aside if aside.reason == "unreadable"}
    assert {"data/train-1", "data/train-3"} <= {*broken}
    assert "Git LFS pointer" in broken["data/train-3"].detail
    with pytest.raises(NoImagesError, match="unreadable"):
        load_hugging_face(root / "data/train-3.parquet", out=tmp_path / "out")


def test_out_is_asked_for(tmp_path):
    file = embedded(tmp_path / "train.parquet", [(jpeg(), 0)])
    with pytest.raises(InputError, match="inside Parquet") as raised:
        load_hugging_face(file, out=None)
    assert "out" in raised.value.remedy
    with pytest.raises(ManifestError, match="no such"):
        load_hugging_face(tmp_path / "nowhere", out=tmp_path)


def test_plain_binary_text_labels_and_numbers_without_names(tmp_path):
    table = pyarrow.table(
        {"id": [1], "img": pyarrow.array([jpeg()], pyarrow.large_binary()), "species": ["Winter_Wren"]}
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    assert shown(load_hugging_face(tmp_path / "a.parquet", out=tmp_path / "out")) == [
        ("a/0000000", "Winter Wren", None)
    ]
    file = embedded(tmp_path / "b.parquet", [(jpeg(), 7)], names=None)
    assert shown(load_hugging_face(file, out=tmp_path / "out")) == [("b/0000000", "7", None)]


def test_a_manifest_is_no_file_of_pictures(tmp_path):
    parquet.write_table(pyarrow.table({"image": ["a.jpg"], "label": ["Wren"]}), tmp_path / "train.parquet")
    assert columns_of(tmp_path / "train.parquet") is None
    assert not looks_like(tmp_path / "train.parquet")
    assert not looks_like(tmp_path)
    with pytest.raises(NoImagesError, match="not an image"):
        load_hugging_face(tmp_path / "train.parquet", out=tmp_path / "out")


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "QOI"])
def test_suffixes_follow_the_content(tmp_path, picture_format: str):
    import io

    from PIL import Image, features

    if picture_format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, picture_format)
    suffix = suffix_of(buffer.getvalue())
    expected = {"JPEG": ".jpg", "TIFF": ".tif"}.get(picture_format, f".{picture_format.lower()}")
    assert suffix == expected
    assert suffix_of(b"GARBAGE") is None
    assert suffix_of(b"") is None


# --- names ------------------------------------------------------------------------------------------------------------


def readme_lines(indent: str) -> list[str]:
    listed = [f"{indent}        '{n}': {name}" for n, name in reversed([*enumerate(NAMES)])]
    head = [
        "features:",
        "- name: image",
        "  dtype: image",
        "- name: label",
        "  dtype:",
        "    class_label:",
        "      names:",
    ]
    return [*(indent + line for line in head), *listed]


def test_names_from_the_readme(tmp_path):
    text(tmp_path, "README.md", "---", "license: mit", "dataset_info:", *readme_lines("  "), "---", "# Title")
    assert readme_class_names(tmp_path) == {"label": tuple(NAMES)}
    embedded(tmp_path / "data/train-0.parquet", [(jpeg(), 2)], names=None)
    assert shown(load_hugging_face(tmp_path, out=tmp_path / "out"))[0][1] == "baklava"
    text(tmp_path, "README.md", "---", "dataset_info:", "- config_name: a", *readme_lines("  "), "---")
    assert readme_class_names(tmp_path) == {"label": tuple(NAMES)}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# no front matter",
        "---\n: [\n---",
        "---\n- 1\n---",
        "---\ndataset_info: 3\n---",
        "---\ndataset_info: {features: [{name: label, dtype: {class_label: {names: {x: y}}}}]}\n---",
        "---\n!!python/object/apply:os.system ['touch hacked']\n---",
        "---\n" + "[" * 1000 + "\n---",
    ],
)
def test_a_readme_without_names_gives_none(tmp_path, content: str):
    (tmp_path / "README.md").write_text(content)
    assert readme_class_names(tmp_path) == {}
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "stated", [b"{", b"[1]", b'{"info": {"features": {"label": {"names": {"0": 1}}}}}', b"[" * 99999]
)
def test_a_damaged_schema_gives_numbers(tmp_path, stated: bytes):
    file = embedded(tmp_path / "train.parquet", [(jpeg(), 1)], names=None)
    table = parquet.read_table(file).replace_schema_metadata({"huggingface": stated})
    parquet.write_table(table, file)
    columns = columns_of(file)
    assert columns is not None
    assert columns.label == "label"
    assert columns.names in ((), ("1",))


# --- the Hub ----------------------------------------------------------------------------------------------------------


def hub_cache(root: Path) -> Path:
    """A snapshot as the Hub's cache lays it out: links into a folder of blobs beside it."""
    snapshot = root / "datasets--org--birds" / "snapshots" / "abc"
    blobs = root / "datasets--org--birds" / "blobs"
    images(blobs, ["1", "2"])
    (blobs / "meta").write_text("file_name,label\n1.jpg,Wren\n2.jpg,Robin\n")
    (snapshot / "train").mkdir(parents=True)
    for name, blob in (("1.jpg", "1"), ("2.jpg", "2"), ("metadata.csv", "meta")):
        os.symlink(Path("../../../blobs") / blob, snapshot / "train" / name)
    embedded(blobs / "parquet", [(jpeg(9), 1)])
    return snapshot


def test_a_data_set_is_fetched_only_when_asked_for_by_name(tmp_path, monkeypatch):
    asked: list[tuple] = []
    snapshot = hub_cache(tmp_path)

    def fetched(name, **how):
        asked.append((name, how["repo_type"], how["revision"], how["ignore_patterns"]))
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    assert looks_like("hf:org/birds@v1")
    assert asked == []  # looking is not fetching
    found = load_hugging_face("hf:org/birds@v1", out=None)
    assert shown(found) == [("train/1.jpg", "Wren", "train"), ("train/2.jpg", "Robin", "train")]
    assert found.items[0].path.read_bytes() == jpeg(0)
    assert asked == [("org/birds", "dataset", "v1", ["*.py", "**/*.py"])]
    assert load_hugging_face("hf:birds", out=None).items
    assert asked[1][:3] == ("birds", "dataset", None)


def test_parquet_in_the_hubs_cache(tmp_path, monkeypatch):
    snapshot = hub_cache(tmp_path)
    (snapshot / "train" / "metadata.csv").unlink()
    (snapshot / "data").mkdir()
    os.symlink("../../../blobs/parquet", snapshot / "data" / "test-0.parquet")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    found = load_hugging_face("hf:org/birds", out=tmp_path / "out")
    assert shown(found) == [("data/test-0/0000000", "baby back ribs", "test")]


def test_offline_and_unknown_are_clear(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_args, **_kwargs):
        raise LocalEntryNotFoundError("Cannot find an appropriate cached snapshot folder.\nMore.")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(ManifestError, match="cannot be fetched: Cannot find an appropriate cached") as raised:
        load_hugging_face("hf:org/birds", out=None)
    assert raised.value.context["source"] == "hf:org/birds"
    assert "network" in raised.value.remedy
    for name in ("hf:", "hf:../etc", "hf:a/b/c", "hf:/etc"):
        with pytest.raises(ManifestError, match="no name of a data set"):
            load_hugging_face(name, out=None)


def test_importing_is_light():
    import subprocess
    import sys

    code = "import sys, fgvr.data.hugging_face; print({'pyarrow', 'huggingface_hub', 'yaml', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert hugging_face.PREFIX == "hf:"


def test_folders_of_many_classes_are_not_looked_into(tmp_path, monkeypatch):
    """Asking what a folder is must not list a million pictures."""
    images(tmp_path, [f"class_{n:03d}/1.jpg" for n in range(70)])
    listed: list[str] = []
    really = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: (listed.append(os.fspath(place)), really(place))[1])
    assert not looks_like(tmp_path)
    assert not [place for place in listed if "class_" in place]


def test_a_folder_that_happens_to_lie_in_snapshots_stays_closed(tmp_path):
    images(tmp_path, ["secret.jpg", "snapshots/birds/train/1.jpg", "snapshots/birds/test/2.jpg"])
    text(tmp_path, "snapshots/birds/train/metadata.csv", "file_name,label", "1.jpg,Wren", "../../../secret.jpg,Wren")
    found = load_hugging_face(tmp_path / "snapshots" / "birds", out=None)
    assert [item.id for item in found.items] == ["test/2.jpg", "train/1.jpg"]
    assert [aside.reason for aside in found.set_aside] == ["outside root"]
