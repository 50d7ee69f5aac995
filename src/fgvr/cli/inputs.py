"""From what was typed to what the library takes: images, models, prompts, prices, run folders, cost estimates."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.errors import InputError, RunError

if TYPE_CHECKING:
    from fgvr.data import Items
    from fgvr.encoders.base import DualEncoder
    from fgvr.mllm import Estimate
    from fgvr.mllm.base import Mllm, Reply, Request
    from fgvr.types import ImageItem


def prompt_options(prompt: str) -> dict[str, Any]:
    """``--prompt`` as the two arguments of ``label_images``. Raises ``InputError`` for an empty or one-word text.

    A question of one's own that speaks of ``<think>`` gets room for the thinking.
    """
    from fgvr.naming.labelling import PROMPTS

    if prompt in PROMPTS:
        return {"prompt": prompt, "text": None}
    if len(prompt.split()) < 2:
        remedy = f"Use {', '.join(PROMPTS)}, or write a whole question."
        raise InputError("this prompt is no question", remedy=remedy, prompt=prompt)
    return {"prompt": "reasoned" if "<think>" in prompt else "paper", "text": prompt}


def first_items(found: Items, limit: int | None) -> Items:
    """The first ``limit`` images in the order of their ids."""
    return found if limit is None else replace(found, items=found.items[:limit])


def support_items(found: Items, *, size: int, seed: int, marked: str = "support") -> Items:
    """What the MLLM will name: the rows of split ``marked`` where there are any, else ``size`` drawn by ``seed``."""
    from fgvr.data import draw_support

    chosen = tuple(item for item in found.items if item.split == marked)
    if not chosen:
        if marked != "support":
            splits = sorted({str(item.split) for item in found.items})
            raise InputError(f"no image is in split {marked!r}", remedy=f"The splits are: {', '.join(splits)}.")
        chosen = found.items if len(found.items) <= size else draw_support(found.items, n=size, seed=seed)[0]
    return replace(found, items=chosen)


def stand_ins(pool: Items, *, size: int, seed: int, run: Path) -> Items:
    """For an estimate without encoding: as many images as would be chosen, those that ``run`` has settled among them.

    At most so many calls: near-duplicates are known only when everything is encoded.
    """
    from fgvr.data import draw_support
    from fgvr.methods.near.support import settled_ids
    from fgvr.runs import Ledger

    known = settled_ids(Ledger(run / "choice.jsonl"))
    begun = tuple(item for item in pool.items if item.id in known)
    others = [item for item in pool.items if item.id not in known]
    missing = min(size - len(begun), len(others))
    drawn = draw_support(others, n=missing, seed=seed)[0] if missing > 0 else ()
    return replace(pool, items=(*begun, *drawn))


def load_model(spec: str, *, device: str = "auto") -> Mllm:
    """The MLLM of ``--mllm``."""
    from fgvr.mllm import load_mllm

    if spec == "fieldguide-text" or spec.startswith(("replay:", "openai:")):
        return load_mllm(spec)
    quieten()
    return load_mllm(spec, device=device)


def load_dual_encoder(spec: str, *, device: str = "auto", dtype: str = "float32") -> DualEncoder:
    """The encoder of ``--encoder``; a folder by its absolute path, so that the run can be used from anywhere."""
    from fgvr.encoders import load_encoder

    quieten()
    folder = Path(spec).expanduser()
    return load_encoder(str(folder.resolve()) if folder.is_dir() else spec, device=device, dtype=dtype)


def quieten() -> None:
    """Silence ``transformers`` where it can be imported; where not, the loader says what is wrong."""
    from fgvr.cli.console import quiet_transformers

    with contextlib.suppress(ImportError, RuntimeError):
        quiet_transformers()


def load_sentences(name: str | None) -> Any:
    """The sentence encoder of ``--sentence-encoder``; ``None`` for ``none`` and where the default is not installed."""
    from fgvr.cli.console import note
    from fgvr.encoders.sentence import load_sentence_encoder
    from fgvr.errors import MissingExtraError

    if name == "none":
        return None
    quieten()
    try:
        return load_sentence_encoder(name or "minilm")
    except MissingExtraError as error:
        if name is not None:
            raise
        note(f"sACC is left out: {error}")
        return None


def start_afresh(folder: Path) -> Path | None:
    """Move a run aside for ``--force`` and return where to; ``None`` where there is none. Raises ``RunError``."""
    from fgvr.runs.lock import FolderLock

    if not (folder / "manifest.json").exists():
        return None
    lock = FolderLock.acquire(folder)
    number = 1
    while (aside := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    try:
        lock.move_folder(aside)
    except OSError as error:
        raise RunError(
            f"the old run cannot be moved: {error}", remedy="Use another --out.", path=str(folder)
        ) from error
    finally:
        lock.release()
    return aside


def content_hashes(items: Sequence[ImageItem]) -> list[str]:
    """SHA-256 of each file's bytes, "" for one that cannot be read.

    Always given with a question: replies of a recording are keyed with whatever hashes the caller knew.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(_hash_or_nothing, items))


