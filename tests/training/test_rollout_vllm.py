"""The vLLM engine against a stand-in with vLLM's documented signatures: what it is given, and what is made of it.

The stand-in answers with the transformers engine's own weights: it reads the adapter from the folder it is named, adds
it to the base, and writes greedily or by seed. So the replies can be compared, and an adapter that was not brought up
to date is seen.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image

from fgvr.errors import InputError, MissingExtraError, MllmError
from fgvr.mllm import load_mllm
from fgvr.mllm.base import Request
from fgvr.mllm.local import LocalMllm
from fgvr.training import LANGUAGE_AND_CONNECTOR, Lora, base_of, prepare_model, save_adapter
from fgvr.training.rollout import Sampling, TransformersEngine, placeholders
from fgvr.training.rollout_vllm import VllmEngine, frozen_folder
from fgvr.training.sights import Sight, Sights
from tests.mllm.tiny_models import qwen
from tests.training.world import pictures

GREEDY = Sampling(temperature=0.0, top_p=1.0, max_tokens=7)


@dataclass
class SamplingParams:
    """The fields of vLLM's own that are used here, with its defaults and its check of greedy sampling."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    detokenize: bool = True
    logit_bias: dict[int, float] | None = None

    def __post_init__(self) -> None:
        if self.temperature == 0 and self.n > 1:
            raise ValueError("n must be 1 when using greedy sampling")


@dataclass
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    finish_reason: str | None


@dataclass
class RequestOutput:
    outputs: list[CompletionOutput]


