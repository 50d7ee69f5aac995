"""``fgvr demo``: the main job on the embedded world, and one table that compares three ways of naming.

Direct MLLM: ask about every test image. Zero-shot: the encoder with the names the MLLM gave to the support images.
NeaR: the same names, cleaned up by neighbours, and a tuned classifier. All three are scored on the same test images.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fgvr.cli import options as o
from fgvr.cli.console import Progress, note, out, out_json, printable
from fgvr.cli.fieldguide import manifest_of
from fgvr.cli.fit_near import fit_settings, run_fit
from fgvr.cli.inputs import content_hashes, load_dual_encoder, load_model, load_sentences
from fgvr.cli.scoring import align, curves, leaked, refuse_leaks, score
from fgvr.cli.tables import count, money, table

if TYPE_CHECKING:
    from fgvr.methods.near import NeaR
    from fgvr.metrics import Evaluation
    from fgvr.mllm.base import Mllm
    from fgvr.naming.labelling import Labelled
    from fgvr.types import ImageItem, Prediction, Usage

PRICED_AS = "gpt-4o"
"""The embedded MLLM is free; the table says what the same questions would cost with this service."""
PICTURE_SIDE = 192
HEADERS = (
    "",
    "cACC",
    "sACC",
    "accuracy",
    "answered",
    "calls",
    "tokens in",
    "out",
    "seconds",
    "est. cost",
)


@dataclass(frozen=True)
class Row:
    """One way of naming the test images, what it reached and what it took."""

    name: str
    evaluation: Evaluation
    usage: Usage
    seconds: float
    """The MLLM's own seconds and those of local computing."""
    cost: float
    """US dollars the same questions would cost at the prices of ``PRICED_AS``."""
    curves: dict[str, Any]
    """Risk-coverage and reliability, for the report."""

    def cells(self) -> list[str]:
        """For ``HEADERS``."""
        figures = self.evaluation.figures
        shown = [figures[key].percent() if key in figures else "-" for key in ("cacc", "sacc", "synonym")]
        used = [count(self.usage.calls), count(self.usage.input_tokens), count(self.usage.output_tokens)]
        answered = f"{100 * self.evaluation.coverage:.0f} %"
        return [self.name, *shown, answered, *used, f"{self.seconds:.1f}", money(self.cost)]

    def as_dict(self) -> dict[str, Any]:
        """JSON-like."""
        from dataclasses import asdict

        return {
            "name": self.name,
            "evaluation": self.evaluation.as_dict(),
            "usage": asdict(self.usage),
            "seconds": self.seconds,
            f"cost_at_{PRICED_AS}_prices": self.cost,
        }


def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for pictures, run and report.")] = Path("fgvr-demo"),
    seed: o.Seed = 0,
    support_per_species: Annotated[int, typer.Option(min=1, help="Images per species that the MLLM names.")] = 3,
    test_per_species: Annotated[int, typer.Option(min=1, help="Images per species to score on.")] = 5,
    preset: Annotated[o.Preset, typer.Option(help="Tuning.")] = o.Preset.select,
    encoder: Annotated[str, typer.Option(help="fieldguide, or any other encoder.")] = "fieldguide",
    mllm: Annotated[str, typer.Option(help="fieldguide, or any other MLLM.")] = "fieldguide",
    sentence_encoder: o.SentenceEncoderName = None,
    json_wanted: o.Json = False,
) -> None:
    """Do the main job on a small drawn world.

    One table compares NeaR with asking the MLLM about every image and with zero-shot by the same names.
    """
    began = time.monotonic()
    note(f"drawing the field guide into {printable(out_folder / 'world')}")
    support, test = draw(out_folder / "world", seed=seed, support=support_per_species, test=test_per_species)
    rows = compare(
        support,
        test,
        out_folder / "run",
        encoder=load_dual_encoder(encoder),
        mllm=load_model(mllm),
        sentence_encoder=load_sentences(sentence_encoder),
        settings=fit_settings(o.Sets.neighbours, 3, o.Policy.vote, preset, None, True, None, False, 3),
        seed=seed,
    )
    page = _pages(out_folder / "run", rows, test)
    if json_wanted:
        out_json({"rows": [row.as_dict() for row in rows], "report": str(page), "test_images": len(test.items)})
        return
    out(table(HEADERS, [row.cells() for row in rows]))
    out("")
    for line in _caption(rows, len(support.items), len(test.items), seed):
        out(line)
    out(f"{time.monotonic() - began:.0f} s in all. Report: {page}")


