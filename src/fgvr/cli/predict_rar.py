"""``fgvr predict`` for RAR runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli.console import Progress, note
from fgvr.cli.fit_shared import read_summary
from fgvr.cli.inputs import load_dual_encoder, load_model
from fgvr.cli.predict import Done, store_of, stored_dtype
from fgvr.errors import InputError

if TYPE_CHECKING:
    from fgvr.types import ImageItem


def recognise(
    run: Path,
    items: Sequence[ImageItem],
    *,
    top_k: int = 5,
    encoder: str | None = None,
    mllm: str | None = None,
    cache: Path | None = None,
    device: str = "auto",
    **asking: Any,
) -> Done:
    """Predictions of a RAR run. ``mllm``: instead of the run's own; ``none`` retrieves only."""
    from fgvr.methods.rar import RAR, Recogniser

    recogniser = Recogniser.load(run)
    rules = recogniser.rules
    if mllm not in (None, "none") and not rules.mllm:
        remedy = "Fit again with --mllm, or leave --mllm out."
        raise InputError("this run was fitted without an MLLM: what its word is worth is not known", remedy=remedy)
    wanted = mllm or (read_summary(run) or {}).get("mllm")
    helps = rules.asking != "never" and rules.weight > 0
    if helps and wanted is None:
        note("the run does not say where its MLLM lies (--mllm): retrieval alone decides")
    asks = helps and wanted not in (None, "none")
    loaded = load_dual_encoder(encoder or recogniser.memory.encoder, device=device, dtype=stored_dtype(run))
    with Progress() as progress:
        ready = RAR.load(
            run,
            load_model(str(wanted), device=device) if asks else None,
            encoder=loaded,
            cache=None if cache is None else cache / "replies.sqlite",
            progress=progress,
            **asking,
        )
        found = ready.recognise(items, top_k=top_k, store=store_of(run, cache))
    usage = found.usage if asks else None
    account = (found.asked, found.unanswered, found.stopped, found.reused, usage)
    return Done(found.predictions, found.set_aside, *account)
