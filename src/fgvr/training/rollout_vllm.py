"""Rollouts by vLLM: an ``Engine`` for GPUs, where replies are long and many (``pip install vllm``, Linux with CUDA).

Written against vLLM's documented offline interface (``LLM``, ``SamplingParams``, ``LoRARequest``) and tested against a
stand-in that checks the arguments; it has **not** been run with vLLM itself. Differences from ``TransformersEngine``:

1. *Weights.* vLLM holds the frozen weights from a model folder, and the adapter as it was saved before the call: under
   a new number whenever it has changed, because vLLM keeps what it has loaded by number. Trained whole weights would
   have to be loaded anew every step and are refused; so is an adapter outside the language model, which vLLM does not
   apply.
2. *Prompts* are the same text; vLLM puts the picture's tokens in by the same processor files. Pictures are decoded and
   shrunk here.
3. *Probabilities* are computed by other kernels, so that replies are drawn from a policy that differs from the trained
   one by rounding. The update takes its own probabilities as the old ones (``update.py``, 1) and does not correct that.
4. *Memory.* Both engines' weights lie on the device: ``gpu_memory_utilization`` is vLLM's share of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError, MissingExtraError, MllmError
from fgvr.mllm.adapters import WEIGHTS
from fgvr.mllm.base import Request
from fgvr.mllm.weights import content_digest, model_files
from fgvr.training.lora import save_adapter, save_full
from fgvr.training.rollout import Sampled, Sampling, placeholders
from fgvr.training.sights import Sight, Sights, frozen_pictures

if TYPE_CHECKING:
    from fgvr.mllm.local import LocalMllm

RANKS = (8, 16, 32, 64, 128, 256, 512)
"""Ranks that vLLM makes room for; an adapter of another rank takes the room of the next one."""
NEVER = -100.0
"""Added to the logits of tokens that no reply may hold."""
SEED_STEP = 1 << 16
"""Between two prompts' seeds: vLLM gives a prompt's n replies the n seeds from its own on."""


def frozen_folder(mllm: LocalMllm, source: str, folder: Path) -> Path:
    """A model folder with the weights of ``mllm``, which vLLM can load; call it before ``prepare_model``.

    ``source``: what ``mllm`` was loaded from. A model without adapters lies there already; else the sum of base and
    adapters is written to ``folder``.
    """
    files = model_files(source)
    if not files.adapters:
        return files.base
    return save_full(mllm, folder, source=files.base)


class VllmEngine:
    """An ``Engine`` on the weights of a LoRA model, as they are when it is called; one process.

    Args:
        mllm: whose model ``model`` is, as ``prepare_model`` left it.
        base: model folder of the frozen weights, see ``frozen_folder``.
        folder: where the adapter is saved for vLLM; what lay there goes.
        gpu_memory_utilization: share of the device's memory that vLLM takes.
        options: further arguments of ``vllm.LLM``, such as ``max_model_len`` or ``enforce_eager``.

    Raises ``MissingExtraError`` without vLLM, ``InputError`` for a model it cannot follow.
    """

    def __init__(
        self,
        mllm: LocalMllm,
        model: Any,
        *,
        base: Path,
        folder: Path,
        gpu_memory_utilization: float = 0.45,
        **options: Any,
    ) -> None:
        _require_followable(model)
        from vllm import LLM  # type: ignore[import-not-found,unused-ignore]

        self.mllm, self.model, self.folder = mllm, model, folder
        self.sights = Sights(mllm, share=False)
        self.base, self.digest = base, content_digest(model_files(str(base)))
        self._never = dict.fromkeys(placeholders(mllm), NEVER)
        self._saved: tuple[str, Any] | None = None
        self._number = 0
        shutil.rmtree(folder, ignore_errors=True)
        self.llm = LLM(
            model=str(base),
            dtype=str(mllm.model.dtype).removeprefix("torch."),
            enable_lora=True,
            max_lora_rank=_room(model.peft_config["default"].r),
            limit_mm_per_prompt={"image": 1},
            gpu_memory_utilization=gpu_memory_utilization,
            **options,
        )

    def __call__(self, asked: Sequence[Sight], counts: Sequence[int], how: Sampling, seed: int) -> list[list[Sampled]]:
        """The replies; ``how.batch`` has no effect, vLLM fills its memory by itself."""
        how.check()
        wanted = [index for index, count in enumerate(counts) if count > 0]
        found: list[list[Sampled]] = [[] for _ in asked]
        if not wanted:
            return found
        prompts = [self._prompt(asked[index]) for index in wanted]
        drawn = [self._drawn(how, counts[index], seed + index * SEED_STEP) for index in wanted]
        outputs = self.llm.generate(prompts, drawn, use_tqdm=False, lora_request=self._adapter())
        for index, output in zip(wanted, outputs, strict=True):
            replies = [self._sampled(one) for one in sorted(output.outputs, key=lambda one: one.index)]
            # A greedy prompt is asked once: all its replies are the same.
            found[index] = replies * counts[index] if how.temperature == 0 else replies
            if len(found[index]) != counts[index]:
                remedy = "Use the transformers engine, or another version of vLLM."
                raise MllmError("vLLM left out replies", remedy=remedy, wanted=counts[index], got=len(found[index]))
        return found

    # --- parts --------------------------------------------------------------------------------------------------------

    def _prompt(self, sight: Sight) -> dict[str, Any]:
        text = self.mllm.prompt_text(Request("", sight.prompt, (sight.picture,)))
        return {"prompt": text, "multi_modal_data": {"image": self.sights._decoded(sight.picture)}}

    def _drawn(self, how: Sampling, count: int, seed: int) -> Any:
        """vLLM's ``SamplingParams``."""
        from vllm import SamplingParams

        return SamplingParams(
            n=1 if how.temperature == 0 else count,
            temperature=how.temperature,
            top_p=how.top_p,
            max_tokens=how.max_tokens,
            seed=seed % (1 << 62),
            stop_token_ids=list(self.mllm._ends),
            logit_bias=self._never,
            detokenize=False,
        )

    def _adapter(self) -> Any:
        """vLLM's name for the adapter as it is now; the one before is deleted."""
        from vllm.lora.request import LoRARequest  # type: ignore[import-not-found,unused-ignore]

        number = self._number + 1
        place = self.folder / f"adapter-{number}"
        save_adapter(self.model, place, base=str(self.base), base_digest=self.digest)
        digest = hashlib.sha256((place / WEIGHTS).read_bytes()).hexdigest()
        if self._saved is not None and self._saved[0] == digest:
            shutil.rmtree(place)
            return self._saved[1]
        shutil.rmtree(self.folder / f"adapter-{self._number}", ignore_errors=True)
        self._number = number
        self._saved = digest, LoRARequest(place.name, number, str(place))
        return self._saved[1]

    def _sampled(self, output: Any) -> Sampled:
        """A reply from vLLM's ``CompletionOutput``; its token ids end with the token that ended it."""
        if output.finish_reason not in ("stop", "length"):
            remedy = "See vLLM's own messages; a context that is too short is a common cause (max_model_len)."
            raise MllmError("vLLM did not finish a reply", remedy=remedy, reason=output.finish_reason)
        tokens = tuple(int(token) for token in output.token_ids)
        ended = output.finish_reason == "stop"
        kept = tokens[:-1] if ended and tokens and tokens[-1] in self.mllm._ends else tokens
        text = str(self.mllm.processor.tokenizer.decode(kept, skip_special_tokens=True))
        return Sampled(tokens, text.strip(), ended)


def require_vllm(*, full: bool = False) -> None:
    """Raises what ``VllmEngine`` would, where that can be known without a model; ``full``: all weights are trained."""
    if full:
        remedy = 'Train LoRA, or sample with engine="transformers".'
        raise InputError("vLLM cannot follow whole weights", remedy=remedy)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        remedy = 'Launch one process (vLLM can use more devices by tensor_parallel_size), or engine="transformers".'
        raise InputError("the vLLM engine belongs to one process", remedy=remedy)
    try:
        import vllm  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("vllm", extra="rl-vllm") from error


def _require_followable(model: Any) -> None:
    """Raises ``InputError`` where vLLM could not be given the weights of every step."""
    require_vllm(full=not hasattr(model, "peft_config"))
    if not frozen_pictures(model):
        remedy = "Let lora.targets name the language model's layers only (the default)."
        raise InputError("vLLM applies adapters to the language model only", remedy=remedy)


def _room(rank: int) -> int:
    for room in RANKS:
        if rank <= room:
            return room
    raise InputError("vLLM has no room for this rank", remedy=f"Use a rank of at most {RANKS[-1]}.", rank=rank)
