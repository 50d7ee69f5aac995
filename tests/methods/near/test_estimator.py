"""From photographs to predictions: fit, resume, save, load, refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fgvr.errors import EncoderError, InputError, RunError
from fgvr.methods.near import LITE, Classifier, NeaR, RefineSettings, SetSettings, TuneSettings
from fgvr.methods.near.baselines import direct, zero_shot_classifier
from fgvr.methods.near.pipeline import FitSettings
from fgvr.mllm import ScriptedMllm
from fgvr.naming.labelling import label_images

from .world import NAMES, ProjectionEncoder, clustered, noisy, picture

CLASSES = NAMES[:8]
FAST = FitSettings(tuning=TuneSettings(epochs=4, context_length=4), folds=2)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A flat folder of 8 x 6 pictures, one file that is none, and what the MLLM would say to each."""
    folder = tmp_path_factory.mktemp("photographs")
    features, true = clustered(6, names=CLASSES, seed=1)
    said = noisy(true, share=0.25, classes=len(CLASSES), seed=2)
    answers = {}
    for index, feature in enumerate(features):
        name = f"{index:03d}.png"
        picture(feature).save(folder / name)
        answers[name] = f"This is a **{CLASSES[said[index]]}**."
    answers["003.png"] = "I'm sorry, I can't identify this."
    (folder / "broken.png").write_bytes(b"no picture")
    return folder, answers, true


class Counting:
    """A scripted MLLM that remembers whom it was asked about."""

    def __init__(self, answers):
        self.asked = []
        self.mllm = ScriptedMllm(lambda request: self.asked.append(request.item_id) or answers[request.item_id])


def near(photographs, **options):
    mllm = Counting(photographs[1])
    return NeaR(ProjectionEncoder(), mllm.mllm, **{"settings": FAST, **options}), mllm


def test_from_photographs_to_predictions_and_back_from_disk(photographs, tmp_path):
    folder, _, true = photographs
    model, mllm = near(photographs)
    predictions = model.fit(folder).predict(folder, top_k=3)
    assert len(mllm.asked) == 48
    assert "broken.png" not in mllm.asked
    assert [aside.id for aside in model.last_fit.set_aside] == ["broken.png"]
    right = [p.top[0][0] == CLASSES[true[i]] for i, p in enumerate(predictions)]
    assert np.mean(right) > 0.6
    for p in predictions:
        chances = [chance for _, chance in p.top]
        assert len(chances) == 3
        assert chances == sorted(chances, reverse=True)
        assert p.probability == chances[0]
        assert p.name == ("unknown" if p.unknown else p.top[0][0])

    model.save(tmp_path / "saved")
    loaded = NeaR.load(tmp_path / "saved", encoder=ProjectionEncoder())
    assert loaded.predict(folder, top_k=3) == predictions
    with pytest.raises(EncoderError, match="another encoder"):
        NeaR.load(tmp_path / "saved", encoder=ProjectionEncoder("other")).predict(folder)


def test_a_run_folder_is_resumed_without_asking_again(photographs, tmp_path):
    first, asked = near(photographs, out=tmp_path / "run")
    first.fit(photographs[0])
    again, asked_again = near(photographs, out=tmp_path / "run")
    again.fit(photographs[0])
    assert len(asked.asked) == 48
    assert asked_again.asked == []
    np.testing.assert_array_equal(first.classifier.text_features, again.classifier.text_features)
    assert first.classifier.calibration == again.classifier.calibration
    rows = [json.loads(line) for line in (tmp_path / "run" / "support.jsonl").read_text().splitlines()]
    assert len(rows) == 48
    refused = next(row for row in rows if row["item"] == "003.png")
    assert refused["label"] is None
    assert refused["candidates"]
    assert NeaR.load(tmp_path / "run", encoder=ProjectionEncoder()).predict(photographs[0])
    other, _ = near(photographs, out=tmp_path / "run", seed=1)
    with pytest.raises(RunError, match="other settings"):
        other.fit(photographs[0])


def test_a_stopped_fit_goes_on_where_it_was(photographs, tmp_path):
    """A crash in the middle of tuning: the second run equals an undisturbed one."""
    whole, _ = near(photographs)
    whole.fit(photographs[0])

    class Crash(Exception):
        pass

    def crash(stage, done, total):
        if stage == "tune" and done == 3:
            raise Crash

    broken, _ = near(photographs, out=tmp_path / "run", progress=crash)
    with pytest.raises(Crash):
        broken.fit(photographs[0])
    again, mllm = near(photographs, out=tmp_path / "run")
    again.fit(photographs[0])
    assert mllm.asked == []
    np.testing.assert_array_equal(whole.classifier.text_features, again.classifier.text_features)


