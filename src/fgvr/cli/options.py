"""Options that several verbs share, as annotated types."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Policy(StrEnum):
    """Weights inside a candidate set."""

    vote = "vote"
    set = "set"
    own = "own"


class Sets(StrEnum):
    """Where candidate sets come from."""

    neighbours = "neighbours"
    random = "random"
    none = "none"


class Preset(StrEnum):
    """Tuning settings by name."""

    workshop = "workshop"
    fast = "fast"
    near_style = "near-style"
    lite = "lite"
    select = "select"


class Choose(StrEnum):
    """Which images of a collection are named."""

    random = "random"
    spread = "spread"
    active = "active"
    facility = "facility"


class HeadRule(StrEnum):
    """How a student's heads are put together."""

    mix = "mix"
    best = "best"
    equal = "equal"


class Unknown(StrEnum):
    """How an answer of "unknown" is scored."""

    best = "best"
    missing = "missing"


class DrawKind(StrEnum):
    """How a comparison draws its support images."""

    balanced = "balanced"
    random = "random"
    zipf = "zipf"
    given = "given"
    spread = "spread"


class RarPreset(StrEnum):
    """RAR settings by name."""

    default = "default"
    as_described = "as-described"
    as_released = "as-released"


class MemorySource(StrEnum):
    """Rows of the memory that candidates come from."""

    image = "image"
    text = "text"
    fused = "fused"


class RankMode(StrEnum):
    """How candidates are ranked."""

    score = "score"
    generate = "generate"


class RankAsk(StrEnum):
    """What is scored."""

    names = "names"
    letters = "letters"


class Asking(StrEnum):
    """When the MLLM is asked."""

    margin = "margin"
    always = "always"
    never = "never"


_MLLM = "fieldguide, replay:FILE.jsonl, openai:MODEL (OPENAI_BASE_URL, OPENAI_API_KEY), local:FOLDER_OR_HUB_ID."
_IMAGES = "Folder, glob pattern, image file, or CSV/JSONL/Parquet manifest."

Images = Annotated[str, typer.Argument(help=_IMAGES, show_default=False)]
Out = Annotated[Path, typer.Option("--out", help="Run folder; an unfinished run in it is resumed.", show_default=False)]
MllmName = Annotated[str, typer.Option("--mllm", help=_MLLM, show_default=False)]
MllmMaybe = Annotated[str | None, typer.Option("--mllm", help=_MLLM)]
EncoderName = Annotated[
    str, typer.Option("--encoder", help="fieldguide, or a CLIP-like folder or Hub id.", show_default=False)
]
Prompt = Annotated[
    str, typer.Option("--prompt", help="paper, structured, reasoned, reasoned-short, or a question of your own.")
]
BudgetCap = Annotated[float | None, typer.Option("--budget", help="Spend at most so many US dollars.")]
AllowUnpriced = Annotated[bool, typer.Option("--allow-unpriced", help="Go on although the model's price is unknown.")]
Prices = Annotated[Path | None, typer.Option("--prices", help="JSON file of prices per million tokens.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate calls, tokens, money and time; ask nothing.")]
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, help="Calls in flight at once.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again about images that failed before.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Use only the first so many images.")]
Force = Annotated[bool, typer.Option("--force", help="Start afresh; the old run is moved aside, not deleted.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")]
Cache = Annotated[Path | None, typer.Option("--cache", help="Folder of features and replies shared between runs.")]
Seed = Annotated[int, typer.Option("--seed", help="Of every random draw.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str, typer.Option("--dtype", help="Precision of the encoder: float32, bfloat16, float16.")]
Split = Annotated[str | None, typer.Option("--split", help="Only this split of the manifest or folder.")]
TopK = Annotated[int, typer.Option("--top-k", min=1, help="Names to list per image.")]
SentenceEncoderName = Annotated[
    str | None,
    typer.Option(
        "--sentence-encoder",
        help="For sACC: minilm, none, a folder or Hub id. Without it minilm where it is installed.",
    ),
]
