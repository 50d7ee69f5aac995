"""Adapters: one line loads base and adapter; nothing but safetensors and known settings; caches cannot mix them up."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fgvr.errors import InputError, MissingExtraError, MllmError
from fgvr.mllm import Parameters, Request, load_mllm
from fgvr.mllm.adapters import CONFIG, NOTES, WEIGHTS
from fgvr.mllm.local import LocalMllm
from fgvr.mllm.local_loading import load_model
from fgvr.mllm.weights import model_files
from fgvr.training import Collator, Lora, TrainSettings, answer_nll, base_of, prepare_model, save_adapter, train
from fgvr.training.lora import save_full, trainable
from tests.training.world import ANSWERS, training_rows

from . import tiny_models
from .test_local import MODELS

SETTINGS = TrainSettings(2e-2, epochs=3, batch_size=4, checkpoint_every=0)


def tuned(base: Path, folder: Path, spec: str | None = None, **lora) -> tuple[LocalMllm, Path]:
    """A model tuned in memory, and its adapter on disk."""
    logging.disable(logging.WARNING)
    folder.mkdir(exist_ok=True)
    mllm = load_mllm(spec or f"local:{base}")
    assert isinstance(mllm, LocalMllm)
    model = prepare_model(mllm, Lora(rank=4, **lora), seed=1)
    train(model, training_rows(folder, 6), Collator(mllm), settings=SETTINGS, folder=folder / "run")
    name, digest = base_of(spec or f"local:{base}")
    return mllm, save_adapter(model, folder / "adapter", base=name, base_digest=digest, facts={"rows": 6})


def scores(mllm, folder: Path) -> list[float]:
    rows = training_rows(folder, 3)
    requests = [Request(row.id, row.prompt, row.images, options=ANSWERS) for row in rows]
    return [value for reply in mllm.answer(requests) for value in reply.option_logprobs]


def asked(mllm, folder: Path) -> list[str]:
    rows = training_rows(folder, 3)
    return [
        reply.text
        for reply in mllm.answer(
            [Request(row.id, row.prompt, row.images, parameters=Parameters(max_tokens=5)) for row in rows]
        )
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    logging.disable(logging.WARNING)
    return tiny_models.llava(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def made(base, tmp_path_factory) -> tuple[LocalMllm, Path]:
    return tuned(base, tmp_path_factory.mktemp("tuned"))


@pytest.fixture
def adapter(made, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made[1], tmp_path / "adapter"))


@pytest.mark.parametrize("kind", MODELS)
def test_one_line_loads_what_was_tuned(kind, tmp_path):
    make: Callable[[Path], Path] = MODELS[kind]
    memory, folder = tuned(make(tmp_path / "base"), tmp_path / "tuned")
    loaded, plain = load_mllm(f"local:{folder}"), load_mllm(f"local:{tmp_path / 'base'}")
    assert asked(loaded, tmp_path) == asked(memory, tmp_path)
    assert scores(loaded, tmp_path) == pytest.approx(scores(memory, tmp_path), abs=1e-4)
    assert max(abs(a - b) for a, b in zip(scores(loaded, tmp_path), scores(plain, tmp_path))) > 0.05


def test_merged_and_unmerged_agree(base, made, tmp_path):
    batch = Collator(made[0])(training_rows(tmp_path, 3))
    found = []
    for merge in (True, False):
        model = load_model(base, device="cpu", dtype="float32", adapters=[made[1]], merge=merge)
        assert hasattr(model, "merge_and_unload") is not merge
        with torch.no_grad():
            found.append(answer_nll(model, batch))
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(found[1], answer_nll(made[0].model, batch), atol=1e-6, rtol=1e-6)


def test_peft_itself_reads_the_folder(base, made, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), str(made[1])).eval()
    batch = Collator(made[0])(training_rows(tmp_path, 3))
    with torch.no_grad():
        torch.testing.assert_close(answer_nll(model, batch), answer_nll(made[0].model, batch))


def test_the_revision_covers_base_and_adapter(base, made, adapter):
    revisions = {model_files(str(folder)).revision for folder in (base, made[1])}
    assert len(revisions) == 2
    assert model_files(str(adapter)).revision == model_files(str(made[1])).revision  # wherever it lies
    notes = json.loads((adapter / NOTES).read_text())
    (adapter / NOTES).write_text(json.dumps({**notes, "rows": 7}))
    revisions.add(model_files(str(adapter)).revision)
    assert len(revisions) == 3


def test_an_adapter_on_an_adapter(made, tmp_path):
    memory, second = tuned(made[1], tmp_path / "second")
    assert model_files(str(second)).adapters == (made[1], second)
    assert scores(load_mllm(f"local:{second}"), tmp_path) == pytest.approx(scores(memory, tmp_path), abs=1e-4)
    config = json.loads((made[1] / CONFIG).read_text())
    shutil.copytree(made[1], tmp_path / "round")
    (tmp_path / "round" / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": "."}))
    with pytest.raises(MllmError, match="too many adapters"):
        model_files(str(tmp_path / "round"))


def test_the_embedded_model_is_named_not_located(tmp_path):
    memory, folder = tuned(Path(), tmp_path / "tuned", spec="fieldguide")
    assert json.loads((folder / CONFIG).read_text())["base_model_name_or_path"] == "fieldguide"
    assert "fieldguide/models" not in "".join(path.read_text() for path in folder.glob("*.[jm]*"))
    loaded = load_mllm(f"local:{shutil.move(folder, tmp_path / 'moved')}")
    assert scores(loaded, tmp_path) == pytest.approx(scores(memory, tmp_path), abs=1e-4)


def test_a_base_beside_the_adapter_moves_with_it(base, adapter, tmp_path):
    shutil.copytree(base, tmp_path / "all" / "base")
    shutil.move(adapter, tmp_path / "all" / "adapter")
    config = tmp_path / "all" / "adapter" / CONFIG
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "../base"}))
    moved = shutil.move(tmp_path / "all", tmp_path / "elsewhere")
    assert model_files(str(moved / "adapter")).base == moved / "base"


def test_a_base_that_changed_is_refused(base, adapter, tmp_path):
    other = tiny_models.idefics3(tmp_path / "other")
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": str(other)}))
    with pytest.raises(MllmError, match="other weights"):
        load_mllm(f"local:{adapter}")
    (adapter / NOTES).unlink()  # an adapter of another tool has no such note: then the shapes must tell
    with pytest.raises(MllmError, match="does not fit"):
        load_mllm(f"local:{adapter}")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "kind of adapter"),
        ({"base_model_name_or_path": None}, "what it was trained on"),
        ({"base_model_name_or_path": "./nowhere"}, "no such model folder"),
        ({"corda_config": {"cache_file": "evil.pt"}}, "settings unknown"),
        ({"trainable_token_indices": [3]}, "settings unknown"),
        ({"r": 3}, "does not fit"),
        ({"target_modules": "nothing"}, "does not fit"),
        ({"target_modules": ".*q_proj"}, "does not fit"),
        ({"r": "eight"}, "does not fit"),
    ],
)
def test_a_config_that_cannot_be_trusted_is_refused(adapter, change, match):
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, **change}))
    with pytest.raises(MllmError, match=match):
        load_mllm(f"local:{adapter}")


def test_damaged_files_are_refused(adapter):
    (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-40])
    with pytest.raises(MllmError, match="does not fit"):
        load_mllm(f"local:{adapter}")
    (adapter / CONFIG).write_text("{")
    with pytest.raises(MllmError, match="cannot be read"):
        load_mllm(f"local:{adapter}")


def test_pickled_adapters_are_refused(adapter):
    (adapter / WEIGHTS).unlink()
    torch.save({"w": torch.zeros(1)}, adapter / "adapter_model.bin")
    with pytest.raises(MllmError, match="Pickled adapters"):
        load_mllm(f"local:{adapter}")


def test_without_peft_the_extra_is_named(adapter, monkeypatch):
    import builtins

    real = builtins.__import__

    def missing(name, *rest, **more):
        if name == "peft":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match=r"fgvr\[train\]"):
        load_mllm(f"local:{adapter}")


def test_lora_that_matches_nothing_is_an_input_error(base):
    with pytest.raises(InputError, match="target expression"):
        prepare_model(LocalMllm(str(base)), Lora(targets="nothing"), seed=0)


def test_only_the_language_models_linear_layers_are_tuned_by_default(tmp_path):
    for kind, make in MODELS.items():
        names = trainable(prepare_model(LocalMllm(str(make(tmp_path / kind))), Lora(), seed=0))
        assert len(names) == 2 * 2 * 7, kind  # two blocks of seven, A and B
        assert not any("vision" in name or "visual" in name or "connector" in name for name in names)


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl"])
def test_fully_tuned_models_are_ordinary_model_folders(kind, tmp_path):
    logging.disable(logging.WARNING)
    base = MODELS[kind](tmp_path / "base")
    mllm = LocalMllm(str(base))
    model = prepare_model(mllm, Lora(full=True), seed=0)
    train(model, training_rows(tmp_path, 6), Collator(mllm), settings=SETTINGS, folder=tmp_path / "run")
    folder = save_full(mllm, tmp_path / "full", source=base, facts={"rows": 6})
    assert scores(load_mllm(f"local:{folder}"), tmp_path) == pytest.approx(scores(mllm, tmp_path), abs=1e-4)
    assert not list(tmp_path.glob(".tmp-*"))


def test_the_card_says_how_to_load_it(made):
    card = (made[1] / "README.md").read_text()
    assert 'load_mllm("local:adapter")' in card
    assert "| rows | `6` |" in card
