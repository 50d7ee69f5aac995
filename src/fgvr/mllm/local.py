"""Local ``transformers`` image-text-to-text models: Qwen2/2.5/3-VL, SmolVLM, LLaVA, Idefics2/3 and their like.

Only safetensors weights, no code from the model folder, one model call at a time. Generation is greedy unless a
temperature is asked for; options are scored exactly, see ``local_scoring.option_logprobs``. Where the options are the
letters of a prompt that lists names, the next token alone decides.

A single sampled reply is drawn by ``generate`` from the 50 likeliest tokens of each step, under the penalties of the
model's own settings. Several (``Parameters.samples``) are drawn from the model's whole distribution, see
``local_sampling``.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError, MllmError
from fgvr.mllm.base import DEFAULT_MAX_SIDE, Reply, Request, Sample
from fgvr.mllm.image_only_processor import load_processor
from fgvr.mllm.local_inputs import alike, pictures_of
from fgvr.mllm.local_loading import load_model, plain_generation
from fgvr.mllm.options import are_letters
from fgvr.mllm.samples import mean_probability
from fgvr.mllm.weights import model_files
from fgvr.types import Usage

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

NORMALISATIONS = ("sum", "mean")


class LocalMllm:
    """A model by folder or Hub id.

    Args:
        source: folder (of a model, or of a LoRA adapter on one) or Hub id.
        name: for ledgers; default the id, or the folder's name.
        device, dtype: ``auto`` takes CUDA and bfloat16 where there is CUDA, else the CPU and float32.
        batch_size: prompts per forward pass.
        max_side: larger pictures are shrunk to this longer side before the model's own preprocessing.
        option_norm: ``sum`` (the probability of the whole option) or ``mean`` (per token) before normalising over the
            options.
        quantise: ``nf4`` or ``nf4-double`` loads the weights in four bits (bitsandbytes, ``fgvr[gpu]``).

    Raises ``MllmError`` when the model cannot be loaded.
    """

    def __init__(
        self,
        source: str,
        *,
        name: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 8,
        max_side: int = DEFAULT_MAX_SIDE,
        option_norm: str = "sum",
        quantise: str | None = None,
    ) -> None:
        if option_norm not in NORMALISATIONS:
            raise InputError(f"option_norm must be one of {NORMALISATIONS}", remedy="Correct it.", given=option_norm)
        files = model_files(source)
        folder, self.revision = files.base, files.revision
        self.name = name or (Path(source).expanduser().name if Path(source).expanduser().is_dir() else source)
        self.batch_size = batch_size
        self.local = True
        self.supports_options = True
        self.max_side = max_side
        self.option_norm = option_norm
        self.processor = load_processor(folder)
        self.processor.tokenizer.padding_side = "left"
        if self.processor.tokenizer.pad_token_id is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token
        self.model = load_model(folder, device=device, dtype=dtype, adapters=files.adapters, quantise=quantise)
        precision = f"{self.model.dtype} {quantise}" if quantise else str(self.model.dtype)
        self.preprocessing = (
            f"{type(self.processor.image_processor).__name__} side<={max_side} {precision} {option_norm}"
        )
        self._generation = plain_generation(self.model, self.processor.tokenizer)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"LocalMllm({self.name!r}, revision={self.revision!r})"

    def answer(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers in order. Raises ``ImageError`` for a picture that cannot be read, ``MllmError`` otherwise."""
        replies: list[Reply | None] = [None] * len(requests)
        with self._lock:
            for rows in alike(requests):
                group = [requests[row] for row in rows]
                answered = self._halving(self._score if group[0].options else self._generate, group)
                for row, reply in zip(rows, answered, strict=True):
                    replies[row] = reply
        return [reply for reply in replies if reply is not None]

    def prompt_text(self, request: Request) -> str:
        """The whole text the model sees, picture placeholders included."""
        text = self.plain(request.prompt)
        system = self.plain(request.system or "")
        if getattr(self.processor, "chat_template", None):
            pictures = [{"type": "image"} for _ in request.images]
            messages = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
            messages.append({"role": "user", "content": [*pictures, {"type": "text", "text": text}]})
            return str(self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        pictures_text = "".join(f"{self.processor.image_token}\n" for _ in request.images)
        return f"{system + ' ' if system else ''}USER: {pictures_text}{text} ASSISTANT:"

    def option_ids(self, prompt: str, option: str) -> list[int]:
        """Token ids of an option as the model would write it after ``prompt``."""
        gap = "" if not prompt or prompt[-1].isspace() or prompt[-1] in ">]" else " "
        ids = self.processor.tokenizer(gap + self.plain(option).strip(), add_special_tokens=False)["input_ids"]
        if not ids:
            raise MllmError("an option has no tokens", remedy="Leave out empty options.", option=option)
        return [int(token) for token in ids]

    def plain(self, text: str) -> str:
        """Text without the model's control tokens: a name or file must not open a turn or claim a picture."""
        tokenizer = self.processor.tokenizer
        added = (str(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special)
        control = {*added, *tokenizer.all_special_tokens, self.processor.image_token}
        for token in sorted(control, key=len, reverse=True):
            text = text.replace(token, " ") if token else text
        return text

    def _inputs(self, requests: Sequence[Request]) -> dict[str, Any]:
        prompts = [self.prompt_text(request) for request in requests]
        with ThreadPoolExecutor(max_workers=4) as pool:
            pictures = list(pool.map(lambda request: pictures_of(request, self.max_side), requests))
        batch = self.processor(
            text=prompts,
            images=pictures if any(pictures) else None,
            padding=True,
            return_tensors="pt",
        )
        batch = batch.to(self.model.device)
        return {key: value.to(self.model.dtype) if value.is_floating_point() else value for key, value in batch.items()}

    def _halving(self, answer: Callable[[list[Request]], list[Reply]], requests: list[Request]) -> list[Reply]:
        """``answer(requests)``; when memory runs out, in two halves."""
        import torch

        try:
            return answer(requests)
        except torch.OutOfMemoryError as error:
            if len(requests) == 1:
                remedy = "Use a smaller max_side, model or dtype."
                raise MllmError("out of memory", remedy=remedy, model=self.name) from error
            logger.warning("out of memory at batch %d; halving", len(requests))
        half = len(requests) // 2
        return self._halving(answer, requests[:half]) + self._halving(answer, requests[half:])

    def _generate(self, requests: list[Request]) -> list[Reply]:
        import torch

        from fgvr.mllm.local_sampling import sampled
        from fgvr.mllm.local_scoring import TokenLogprobs

        started = time.perf_counter()
        parameters = requests[0].parameters
        if parameters.samples > 1:
            return [sampled(self, request) for request in requests]
        if parameters.temperature > 0 and len(requests) > 1:
            # A seed is per answer: which others share its batch must not matter.
            return [reply for request in requests for reply in self._generate([request])]
        inputs = self._inputs(requests)
        config = copy.deepcopy(self._generation)
        config.max_new_tokens = parameters.max_tokens
        if parameters.temperature > 0:
            config.do_sample, config.temperature = True, parameters.temperature
        notes = TokenLogprobs()
        with torch.inference_mode(), torch.random.fork_rng(enabled=parameters.seed is not None):
            if parameters.seed is not None:
                torch.manual_seed(parameters.seed)
            sequences = self.model.generate(**inputs, generation_config=config, logits_processor=[notes])
        prompt_length = inputs["input_ids"].shape[1]
        logprobs = notes.finish(sequences).tolist()
        written = sequences[:, prompt_length:].tolist()
        seconds = (time.perf_counter() - started) / len(requests)
        counts = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._reply(request, tokens, scores, int(count), seconds)
            for request, tokens, scores, count in zip(requests, written, logprobs, counts, strict=True)
        ]

    def _sample(self, tokens: list[int], scores: list[float]) -> Sample:
        """``tokens`` up to and including the one that ends them, as text."""
        ended = tokens[-1] in self._ends
        text = self.processor.tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True)
        return Sample(text.strip(), sum(scores), "stop" if ended else "length")

    def _reply(self, request: Request, tokens: list[int], scores: list[float], prompt: int, seconds: float) -> Reply:
        end = next((at for at, token in enumerate(tokens) if token in self._ends), None)
        length = len(tokens) if end is None else end + 1
        written = self._sample(tokens[:length], scores[:length])
        return Reply(
            item_id=request.item_id,
            text=written.text,
            model=self.name,
            usage=Usage(1, prompt, length, seconds),
            confidence=mean_probability(scores[:length]),
            finish=written.finish,
        )

    def _score(self, requests: list[Request]) -> list[Reply]:
        """Exact option scores. Prompts of any length share their passes where the model allows padding."""
        import torch

        from fgvr.mllm.local_scoring import paddable

        started = time.perf_counter()
        inputs = self._inputs(requests)
        counts = inputs["attention_mask"].sum(dim=1).tolist()
        if len(set(counts)) > 1 and not paddable(self.model):
            return self._score_by_length(requests, counts)
        prompts = [self.prompt_text(request) for request in requests]
        options = [
            [self.option_ids(prompt, option) for option in request.options]
            for prompt, request in zip(prompts, requests, strict=True)
        ]
        with torch.inference_mode():
            raw = self._raw_scores(
                inputs, options, pictures=bool(requests[0].images), letters=are_letters(requests[0].options)
            )
        seconds = (time.perf_counter() - started) / len(requests)
        return [
            self._scored(request, scores, tokens, Usage(1, int(count), sum(map(len, tokens)), seconds))
            for request, scores, tokens, count in zip(requests, raw, options, counts, strict=True)
        ]

    def _score_by_length(self, requests: list[Request], counts: list[int]) -> list[Reply]:
        """Scores in batches of one prompt length, for models whose positions are not known to allow padding."""
        replies: dict[int, Reply] = {}
        for count in sorted(set(counts)):
            rows = [row for row, other in enumerate(counts) if other == count]
            replies |= dict(zip(rows, self._score([requests[row] for row in rows]), strict=True))
        return [replies[row] for row in range(len(requests))]

    def _scored(self, request: Request, raw: torch.Tensor, tokens: list[list[int]], usage: Usage) -> Reply:
        import torch

        if self.option_norm == "mean":
            raw = raw / torch.tensor([len(ids) + 1 for ids in tokens], device=raw.device)
        scores = torch.log_softmax(raw, dim=-1).tolist()
        best = request.options[max(range(len(scores)), key=scores.__getitem__)]
        return Reply(request.item_id, best, self.name, usage, option_logprobs=tuple(scores))

    def _raw_scores(
        self, inputs: dict[str, Any], options: list[list[list[int]]], *, pictures: bool, letters: bool
    ) -> list[torch.Tensor]:
        """For each prompt, (N_b,) log-probabilities of its options. A letter's is that of the next token."""
        import torch

        from fgvr.mllm.local_scoring import next_token_logprobs, option_logprobs, option_logprobs_full

        if letters and all(len(ids) == 1 for row in options for ids in row):
            return next_token_logprobs(self.model, inputs, [[ids[0] for ids in row] for row in options])
        if pictures:
            return option_logprobs(self.model, inputs, options, ends=self._ends)
        alone = [
            {"input_ids": ids[mask.bool()][None]}
            for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        ]
        return [
            torch.cat([option_logprobs_full(self.model, prompt, ids, ends=self._ends) for ids in row])
            for prompt, row in zip(alone, options, strict=True)
        ]

    @property
    def _ends(self) -> list[int]:
        """Token ids that end an answer."""
        ends = self._generation.eos_token_id
        return [int(token) for token in ends] if isinstance(ends, list | tuple) else [int(ends)]
