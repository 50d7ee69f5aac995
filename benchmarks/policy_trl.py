"""Steps of TRL's GRPOTrainer with the settings of ``policy_loop``, timed in parts."""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.policy_loop import Sizes, Stopwatch, Took, weights_of

NEEDED = "1.16"
"""Of TRL; a method of its trainer is timed, and these change."""


def trl_works() -> bool:
    """Whether the version of TRL that is known here is installed."""
    if importlib.util.find_spec("trl") is None:
        return False
    from importlib.metadata import version

    return version("trl").startswith(f"{NEEDED}.")


def trls(source: Path, triplets: Sequence[Any], sizes: Sizes, place: Path, *, full: bool = False) -> Callable[[], Took]:
    """Steps of ``GRPOTrainer`` with the DAPO loss, on the anchors."""
    import trl
    from transformers import PrinterCallback, TrainerCallback

    from fgvr.mllm.local import LocalMllm

    mllm = LocalMllm(str(source), device="cpu")
    turns = itertools.cycle((0.9, 0.0))

    def drawn(completions: Sequence[Any], **_: Any) -> list[float]:
        return [next(turns) for _ in completions]

    class Watch(TrainerCallback):  # type: ignore[misc]
        """From the epoch's beginning to the optimiser's step."""

        began = ended = 0.0

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.process_time()

    watch = Watch()
    trainer = trl.GRPOTrainer(
        model=mllm.model.requires_grad_(True),
        processing_class=mllm.processor,
        reward_funcs=drawn,
        args=trl_settings(trl, sizes, place),
        train_dataset=trl_rows(triplets),
        peft_config=None if full else trl_lora(),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    prompt_tokens(trainer, mllm, triplets[0])
    generating = Stopwatch(trainer._generate_and_score_completions)
    trainer._generate_and_score_completions = generating

    def step() -> Took:
        generating.seconds = 0.0
        trainer.train()
        tokens = int(generating.result["completion_mask"].sum())
        if tokens != sizes.generated:
            raise RuntimeError(f"TRL's replies have {tokens} tokens, not {sizes.generated}")
        return Took(watch.ended - watch.began, generating.seconds, 0.0, tokens)

    return step


def trl_settings(trl: Any, sizes: Sizes, place: Path) -> Any:
    """The settings of ``settings_of`` in TRL's words."""
    replies = sizes.prompts * sizes.replies
    return trl.GRPOConfig(
        output_dir=str(place),
        max_steps=1,
        per_device_train_batch_size=sizes.micro,
        gradient_accumulation_steps=replies // sizes.micro,
        num_generations=sizes.replies,
        max_completion_length=sizes.tokens,
        generation_kwargs={"min_new_tokens": sizes.tokens},
        temperature=1.0,
        top_p=0.99,
        top_k=0,
        loss_type="dapo",
        epsilon_high=0.28,
        beta=0.0,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        weight_decay=1e-2,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=False,
    )


def trl_lora() -> Any:
    """The LoRA of ``weights_of``."""
    from peft import LoraConfig

    lora = weights_of(False)
    return LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.targets)


def trl_rows(triplets: Sequence[Any]) -> Any:
    """The anchors as TRL wants them."""
    import datasets

    from fgvr.methods.fine_r1.prompts import train_prompt

    rows = [
        {"prompt": [{"role": "user", "content": train_prompt(one.question, style="short")}], "image": str(one.anchor)}
        for one in triplets
    ]
    return datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())


def prompt_tokens(trainer: Any, mllm: Any, triplet: Any) -> int:
    """The number of tokens of a prompt, picture included; raises where TRL's is not ours."""
    from PIL import Image

    from fgvr.methods.fine_r1.prompts import train_prompt
    from fgvr.training.sights import Sight, Sights

    said = train_prompt(triplet.question, style="short")
    content = [{"type": "image", "image": Image.open(triplet.anchor)}, {"type": "text", "text": said}]
    theirs = trainer._tokenize_prompts([[{"role": "user", "content": content}]])[0][0]
    inputs, _ = Sights(mllm, share=False).inputs([Sight(said, triplet.anchor)])
    own = inputs["input_ids"][0].tolist()
    if own != list(theirs):
        raise RuntimeError(f"a prompt has {len(own)} tokens here and {len(theirs)} in TRL, or others")
    return len(own)
