"""Two adapters as one: the same logits as base, first merged, second on top; and what cannot be joined is refused."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import InputError, MllmError
from fgvr.mllm import load_mllm
from fgvr.mllm.adapters import CONFIG, NOTES, WEIGHTS, peft_model
from fgvr.mllm.local import LocalMllm
from fgvr.training import (
    LANGUAGE_AND_CONNECTOR,
    LANGUAGE_LINEAR,
    Collator,
    Lora,
    base_of,
    prepare_model,
    save_adapter,
)
from fgvr.training.joined import LayerUpdate, join_adapters, joined_config, joined_updates, read_updates, scale_of
from tests.training.world import training_rows

ATTENTION = r".*\blanguage_model\.layers\.\d+\.self_attn\.(q|v)_proj"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "alike": ({"rank": 4}, {"rank": 4}),
    "ranks": ({"rank": 2, "alpha": 7.0}, {"rank": 5, "alpha": 3.0}),
    "targets": ({"targets": ATTENTION}, {"targets": LANGUAGE_AND_CONNECTOR, "rank": 3, "alpha": 6.0}),
    "disjoint": ({"targets": ATTENTION}, {"targets": r".*\blanguage_model\.layers\.1\.mlp\.\w+_proj", "rank": 2}),
}


def perturb(model: torch.nn.Module, *, seed: int) -> None:
    """Random A and B, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))


def logits(model: torch.nn.Module, mllm: LocalMllm, folder: Path) -> torch.Tensor:
    batch = Collator(mllm)(training_rows(folder, 3))
    with torch.no_grad():
        return model(**batch.inputs).logits


def loaded(folder: Path) -> LocalMllm:
    logging.disable(logging.WARNING)
    mllm = load_mllm(f"local:{folder}")
    assert isinstance(mllm, LocalMllm)
    return mllm


def two_stages(base: Path, folder: Path, *loras: dict[str, Any]) -> tuple[torch.Tensor, list[Path]]:
    """Logits after the stages, each merged before the next is put on, and the adapters' folders."""
    folder.mkdir(exist_ok=True)
    mllm, saved = loaded(base), []
    name, digest = base_of(f"local:{base}")
    for index, lora in enumerate(loras):
        tuned = prepare_model(mllm, Lora(**lora), seed=index)
        perturb(tuned, seed=index)
        saved.append(save_adapter(tuned, folder / f"adapter{index}", base=name, base_digest=digest))
        if index < len(loras) - 1:
            mllm.model = tuned.merge_and_unload()
    return logits(tuned.eval(), mllm, folder), saved


@pytest.fixture(scope="module")
def llava(base) -> Path:
    return base("llava")


@pytest.fixture
def pair(llava, tmp_path) -> list[Path]:
    """Two adapters that a test may damage."""
    return two_stages(llava, tmp_path, *CASES["ranks"])[1]


def join(pair: list[Path], out: Path, base: Path, **more: Any) -> Path:
    name, digest = base_of(f"local:{base}")
    return join_adapters(pair[0], pair[1], out, base=name, base_digest=digest, **more)


@pytest.mark.parametrize("case", CASES)
def test_the_joined_adapter_does_what_the_two_do(llava, tmp_path, case):
    expected, pair = two_stages(llava, tmp_path, *CASES[case])
    mllm = loaded(join(pair, tmp_path / "joined", llava))
    found, plain = logits(mllm.model, mllm, tmp_path), logits(loaded(llava).model, mllm, tmp_path)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    only_first = loaded(pair[0])
    assert (expected - plain).abs().max() > 0.1  # both stages matter
    assert (expected - logits(only_first.model, mllm, tmp_path)).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "idefics2", "idefics3"])
def test_other_architectures(base, tmp_path, kind):
    folder = base(kind)
    expected, pair = two_stages(folder, tmp_path, {"rank": 3, "alpha": 5.0}, {"targets": LANGUAGE_AND_CONNECTOR})
    mllm = loaded(join(pair, tmp_path / "joined", folder))
    torch.testing.assert_close(logits(mllm.model, mllm, tmp_path), expected, atol=1e-5, rtol=1e-5)


