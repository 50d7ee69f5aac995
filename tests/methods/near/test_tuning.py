"""The loop against an independent one, its schedule, bit-exact resume, and that neighbours help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fgvr.errors import RunError
from fgvr.methods.near import (
    LITE,
    PromptLearner,
    RefineSettings,
    TuneSettings,
    candidate_sets,
    no_sets,
    random_sets,
    tune,
    tuning,
)
from fgvr.methods.near.tuning import learning_rate

from .world import NAMES, GatedTower, clustered, noisy

SCALE = 30.0
FAST = TuneSettings(epochs=6, context_length=4)
NEAR = replace(FAST, refine=RefineSettings(warmup_epochs=2, prior_weight=0.1, entropy_weight=0.1))


@pytest.fixture(scope="module")
def support():
    features, true = clustered(4, seed=1)
    labels = noisy(true, share=0.3, classes=len(NAMES), seed=2)
    return features, candidate_sets(features, labels), true


def fit(support, settings=FAST, **options):
    tower = options.pop("tower", GatedTower())
    return tune(support[0], support[1], tower, settings, names=NAMES, logit_scale=SCALE, **options)


def same(one, other):
    np.testing.assert_array_equal(one.text_features, other.text_features)
    np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(one.targets, other.targets)
    assert one.trace == other.trace


def test_the_workshop_loop_against_one_written_out(support):
    """Plain SGD with momentum, weight decay and PRODEN's update by hand, full batch, in float64."""
    settings = TuneSettings(epochs=4, batch_size=None, context_length=4)
    tuned = fit(support, settings)
    tower = GatedTower()
    tower.set_names(NAMES)
    features, weights = support[0].astype(np.float64), support[1].weights(len(NAMES)).astype(np.float64)
    mask = weights > 0
    context = tower.initial_context(4, seed=0).numpy().astype(np.float64)
    velocity = np.zeros_like(context)
    for epoch in range(4):
        variable = torch.tensor(context, dtype=torch.float32, requires_grad=True)
        p = torch.softmax(SCALE * torch.tensor(features, dtype=torch.float32) @ tower(variable).T, dim=1)
        loss = -(torch.tensor(weights, dtype=torch.float32) * torch.log(p)).sum() / len(features)
        loss.backward()
        gradient = variable.grad.numpy().astype(np.float64) + 5e-4 * context
        velocity = gradient if epoch == 0 else 0.9 * velocity + gradient
        context = context - learning_rate(epoch, settings) * velocity
        inside = p.detach().numpy().astype(np.float64) * mask
        weights = inside / inside.sum(axis=1, keepdims=True)
        assert tuned.trace[epoch].loss == pytest.approx(float(loss.detach()), rel=1e-4)
    np.testing.assert_allclose(tuned.parameters["context"], context, atol=1e-5)
    np.testing.assert_allclose(tuned.weights, weights, atol=1e-4)


def test_the_schedule_is_coops():
    settings = TuneSettings()
    assert learning_rate(0, settings) == 1e-5
    assert learning_rate(1, settings) == 0.002
    assert learning_rate(26, settings) == pytest.approx(0.001)
    assert 0 < learning_rate(49, settings) < 1e-5


def test_all_refinements_off_is_the_workshop_method(support):
    plain = fit(support)
    off = fit(support, replace(FAST, refine=replace(RefineSettings.off(), warmup_epochs=2)))
    np.testing.assert_array_equal(plain.text_features, off.text_features)
    np.testing.assert_array_equal(plain.weights, off.weights)


@pytest.mark.parametrize("part", ["split", "relabel", "mixup", "prior_weight"])
def test_every_part_can_be_switched_alone_and_does_something(support, part):
    value = {"split": True, "relabel": True, "mixup": 0.5, "prior_weight": 0.5}[part]
    extra = {"noisy_weight": 0.2} if part == "split" else {}
    only = replace(RefineSettings.off(), warmup_epochs=2, **{part: value}, **extra)
    changed = fit(support, replace(FAST, refine=only))
    assert not np.array_equal(changed.text_features, fit(support).text_features)


@pytest.mark.parametrize(
    "settings",
    [FAST, NEAR, replace(FAST, optimiser="adamw", batch_size=None), replace(NEAR, optimiser="adamw")],
    ids=["workshop", "near-style", "adamw", "near-style-adamw"],
)
def test_training_resumes_bit_exactly(support, settings, tmp_path):
    views = np.stack([support[0], np.roll(support[0], 1, axis=0)], axis=1)
    given = (views, support[1])
    whole = fit(given, settings, seed=3)
    for stop in (1, 3, 5):
        place = tmp_path / f"{stop}.safetensors"
        fit(given, settings, seed=3, checkpoint=place, stop_after=stop)
        same(whole, fit(given, settings, seed=3, checkpoint=place))


