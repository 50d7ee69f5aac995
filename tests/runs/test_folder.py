"""The run folder: locked, resumable, never deleting, never keeping a secret."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from fgvr.errors import RunError
from fgvr.runs import RunFolder, read_manifest, settings_digest
from fgvr.runs.secrets import redact

SETTINGS = {"k": 3, "tune": {"rate": 0.002, "seed": 7}, "names": ("a", "b")}


def start(path, settings=SETTINGS, **more):
    return RunFolder.create_or_resume(path, settings=settings, command="fgvr fit near photos", **more)


def test_a_new_run_writes_what_is_needed_to_repeat_it(tmp_path):
    with start(tmp_path / "run") as run:
        run.record(images="abc", count=3)
        assert not run.resumed
    manifest = read_manifest(tmp_path / "run")
    assert manifest["settings"] == {"k": 3, "tune": {"rate": 0.002, "seed": 7}, "names": ["a", "b"]}
    assert manifest["seeds"] == {"tune.seed": 7}
    assert manifest["recorded"] == {"images": "abc", "count": 3}
    assert manifest["versions"]["torch"]
    assert manifest["versions"]["python"].startswith("3.")
    assert manifest["sessions"][0]["command"] == "fgvr fit near photos"


def test_resume_is_the_default_and_keeps_what_was_recorded(tmp_path):
    with start(tmp_path / "run") as run:
        run.record(images="abc")
        run.ledger().append({"item": "x"})
    reordered = {"names": ["a", "b"], "tune": {"seed": 7, "rate": 0.002}, "k": 3}
    with start(tmp_path / "run", reordered) as run:
        assert run.resumed
        assert run.manifest["recorded"] == {"images": "abc"}
        assert len(run.manifest["sessions"]) == 2
        assert list(run.ledger().latest()) == ["x"]


def test_other_settings_stop_naming_what_differs(tmp_path):
    start(tmp_path / "run").close()
    with pytest.raises(RunError) as caught:
        start(tmp_path / "run", {"k": 5, "tune": {"rate": 0.002, "seed": 7}, "extra": None})
    for part in ("k: 3 -> 5", "extra: (absent) -> null", 'names: ["a", "b"] -> (absent)', "--force"):
        assert part in str(caught.value)
    assert "rate" not in str(caught.value)


def test_force_moves_the_old_run_aside_and_deletes_nothing(tmp_path):
    for k in (1, 2, 3):
        with start(tmp_path / "run", {"k": k}, force=True) as run:
            assert not run.resumed
            run.ledger().append({"item": str(k)})
    assert read_manifest(tmp_path / "run")["settings"] == {"k": 3}
    assert read_manifest(tmp_path / "run.old-1")["settings"] == {"k": 1}
    assert read_manifest(tmp_path / "run.old-2")["settings"] == {"k": 2}
    assert '"1"' in (tmp_path / "run.old-1" / "ledger.jsonl").read_text()


def test_a_folder_of_photographs_is_never_taken_for_a_run(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    for force in (False, True):
        with pytest.raises(RunError, match="other files"):
            start(tmp_path / "photos", force=force)
    assert (tmp_path / "photos" / "a.jpg").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_damaged_manifest_is_an_error_and_force_moves_it_aside(tmp_path, text):
    start(tmp_path / "run").close()
    (tmp_path / "run" / "manifest.json").write_text(text)
    with pytest.raises(RunError):
        start(tmp_path / "run")
    start(tmp_path / "run", force=True).close()
    assert (tmp_path / "run.old-1" / "manifest.json").read_text() == text


_HOLDER = """
import sys, time
from fgvr.runs import RunFolder
with RunFolder.create_or_resume(sys.argv[1], settings={"k": 1}, command="c"):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_turned_away_and_a_killed_one_leaves_no_lock(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        for force in (False, True):
            with pytest.raises(RunError, match=f"another process .*pid {holder.pid}"):
                start(tmp_path / "run", {"k": 1 + force}, force=force)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with start(tmp_path / "run", {"k": 1}) as run:
        assert run.resumed


def test_one_process_cannot_open_a_run_twice(tmp_path):
    with start(tmp_path / "run"), pytest.raises(RunError, match="another process"):
        start(tmp_path / "run")
    start(tmp_path / "run").close()


def test_a_stage_is_done_only_with_the_same_inputs_and_intact_files(tmp_path):
    with start(tmp_path / "run") as run:
        assert not run.is_done("features", "d1")
        (run.path / "f.bin").write_bytes(b"12345")
        run.stage_done("features", "d1", outputs=[run.path / "f.bin"])
        assert run.is_done("features", "d1")
        assert not run.is_done("features", "d2")
        (run.path / "f.bin").write_bytes(b"12346")
        assert not run.is_done("features", "d1")
        (run.path / "f.bin").unlink()
        assert not run.is_done("features", "d1")
        (run.path / "stages" / "features.json").write_text('{"digest"')
        assert not run.is_done("features", "d1")
        for name in ("../x", "", ".hidden", "a/b"):
            with pytest.raises(ValueError, match="usable"):
                run.stage_done(name, "d")


def test_settings_must_be_plain(tmp_path):
    for bad in ({"x": object()}, {"x": float("nan")}):
        with pytest.raises(RunError, match="plain"):
            start(tmp_path / "run", bad)
    assert settings_digest({"a": (1,), "p": tmp_path}) == settings_digest({"p": str(tmp_path), "a": [1]})


def test_no_secret_reaches_a_run_folder(tmp_path, monkeypatch):
    canary = "canary-1234567890abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    settings = {
        "mllm": {"api_key": "other-secret", "url": "https://me:pw@host/v1", "max_tokens": 64},
        "note": f"x{canary}",
    }
    command = f"fgvr fit near photos --api-key {canary} --token other-secret --max-tokens 64"
    with RunFolder.create_or_resume(tmp_path / "run", settings=settings, command=command) as run:
        run.record(endpoint=f"https://host/?key={canary}")
    text = "".join(p.read_text() for p in (tmp_path / "run").rglob("*") if p.is_file())
    for secret in (canary, "other-secret", "me:pw"):
        assert secret not in text
    manifest = read_manifest(tmp_path / "run")
    assert manifest["settings"]["mllm"]["max_tokens"] == 64
    assert manifest["sessions"][0]["command"].endswith("--max-tokens 64")


def test_redaction_leaves_plain_values_alone():
    plain = {"k": 3, "name": "Turkey", "path": "https://host/v1", "list": [1.5, None, True], "monkey": "Capuchin"}
    assert redact(plain, environ={}) == json.loads(json.dumps(plain))
