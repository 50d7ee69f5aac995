"""Recordings, prices, token rules, estimates and the naming of providers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import InputError, MllmError
from fgvr.mllm import Parameters, Price, Request, ScriptedMllm, ask_all, load_mllm, load_prices, price_of
from fgvr.mllm.estimate import estimate
from fgvr.mllm.options import letter_of
from fgvr.mllm.tokens import image_tokens, likely_input_tokens, most_input_tokens

ROWS = [
    {"image": "004.Shih_Tzu/a_1.jpg", "model": "m", "reply": "A **Shih Tzu**.", "names": ["Shih Tzu"], "ok": True},
    {"image": "x/same.jpg", "model": "m", "reply": "first"},
    {"image": "y/same.jpg", "model": "m", "reply": "second", "alternatives": [["second", 0.75], ["first", 0.25]]},
]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_a_recording_answers_by_id_then_by_an_unambiguous_ending(recording: Path) -> None:
    mllm = load_mllm(f"replay:{recording}")
    ids = ["004.Shih_Tzu/a_1.jpg", "photos/004.Shih_Tzu/a_1.jpg", "elsewhere/a_1.jpg", "deep/y/same.jpg"]
    answers = ask_all([Request(item, "what?") for item in [*ids, "same.jpg", "none.jpg"]], mllm)
    assert [answers.replies[item].text for item in ids] == ["A **Shih Tzu**."] * 3 + ["second"]
    assert answers.replies["deep/y/same.jpg"].confidence == 0.75
    assert answers.replies[ids[0]].confidence is None
    assert "2 recorded replies fit" in answers.failures["same.jpg"]
    assert "no recorded reply" in answers.failures["none.jpg"]
    assert answers.usage.cost == 0
    assert mllm.name == "replay:m"


def test_a_recording_needs_no_pictures_on_disk(recording: Path) -> None:
    requests = [Request("0", "what?", (Path("/gone/x/same.jpg"),)), Request("1", "what?", (Path("/gone/y/same.jpg"),))]
    answers = ask_all(requests, load_mllm(f"replay:{recording}"))
    assert [reply.text for reply in answers.replies.values()] == ["first", "second"]


@pytest.mark.parametrize("text", ["", "{", '{"image": "a"}', "[1]", '{"image": "a", "reply": 3}'])
def test_an_unusable_recording_is_an_input_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(InputError):
        load_mllm(f"replay:{tmp_path / 'r.jsonl'}")


def test_prices_by_name_date_vendor_and_file(tmp_path: Path) -> None:
    assert price_of("gpt-4o") == price_of("openai/gpt-4o") == price_of("gpt-4o-2024-11-20")
    assert price_of("gpt-4o-2024-05-13") == Price(5.0, 15.0)
    assert price_of("mystery") is None
    assert price_of("mystery", local=True) == Price(0, 0)
    (tmp_path / "p.json").write_text('{"gpt-4o": {"input": 1, "output": 2}}')
    mine = load_prices(tmp_path / "p.json")
    assert price_of("gpt-4o", prices=mine) == Price(1, 2)
    assert Price(1, 2).cost(input_tokens=3_000_000, output_tokens=500_000) == 4.0


@pytest.mark.parametrize(
    "text", ["", "[]", '{"m": 3}', '{"m": {"input": -1, "output": 2}}', '{"m": {"input": "NaN", "output": 1}}']
)
def test_bad_price_files_are_input_errors(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputError):
        load_prices(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        ("gpt-4o", 1024, 1024, 765),  # the vendor's own worked example
        ("gpt-4o", 2048, 4096, 1105),  # and the second one
        ("gpt-4o", 512, 512, 255),
        ("openai/gpt-4o-mini", 512, 512, 8500),
        ("gemini-2.5-flash", 768, 768, 258),
        ("claude-sonnet-4-5", 1000, 750, 1000),
        ("qwen/qwen2.5-vl-72b-instruct", 280, 280, 100),
    ],
)
def test_image_tokens_by_family(model: str, width: int, height: int, tokens: int) -> None:
    assert image_tokens(model, width, height) == tokens


@given(st.text(), st.text(), st.lists(st.text(min_size=1), max_size=5), st.integers(0, 3))
def test_the_reserved_tokens_cover_the_likely_ones(prompt: str, system: str, options: list[str], pictures: int) -> None:
    request = Request("a", prompt, (Path("x"),) * pictures, system=system, options=tuple(options))
    for model in ("gpt-4o", "gpt-4.1-mini", "claude-x", "gemini-x", "qwen-x", "else"):
        assert likely_input_tokens(request, model) <= most_input_tokens(request, model)


@given(st.text(), st.integers(1, 26))
def test_letters_read_from_any_text_lie_in_range(text: str, count: int) -> None:
    letter = letter_of(text, count)
    assert letter is None or 0 <= letter < count


def test_an_estimate_adds_up() -> None:
    requests = [Request(str(i), "x" * 40, parameters=Parameters(max_tokens=100)) for i in range(10)]
    price = {"scripted": Price(1.0, 10.0)}
    got = estimate(requests, ScriptedMllm(lambda r: "x"), prices=price, seconds_per_call=2, concurrency=4)
    assert (got.calls, got.input_tokens, got.output_tokens, got.seconds) == (10, 260, 500, 5.0)
    assert got.cost == pytest.approx((260 + 5000) / 1e6)
    assert got.cost_at_most == pytest.approx((10 * (40 + 32) + 10_000) / 1e6)
    assert estimate(requests, ScriptedMllm(lambda r: "x")).cost is None


@pytest.mark.parametrize("spec", ["gpt-4o", "nonsense", "replay:", "local:", "openai:", ""])
def test_unknown_providers_are_explained(spec: str) -> None:
    with pytest.raises(InputError) as caught:
        load_mllm(spec)
    assert ("openai:gpt-4o" if spec == "gpt-4o" else "replay:FILE") in str(caught.value)


def test_a_missing_folder_is_an_mllm_error(tmp_path: Path) -> None:
    with pytest.raises(MllmError, match="no such model folder"):
        load_mllm(f"local:{tmp_path / 'none'}")


def test_importing_needs_no_heavy_package() -> None:
    code = "import sys, fgvr.mllm; print([m for m in ('torch', 'transformers', 'openai', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
