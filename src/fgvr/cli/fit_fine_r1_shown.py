"""What ``fgvr fit fine-r1`` tells before, during and after."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import typer

from fgvr.cli.console import Progress, clock, note, out, out_json, printable, show_set_aside
from fgvr.cli.tables import count, pairs
from fgvr.types import SetAside

NARROW = 100
"""Columns of a terminal below which the table is told in its narrow form."""


class LiveTable:
    """The table of the reinforcement, a row a step."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __call__(self, noted: Mapping[str, float], done: int, total: int) -> None:
        """A step was made."""
        from fgvr.methods.fine_r1.live import header, live_line, live_row

        wide = self.progress.columns >= NARROW
        row, plain = live_row(noted, done, total, wide=wide), live_line(noted, done, total)
        self.progress.row(row, header=header(wide=wide), plain=plain, last=done == total)


def tell(ahead: Mapping[str, Any]) -> None:
    """What is about to be done, before the time is spent."""
    pictures, rl = ahead["pictures"], ahead["reinforce"]
    note(
        f"{count(ahead['seen'])} seen and {count(ahead['unseen'])} unseen classes; {count(pictures['sft'])} pictures "
        f"to reason about, {count(pictures['reinforce'])} to reinforce, {count(pictures['test'])} to test"
    )
    steps = [f"{count(ahead['sft_steps'])} of fine-tuning"] if ahead["sft_steps"] else []
    steps += [] if rl is None else [f"{count(rl['steps'])} of TAPO (about {count(rl['rollouts'])} replies)"]
    memory = max(_bytes(ahead), default=0) / 2**30
    note(f"steps: {' and '.join(steps)}; {_time(ahead)} besides the examinations, {memory:.1f} GiB")


def _time(ahead: Mapping[str, Any]) -> str:
    """Of all training."""
    parts = [ahead["sft_seconds"]] if ahead["sft_steps"] else []
    parts += [] if ahead["reinforce"] is None else [ahead["reinforce"]["seconds"]]
    return "time unknown" if None in parts else f"about {clock(sum(parts))}"


def _bytes(ahead: Mapping[str, Any]) -> list[int]:
    """Estimates of memory, of what is known."""
    rl = ahead["reinforce"]
    memory = None if rl is None else rl["memory"]
    return [one for one in (ahead["sft_bytes"], None if memory is None else memory["bytes"]) if one is not None]


def finish(summary: dict[str, Any], *, json_wanted: bool) -> None:
    """Print what was done, and where the result lies."""
    if not summary:  # one of several processes, not the first
        return
    if summary.get("stopped"):
        note(f"stopped: {summary['stopped']}; {count(summary['rationales'])} rationales, nothing was trained")
        if json_wanted:
            out_json(summary)
        raise typer.Exit(3 if summary["stopped"] == "budget" else 1)
    aside = [SetAside(**one) for one in summary["set_aside"]]
    show_set_aside(aside)
    if json_wanted:
        out_json({**summary, "set_aside": dict(Counter(one.reason for one in aside))})
        return
    for line in summary["notes"]:
        note(printable(line))
    if summary.get("dry_run"):
        note(_shown_ahead(summary))
        return
    note(_shown(summary))
    out(summary["model"])


def _shown_ahead(summary: dict[str, Any]) -> str:
    pictures, rl, seconds = summary["pictures"], summary["reinforce"], summary["sft_seconds"]
    rows = [
        ("classes", f"{count(summary['seen'])} seen, {count(summary['unseen'])} unseen"),
        ("pictures", ", ".join(f"{count(n)} to {name}" for name, n in pictures.items())),
    ]
    if summary["sft_steps"]:
        known = "time known when the rationales are" if seconds is None else f"about {clock(seconds)}"
        rows.append(("fine-tuning", f"{count(summary['sft_steps'])} steps, {known}"))
    if rl is not None:
        guess = "" if rl["measured"] else ", guessed"
        time = "time unknown" if rl["seconds"] is None else f"about {clock(rl['seconds'])}"
        rows.append(("TAPO", f"{count(rl['steps'])} steps, {time}"))
        rows.append(("replies", f"{count(rl['rollouts'])} or more, {rl['length']:.0f} tokens each{guess}"))
    if found := _bytes(summary):
        rows.append(("memory ahead", f"{max(found) / 2**30:.2f} GiB, roughly"))
    rows += [("does not fit", problem) for problem in summary["problems"]]
    return pairs(rows)


def _shown(summary: dict[str, Any]) -> str:
    rows = [("classes", f"{count(summary['seen'])} seen, {count(summary['unseen'])} unseen")]
    sft, learned = summary["stages"].get("sft"), summary["stages"].get("reinforce")
    if sft:
        rows.append(("fine-tuning", f"{count(sft['rows'])} rationales, {count(sft['steps'])} steps"))
    if learned:
        last = learned["last"]
        rows.append(("TAPO", f"{count(learned['steps'])} steps, reward {last.get('reward', 0):.2f} at the end"))
        if learned["alarm"]:
            rows.append(("stopped early", f"{learned['alarm']['message']}. {learned['alarm']['remedy']}"))
    rows += _figures(summary["examined"])
    if summary["examined"]:
        rows.append(("figures", "per cent right [95 % interval]; closed: mean over the orders of the options"))
    rows.append(("next", next_line(summary)))
    return pairs(rows)


def next_line(summary: Mapping[str, Any]) -> str:
    """The command that names pictures with the result, in the words the model was tuned with."""
    model, prompt = (shlex.quote(printable(summary[name])) for name in ("model", "prompt"))
    return f"fgvr label IMAGES --out NAMED --prompt {prompt} --mllm local:{model}"


def _figures(examined: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of every part and group: what each examination found."""
    found = []
    for part, key, title in (("closed", "strict", "closed world"), ("open", "accepted", "open world")):
        for group in ("seen", "unseen", "all"):
            told = [
                f"{_percent(exam[part]['figures'][group][key])} {when}"
                for when, exam in examined.items()
                if key in exam.get(part, {}).get("figures", {}).get(group, {})
            ]
            if told:
                found.append((f"{title}, {group}", ", ".join(told)))
    return found


def _percent(figure: Mapping[str, Any]) -> str:
    value, low, high = (100 * float(figure[name]) for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