def test_three_stages_by_joining_twice_and_saved_again(llava, tmp_path):
    stages = ({"rank": 2, "alpha": 3.0}, {"targets": LANGUAGE_AND_CONNECTOR}, {"rank": 3, "targets": ATTENTION})
    expected, saved = two_stages(llava, tmp_path, *stages)
    both = join(saved[:2], tmp_path / "both", llava)
    mllm = loaded(join([both, saved[2]], tmp_path / "all", llava))
    torch.testing.assert_close(logits(mllm.model, mllm, tmp_path), expected, atol=1e-5, rtol=1e-5)
    ranks = {int(update.a.shape[0]) for update in read_updates(tmp_path / "all").values()}
    assert ranks == {8, 2 + 8, 2 + 8 + 3}  # connector, most of the language model, its queries and values


def test_saved_again_it_is_the_same(llava, pair, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    joined = join(pair, tmp_path / "joined", llava)
    model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(llava), str(joined)).eval()
    again = save_adapter(model, tmp_path / "again", base=str(llava), base_digest=base_of(f"local:{llava}")[1])
    before, after = read_updates(joined), read_updates(again)
    assert before.keys() == after.keys()
    for name, update in before.items():
        assert torch.equal(update.a, after[name].a)
        assert torch.equal(update.b, after[name].b)
        assert after[name].scale == update.scale == 1.0
    mllm = loaded(joined)
    torch.testing.assert_close(logits(model, mllm, tmp_path), logits(mllm.model, mllm, tmp_path))


def rewrite(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))


def test_patterns_and_rslora_are_heeded(llava, tmp_path):
    """peft applies the settings to the weights; the joined adapter must come out the same."""
    from peft import LoraConfig

    mllm = loaded(llava)
    config = LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, target_modules=LANGUAGE_LINEAR,
        rank_pattern={"layers.0.self_attn.q_proj": 2, r"mlp\.up_proj": 3}, alpha_pattern={"q_proj": 9},
    )  # fmt: skip
    tuned = peft_model(mllm.model, config)
    perturb(tuned, seed=3)
    name, digest = base_of(f"local:{llava}")
    first = save_adapter(tuned, tmp_path / "first", base=name, base_digest=digest)
    mllm.model = tuned.merge_and_unload()
    tuned = prepare_model(mllm, Lora(rank=3, alpha=4.0), seed=1)
    perturb(tuned, seed=4)
    second = save_adapter(tuned, tmp_path / "second", base=name, base_digest=digest)
    expected = logits(tuned.eval(), mllm, tmp_path)
    joined = loaded(join([first, second], tmp_path / "joined", llava))
    torch.testing.assert_close(logits(joined.model, joined, tmp_path), expected, atol=1e-5, rtol=1e-5)
    ranks = {name: int(update.a.shape[0]) for name, update in read_updates(tmp_path / "joined").items()}
    assert {rank for name, rank in ranks.items() if name.endswith("up_proj")} == {6}
    assert ranks["model.language_model.layers.0.self_attn.q_proj"] == 5


def test_an_embedding_layer(llava, tmp_path):
    from peft import LoraConfig

    mllm, saved = loaded(llava), []
    name, digest = base_of(f"local:{llava}")
    for index in range(2):
        tuned = peft_model(mllm.model, LoraConfig(r=2 + index, lora_alpha=3, target_modules=r".*\.embed_tokens"))
        perturb(tuned, seed=index)
        saved.append(save_adapter(tuned, tmp_path / f"{index}", base=name, base_digest=digest))
        if not index:
            mllm.model = tuned.merge_and_unload()
    expected = logits(tuned.eval(), mllm, tmp_path)
    joined = loaded(join(saved, tmp_path / "joined", llava))
    torch.testing.assert_close(logits(joined.model, joined, tmp_path), expected, atol=1e-5, rtol=1e-5)


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    ranks=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    scales=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_the_sum_of_two_products(shape, ranks, scales, seed):
    generator = torch.Generator().manual_seed(seed)
    updates = [
        LayerUpdate(
            torch.randn(rank, shape[1], generator=generator), torch.randn(shape[0], rank, generator=generator), scale
        )
        for rank, scale in zip(ranks, scales, strict=True)
    ]
    joined = joined_updates({"layer": updates[0]}, {"layer": updates[1], "other": updates[1]})
    expected = sum(one.scale * (one.b.double() @ one.a.double()) for one in updates)
    torch.testing.assert_close(joined["layer"].b.double() @ joined["layer"].a.double(), expected, atol=1e-4, rtol=1e-4)
    alone = joined["other"].b.double() @ joined["other"].a.double()
    torch.testing.assert_close(alone, scales[1] * (updates[1].b @ updates[1].a).double(), atol=1e-4, rtol=1e-4)


