"""Nothing is executed from a file we load: wherever a pickle is offered it is refused or ignored, and never run.

The payload really would make a file: a test loads it with ``pickle`` to prove it. Then it is put everywhere a file of
ours or of a checkpoint may lie, under the right name and under the names of old formats, and as payload of the Arrow
extension type that once was unpickled on sight.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fgvr.data import load_items, read_predictions
from fgvr.encoders import load_encoder
from fgvr.encoders.shards import ShardFolder
from fgvr.errors import FgvrError, NoImagesError
from fgvr.images import decode
from fgvr.methods.near.classifier import Classifier
from fgvr.mllm import ResponseCache, load_mllm
from fgvr.runs import Ledger, RunFolder, load_arrays, read_manifest
from tests.cli.world import fgvr


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """What unpickling would make; it must not be there at the end of any test."""
    marker = tmp_path / "executed"
    yield marker
    assert not marker.exists(), "a pickle was executed"


@pytest.fixture
def payload(marker: Path) -> bytes:
    data = pickle.dumps(Payload(marker))
    pickle.loads(data)  # it works ...
    marker.rmdir()
    return data


def torch_zip(file: Path, payload: bytes) -> None:
    """The layout of ``torch.save``."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
        archive.writestr("archive/version", "3\n")


def object_array(file: Path, marker: Path) -> None:
    np.save(file, np.array([Payload(marker)], dtype=object), allow_pickle=True)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(FgvrError) as caught:
        act()
    assert str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_encoder_weights_that_are_a_pickle_are_refused(world, tmp_path: Path, payload: bytes, name: str) -> None:
    shutil.copytree(world.encoder, tmp_path / "encoder")
    (tmp_path / "encoder" / "model.safetensors").unlink()
    for write in (lambda file: file.write_bytes(payload), lambda file: torch_zip(file, payload)):
        write(tmp_path / "encoder" / name)
        assert "pickle" in refused(lambda: load_encoder(str(tmp_path / "encoder")))


def test_a_pickle_named_safetensors_is_refused(world, tmp_path: Path, payload: bytes) -> None:
    shutil.copytree(world.encoder, tmp_path / "encoder")
    weights = tmp_path / "encoder" / "model.safetensors"
    for write in (lambda: weights.write_bytes(payload), lambda: torch_zip(weights, payload)):
        write()
        refused(lambda: load_encoder(str(tmp_path / "encoder")))


def test_a_pickle_beside_good_weights_is_ignored(world, tmp_path: Path, payload: bytes) -> None:
    shutil.copytree(world.encoder, tmp_path / "encoder")
    for name in ("pytorch_model.bin", "tokenizer.pkl", "optimizer.pt", "training_args.bin"):
        (tmp_path / "encoder" / name).write_bytes(payload)
    assert load_encoder(str(tmp_path / "encoder")).dim == load_encoder(str(world.encoder)).dim


def test_code_that_a_checkpoint_brings_is_not_run(world, tmp_path: Path, marker: Path) -> None:
    shutil.copytree(world.encoder, tmp_path / "encoder")
    (tmp_path / "encoder" / "modeling_x.py").write_text(f"import os\nos.mkdir({str(marker)!r})\nclass X: ...\n")
    config = json.loads((tmp_path / "encoder" / "config.json").read_text())
    config["auto_map"] = dict.fromkeys(
        ("AutoModel", "AutoConfig", "AutoImageProcessor", "AutoTokenizer"), "modeling_x.X"
    )
    (tmp_path / "encoder" / "config.json").write_text(json.dumps(config))
    with contextlib.suppress(FgvrError):
        load_encoder(str(tmp_path / "encoder"))


@pytest.mark.parametrize("kind", ["pickle", "zip"])
def test_mllm_weights_that_are_a_pickle_are_refused(tmp_path: Path, payload: bytes, kind: str) -> None:
    folder = tmp_path / "mllm"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llava"}')
    for name in ("pytorch_model.bin", "model.safetensors"):
        (folder / name).write_bytes(payload) if kind == "pickle" else torch_zip(folder / name, payload)
        refused(lambda: load_mllm(f"local:{folder}", device="cpu"))
        (folder / name).unlink()


def test_an_object_array_in_the_feature_store_is_put_away(tmp_path: Path, marker: Path) -> None:
    shards = ShardFolder(tmp_path / "store", 4)
    shards.append([("a", "plain")], np.ones((1, 4), np.float32))
    (array,) = (tmp_path / "store").glob("*.npy")
    companion = array.with_suffix(".json")
    object_array(array, marker)
    content = json.loads(companion.read_text())
    content["sha256"] = hashlib.sha256(array.read_bytes()).hexdigest()  # whoever plants it can also sum it
    companion.write_text(json.dumps(content))
    again = ShardFolder(tmp_path / "store", 4)
    again.refresh()
    assert len(again) == 0
    assert array.with_suffix(".npy.damaged").exists()
    array.with_suffix(".npy.damaged").rename(array)
    assert "shard" in refused(lambda: shards.read([("a", "plain")]))  # swapped after it was indexed


