"""What writes the replies is looked at before anything is paid for."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fgvr.errors import InputError, MissingExtraError
from fgvr.methods.fine_r1.settings import FineR1Settings, trained_weights
from fgvr.methods.fine_r1.tuning import _frozen, require_engine


def job(engine: str, **settings: Any) -> Any:
    return SimpleNamespace(engine=engine, settings=FineR1Settings(**settings))


def test_the_model_itself_needs_nothing() -> None:
    require_engine(job("transformers"))
    require_engine(job("transformers", weights=trained_weights(full=True)))
    assert _frozen(job("transformers"), None, "", None) is None  # type: ignore[arg-type]


def test_vllm_is_asked_for_by_its_extra_and_only_where_replies_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match="rl-vllm"):
        require_engine(job("vllm"))
    require_engine(job("vllm", stages="sft"))


def test_vllm_writes_for_lora_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    require_engine(job("vllm"))
    with pytest.raises(InputError, match="whole weights"):
        require_engine(job("vllm", weights=trained_weights(full=True)))
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="one process"):
        require_engine(job("vllm"))


def test_another_word_is_refused() -> None:
    with pytest.raises(InputError, match="no such engine"):
        require_engine(job("sglang"))
