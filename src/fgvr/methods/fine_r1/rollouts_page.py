"""Saved rollouts as one offline HTML page: the run's course, length against accuracy, and the replies to browse.

Every figure by step is of all replies; the replies themselves are shown up to a limit (see ``rollouts_reading``), and
the page says how many of how many. It reads without JavaScript, which adds filters, search and paging.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from fgvr.errors import RunError
from fgvr.methods.fine_r1.charts import COURSE, course_charts, length_chart
from fgvr.methods.fine_r1.lengths import Lengths, by_length
from fgvr.methods.fine_r1.rollouts_reading import MOST_SHOWN, TEXT_BYTES, Scan, chosen_groups, read_groups, scan
from fgvr.methods.fine_r1.rollouts_view import GroupView, Pictures, group_view
from fgvr.report.render import rendered
from fgvr.report.thumbs import Thumbnail, Thumbnails, decoded_thumbnail
from fgvr.report.words import integer, name_shown, plural, share, shown
from fgvr.runs import Ledger, write_text

ROLLOUTS, LOG, PAGE = "rollouts.jsonl", "log.jsonl", "rollouts.html"
THUMBNAIL_SIDE = 132
THUMBNAIL_BYTES = 4_000_000
RESAMPLES = 200
"""Of the intervals by length; they are drawn, not tabled."""


def write_rollouts_page(
    run_folder: Path,
    out: Path | None = None,
    *,
    most: int = MOST_SHOWN,
    most_bytes: int = TEXT_BYTES,
    seed: int = 0,
    thumbnails: Thumbnail | None = None,
    thumbnail_bytes: int = THUMBNAIL_BYTES,
) -> Path:
    """Write the page of ``run_folder/rollouts.jsonl`` to ``out`` (default ``run_folder/rollouts.html``), atomically.

    Args:
        most, most_bytes, seed: replies shown, bytes of their texts, and the draw; see ``rollouts_reading``.
        thumbnails: makes a picture's data URI; by default files are decoded. Relative paths start at ``run_folder``.
        thumbnail_bytes: budget of all pictures; each is embedded once.

    ``log.jsonl`` beside it adds what only the loop knows (KL, entropy, ...); where both tell a figure, the log's is
    shown. Raises ``RunError`` without a single rollout.
    """
    path = out or run_folder / PAGE
    found = scan(run_folder / ROLLOUTS)
    if not found.replies:
        raise RunError(
            "there are no rollouts here",
            remedy="Give the folder of a Fine-R1 run that has begun its reinforcement stage.",
            file=str(run_folder / ROLLOUTS),
            damaged_lines=found.skipped,
        )
    keys = chosen_groups(found.groups, most=most, most_bytes=most_bytes, seed=seed)
    groups = read_groups(run_folder / ROLLOUTS, keys)
    classes = sorted({replies[0].category for replies in groups.values() if replies})
    pictures = Pictures(Thumbnails(thumbnails or decoded_thumbnail(THUMBNAIL_SIDE), thumbnail_bytes), run_folder)
    views = [group_view(key, groups[key], classes=classes, pictures=pictures) for key in keys if groups[key]]
    rows = with_log(found.rows(), run_folder / LOG)
    lengths = by_length(found.lengths, [float(one) for one in found.right], bins=8, resamples=RESAMPLES)
    write_text(path, _page(run_folder, found, rows, lengths, views, classes, pictures, seed=seed))
    return path


def with_log(rows: Sequence[Mapping[str, float]], log: Path) -> list[dict[str, float]]:
    """Figures by step, those of the log over those of the rollouts; of a step logged twice the later line."""
    logged = {}
    for line in Ledger(log):
        step = line.get("step")
        if isinstance(step, int):
            logged[step] = {
                key: float(value)
                for key, value in line.items()
                if isinstance(value, int | float) and math.isfinite(value) and key != "replies"
            }
    return [{**row, **logged.get(int(row["step"]), {})} for row in rows]


def _page(
    run: Path,
    found: Scan,
    rows: Sequence[Mapping[str, float]],
    lengths: Lengths | None,
    views: Sequence[GroupView],
    classes: Sequence[str],
    pictures: Pictures,
    *,
    seed: int,
) -> str:
    return rendered(
        _resource("rollouts_page.html.j2"),
        own_script=_resource("rollouts_page.js"),
        own_style=_resource("rollouts_page.css") + "\n".join(pictures.rules) + "\n",
        title=f"Rollouts of {shown(run.resolve().name, 80)}",
        summary=_summary(found),
        key_figures=_key_figures(rows),
        charts=course_charts(rows),
        table=_table(rows),
        lengths=_lengths(lengths),
        groups=views,
        steps=sorted({view.step for view in views}, reverse=True),
        classes=[name_shown(name) for name in classes],
        notes=_notes(found, views, pictures, seed=seed),
    )


def _summary(found: Scan) -> str:
    steps = plural(len(found.steps), "step")
    words = f"{plural(found.replies, 'reply', 'replies')} in {steps} of reinforcement learning"
    return f"{words}: what the model saw, what it said, and what that earned."


def _key_figures(rows: Sequence[Mapping[str, float]]) -> list[tuple[str, str, str]]:
    """The last step's, with the first's beside it: (label, value, small print)."""
    first, last = rows[0], rows[-1]
    texts = {"reward": lambda v: f"{v:.3f}", "length": lambda v: f"{v:.0f}", "kl": lambda v: f"{v:.4f}"}
    found = []
    for key, title, _, unit in COURSE[:7]:
        if key not in last or key == "ended":
            continue
        text = share if unit else texts.get(key, lambda v: f"{v:.3f}")
        small = f"first step: {text(first[key])}" if key in first and len(rows) > 1 else ""
        found.append((title.lower() if title != "Inter-class term" else "inter-class KL", text(last[key]), small))
    return found


def _table(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    columns = [(key, title) for key, title, *_ in COURSE if any(key in row for row in rows)]
    units = {key: unit for key, _, _, unit in COURSE}

    def cell(row: Mapping[str, float], key: str) -> str:
        value = row.get(key)
        return share(value) if units[key] else "–" if value is None else f"{value:.4g}"

    return {
        "heads": [title for _, title in columns],
        "rows": [
            [integer(int(row["step"])), integer(int(row["replies"])), *(cell(row, key) for key, _ in columns)]
            for row in rows
        ],
    }


def _lengths(lengths: Lengths | None) -> dict[str, Any] | None:
    chart = None if lengths is None else length_chart(lengths)
    if lengths is None or chart is None:
        return None
    return {"chart": chart, "pearson": lengths.pearson, "mean": f"{lengths.mean:.0f}", "n": f"{lengths.n:,}"}


def _notes(found: Scan, views: Sequence[GroupView], pictures: Pictures, *, seed: int) -> list[str]:
    """What is not on the page."""
    replies = sum(len(view.replies) for view in views)
    notes = []
    if replies < found.replies:
        groups = f"{len(views):,} of {len(found.groups):,} groups"
        notes.append(
            f"{replies:,} of {found.replies:,} replies are on this page ({groups}): one half from the end of the run,"
            f" the other drawn evenly over the steps before with seed {seed}. The figures by step are of all. The file"
            f" {ROLLOUTS} has every reply."
        )
    if found.skipped:
        notes.append(f"{plural(found.skipped, 'line')} of {ROLLOUTS} could not be read.")
    if pictures.left_out:
        notes.append(f"{plural(pictures.left_out, 'picture')} found no room within the size of one page.")
    if pictures.thumbnails.unreadable:
        notes.append(f"{plural(pictures.thumbnails.unreadable, 'picture')} could not be read.")
    return notes


def _resource(name: str) -> str:
    # As in report/render.py: the policy's hash is over exactly these characters.
    text = files("fgvr.methods.fine_r1").joinpath(name).read_text("utf-8")
    return "\n" + text.replace("\r\n", "\n").strip() + "\n"