def draw(folder: Path, *, seed: int, support: int, test: int) -> tuple[Any, Any]:
    """The drawn support and test images (``Items``); one folder for each choice of settings, drawn once."""
    from fgvr.data import load_items
    from fgvr.fieldguide import dataset

    manifest = folder / f"seed{seed}-support{support}-test{test}" / "manifest.jsonl"
    if not manifest.exists():
        made = dataset.make(
            manifest.parent,
            seed=seed,
            size=PICTURE_SIDE,
            support_per_species=support,
            train_per_species=0,
            test_per_species=test,
            scenes=0,
        )
        manifest = manifest_of(made)
    return load_items(manifest, split="support"), load_items(manifest, split="test")


def compare(
    support: Any,
    test: Any,
    run: Path,
    *,
    encoder: Any,
    mllm: Any,
    sentence_encoder: Any,
    settings: Any,
    seed: int,
) -> list[Row]:
    """Rows for direct MLLM, zero-shot and NeaR on the same test images. Resumes what an earlier call left in ``run``.

    Raises ``EvaluationError`` when a test image is among the support images.
    """
    from fgvr.methods.near import NeaR
    from fgvr.runs import write_json

    refuse_leaks(leaked(test.items, _hashes(support.items)), images=len(test.items))
    with Progress() as progress:
        near = NeaR(encoder, mllm, settings=settings, support_size=None, out=run, seed=seed, progress=progress)
        started = time.monotonic()
        run_fit(near, support, source=str(support.root), collection=len(support.items), dtype="float32")
        # A finished fit is not fitted again; its classifier and its answers are on disk.
        learned = near if near.classifier is not None else NeaR.load(run, encoder=encoder)
        fitting = time.monotonic() - started
        named = _named(support, mllm, run)
        store = run / "features"
        predictions, predicting = _timed(lambda: learned.predict_items(test.items, store=store)[0])
        guessed, guessing = _timed(lambda: _zero_shot(encoder, named, test, store))
        write_json(run / "zero_shot_names.json", _names(named))
        answers, asked, asking = _direct(test, mllm, run, progress)

    model_seconds = named.usage.seconds + named.answers.saved.seconds
    fresh_model_seconds = max(0.0, fitting - model_seconds) if near.last_fit is not None else fitting
    scoring = {"sentence_encoder": sentence_encoder, "allow_missing": True, "seed": seed}

    def row(name: str, given: Sequence[Prediction], usage: Usage, seconds: float, cost: float) -> Row:
        aligned = align(given, test.items)
        result = score(aligned, **scoring)
        return Row(name, result, usage, seconds, cost, curves(aligned, result))

    support_cost = what_it_would_cost(support.items, named)
    _keep(run, predictions)
    return [
        row("direct MLLM", answers, asked.usage + asked.answers.saved, asking, what_it_would_cost(test.items, asked)),
        row(
            "zero-shot, MLLM's names",
            guessed,
            named.usage + named.answers.saved,
            model_seconds + guessing,
            support_cost,
        ),
        row(
            "NeaR",
            predictions,
            named.usage + named.answers.saved,
            model_seconds + fresh_model_seconds + predicting,
            support_cost,
        ),
    ]


