"""Atomic files and checked arrays."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fgvr.errors import RunError
from fgvr.runs import atomic_path, load_arrays, save_arrays, write_bytes, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    def fail_half_way() -> None:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.txt", {"x": float("inf")})
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_full_disk_is_a_clear_error_and_keeps_the_old_file(tmp_path):
    """A real limit of the kernel: the child may write no file above 1 kB."""
    write_bytes(tmp_path / "a.bin", b"old")
    script = f"""
import resource, signal
from fgvr.errors import RunError
from fgvr.runs import write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try: write_bytes({str(tmp_path / "a.bin")!r}, b"x" * 5000)
except RunError as error: print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "a.bin" in done.stdout
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_text_that_is_not_unicode_is_written_as_escapes(tmp_path):
    write_text(tmp_path / "a.txt", "x\udcff")
    assert (tmp_path / "a.txt").read_text() == "x\\udcff"


@settings(deadline=None, max_examples=50)
@given(
    arrays=st.dictionaries(
        st.text("abc.", min_size=1, max_size=4),
        hnp.arrays(
            st.sampled_from(["float32", "int64", "uint8", "bool"]),
            hnp.array_shapes(min_dims=0, min_side=0),
        ),
        max_size=3,
    ),
    notes=st.dictionaries(st.text("xyz", min_size=1), st.text(st.characters(exclude_categories=["Cs"])), max_size=3),
)
def test_arrays_and_metadata_come_back_exactly(tmp_path_factory, arrays, notes):
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    save_arrays(path, {name: np.swapaxes(a, 0, -1) if a.ndim else a for name, a in arrays.items()}, metadata=notes)
    loaded, metadata = load_arrays(path)
    assert metadata == notes
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        expected = np.swapaxes(array, 0, -1) if array.ndim else array
        assert loaded[name].dtype == expected.dtype
        assert loaded[name].shape == expected.shape
        assert loaded[name].tobytes() == expected.tobytes()


def test_every_kind_of_damage_is_noticed(tmp_path):
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"x": np.arange(50, dtype=np.float32)}, metadata={"encoder": "tiny"})
    whole = path.read_bytes()
    damaged = [
        b"",
        whole[:5],
        whole[:100],
        whole[:-1],
        whole[:-3] + b"\x01" + whole[-2:],
        whole.replace(b"tiny", b"tinz"),
    ]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(RunError, match=r"damaged|checksum"):
            load_arrays(path)
    path.unlink()
    with pytest.raises(RunError, match="missing"):
        load_arrays(path)