@pytest.mark.parametrize("kind", ["pickle", "zip", "npy", "header"])
def test_stored_arrays_that_are_a_pickle_are_refused(tmp_path: Path, payload: bytes, marker: Path, kind: str) -> None:
    file = tmp_path / "a.safetensors"
    if kind == "pickle":
        file.write_bytes(payload)
    elif kind == "zip":
        torch_zip(file, payload)
    elif kind == "npy":
        object_array(tmp_path / "a.npy", marker)
        (tmp_path / "a.npy").rename(file)
    else:  # a sound header in front of it
        header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        file.write_bytes(struct.pack("<Q", len(header)) + header + payload)
    assert "damaged" in refused(lambda: load_arrays(file))


def test_a_classifier_that_is_a_pickle_is_refused_by_every_verb(
    fitted: Path, tmp_path: Path, payload: bytes, world
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    (run / "classifier" / "classifier.safetensors").write_bytes(payload)
    refused(lambda: Classifier.load(run / "classifier"))
    for command in (("predict", run, world.photographs), ("evaluate", run, world.photographs, "--exclude-support")):
        done = fgvr(*command)
        assert done.exit_code == 1
        assert "error: " in done.stderr
    (run / "classifier" / "classifier.json").write_bytes(payload)
    refused(lambda: Classifier.load(run / "classifier"))
    assert fgvr("report", run).exit_code == 1


def test_a_checkpoint_that_is_a_pickle_is_never_loaded(fitted: Path, tmp_path: Path, payload: bytes, world) -> None:
    """The fit is made to train again: it either refuses the checkpoint, saying which file, or starts over."""
    run = tmp_path / "run"
    shutil.copytree(fitted, run)
    checkpoints = [file for file in run.rglob("*.safetensors") if file.parent.name != "classifier"]
    assert checkpoints
    for file in checkpoints:
        file.write_bytes(payload)
    shutil.rmtree(run / "stages")
    (run / "summary.json").unlink()
    done = fgvr(*world.fit(run, "--support", 12))
    assert done.exit_code == 0 or checkpoints[0].name in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize("name", ["all.pkl", "all.pt", "all.npy", "all.csv", "all.jsonl", "all.parquet"])
def test_a_manifest_that_is_a_pickle_is_refused(tmp_path: Path, payload: bytes, marker: Path, name: str) -> None:
    object_array(tmp_path / name, marker) if name == "all.npy" else (tmp_path / name).write_bytes(payload)

    def read() -> None:
        for item in load_items(tmp_path / name).items:
            decode(item.path)

    refused(read)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet", ".pkl"])
def test_predictions_that_are_a_pickle_are_refused(tmp_path: Path, payload: bytes, suffix: str) -> None:
    (tmp_path / f"p{suffix}").write_bytes(payload)
    refused(lambda: read_predictions(tmp_path / f"p{suffix}"))


def test_parquet_never_unpickles_an_extension_type_or_an_object_column(tmp_path: Path, payload: bytes) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload}
    image = pyarrow.field("image", pyarrow.string(), metadata=extension)
    box = pyarrow.field("label", pyarrow.binary())
    notes = {
        b"pandas": json.dumps(
            {"columns": [{"name": "label", "pandas_type": "object", "numpy_type": "object"}]}
        ).encode()
    }
    table = pyarrow.Table.from_arrays(
        [pyarrow.array(["x.png"]), pyarrow.array([payload])], schema=pyarrow.schema([image, box], metadata=notes)
    )
    parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(NoImagesError, match="bad row"):
        load_items(tmp_path / "m.parquet")
    refused(lambda: read_predictions(tmp_path / "m.parquet"))


def test_manifest_ledger_and_cache_that_are_a_pickle_are_refused_or_begun_anew(tmp_path: Path, payload: bytes) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_bytes(payload)
    refused(lambda: read_manifest(run))
    refused(lambda: RunFolder.create_or_resume(run, settings={}, command="x"))
    (tmp_path / "l.jsonl").write_bytes(payload + b"\n")
    assert Ledger(tmp_path / "l.jsonl").records() == []
    (tmp_path / "replies.sqlite").write_bytes(payload)
    with ResponseCache(tmp_path / "replies.sqlite") as cache:
        assert len(cache) == 0
    (tmp_path / "r.jsonl").write_bytes(payload)
    refused(lambda: load_mllm(f"replay:{tmp_path / 'r.jsonl'}"))