def what_it_would_cost(items: Sequence[ImageItem], labelled: Labelled) -> float:
    """US dollars for the questions answered, with ``PRICED_AS`` counting the tokens of picture, prompt and reply."""
    from fgvr.mllm import price_of
    from fgvr.mllm.tokens import likely_input_tokens, text_tokens
    from fgvr.naming.labelling import naming_requests

    price = price_of(PRICED_AS)
    assert price is not None
    answered = [request for request in naming_requests(items) if request.item_id in labelled.answers.replies]
    side = (PICTURE_SIDE, PICTURE_SIDE)
    tokens_in = sum(likely_input_tokens(request, PRICED_AS, side=side) for request in answered)
    tokens_out = sum(text_tokens(reply.text) for reply in labelled.answers.replies.values())
    return price.cost(input_tokens=tokens_in, output_tokens=tokens_out)


def _named(support: Any, mllm: Mllm, run: Path) -> Labelled:
    """The answers about the support set again, from the run's ledger: no call is made."""
    from fgvr.naming.labelling import label_images
    from fgvr.runs import Ledger

    hashes = content_hashes(support.items)
    return label_images(support.items, mllm, hashes=hashes, ledger=Ledger(run / "labels.jsonl"))


def _direct(test: Any, mllm: Mllm, run: Path, progress: Progress) -> tuple[list[Prediction], Labelled, float]:
    from fgvr.methods.near.baselines import direct
    from fgvr.runs import Ledger

    with Ledger(run / "direct.jsonl") as ledger:
        answers, labelled = direct(
            test.items, mllm, ledger=ledger, progress=lambda done, total, _: progress("direct MLLM", done, total)
        )
    return answers, labelled, labelled.usage.seconds + labelled.answers.saved.seconds


def _zero_shot(encoder: Any, named: Labelled, test: Any, store: Path) -> list[Prediction]:
    from fgvr.methods.near import NeaR
    from fgvr.methods.near.baselines import zero_shot_classifier

    guesser: NeaR = NeaR(encoder, classifier=zero_shot_classifier(encoder, _names(named)))
    return guesser.predict_items(test.items, store=store)[0]


def _names(named: Labelled) -> list[str]:
    """The label space NeaR starts from, so that both choose among the same names."""
    from fgvr.naming import label_space

    return list(label_space(named.named)[0].names)


def _hashes(items: Sequence[ImageItem]) -> dict[str, str]:
    return dict(zip(content_hashes(items), (item.id for item in items), strict=True))


def _timed(work: Any) -> tuple[Any, float]:
    began = time.monotonic()
    return work(), time.monotonic() - began


def _keep(run: Path, predictions: Sequence[Prediction]) -> None:
    from fgvr.data import write_predictions

    write_predictions(run / "predictions.jsonl", predictions)


def _pages(run: Path, rows: Sequence[Row], test: Any) -> Path:
    """The comparison as JSON beside the run, and the HTML report."""
    from fgvr.cli.report import write_page
    from fgvr.runs import write_json

    write_json(run / "comparison.json", [row.as_dict() for row in rows])
    write_json(run / "evaluation.json", {**rows[-1].evaluation.as_dict(), **rows[-1].curves})
    return write_page(run, predictions=run / "predictions.jsonl", images=test)


def _caption(rows: Sequence[Row], support: int, test: int, seed: int) -> list[str]:
    from fgvr.mllm.prices import PRICES_AS_OF

    encoder = rows[0].evaluation.sentence_encoder
    return [
        f"{test} test images, {support} support images (the only ones NeaR asked about), drawn world, seed {seed}.",
        "Per cent with 95 % bootstrap intervals; accuracy takes synonyms and scientific names as right;",
        "unanswered images are not scored (see 'answered').",
        f"sACC by {encoder}." if encoder else "sACC left out: pip install 'fgvr[embed]'.",
        f"est. cost: what the same questions would cost at {PRICED_AS} prices ({PRICES_AS_OF}); here they were free.",
        "seconds: the MLLM's and the local computing's; predicting one more image takes NeaR no call.",
    ]