def _hash_or_nothing(item: ImageItem) -> str:
    from fgvr.errors import ImageError
    from fgvr.images import content_hash

    try:
        return content_hash(item.path)
    except ImageError:
        return ""


def cost_ahead(
    items: Sequence[ImageItem],
    mllm: Mllm,
    *,
    ledger: Path,
    cache: Path | None,
    prompt: dict[str, Any],
    concurrency: int,
    prices: Any,
    retry_failed: bool,
) -> tuple[Estimate, int]:
    """What naming ``items`` would still take, and how many answers are known already. Asks nothing, writes nothing."""
    from fgvr.mllm import ResponseCache, estimate, plan
    from fgvr.mllm.base import BY_ITEM
    from fgvr.naming.labelling import naming_requests
    from fgvr.runs import Ledger

    replies = ResponseCache(cache) if cache is not None and cache.exists() else None
    looking: dict[str, Any] = {"ledger": Ledger(ledger), "cache": replies, "retry_failed": retry_failed}
    try:
        meta, category = _meta_ahead(items, mllm, prompt, looking)
        found = plan(naming_requests(items, category=category, hashes=content_hashes(items), **prompt), mllm, **looking)
    finally:
        if replies is not None:
            replies.close()
    todo = [*meta, *(request for request, _ in found.leaders)]
    # A recording answers at once; of other models nothing is known but that they take a while.
    each = 0.0 if mllm.preprocessing == BY_ITEM else 2.0
    return estimate(todo, mllm, prices=prices, concurrency=concurrency, seconds_per_call=each), len(found.known)


def _meta_ahead(
    items: Sequence[ImageItem], mllm: Mllm, prompt: dict[str, Any], looking: dict[str, Any]
) -> tuple[list[Request], str | None]:
    """The question about the super-category if it is still to be asked, else what its answer was."""
    from fgvr.mllm import Parameters, Request, plan
    from fgvr.mllm.base import BY_ITEM
    from fgvr.naming.prompts import META_PROMPT, category_of, meta_images

    if prompt["text"] is not None or prompt["prompt"] != "structured" or mllm.preprocessing == BY_ITEM:
        return [], None
    shown = tuple(items[index].path for index in meta_images(len(items)))
    request = Request("(collection)", META_PROMPT, shown, parameters=Parameters(max_tokens=16), stage="meta")
    found = plan([request], mllm, **looking)
    reply: Reply | None = found.known.get("(collection)")
    return [leader for leader, _ in found.leaders], category_of(reply.text) if reply else None


def estimate_rows(ahead: Estimate, known: int) -> dict[str, Any]:
    """A dry run's result, JSON-like."""
    return {"dry_run": True, "already_answered": known, **asdict(ahead)}
