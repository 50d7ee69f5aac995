"""A report with every section, and one whose every text is an attack."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from fgvr.metrics.bootstrap import Interval
from fgvr.metrics.calibration import ReliabilityBin
from fgvr.report import (
    CandidateExample,
    ComparisonRow,
    EvaluationRow,
    LabelRow,
    MergedName,
    ReportData,
    StageUsage,
    TracePoint,
)
from fgvr.types import NamedImage, Prediction, SetAside, Usage

SCRIPT = "<script>alert(1)</script>"
HOSTILE = (
    SCRIPT,
    '"><img src=x onerror=alert(1)>',
    "</style></title><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    '=HYPERLINK("http://evil.example","x")',
    "{{ 7 * 7 }}{% include 'x' %}",
    "\u202egnp.exe\u2066\x00\x07\ud800",
    "../../etc/passwd",
    "&" * 10_000,
    "javascript:alert(1)",
    "]]>--><!--",
)


def full(folder: Path, names: tuple[str, ...] = ("Sedge Warbler", "Black-capped Tern"), each: int = 3) -> ReportData:
    """Every section filled, every text taken from ``names``; pictures are drawn into ``folder``."""
    paths: dict[str, Path] = {}
    predictions = []
    for number in range(each * len(names)):
        name, path = names[number % len(names)], folder / f"{number}.png"
        Image.new("RGB", (150, 100), (40 + number % 200, 90, 120)).save(path)
        item = f"{number} {name}"
        paths[item] = path
        p = 0.95 - 0.9 * number / (each * len(names))
        predictions.append(Prediction(item, "unknown" if p < 0.2 else name, p, ((name, p), (names[0], 0.01)), p < 0.2))
    items = list(paths)
    text = names[0]
    some = Interval(0.713, 0.68, 0.742, 0.95, 1000)
    return ReportData(
        title=text,
        created=text,
        method=text,
        summary=text,
        counts=((text, text),),
        settings=((text, text),),
        provenance=((text, text),),
        images=paths,
        support_images=paths,
        answers=[NamedImage(i, n, n, (n,), 0.5, "named", n) for i, n in zip(items, names)]
        + [NamedImage(items[0], None, status="refused", reply=text)],
        label_space=[LabelRow(n, (MergedName(n, n, 0.9),), 2, n) for n in names] + [LabelRow(text, (), 3)],
        candidates=[CandidateExample(i, n, ((n, 0.7), (text, 0.3)), (items[0], n)) for i, n in zip(items, names)],
        trace=[TracePoint(e, 1 / (e + 1), 0.5, 0.9) for e in range(5)],
        predictions=predictions,
        evaluation=[EvaluationRow(text, some, text), EvaluationRow(text, text), EvaluationRow("share", 0.5)],
        comparison=[
            ComparisonRow(text, {text: some, "sACC": 0.8}, 100, 2000, 312.0, None, note=text),
            ComparisonRow("NeaR", {text: some}, 5, 100, 12.0, 0.18, highlight=True),
        ],
        comparison_protocol=text,
        risk_coverage=[(0.1, 0.0), (0.5, 0.1), (1.0, 0.3)],
        aurc=0.12,
        reliability=[ReliabilityBin(0.0, 0.5, 10, 0.3, 0.25), ReliabilityBin(0.5, 1.0, 20, 0.8, 0.9)],
        calibration_error=0.07,
        usage=[StageUsage(text, Usage(5, 90, 10, 1.5, 0.25), 2.0, text), StageUsage("tuning", Usage(2, 1, 1, 1, 0.5))],
        set_aside=[SetAside(n, n, n, n) for n in names],
        failures=[SetAside(text, text, text, text)],
        warnings=[text],
    )
