"""What ``fgvr fit student`` tells afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgvr.cli.console import printable, tally
from fgvr.cli.label import stop_reason
from fgvr.cli.tables import count, money, pairs, percent

if TYPE_CHECKING:
    from fgvr.methods.student import Student

LISTED = 6
"""Heads or groups named in a line."""


def summary_of(estimator: Student, *, source: str, dtype: str) -> dict[str, Any]:
    """A finished fit, JSON-like."""
    fit, classifier = estimator.last_fit, estimator.classifier
    assert fit is not None
    assert classifier is not None
    notes, stages = classifier.notes, [stage.answers for stage in fit.stages]
    statuses = Counter(named.status for named in fit.first.labelled.named)
    return {
        "run": str(estimator.out),
        "method": classifier.method,
        "images": str(Path(source).expanduser().absolute()),
        "collection": len(fit.table.items),
        "choose": estimator.choose,
        "support": len(fit.first.rows),
        "samples": estimator.samples if any(one.chances for one in fit.first.labelled.named) else 1,
        "samples_wanted": estimator.samples,
        "asked_again": notes["asked_again"],
        "kept_back": estimator.kept_back,
        "given": notes["given"],
        "set_aside": tally(fit.set_aside),
        "set_aside_items": [asdict(aside) for aside in fit.set_aside],
        "answered": sum(len(answers.replies) for answers in stages),
        "statuses": dict(sorted(statuses.items())),
        "failed": sum(len(answers.failures) for answers in stages),
        "not_asked": sum(len(answers.not_asked) for answers in stages),
        "stopped": fit.stopped,
        "labels": len(classifier.names),
        "merged": len(notes["merged"]),
        "removed": len(notes["removed"]),
        "heads": notes["heads"],
        "self_training": notes["self_training"],
        "unknown_groups": notes["unknown_groups"],
        "calibration": classifier.calibration.to_dict(),
        "views": classifier.views,
        "reused": sum(answers.reused for answers in stages),
        "usage": asdict(fit.usage),
        "usage_in_all": asdict(sum((answers.saved for answers in stages), fit.usage)),
        "encoder": {"name": classifier.encoder, "dtype": dtype, "fingerprint": classifier.fingerprint},
        "mllm": notes["mllm"],
        "second": notes["second"],
        "seed": estimator.seed,
        "was_finished": False,
    }


def words_of(summary: dict[str, Any]) -> str:
    """The summary as a person reads it."""
    usage, run = summary["usage"], printable(summary["run"])
    statuses = ", ".join(f"{status} {number}" for status, number in summary["statuses"].items())
    done = "was finished already" if summary["was_finished"] else "done"
    asked = percent(summary["support"] / summary["collection"])
    rows = [
        ("fit", f"{done}: {run}"),
        (
            "asked about",
            f"{count(summary['support'])} of {count(summary['collection'])} images ({asked}), "
            f"chosen by {summary['choose']} ({statuses})",
        ),
        ("replies", _replies(summary)),
        ("names", f"{summary['labels']} ({summary['merged']} merged, {summary['removed']} dropped)"),
        ("heads", _heads(summary["heads"])),
        ("self-training", _rounds(summary["self_training"])),
        ("calls now", f"{count(usage['calls'])} (and {count(summary['reused'])} answers known before)"),
        ("tokens now", f"{count(usage['input_tokens'])} in, {count(usage['output_tokens'])} out"),
        ("cost now", f"{money(usage['cost'])} (in all {money(summary['usage_in_all']['cost'])})"),
    ]
    if summary["asked_again"]:
        who = "the same MLLM in other words" if summary["second"] is None else printable(summary["second"]["name"])
        rows.insert(3, ("second opinion", f"on {count(summary['asked_again'])} images, of {who}"))
    elif summary.get("kept_back"):
        left = f"none: student and first reply agree; {count(summary['kept_back'])} calls were not needed"
        rows.insert(3, ("second opinion", left))
    if summary.get("given"):
        rows.insert(3, ("named by you", f"{count(summary['given'])} images (names.csv in the run folder)"))
    if summary["unknown_groups"]:
        rows.append(("not covered", _groups(summary["unknown_groups"])))
        rows.append(
            ("to name them", f"fill in a copy of {run}/groups_to_name.csv, and fit again with --names COPY.csv")
        )
    if summary["failed"]:
        rows.append(("failed", f"{summary['failed']} images without an answer; --retry-failed asks again"))
    if summary["not_asked"]:
        rows.append(("not asked", f"{summary['not_asked']}: {stop_reason(summary['stopped'])}"))
    rows.append(("next", f"fgvr predict {run} NEW_IMAGES"))
    rows.append(("", f"fgvr evaluate {run} LABELLED_IMAGES"))
    return pairs(rows)


def _replies(summary: dict[str, Any]) -> str:
    if summary["samples"] > 1:
        return f"{summary['samples']} drawn in each call: a distribution over names"
    if summary["samples_wanted"] > 1:
        return "one a call: this MLLM cannot draw several"
    return "one a call" + ("; --samples 8 draws several, each at its price" if summary["usage_in_all"]["cost"] else "")


def _heads(shares: dict[str, float]) -> str:
    used = sorted(((name, share) for name, share in shares.items() if share), key=lambda one: -one[1])
    return ", ".join(f"{name} {percent(share)}" for name, share in used[:LISTED]) or "none"


def _rounds(account: dict[str, Any]) -> str:
    done = len(account["rounds"]) - 1 - (account["stopped"] is not None)
    kept = f"{done} rounds" if done != 1 else "1 round"
    return f"{kept}, stopped: {account['stopped']}" if account["stopped"] else kept


def _groups(sizes: list[int]) -> str:
    shown = ", ".join(map(str, sizes[:LISTED])) + (", ..." if len(sizes) > LISTED else "")
    return f"{len(sizes)} group{'s' * (len(sizes) > 1)} of {shown} images that no name seems to fit"
