"""The page of rollouts: what is read, what is chosen, what is shown, and hostile text that stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fgvr.errors import InputError, RunError
from fgvr.methods.fine_r1.charts import course_charts, length_chart
from fgvr.methods.fine_r1.lengths import by_length
from fgvr.methods.fine_r1.rollouts_page import write_rollouts_page
from fgvr.methods.fine_r1.rollouts_reading import GroupTally, chosen_groups, read_groups, read_rollout, scan
from fgvr.methods.fine_r1.rollouts_view import parts_of, reply_view, shortened
from tests.report.test_render import Page

SCRIPT = "<script>alert(1)</script>"


def line(step: int = 1, prompt: str = "p0", **changes: Any) -> dict[str, Any]:
    found = {
        "step": step, "try": 0, "prompt_id": prompt, "source": "anchor", "image": "a.png", "negative": "n.png",
        "category": "House Sparrow", "negative_category": "Tree Sparrow", "question": "What bird is this?",
        "reply": "<think>A grey cap.\nBlack bib.</think>\n\n<answer>House Sparrow</answer>",
        "tokens": 12, "ended": True,
        "accuracy": 1.0, "format": 1.0, "reward": 1.0, "reason": "", "advantage": 0.5, "kept": True,
    }  # fmt: skip
    return {**found, **changes}


def wrong(**changes: Any) -> dict[str, Any]:
    reply = "<think>A brown cap.</think> <answer>tree sparrow</answer>"
    figures = {"accuracy": 0.0, "reward": 0.1, "reason": "other name", "advantage": -1.5, "tokens": 30}
    return line(**{"reply": reply, **figures, **changes})


def write(folder: Path, lines: list[dict[str, Any]], name: str = "rollouts.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(one) + "\n" for one in lines))
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    """Two steps, three groups, three pictures that can be read and one that cannot."""
    for name, colour in {"a.png": "red", "b.png": "green", "n.png": "blue"}.items():
        Image.new("RGB", (40, 30), colour).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    filtered = line(step=2, prompt="p1", image="broken.png", category="Wren", advantage=None, kept=False)
    lines = [line(), wrong(source="positive", image="b.png"), line(step=2), wrong(step=2), filtered]
    return write(tmp_path, lines)


def page_of(run: Path, **options: Any) -> tuple[str, Page]:
    html = write_rollouts_page(run, **options).read_text()
    return html, Page(html)


def test_what_the_page_says(run):
    html, page = page_of(run)
    words = page.text()
    for expected in (
        "5 replies in 2 steps", "House Sparrow", "against ", "Tree Sparrow", "What bird is this?", "1 of 2 right",
        "+0.50", "-1.50", "filtered out", "names the negative", "other name", "first step: 50.0 %", "66.7 %",
    ):  # fmt: skip
        assert expected in words, expected
    assert "replies are on this page" not in words  # all are
    assert "1 picture could not be read." in words
    assert page.tags["article"] == 3
    assert page.tags["details"] == 5 + 1  # replies and the table
    assert page.values("data-step") == ["2", "2", "1"]  # newest first
    assert "A grey cap.<br>Black bib." in html
    assert words.count("no picture") == 1


def test_every_picture_once(run):
    html, page = page_of(run)
    rules = re.findall(r"\.(p\d+)\{background-image:url\((data:[^)]*)\)\}", html)
    assert len(rules) == html.count("data:image") == 3
    assert len({uri for _, uri in rules}) == 3
    shown = Counter(value for value in page.values("class") if value.startswith("picture p"))
    assert sum(shown.values()) == 2 + 1 + 3  # readable anchors, positive, negatives of three groups
    assert set(shown) == {f"picture {name}" for name, _ in rules}


def test_hostile_text_stays_text(tmp_path):
    names = dict.fromkeys(("category", "negative_category", "question", "reason"), SCRIPT + "\u202e{{ 7 * 7 }}")
    attack = f'<think>{SCRIPT}</think><answer>"><img src=x onerror=alert(2)></answer></style>{SCRIPT}'
    paths = {"image": "');}</style>" + SCRIPT, "negative": "http://example.org/x.png", "prompt_id": SCRIPT}
    hostile = [wrong(reply=attack, source=SCRIPT, **names, **paths), line(**names, **paths)]
    html, page = page_of(write(tmp_path / "<b>run", hostile))
    assert page.tags["script"] == page.tags["style"] == 1
    assert page.tags["img"] == 0
    assert SCRIPT not in html
    assert SCRIPT in page.text()
    assert "{{ 7 * 7 }}" in page.text()
    assert "\u202e" not in html
    assert "alert" not in page.text(code=True)
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]
    assert set(page.values("href")) == {"#main", "#course", "#length", "#replies"}
    ours = Page(page_of(write(tmp_path / "plain", [wrong(), line()]))[0])
    assert set(page.tags) <= set(ours.tags) | {"br"}


def test_the_policy_allows_our_script_and_nothing_else(run):
    html, page = page_of(run)
    policy = next(value for value in page.values("content") if value.startswith("default-src"))
    script = re.search("<script>(.*?)</script>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "http" not in html.replace("http-equiv", "")


def test_without_a_script_everything_is_there(run):
    """Nothing is hidden but by the script, and the script's elements exist."""
    html, page = page_of(run)
    script = re.search("<script>(.*?)</script>", html, re.DOTALL).group(1)
    assert set(re.findall(r'one\("#([a-z]+)"\)', script)) <= set(page.values("id"))
    assert [tag for tag, key, _ in page.attributes if key == "hidden"] == ["button"]


