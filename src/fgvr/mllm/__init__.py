"""Multimodal LLMs behind one protocol: services, local models, recordings; and a scheduler that asks many questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgvr.errors import InputError
from fgvr.mllm.backoff import Backoff as Backoff
from fgvr.mllm.base import Mllm as Mllm
from fgvr.mllm.base import Parameters as Parameters
from fgvr.mllm.base import Reply as Reply
from fgvr.mllm.base import Request as Request
from fgvr.mllm.base import Sample as Sample
from fgvr.mllm.budget import Budget as Budget
from fgvr.mllm.cache import ResponseCache as ResponseCache
from fgvr.mllm.estimate import Estimate as Estimate
from fgvr.mllm.estimate import estimate as estimate
from fgvr.mllm.outcomes import Answers as Answers
from fgvr.mllm.outcomes import spent_in as spent_in
from fgvr.mllm.planning import plan as plan
from fgvr.mllm.prices import PRICES as PRICES
from fgvr.mllm.prices import Price as Price
from fgvr.mllm.prices import load_prices as load_prices
from fgvr.mllm.prices import price_of as price_of
from fgvr.mllm.scheduler import ask_all as ask_all
from fgvr.mllm.scripted import ScriptedMllm as ScriptedMllm

_SPECS = (
    "fieldguide, fieldguide-text, replay:FILE.jsonl, openai:MODEL, local:FOLDER_OR_HUB_ID, a model folder, or org/name"
)


def load_mllm(spec: str, **options: Any) -> Mllm:
    """A provider by name; ``options`` go to its constructor.

    ``fieldguide`` (the embedded tiny model), ``fieldguide-text`` (its stand-in for steps of pure text),
    ``replay:FILE.jsonl`` (recorded replies), ``openai:MODEL`` (any OpenAI-compatible endpoint),
    ``local:FOLDER_OR_HUB_ID``; a folder or ``org/name`` alone means ``local:``.
    Raises ``InputError`` for anything else.
    """
    kind, _, rest = spec.partition(":")
    if spec == "fieldguide":
        from fgvr.fieldguide import weights_folder
        from fgvr.mllm.local import LocalMllm

        return LocalMllm(str(weights_folder("mllm")), **{"name": "fieldguide", "batch_size": 32, **options})
    if spec == "fieldguide-text":
        from fgvr.fieldguide.language import FieldGuideText

        return FieldGuideText(**options)
    if kind == "replay" and rest:
        from fgvr.mllm.replay import ReplayMllm

        return ReplayMllm(Path(rest), **options)
    if kind == "openai" and rest:
        from fgvr.mllm.openai_http import OpenAIMllm

        return OpenAIMllm(rest, **options)
    source = rest if kind == "local" else spec
    if source and (kind == "local" or Path(source).expanduser().is_dir() or _is_hub_id(source)):
        from fgvr.mllm.local import LocalMllm

        return LocalMllm(source, **options)
    if price_of(spec) is not None:
        raise InputError(f"{spec!r} is a service's model", remedy=f"Write openai:{spec} and set OPENAI_BASE_URL.")
    raise InputError("unknown model", remedy=f"Use {_SPECS}.", model=spec)


def _is_hub_id(source: str) -> bool:
    parts = source.split("/")
    return len(parts) == 2 and all(part and part[0].isalnum() for part in parts)
