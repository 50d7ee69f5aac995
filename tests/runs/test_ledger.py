"""The ledger: nothing finished is lost, whatever kills the writer."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from fgvr.errors import RunError
from fgvr.runs import Ledger


def test_records_come_back_in_order(tmp_path):
    with Ledger(tmp_path / "deep" / "a.jsonl") as ledger:
        for n in range(5):
            ledger.append({"item": f"i{n % 3}", "n": n, "text": "Rüppell's \u2028 \ud800 warbler\n"})
    again = Ledger(tmp_path / "deep" / "a.jsonl")
    assert [r["n"] for r in again.records()] == [0, 1, 2, 3, 4]
    assert again.records()[0]["text"] == "Rüppell's \u2028 \ud800 warbler\n"
    assert {k: r["n"] for k, r in again.latest().items()} == {"i0": 3, "i1": 4, "i2": 2}
    assert again.skipped == 0


def test_a_missing_ledger_is_empty(tmp_path):
    assert Ledger(tmp_path / "none.jsonl").records() == []


@pytest.mark.parametrize("tail", [b'{"n": 2', b'{"n": 2}', b"\0" * 100, b"x" * 200_000])
def test_a_torn_last_line_is_ignored_and_cut_off(tmp_path, tail):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n":0}\n{"n":1}\n' + tail)
    ledger = Ledger(path)
    assert [r["n"] for r in ledger.records()] == [0, 1]
    ledger.append({"n": 3})
    assert path.read_bytes() == b'{"n":0}\n{"n":1}\n{"n":3}\n'


def test_damage_in_the_middle_is_skipped_and_counted(tmp_path):
    path = tmp_path / "a.jsonl"
    deep = b"[" * 200_000
    path.write_bytes(b'{"n":0}\n\0\0\0\n{"n":\n[1]\n\xff\xfe\n' + deep + b'\n{"n":1}\n')
    ledger = Ledger(path)
    assert [r["n"] for r in ledger.records()] == [0, 1]
    assert ledger.skipped == 5


def test_what_is_not_json_is_refused_before_anything_is_written(tmp_path):
    ledger = Ledger(tmp_path / "a.jsonl")
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((TypeError, ValueError)):
            ledger.append(bad)
    assert not (tmp_path / "a.jsonl").exists()


def test_many_threads_lose_and_mix_nothing(tmp_path):
    ledger = Ledger(tmp_path / "a.jsonl")
    threads = [
        threading.Thread(target=lambda t=t: [ledger.append({"item": f"{t}-{n}", "pad": "x" * 500}) for n in range(40)])
        for t in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.latest()) == len(ledger.records()) == 320
    for t in range(8):
        mine = [r["item"] for r in ledger.records() if r["item"].startswith(f"{t}-")]
        assert mine == [f"{t}-{n}" for n in range(40)]


def test_a_full_disk_is_a_clear_error_and_leaves_no_half_line(tmp_path):
    """A real limit of the kernel: the file may not pass 1,000 bytes, so the last write is a partial one."""
    script = """
import resource, signal, sys
from fgvr.errors import RunError
from fgvr.runs import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
ledger = Ledger(sys.argv[1])
for n in range(10):
    try: ledger.append({"n": n, "pad": "x" * 270})
    except RunError as error: print(error); break
"""
    path = tmp_path / "a.jsonl"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert "ledger line" in done.stdout
    assert "Free some space" in done.stdout
    assert [r["n"] for r in Ledger(path).records()] == [0, 1, 2]
    assert path.read_bytes().endswith(b"\n")


def test_a_partly_written_line_is_taken_back(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "a.jsonl")
    ledger.append({"n": 0})
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:4]))
    with pytest.raises(RunError, match="only part"):
        ledger.append({"n": 1})
    monkeypatch.setattr(os, "write", real)
    ledger.append({"n": 2})
    assert [r["n"] for r in ledger.records()] == [0, 2]
    assert ledger.skipped == 0


_WRITER = """
import sys
from fgvr.runs import Ledger
ledger = Ledger(sys.argv[1], sync=sys.argv[3] == "sync")
done = ledger.latest()
for n in range(int(sys.argv[2])):
    if f"item{n}" not in done:
        ledger.append({"item": f"item{n}", "reply": "x" * 300})
        print(f"item{n}", flush=True)  # acknowledged: from here on it must never be done again
print("end", flush=True)
"""


def test_kill_minus_nine_loses_and_repeats_no_finished_record(tmp_path):
    path, rng = tmp_path / "a.jsonl", random.Random(0)
    acknowledged: list[str] = []
    for kill in range(10):
        writer = _start(path, 10**9, sync=kill % 2 == 0)
        assert writer.stdout is not None
        acknowledged.append(writer.stdout.readline().strip())  # it is at work
        time.sleep(rng.uniform(0, 0.06))
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.communicate()[0].split()
        finished = [r["item"] for r in Ledger(path).records()]
        assert set(acknowledged) <= set(finished)
        assert len(finished) == len(set(finished))
        assert len(finished) - len(acknowledged) <= 10  # one per kill: written, killed before it could say so
    torn = path.read_bytes() + b'{"item":"item'
    path.write_bytes(torn)
    total = len(finished) + 20
    writer = _start(path, total, sync=True)
    acknowledged += writer.communicate(timeout=120)[0].split()
    assert acknowledged.pop() == "end"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(r["item"] for r in records) == sorted(f"item{n}" for n in range(total))
    assert len(acknowledged) == len(set(acknowledged))


def _start(path, total, *, sync):
    command = [sys.executable, "-c", _WRITER, str(path), str(total), "sync" if sync else "no"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