def test_the_log_adds_what_only_the_loop_knows(run):
    write(run, [{"step": 1, "kl": 9.0}, {"step": 1, "kl": 0.25, "reward": 0.9}, {"step": 2, "kl": 0.5}], "log.jsonl")
    _, page = page_of(run)
    assert "Inter-class term" in page.text()
    cells = [data for tag, data in page.texts if tag == "td"]
    assert cells[:3] == ["1", "2", "0.9"]
    assert "0.25" in cells
    assert "9" not in cells


def test_damaged_lines_are_counted(run):
    with (run / "rollouts.jsonl").open("a") as file:
        file.write('{"step": 3}\nnot json\n' + json.dumps(line(step=4, reward=float("nan"))) + "\n")
        file.write(json.dumps(line())[:40])
    _, page = page_of(run)
    assert "3 lines of rollouts.jsonl could not be read." in page.text()
    assert "5 replies in 2 steps" in page.text()


def test_nothing_to_show_is_an_error(tmp_path):
    with pytest.raises(RunError, match="no rollouts"):
        write_rollouts_page(tmp_path)
    write(tmp_path, [{"step": 1}])
    with pytest.raises(RunError, match="no rollouts"):
        write_rollouts_page(tmp_path)
    assert not (tmp_path / "rollouts.html").exists()


def test_the_same_run_gives_the_same_page(run, tmp_path):
    first, second = (write_rollouts_page(run, tmp_path / name, most=3).read_bytes() for name in ("1.html", "2.html"))
    assert first == second


def test_a_long_run_is_cut_by_the_rule_and_says_so(tmp_path):
    lines = [line(step=step, prompt=f"p{p}", tokens=step) for step in range(1, 41) for p in range(5) for _ in range(4)]
    html, page = page_of(write(tmp_path, lines), most=80)
    assert "80 of 800 replies are on this page (20 of 200 groups)" in page.text()
    assert "800 replies in 40 steps" in page.text()
    assert page.tags["article"] == 20
    steps = [int(value) for value in page.values("data-step")]
    assert steps[:10] == [40] * 5 + [39] * 5
    assert len(set(steps[10:])) == 10  # one group a step
    assert len(html) < 200_000


def test_pictures_beyond_the_budget_are_counted(run):
    _, page = page_of(run, thumbnail_bytes=10)
    assert "pictures found no room" in page.text()


def test_the_report_command_writes_it(tmp_path):
    from fgvr.cli.report import write_page

    run = tmp_path / "run"
    run.mkdir()
    write(run / "policy", [line()])
    page = write_page(run)
    assert page == run / "report.html"
    assert "1 reply in 1 step" in page.read_text()
    with pytest.raises(InputError, match="no predictions"):
        write_page(run, predictions=tmp_path / "p.jsonl")
    write(run / "other", [line()])
    with pytest.raises(InputError, match="several"):
        write_page(run)
    assert write_page(write(run, [line()])).read_text().count("<article") == 1


# --- choosing ---------------------------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 12), st.integers(0, 50)), min_size=1),
    most=st.integers(1, 60),
    most_bytes=st.integers(1, 300),
    seed=st.integers(0, 3),
)
def test_the_choice_keeps_its_limits(sizes, most, most_bytes, seed):
    groups = {(step, attempt, f"p{i}"): GroupTally(n, size) for i, (step, attempt, n, size) in enumerate(sizes)}
    chosen = chosen_groups(groups, most=most, most_bytes=most_bytes, seed=seed)
    assert len(set(chosen)) == len(chosen) > 0
    assert chosen == chosen_groups(groups, most=most, most_bytes=most_bytes, seed=seed)
    assert [key[:2] for key in chosen] == sorted((key[:2] for key in chosen), reverse=True)
    assert chosen[0][:2] == max(key[:2] for key in groups)
    whole = sum(one.replies for one in groups.values()) <= most and sum(g.bytes for g in groups.values()) <= most_bytes
    if whole:
        assert set(chosen) == set(groups)
    elif len(chosen) > 1:
        assert sum(groups[key].replies for key in chosen) <= most
        assert sum(groups[key].bytes for key in chosen) <= most_bytes


