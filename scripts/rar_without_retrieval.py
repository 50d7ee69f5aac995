"""What RAR is compared with on the embedded world: the MLLM without a memory, tuned on the shots or not."""

from __future__ import annotations

from pathlib import Path

from rar_worlds import World

from fgvr.fieldguide.guide import accepted_names, all_species
from fgvr.methods.rar.fewshot_protocol import draw_shots
from fgvr.metrics import synonym_accuracy
from fgvr.mllm import load_mllm
from fgvr.naming import label_images
from fgvr.naming.prompts import PAPER_PROMPT
from fgvr.runs import Ledger
from fgvr.training import Collator, Lora, TrainingRow, TrainSettings, base_of, prepare_model, save_adapter, train

TUNING = TrainSettings(1e-3, epochs=3, batch_size=16, micro_batch=16)
LORA = Lora(rank=16, alpha=16)


def named_right(world: World, model: str, work: Path) -> float:
    """Share of test pictures that a model names rightly in free text."""
    mllm = load_mllm(model, batch_size=64)
    ledger = Ledger(work / f"named_{mllm.revision}.jsonl", sync=False)
    said = label_images(world.test_items, mllm, ledger=ledger).named
    return synonym_accuracy([one.name or "unknown" for one in said], accepted(world))


def accepted(world: World) -> list[tuple[str, ...]]:
    """Accepted names of every test picture."""
    species = all_species()
    return [accepted_names(species[label]) for label in world.data.test_labels]


def tuned(world: World, shots: int, work: Path) -> Path:
    """The adapter of the MLLM tuned to name the shots; made once."""
    folder = work / f"naming_{shots}"
    if (folder / "adapter" / "adapter_config.json").exists():
        return folder / "adapter"
    data = world.data
    chosen = draw_shots(data.train_labels, shots, seed=0, ids=data.train_ids)
    items = [world.train_items[row] for row in chosen]
    answers = [data.names[data.train_labels[row]] for row in chosen]
    rows = [
        TrainingRow(item.id, (item.path,), PAPER_PROMPT, answer) for item, answer in zip(items, answers, strict=True)
    ]
    mllm = load_mllm("fieldguide", batch_size=64)
    model = prepare_model(mllm, LORA, seed=0)
    train(model, rows, Collator(mllm), settings=TUNING, folder=folder / "training")
    base, digest = base_of("fieldguide")
    return save_adapter(model, folder / "adapter", base=base, base_digest=digest)