class LLM:
    """Loads adapters by number and, as vLLM does, never reads one with a known number again."""

    made: ClassVar[list[LLM]] = []

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        gpu_memory_utilization: float = 0.9,
        enable_lora: bool = False,
        max_lora_rank: int = 16,
        limit_mm_per_prompt: dict[str, int] | None = None,
        max_model_len: int | None = None,
    ) -> None:
        self.given = {"dtype": dtype, "room": max_lora_rank, "share": gpu_memory_utilization, "length": max_model_len}
        assert enable_lora
        assert limit_mm_per_prompt == {"image": 1}
        self.base = model
        self.loaded: dict[int, LocalMllm] = {}
        self.reason: str | None = None
        self.calls: list[tuple[list[dict[str, Any]], list[SamplingParams], LoRARequest]] = []
        LLM.made.append(self)

    def generate(
        self,
        prompts: list[dict[str, Any]],
        sampling_params: list[SamplingParams],
        *,
        use_tqdm: bool = True,
        lora_request: LoRARequest | None = None,
    ) -> list[RequestOutput]:
        assert not use_tqdm
        assert isinstance(lora_request, LoRARequest)
        assert len(prompts) == len(sampling_params)
        self.calls.append((prompts, sampling_params, lora_request))
        number = lora_request.lora_int_id
        if number not in self.loaded:
            self.loaded[number] = LocalMllm(lora_request.lora_path, device="cpu")
        return [self._answer(self.loaded[number], *each) for each in zip(prompts, sampling_params, strict=True)]

    def _answer(self, mllm: LocalMllm, prompt: dict[str, Any], how: SamplingParams) -> RequestOutput:
        picture = prompt["multi_modal_data"]["image"]
        assert isinstance(picture, Image.Image)
        batch = mllm.processor(text=[prompt["prompt"]], images=[[picture]], return_tensors="pt")
        outputs = []
        for index in range(how.n):
            assert how.seed is not None
            torch.manual_seed(how.seed + index)
            tokens = self._written(mllm, dict(batch), how)
            ended = tokens[-1] in (how.stop_token_ids or [])
            reason = self.reason or ("stop" if ended else "length")
            outputs.append(CompletionOutput(index, "", tokens, reason))
        return RequestOutput(outputs[::-1])

    @torch.no_grad()
    def _written(self, mllm: LocalMllm, batch: dict[str, Any], how: SamplingParams) -> list[int]:
        tokens: list[int] = []
        start = batch["input_ids"]
        for _ in range(how.max_tokens or 0):
            more = torch.tensor([tokens], dtype=torch.long)
            ids = torch.cat([start, more], dim=1)
            kinds = torch.nn.functional.pad(batch["mm_token_type_ids"], (0, len(tokens)))
            inputs = batch | {"input_ids": ids, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": kinds}
            scores = mllm.model(**inputs).logits[0, -1]
            for token, bias in (how.logit_bias or {}).items():
                scores[token] += bias
            greedy = how.temperature == 0
            drawn = scores.argmax() if greedy else torch.multinomial((scores / how.temperature).softmax(-1), 1)[0]
            tokens.append(int(drawn))
            if tokens[-1] in (how.stop_token_ids or []):
                break
        return tokens


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    top, below, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    top.LLM, top.SamplingParams, request.LoRARequest = LLM, SamplingParams, LoRARequest  # type: ignore[attr-defined]
    for module in (top, below, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    LLM.made.clear()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return qwen(tmp_path / "model")


def ready(source: Path, folder: Path, **more: Any) -> tuple[LocalMllm, Any, VllmEngine]:
    mllm = load_mllm(f"local:{source}")
    assert isinstance(mllm, LocalMllm)
    base = frozen_folder(mllm, str(source), folder / "base")
    model = prepare_model(mllm, Lora(rank=4, alpha=8.0), seed=0)
    return mllm, model, VllmEngine(mllm, model, base=base, folder=folder / "vllm", **more)


def moved(model: torch.nn.Module, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))


def sights(folder: Path) -> list[Sight]:
    first, second, _ = pictures(folder)
    return [Sight("what bird is this ?", first), Sight("is this a tern ?", second)]


def test_replies_are_those_of_the_weights_as_they_are_at_each_call(vllm: None, tiny: Path, tmp_path: Path) -> None:
    mllm, model, engine = ready(tiny, tmp_path)
    own = TransformersEngine(mllm, Sights(mllm))
    asked = sights(tmp_path)
    seen = []
    for seed in (1, 2):
        moved(model, seed=seed)
        replies = engine(asked, [2, 1], GREEDY, 0)
        assert replies == own(asked, [2, 1], GREEDY, 0)
        seen.append(replies)
    assert seen[0] != seen[1]
    numbers = [call[2].lora_int_id for call in LLM.made[0].calls]
    assert numbers == [1, 2]
    assert sorted(path.name for path in (tmp_path / "vllm").iterdir()) == ["adapter-2"]


def test_an_adapter_that_has_not_changed_keeps_its_number(vllm: None, tiny: Path, tmp_path: Path) -> None:
    _, model, engine = ready(tiny, tmp_path)
    asked = sights(tmp_path)
    moved(model, seed=1)
    for _ in range(2):
        engine(asked, [1, 1], GREEDY, 0)
    moved(model, seed=2)
    engine(asked, [1, 1], GREEDY, 0)
    calls = [call[2] for call in LLM.made[0].calls]
    assert [one.lora_int_id for one in calls] == [1, 1, 2]
    assert Path(calls[-1].lora_path).is_dir()


def test_the_sampling_and_the_prompts_are_given_over(vllm: None, tiny: Path, tmp_path: Path) -> None:
    mllm, _, engine = ready(tiny, tmp_path, max_model_len=512)
    asked = sights(tmp_path)
    replies = engine(asked, [3, 0], Sampling(temperature=0.7, top_p=0.9, max_tokens=5), 11)
    assert [len(each) for each in replies] == [3, 0]
    assert len({one.tokens for one in replies[0]}) > 1  # each reply has a seed of its own
    assert LLM.made[0].given == {"dtype": "float32", "room": 8, "share": 0.45, "length": 512}
    ((prompt,), (drawn,), _) = LLM.made[0].calls[0]
    assert prompt["prompt"] == mllm.prompt_text(Request("", asked[0].prompt, (asked[0].picture,)))
    assert prompt["multi_modal_data"]["image"].size == (40, 40)
    assert (drawn.n, drawn.temperature, drawn.top_p, drawn.max_tokens) == (3, 0.7, 0.9, 5)
    assert drawn.stop_token_ids == [3]
    assert not drawn.detokenize
    assert drawn.logit_bias == dict.fromkeys(placeholders(mllm), -100.0)


def test_seeds_differ_between_prompts_and_calls_and_repeat(vllm: None, tiny: Path, tmp_path: Path) -> None:
    _, _, engine = ready(tiny, tmp_path)
    asked = sights(tmp_path)
    how = Sampling(max_tokens=4)
    first, again, other = engine(asked, [2, 2], how, 5), engine(asked, [2, 2], how, 5), engine(asked, [2, 2], how, 6)
    assert first == again
    assert first != other
    seeds = [drawn.seed + index for drawn in LLM.made[0].calls[0][1] for index in range(2)]
    assert len(set(seeds)) == 4


def test_a_reply_that_ended_keeps_its_end_and_one_cut_off_has_none(vllm: None, tiny: Path, tmp_path: Path) -> None:
    mllm, _, engine = ready(tiny, tmp_path)
    ended = engine._sampled(CompletionOutput(0, "", [*mllm.processor.tokenizer("red tern")["input_ids"], 3], "stop"))
    cut = engine._sampled(CompletionOutput(0, "", mllm.processor.tokenizer("red tern")["input_ids"], "length"))
    assert (ended.ended, ended.text, ended.tokens[-1]) == (True, "red tern", 3)
    assert (cut.ended, cut.text) == (False, "red tern")


def test_a_reply_that_vllm_gave_up_is_an_error(vllm: None, tiny: Path, tmp_path: Path) -> None:
    _, _, engine = ready(tiny, tmp_path)
    LLM.made[0].reason = "abort"
    with pytest.raises(MllmError, match="did not finish"):
        engine(sights(tmp_path), [1, 1], GREEDY, 0)


def test_adapters_below_are_part_of_the_frozen_folder(vllm: None, tiny: Path, tmp_path: Path) -> None:
    first = load_mllm(f"local:{tiny}")
    assert isinstance(first, LocalMllm)
    tuned = prepare_model(first, Lora(rank=2), seed=3)
    moved(tuned, seed=9)
    name, digest = base_of(str(tiny))
    save_adapter(tuned, tmp_path / "sft", base=name, base_digest=digest)
    mllm, _, engine = ready(tmp_path / "sft", tmp_path)
    assert LLM.made[0].base == str(tmp_path / "base")
    asked = sights(tmp_path)
    assert engine(asked, [1, 1], GREEDY, 0) == TransformersEngine(mllm, Sights(mllm))(asked, [1, 1], GREEDY, 0)


@pytest.mark.parametrize(
    ("lora", "said"),
    [(Lora(full=True), "whole weights"), (Lora(rank=2, targets=LANGUAGE_AND_CONNECTOR), "language model only")],
)
def test_weights_it_cannot_follow_are_refused(vllm: None, tiny: Path, tmp_path: Path, lora: Lora, said: str) -> None:
    mllm = load_mllm(f"local:{tiny}")
    assert isinstance(mllm, LocalMllm)
    model = prepare_model(mllm, lora, seed=0)
    with pytest.raises(InputError, match=said):
        VllmEngine(mllm, model, base=tiny, folder=tmp_path / "vllm")
    assert not LLM.made


def test_several_processes_are_refused(vllm: None, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="one process"):
        ready(tiny, tmp_path)


def test_without_vllm_the_extra_is_named(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingExtraError, match="rl-vllm"):
        ready(tiny, tmp_path)