def test_other_seeds_draw_others_but_the_newest_stay():
    groups = {(step, 0, f"p{i}"): GroupTally(10, 1) for step in range(20) for i in range(5)}
    first, second = (chosen_groups(groups, most=200, seed=seed) for seed in (0, 1))
    assert len(first) == len(second) == 20
    assert first[:10] == second[:10] == [(step, 0, f"p{i}") for step in (19, 18) for i in (4, 3, 2, 1, 0)]
    assert first[10:] != second[10:]


def test_figures_by_step_and_second_reading(run):
    found = scan(run / "rollouts.jsonl")
    first, second = found.rows()
    assert first == {
        "step": 1, "replies": 2, "reward": 0.55, "accuracy": 0.5, "format": 1.0, "length": 21.0, "ended": 1.0,
        "filtered": 0.0,
    }  # fmt: skip
    assert second["filtered"] == pytest.approx(1 / 3)
    assert found.lengths == [12, 30, 12, 30, 12]
    groups = read_groups(run / "rollouts.jsonl", [(2, 0, "p1"), (1, 0, "p0")])
    assert [[one.source for one in replies] for replies in groups.values()] == [["anchor"], ["anchor", "positive"]]


@pytest.mark.parametrize(
    "changes",
    [{"step": "x"}, {"tokens": None}, {"accuracy": "yes"}, {"reward": float("inf")}, {"advantage": float("nan")}],
)
def test_lines_that_are_no_rollouts(changes):
    assert read_rollout(line()) is not None
    assert read_rollout(line(**changes)) is None
    assert read_rollout({}) is None


# --- replies ----------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_reply():
    assert parts_of("Hm. <think>a</think>\n<answer>b</answer>!") == [
        ("text", "Hm. "), ("tag", "<think>"), ("think", "a"), ("tag", "</think>"), ("text", "\n"), ("tag", "<answer>"),
        ("answer", "b"), ("tag", "</answer>"), ("text", "!"),
    ]  # fmt: skip
    assert parts_of("<think>never closed") == [("tag", "<think>"), ("think", "never closed")]
    nested = parts_of("<answer>a<think>b</think>c</answer>d")
    assert [text for kind, text in nested if kind == "answer"] == ["a", "b", "c"]
    assert nested[-1] == ("text", "d")
    assert parts_of("") == []


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "a", "<b>", "\n"])))
def test_no_part_is_lost(pieces):
    reply = "".join(pieces)
    assert "".join(text for _, text in parts_of(reply)) == reply


def test_a_reply_as_it_is_shown():
    shown = reply_view(read_rollout(wrong(advantage=-6.0, ended=False)))
    assert shown.answer == "tree sparrow"
    assert (shown.right, shown.fooled, shown.formed, shown.ended) == (False, True, True, False)
    assert (shown.bar, shown.below, shown.advantage, shown.reward) == (100, True, "-6.00", "0.10")
    assert not reply_view(read_rollout(wrong(negative_category="", reply="<answer></answer>"))).fooled
    assert reply_view(read_rollout(line(advantage=None))).advantage == "filtered"


def test_long_replies_lose_their_middle():
    assert shortened("abc", 3) == "abc"
    assert shortened("a" * 60 + "b" * 40, 30) == "a" * 20 + " [… 70 characters …] " + "b" * 10


# --- charts -----------------------------------------------------------------------------------------------------------


def test_course_charts_show_what_two_steps_tell():
    rows = [{"step": 1, "reward": 0.2, "kl": 0.1}, {"step": 2, "reward": 0.4}]
    assert [title for title, *_ in course_charts(rows)] == ["Reward"]
    assert course_charts(rows[:1]) == []


def test_the_length_chart():
    assert length_chart(by_length([5, 5], [1, 0])) is None  # one bin
    chart = length_chart(by_length([10] * 8 + [50] * 4, [1] * 8 + [0] * 4, bins=4))
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', chart)
    assert len(dots) == 2
    (x1, y1, r1), (x2, y2, r2) = (tuple(map(float, dot)) for dot in dots)
    assert x1 < x2
    assert y1 < y2  # all right is at the top
    assert r1 > r2
    assert ">10<" in chart
    assert ">50<" in chart
