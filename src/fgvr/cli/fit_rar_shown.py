"""What ``fgvr fit rar`` says: the plan of a dry run, the summary of a fit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli.console import note, out, out_json, printable, tally
from fgvr.cli.label import stop_reason
from fgvr.cli.tables import count, money, pairs, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fgvr.data import Items
    from fgvr.methods.rar import RAR, RarSettings
    from fgvr.mllm.base import Mllm, Request
    from fgvr.types import ImageItem


def summary_of(estimator: RAR, *, source: str | None, mllm: str | None, dtype: str) -> dict[str, Any]:
    fit = estimator.last_fit
    assert fit is not None
    memory, rules = fit.recogniser.memory, fit.recogniser.rules
    place = None if mllm is None else str(Path(mllm).resolve()) if Path(mllm).is_dir() else mllm
    return {
        "run": str(estimator.out),
        "method": "rar",
        "images": None if source is None else str(Path(source).expanduser().absolute()),
        "classes": len(memory.names),
        "memory_images": len(memory.images),
        "memory_texts": len(memory.texts),
        "set_aside": tally(fit.set_aside),
        "set_aside_items": [asdict(aside) for aside in fit.set_aside],
        "k": fit.recogniser.retrieval.k,
        "rules": rules.to_dict(),
        "asked": fit.asked,
        "unanswered": fit.unanswered,
        "stopped": fit.stopped,
        "reused": fit.reused,
        "usage": asdict(fit.usage),
        "encoder": {"name": memory.encoder, "dtype": dtype, "fingerprint": memory.fingerprint},
        "mllm": place,
        "seed": estimator.seed,
        "was_finished": False,
    }


def show_plan(
    found: Items | None,
    names: tuple[str, ...],
    model: Mllm | None,
    settings: RarSettings,
    *,
    name_by_mllm: bool,
    json_wanted: bool,
    **asking: Any,
) -> None:
    """``--dry-run``: what would be kept, and asked at most. Asks nothing, writes nothing, looks nothing up."""
    from fgvr.mllm import estimate
    from fgvr.mllm.base import BY_ITEM

    items = () if found is None else found.items
    classes = dict.fromkeys((*(item.label for item in items if item.label), *names))
    plan: dict[str, Any] = {"dry_run": True, "images": len(items), "classes": len(classes), "calls_at_most": 0}
    if model is not None:
        requests = _likely_requests(items, list(classes), model, settings, name_by_mllm=name_by_mllm)
        each = 0.0 if model.preprocessing == BY_ITEM else 2.0
        ahead = estimate(requests, model, seconds_per_call=each, **asking)
        plan |= {"calls_at_most": ahead.calls, "cost_at_most": ahead.cost_at_most, "seconds": ahead.seconds}
    if json_wanted:
        out_json(plan)
        return
    shown = {**plan, "cost_at_most": money(plan.get("cost_at_most", 0.0)), "seconds": f"{plan.get('seconds', 0.0):.0f}"}
    out(pairs([(key.replace("_", " "), str(value)) for key, value in shown.items() if key != "dry_run"]))
    note("dry run: nothing was asked. Predictions later ask about pictures in doubt, one call each.")


def _likely_requests(
    items: Sequence[ImageItem], classes: list[str], model: Mllm, settings: RarSettings, *, name_by_mllm: bool
) -> list[Request]:
    """The questions of a fit, with the longest names standing in for candidates that only retrieval would find."""
    from fgvr.methods.rar.pipeline import to_ask
    from fgvr.methods.rar.rank import ranking_requests
    from fgvr.naming import naming_requests

    longest = sorted(classes or ["a name of some length"] * 2, key=len, reverse=True)[: settings.retrieval.k]
    asked = items[: to_ask(settings, free=model.local)]
    ranked = ranking_requests(asked, [longest] * len(asked), settings=settings.ranking)
    return [*(naming_requests(items) if name_by_mllm else ()), *ranked]


def words_of(summary: dict[str, Any]) -> str:
    """The summary of a fit for the person at the terminal."""
    usage, rules = summary["usage"], summary["rules"]
    done = "was finished already" if summary["was_finished"] else "done"
    rows = [
        ("fit", f"{done}: {printable(summary['run'])}"),
        ("memory", f"{count(summary['classes'])} classes, {count(summary['memory_images'])} images"),
        ("candidates", str(summary["k"])),
    ]
    if summary["mllm"] is not None:
        rows += [
            ("MLLM's weight", f"{rules['weight']:.2f} ({rules['weight_from']}, {summary['asked']} images asked)"),
            ("asked", _when(rules)),
            ("calls now", f"{count(usage['calls'])} (and {count(summary['reused'])} answers known before)"),
            ("cost now", money(usage["cost"])),
        ]
        if summary["unanswered"]:
            rows.append(("no answer", f"about {summary['unanswered']} images; --retry-failed asks again"))
        if (cascade := rules["study"].get("cascade")) is not None:
            rows.append(
                (
                    "left-out images right",
                    f"{percent(cascade['never'])} by retrieval alone, {percent(cascade['always'])} asking about all",
                )
            )
    if summary["stopped"]:
        rows.append(("stopped", stop_reason(summary["stopped"])))
    rows.append(("next", f"fgvr predict {printable(summary['run'])} NEW_IMAGES"))
    return pairs(rows)


def _when(rules: dict[str, Any]) -> str:
    if rules["asking"] == "never" or rules["weight"] == 0:
        return "never: it does not help here" if rules["weight_from"] != "none" else "never"
    if rules["asking"] == "always":
        return "about every image"
    chosen = rules["study"].get("cascade", {}).get("chosen")
    about = "" if chosen is None else f", {percent(chosen['calls'])} of images like these"
    return f"where p1 - p2 < {rules['margin']:.2f}{about}"