def test_a_layer_whose_name_ends_like_anothers_keeps_its_own_rank():
    shapes = {"proj": 2, "block.proj": 3, "block.fc": 3}
    updates = {name: LayerUpdate(torch.zeros(rank, 4), torch.zeros(4, rank), 1.0) for name, rank in shapes.items()}
    config = joined_config(updates, base="b")
    assert config["r"] == config["lora_alpha"] == 3
    assert config["rank_pattern"] == config["alpha_pattern"] == {"^proj": 2}
    assert scale_of(config, "proj", rank=2) == scale_of(config, "block.proj", rank=3) == 1.0


def test_notes_and_card(llava, pair, tmp_path):
    notes = json.loads((pair[1] / NOTES).read_text())
    (pair[1] / NOTES).write_text(json.dumps({**notes, "quantised": "trained on nf4"}))
    joined = join(pair, tmp_path / "joined", llava, facts={"method": "fine-r1", "steps": 4})
    written = json.loads((joined / NOTES).read_text())
    assert written["base_digest"] == base_of(f"local:{llava}")[1]
    assert (written["method"], written["steps"], written["quantised"]) == ("fine-r1", 4, "trained on nf4")
    assert "| method | `fine-r1` |" in (joined / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
)
@pytest.mark.parametrize("which", [0, 1])
def test_more_than_lora_is_refused(llava, pair, tmp_path, changes, named, which):
    rewrite(pair[which], **changes)
    with pytest.raises(InputError, match=named):
        join(pair, tmp_path / "joined", llava)
    assert not (tmp_path / "joined").exists()


def test_other_kinds_and_missing_files_are_refused(llava, pair, tmp_path):
    rewrite(pair[0], peft_type="IA3")
    with pytest.raises(MllmError, match="not supported"):
        join(pair, tmp_path / "joined", llava)
    (pair[1] / WEIGHTS).unlink()
    with pytest.raises(MllmError, match="no safetensors"):
        join([pair[1], pair[1]], tmp_path / "joined", llava)
    with pytest.raises(MllmError):
        join([tmp_path / "nothing", pair[1]], tmp_path / "joined", llava)


def damage(folder: Path, how: str) -> None:
    from safetensors.torch import load_file, save_file

    if how == "cut":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
        return
    weights = load_file(folder / WEIGHTS)
    key = next(name for name in sorted(weights) if name.endswith("q_proj.lora_A.weight"))
    if how == "no B":
        del weights[key.replace("lora_A", "lora_B")]
    elif how == "no A":
        del weights[key]
    elif how == "rows":
        weights[key] = weights[key][:1].clone()
    elif how == "nan":
        weights[key][0, 0] = float("nan")
    elif how == "empty":
        weights = {}
    elif how == "more":
        weights["base_model.model.lm_head.weight"] = torch.zeros(2, 2)
    save_file(weights, folder / WEIGHTS)


@pytest.mark.parametrize("how", ["cut", "no B", "no A", "rows", "nan", "empty", "more"])
def test_damaged_weights_are_refused(llava, pair, tmp_path, how):
    damage(pair[1], how)
    with pytest.raises(MllmError):
        join(pair, tmp_path / "joined", llava)
    assert not (tmp_path / "joined").exists()


def test_settings_of_another_rank_are_refused(llava, pair, tmp_path):
    rewrite(pair[0], r=3)
    with pytest.raises(InputError, match="rank"):
        join(pair, tmp_path / "joined", llava)


def test_another_base_is_refused(llava, pair, tmp_path):
    with pytest.raises(InputError, match="another base"):
        join_adapters(*pair, tmp_path / "joined", base=str(llava), base_digest="0" * 16)
    rewrite(pair[1], fan_in_fan_out=True)
    with pytest.raises(InputError, match="transposed"):
        join(pair, tmp_path / "joined", llava)


def test_adapters_of_other_widths_do_not_fit(llava, pair, tmp_path):
    from tests.mllm.tiny_models import llava as make

    wider = two_stages(make(tmp_path / "wide", width=64), tmp_path / "w", {"rank": 2})[1][0]
    with pytest.raises(InputError, match="do not fit each other"):
        join([pair[0], wider], tmp_path / "joined", llava)


def test_it_replaces_neither_part_but_an_earlier_joined_one(llava, pair, tmp_path):
    for part in pair:
        with pytest.raises(InputError, match="replace"):
            join(pair, part, llava)
    first = join(pair, tmp_path / "joined", llava)
    before = (first / WEIGHTS).read_bytes()
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
    assert (join(pair, first, llava) / WEIGHTS).read_bytes() == before