@pytest.mark.parametrize(
    ("seconds", "every", "written"), [(1e9, None, [6]), (1e9, 4, [4, 6]), (0.0, None, [1, 2, 3, 4, 5, 6])]
)
def test_checkpoints_are_written_by_time_by_epochs_if_asked_and_at_the_end(
    support, seconds, every, written, tmp_path, monkeypatch
):
    epochs = []
    monkeypatch.setattr(tuning, "CHECKPOINT_SECONDS", seconds)
    monkeypatch.setattr(tuning.Loop, "save", lambda loop, path: epochs.append(loop.epoch))
    fit(support, checkpoint=tmp_path / "c.safetensors", checkpoint_every=every)
    assert epochs == written


def test_a_finished_checkpoint_is_read_not_trained_again(support, tmp_path):
    place = tmp_path / "c.safetensors"
    first = fit(support, checkpoint=place)
    epochs = []
    same(first, fit(support, checkpoint=place, progress=lambda epoch, total: epochs.append(epoch)))
    assert epochs == []


def test_a_checkpoint_of_other_data_or_a_damaged_one_is_refused(support, tmp_path):
    place = tmp_path / "c.safetensors"
    fit(support, checkpoint=place, stop_after=2)
    with pytest.raises(RunError, match="other data or settings"):
        fit(support, replace(FAST, learning_rate=0.1), checkpoint=place)
    with pytest.raises(RunError, match="other data or settings"):
        fit(support, checkpoint=place, seed=1)
    data = bytearray(place.read_bytes())
    data[-5] ^= 1
    place.write_bytes(bytes(data))
    with pytest.raises(RunError):
        fit(support, checkpoint=place)


def test_a_seed_fixes_everything_and_another_changes_it(support):
    same(fit(support, NEAR, seed=1), fit(support, NEAR, seed=1))
    assert not np.array_equal(fit(support, NEAR, seed=1).text_features, fit(support, NEAR, seed=2).text_features)


def test_weights_stay_on_the_sets_and_sum_to_one(support):
    tuned = fit(support, NEAR)
    initial = support[1].weights(len(NAMES))
    assert (tuned.weights[initial == 0] == 0).all()
    np.testing.assert_allclose(tuned.weights.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(tuned.targets.sum(axis=1), 1.0, atol=1e-5)


def test_weight_warmup_keeps_the_votes(support):
    tuned = fit(support, replace(FAST, weight_warmup_epochs=99))
    np.testing.assert_array_equal(tuned.weights, support[1].weights(len(NAMES)))


def test_images_without_candidates_take_no_part(support):
    features, _, _ = support
    labels = np.full(len(features), -1)
    labels[:10] = np.arange(10)
    tuned = tune(features, no_sets(labels), GatedTower(), NEAR, names=NAMES, logit_scale=SCALE)
    assert tuned.weights[10:].sum() == 0
    with pytest.raises(ValueError, match="no image"):
        tune(features, no_sets(np.full(len(features), -1)), GatedTower(), names=NAMES)


def test_a_loss_that_is_not_finite_stops_the_run(support):
    with pytest.raises(RunError, match="finite"):
        fit((np.full_like(support[0], np.nan), support[1]))


def test_lite_learns_without_a_tower(support):
    tower = GatedTower()
    tower.set_names(NAMES)
    text = tower(torch.zeros(1, 6)).numpy()
    tuned = fit(support, replace(LITE, epochs=60), tower=text)
    before = (support[0] @ text.T).argmax(axis=1) == support[2]
    after = (support[0] @ tuned.text_features.T).argmax(axis=1) == support[2]
    assert after.mean() > before.mean()
    with pytest.raises(ValueError, match="near-lite"):
        fit(support, LITE)


def test_neighbour_sets_beat_random_sets_and_no_sets():
    """Averaged over seeds: what the support images settle on, against the truth."""
    found: dict[str, list[float]] = {"neighbours": [], "random": [], "none": []}
    for seed in range(3):
        features, true = clustered(6, seed=seed)
        labels = noisy(true, share=0.4, classes=len(NAMES), seed=seed)
        makers = {"neighbours": candidate_sets(features, labels), "random": random_sets(labels, seed=seed)}
        for kind, sets in {**makers, "none": no_sets(labels)}.items():
            tuned = tune(features, sets, GatedTower(), FAST, names=NAMES, logit_scale=SCALE, seed=seed)
            found[kind].append(float((tuned.weights.argmax(axis=1) == true).mean()))
    mean = {kind: np.mean(values) for kind, values in found.items()}
    assert mean["neighbours"] > mean["random"] + 0.1
    assert mean["neighbours"] > mean["none"] + 0.1


def test_the_prompt_learner_has_one_parameter_and_passes_gradients():
    learner = PromptLearner(GatedTower(), NAMES, context_length=4)
    assert [name for name, _ in learner.named_parameters()] == ["context"]
    features = learner()
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(NAMES)))
    features[0, 0].backward()
    assert learner.context.grad.abs().sum() > 0


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"epochs": 0}, {"head": "x"}, {"optimiser": "x"}, {"weight_temperature": 0}, {"weight_momentum": 1}):
        with pytest.raises(ValueError, match=r"at least|head|weight_"):
            TuneSettings(**wrong)
    settings = replace(NEAR, chunk=8)
    assert TuneSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(RunError, match="unknown tuning settings"):
        TuneSettings.from_dict({"nonsense": 1})
