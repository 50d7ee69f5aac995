"""``fgvr fit student``, then ``predict``, ``evaluate`` and ``report`` on its run."""

from __future__ import annotations

import json

import pytest

from .world import done, fgvr

QUICK = ("--labels", 12, "--views", 1, "--heads", "prototypes", "--no-self-training")
PLAIN = ("--sentence-encoder", "none", "--resamples", 20, "--json")


def fit(world, run, *more):
    names = ("--encoder", world.encoder, "--mllm", f"replay:{world.recording}")
    return ("fit", "student", world.photographs, "--out", run, *names, *QUICK, *more)


@pytest.fixture(scope="module")
def learned(world, tmp_path_factory):
    """A finished run that asked about half of the photographs, and what was printed."""
    run = tmp_path_factory.mktemp("learned") / "run"
    return run, done(*fit(world, run))


def test_a_fit_says_what_it_did_and_is_not_done_twice(world, learned):
    run, printed = learned
    for words in ("12 of 24 images (50.0 %)", "chosen by spread", "prototypes", "fgvr predict", "fgvr evaluate"):
        assert words in printed.stderr
    assert printed.stdout.strip() == str(run / "report.html")
    before = (run / "classifier" / "classifier.safetensors").stat().st_mtime_ns
    again = json.loads(done(*fit(world, run, "--json")).stdout)
    assert (again["was_finished"], again["usage"]["calls"], again["support"], again["collection"]) == (True, 0, 12, 24)
    assert (run / "classifier" / "classifier.safetensors").stat().st_mtime_ns == before
    other = fgvr(*fit(world, run, "--no-propagation"))
    assert other.exit_code == 1
    assert "propagation" in other.stderr


def test_a_dry_run_counts_both_questions(world, tmp_path):
    ahead = json.loads(done(*fit(world, tmp_path / "run", "--dry-run", "--json")).stdout)
    assert ahead["calls"] == 12
    both = json.loads(done(*fit(world, tmp_path / "run", "--second-opinion", 0.25, "--dry-run", "--json")).stdout)
    assert both["calls"] == 12
    share = ("--share", 0.25, "--dry-run", "--json")
    assert json.loads(done(*fit(world, tmp_path / "run", *share)).stdout)["calls"] == 6
    assert not (tmp_path / "run").exists()


def test_a_run_that_asked_needs_no_further_call(world, learned):
    ahead = json.loads(done(*fit(world, learned[0], "--dry-run", "--json")).stdout)
    assert (ahead["calls"], ahead["already_answered"]) == (0, 12)


def test_predictions(world, learned, tmp_path):
    run, _ = learned
    lines = [json.loads(line) for line in done("predict", run, world.photographs, "--top-k", 2).stdout.splitlines()]
    assert len(lines) == 24
    assert all(len(line["top"]) == 2 for line in lines)
    pool = {row["item"]: row for row in map(json.loads, (run / "pool.jsonl").read_text().splitlines())}
    assert {line["image"] for line in lines} == pool.keys()
    assert fgvr("predict", run, world.photographs, "--mllm", "none").exit_code == 2


def test_evaluation_leaves_out_what_was_asked_and_tells_of_the_pool(world, learned):
    run, _ = learned
    refused = fgvr("evaluate", run, world.photographs, "--sentence-encoder", "none")
    assert refused.exit_code == 1
    assert "12 of 24 images were in the support set" in refused.stderr
    honest = json.loads(done("evaluate", run, world.photographs, "--exclude-support", *PLAIN).stdout)
    assert honest["n"] == 12
    assert "12 support images left out" in honest["protocol"]
    assert "12 further images were in the pool the student learned from, without a name" in honest["protocol"]


def test_the_report_names_the_whole_collection(world, learned, tmp_path):
    run, _ = learned
    page = tmp_path / "page.html"
    done("report", run, "--out", page)
    html = page.read_text()
    assert "Student: run" in html
    assert "data:image" in html
    assert "named 12 of 12 photographs" in html or "named 11 of 12 photographs" in html
    (tmp_path / "empty").mkdir()
    assert fgvr("report", tmp_path / "empty").exit_code == 1


def test_wrong_options_are_noticed_before_the_work(world, tmp_path):
    assert "no head is called 'best'" in fgvr(*fit(world, tmp_path / "run", "--heads", "prototypes,best")).stderr
    assert fgvr(*fit(world, tmp_path / "run", "--share", 0)).exit_code == 2
    assert fgvr(*fit(world, tmp_path / "run", "--choose", "best")).exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_student_can_be_compared(world):
    from fgvr.compare.contestants import student
    from fgvr.compare.method import find

    found = find("student:labels=10+views=0")
    assert found.settings == student.Settings(labels=10, views=0)
    assert found.calls(24, 100) == 10
    assert find("student").calls(24, 100) == 24


def test_names_in_a_filled_in_table_are_learned_and_nothing_is_asked_again(world, tmp_path):
    run, table = tmp_path / "run", tmp_path / "filled.csv"
    done(*fit(world, run))
    items = sorted(json.loads(line)["item"] for line in (run / "pool.jsonl").read_text().splitlines())
    assert (run / "groups_to_name.csv").read_text().startswith('"group","name","item"')
    table.write_text("group,name,item\n" + "".join(f"1,,{item}\n" for item in items[:6]))
    empty = fgvr(*fit(world, run, "--names", table))
    assert empty.exit_code == 2
    assert "the table has no names yet" in empty.stderr
    table.write_text(table.read_text().replace("1,,", "1,Garden Gnome,", 1))
    again = json.loads(done(*fit(world, run, "--names", table, "--json")).stdout)
    assert (again["was_finished"], again["usage"]["calls"], again["given"]) == (False, 0, 6)
    rows = {row["item"]: row for row in map(json.loads, (run / "pool.jsonl").read_text().splitlines())}
    assert [item for item in items if rows[item]["given"] == "Garden Gnome"] == items[:6]
    assert "Garden Gnome" in json.loads((run / "classifier" / "classifier.json").read_text())["names"]
    # The same table again, and no table: what the run knows already.
    for more in (("--names", table), ()):
        same = json.loads(done(*fit(world, run, "--json", *more)).stdout)
        assert (same["was_finished"], same["usage"]["calls"], same["given"]) == (True, 0, 6)
    support = {json.loads(line)["item"] for line in (run / "support.jsonl").read_text().splitlines()}
    left = json.loads(done("evaluate", run, world.photographs, "--exclude-support", *PLAIN).stdout)["n"]
    assert left == 24 - len(support | set(items[:6]))


def test_calls_kept_back_and_not_needed_are_accounted_for(world, tmp_path):
    summary = json.loads(done(*fit(world, tmp_path / "run", "--second-opinion", 0.25, "--json")).stdout)
    assert summary["kept_back"] == 3
    assert summary["asked_again"] <= 3
    assert summary["usage"]["calls"] == 9 + summary["asked_again"]


def test_a_collection_that_changed_is_told_by_its_size(world, tmp_path):
    run = tmp_path / "run"
    done(*fit(world, run))
    fewer = fgvr(*fit(world, run, "--limit", 20))
    assert fewer.exit_code == 1
    assert "pool.images: 24 -> 20" in fewer.stderr


def test_the_report_says_how_the_student_learned(world, learned, tmp_path):
    run, _ = learned
    page = tmp_path / "page.html"
    done("report", run, "--out", page)
    html = page.read_text()
    for words in (
        "12 of 24 (50.0 %)",
        "12 of 24 images were put before the MLLM",
        "How the student learned",
        "Would more labels bring more names?",
        "Off: the student did not learn from its own names.",
    ):
        assert words in html