@pytest.mark.parametrize(
    "settings",
    [
        replace(FAST, tuning=replace(LITE, epochs=20)),
        replace(FAST, tuning=TuneSettings(epochs=4, context_length=4, refine=RefineSettings(warmup_epochs=1))),
        replace(FAST, filter_labels=True, prune="unsupported"),
        replace(FAST, folds=0),
        replace(FAST, sets=SetSettings(kind="random")),
        replace(FAST, tuning={"a": TuneSettings(epochs=2, context_length=2), "b": replace(LITE, epochs=5)}),
    ],
    ids=["lite", "near-style", "filtered", "no-folds", "random-sets", "selected"],
)
def test_every_variant_fits_saves_and_predicts(photographs, settings, tmp_path):
    model, _ = near(photographs, settings=settings, views=2 if settings.folds == 0 else 0)
    model.fit(photographs[0]).save(tmp_path)
    found = NeaR.load(tmp_path, encoder=ProjectionEncoder()).predict(photographs[0])
    assert len(found) == 48
    notes = json.loads((tmp_path / "classifier.json").read_text())["notes"]
    assert notes["settings"] == json.loads(json.dumps(settings.to_dict()))
    assert notes["answers"] == {"named": 47, "refused": 1}
    assert notes["trace"]


def test_strange_pictures_are_unknown(photographs):
    model, _ = near(photographs)
    model.fit(photographs[0])
    mean = model.classifier.support.mean(axis=0)
    away = -mean / np.linalg.norm(mean)
    assert model.classifier.predict(away[None].astype(np.float32), ["x"])[0].unknown
    known = model.classifier.unknown(model.classifier.support)
    assert known.mean() < 0.3


def test_a_support_of_the_asked_size_is_drawn(photographs):
    model, mllm = near(photographs, support_size=20, settings=replace(FAST, folds=0))
    model.fit(photographs[0])
    assert 19 <= len(mllm.asked) <= 20  # the broken file may be among the drawn


def test_baselines_share_the_interface(photographs):
    from fgvr.data import load_items

    items = [item for item in load_items(photographs[0]).items if item.id != "broken.png"]
    zero_shot = zero_shot_classifier(ProjectionEncoder(), CLASSES)
    features = clustered(6, names=CLASSES, seed=1)[0]
    assert len(zero_shot.predict(features, [item.id for item in items])) == 48
    asked = Counting(photographs[1])
    predictions, labelled = direct(items, asked.mllm)
    assert len(predictions) == 48
    assert next(p for p in predictions if p.item_id == "003.png").unknown
    assert labelled.usage.calls == 48


def test_unanswered_items_have_no_invented_name(photographs):
    from fgvr.data import load_items
    from fgvr.errors import MllmError

    def script(request):
        return MllmError("no") if request.item_id < "010.png" else "Red Wren"

    items = load_items(photographs[0]).items
    labelled = label_images(items, ScriptedMllm(script))
    assert [n.status for n in labelled.named[:10]] == ["unanswered"] * 10
    assert len(direct(items, ScriptedMllm(script))[0]) == len(items) - 10


def test_the_structured_prompt_asks_for_the_category_once(photographs):
    prompts = []

    def script(request):
        prompts.append((request.stage, request.prompt, len(request.images)))
        return "Birds" if request.stage == "meta" else '{"common_name": "Red Wren", "confidence": 0.7}'

    from fgvr.data import load_items

    items = [item for item in load_items(photographs[0]).items if item.id != "broken.png"][:5]
    labelled = label_images(items, ScriptedMllm(script), prompt="structured")
    assert [p[0] for p in prompts].count("meta") == 1
    assert prompts[0][2] == 3
    assert labelled.category == "birds"
    assert all("collection of birds" in p[1] for p in prompts[1:])
    assert labelled.named[0].name == "Red Wren"
    assert labelled.usage.calls == 6


def test_a_damaged_or_missing_classifier_is_refused(photographs, tmp_path):
    zero_shot_classifier(ProjectionEncoder(), CLASSES).save(tmp_path)
    with pytest.raises(RunError, match="no classifier"):
        Classifier.load(tmp_path / "nowhere")
    manifest = tmp_path / "classifier.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "names": ["one"]}))
    with pytest.raises(RunError, match="cannot be read"):
        Classifier.load(tmp_path)
    manifest.write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        Classifier.load(tmp_path)


def test_what_is_missing_is_said(photographs):
    with pytest.raises(InputError, match="not been fitted"):
        NeaR(ProjectionEncoder()).predict(photographs[0])
    with pytest.raises(InputError, match="needs an MLLM"):
        NeaR(ProjectionEncoder()).fit(photographs[0])


def test_importing_the_method_does_not_import_torch():
    code = (
        "import sys, fgvr.methods.near as n; assert 'torch' not in sys.modules; n.NeaR, n.proden_loss, n.PromptLearner"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
