"""The mixture is as good as its best head, whatever the others are worth, and looks at held-out replies only."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from fgvr.methods.near.calibrate import fit_temperature, log_likelihood
from fgvr.methods.student.heads import Head, LinearHead, Mixture
from fgvr.methods.student.held_out import cross_fit, fold_numbers, judged
from fgvr.methods.student.mixing import LEAST, clearly_better, good_heads, mix, standard_errors, unjudged
from fgvr.methods.student.pooling import best_temperature, fitted_shares, likelihoods

NAMES, DIM = 30, 24
FIRST = "prototypes and text"


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class World:
    """Images around class means of which a teacher names some, wrongly three times in ten; a text tower of a kind."""

    def __init__(self, text: str, *, asked: int, spread: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        means = unit(rng.normal(size=(NAMES, DIM)))
        true = rng.integers(NAMES, size=asked)
        self.features = unit(means[true] + spread * rng.normal(size=(asked, DIM)))
        self.test_labels = rng.integers(NAMES, size=1000)
        self.test = unit(means[self.test_labels] + spread * rng.normal(size=(1000, DIM)))
        self.labels = np.where(rng.random(asked) < 0.3, rng.integers(NAMES, size=asked), true)
        self.text = {
            "strong": unit(means + 0.05 * rng.normal(size=means.shape)),
            "fair": unit(means + 0.3 * rng.normal(size=means.shape)),
            "random": unit(rng.normal(size=means.shape)),
            "permuted": means[rng.permutation(NAMES)],
        }[text]

    def fit(self, mask: np.ndarray) -> dict[str, Head]:
        sums = np.zeros((NAMES, DIM))
        np.add.at(sums, self.labels[mask], self.features[mask])
        means = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
        none = np.zeros(NAMES, dtype=np.float32)
        never = np.where(sums.any(axis=1), 0.0, -1e4).astype(np.float32)
        return {
            "zero-shot": LinearHead(100.0 * self.text, none),
            "prototypes": LinearHead(means.astype(np.float32), never),
            "prototypes and text": LinearHead(3.0 * unit(means + 0.3 * self.text), none),
            "bad": LinearHead(np.roll(means, 1, axis=0).astype(np.float32), none),
        }

    def held_out(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        fold_of = fold_numbers(self.features, self.labels)
        return cross_fit(self.fit, self.features, np.arange(len(self.labels)), self.labels, fold_of), fold_of

    def mixed(self, **options):
        held, fold_of = self.held_out()
        return mix(held, self.labels, judged=judged(self.labels, fold_of), first=FIRST, **options)

    def accuracy(self, head: Head) -> float:
        return float((head.logits(self.test).argmax(axis=1) == self.test_labels).mean())

    def gain(self, **options) -> float:
        """Test accuracy of the mixture less that of the head that is best on the test images."""
        heads = self.fit(np.ones(len(self.labels), dtype=bool))
        mixture = Mixture(heads, self.mixed(**options).weights)
        return self.accuracy(mixture) - max(self.accuracy(head) for head in heads.values())


@pytest.mark.parametrize("text", ["strong", "fair", "random", "permuted"])
@pytest.mark.parametrize(("asked", "spread"), [(60, 0.15), (60, 0.4), (800, 0.15), (800, 0.4)])
def test_the_mixture_does_no_harm_whatever_the_text_tower_is_worth(text, asked, spread):
    gains = [World(text, asked=asked, spread=spread, seed=seed).gain() for seed in range(3)]
    slack = 0.05 if asked == 60 else 0.02
    assert np.mean(gains) > -slack, gains


def test_two_heads_that_know_different_things_are_better_together():
    gains, rules = [], set()
    for seed in range(3):
        world = World("fair", asked=600, spread=0.3, seed=seed)
        heads = world.fit(np.ones(600, dtype=bool))
        held, fold_of = world.held_out()
        two = {name: held[name] for name in ("zero-shot", "prototypes")}
        mixed = mix(two, world.labels, judged=judged(world.labels, fold_of), first="prototypes")
        rules.add(mixed.rule)
        gains.append(world.accuracy(Mixture(heads, mixed.weights)) - world.accuracy(heads["prototypes"]))
    assert "mix" in rules
    assert min(gains) >= 0.0
    assert max(gains) > 0.01


def test_a_useless_head_gets_next_to_nothing():
    world = World("permuted", asked=300, spread=0.3, seed=0)
    shares = world.mixed().shares
    assert shares.get("zero-shot", 0.0) + shares.get("bad", 0.0) < 0.1


def drawn(count: int = 80, heads: int = 2, seed: int = 0) -> tuple[list[np.ndarray], csr_matrix]:
    """Logits of heads that each know a little, and soft targets."""
    rng = np.random.default_rng(seed)
    true = rng.integers(6, size=count)
    shown = [rng.normal(size=(count, 6)) + (h + 1) * np.eye(6)[true] for h in range(heads)]
    soft = 0.8 * np.eye(6)[true] + 0.2 * np.eye(6)[rng.integers(6, size=count)]
    return [values.astype(np.float32) for values in shown], csr_matrix(soft * rng.random((count, 1)))


def test_the_temperature_is_the_one_near_finds():
    (logits, *_), soft = drawn()
    assert best_temperature(logits, soft) == pytest.approx(fit_temperature(logits, soft.toarray()), rel=1e-3)
    assert best_temperature(1e4 * logits, soft) == pytest.approx(1e4 * best_temperature(logits, soft), rel=1e-3)
    mean = log_likelihood(logits.astype(float), soft.toarray(), 1.0)
    assert likelihoods(logits, soft).mean() == pytest.approx(mean, rel=1e-5)


def test_the_shares_are_those_of_a_search_over_a_grid():
    stack, soft = drawn(heads=3)
    centre, prior = np.array([0.5, 0.5, 0.0]), 5.0
    found = fitted_shares(stack, soft, centre=centre, prior=prior)

    def value(shares):
        pooled = sum(share * values for share, values in zip(shares, stack, strict=True))
        scales = np.exp(np.linspace(-0.5, 1, 31))
        fit = max(likelihoods(scale * pooled, soft).sum() for scale in scales)
        return fit + prior * np.sum(centre * np.log(np.maximum(shares, 1e-300)))

    grid = [(a, b, 1 - a - b) for a, b in product(np.linspace(0.02, 0.98, 17), repeat=2) if a + b <= 1]
    best = np.array(max(grid, key=value))
    assert value(found) >= value(best) - 1e-2
    np.testing.assert_allclose(found, best, atol=0.08)


def test_a_strong_prior_leaves_equal_shares_and_none_lets_the_labels_decide():
    stack, soft = drawn(count=400, heads=2)
    even = np.array([0.5, 0.5])
    np.testing.assert_allclose(fitted_shares(stack, soft, centre=even, prior=1e6), even, atol=1e-2)
    assert fitted_shares(stack, soft, centre=even, prior=0.0)[1] > 0.6
    np.testing.assert_array_equal(fitted_shares(stack[:1], soft, centre=np.ones(1), prior=1.0), [1.0])


def test_good_heads_by_hand():
    same, close, far = np.array([-1.0, -1, -1, -1]), np.array([-1.0, -2, -1, -0.5]), np.array([-3.0, -3, -3, -4])
    # close: 0.125 behind with an error of 0.27; far: 2.25 behind with one of 0.22
    np.testing.assert_array_equal(good_heads(np.stack([far, close, same])), [0, 0.5, 0.5])


def test_every_name_counts_alike_in_agreement():
    logits = np.array([[2.0, 0.0]] * 30, dtype=np.float32)
    labels = np.array([0] * 28 + [1] * 2)
    assert mix({"a": logits}, labels).scores["a"].agreement == pytest.approx(0.5)


def test_clearly_better_by_hand():
    ones, half = np.ones(4), np.array([1.0, 1.0, 0.0, 0.0])  # 0.5 with an error of 0.25: two standard errors
    assert standard_errors(half, ones) == pytest.approx(2.0)
    assert standard_errors(half, np.array([3.0, 3.0, 1.0, 1.0])) == pytest.approx(0.75 / 0.1875)
    assert standard_errors(np.zeros(4), ones) == 0.0
    faint = np.array([1.0, 0.2, -0.6, -0.2])  # 0.1 with an error of 0.3
    assert clearly_better(half, half, ones)
    assert not clearly_better(half, faint, ones)
    assert not clearly_better(ones, -half, ones)
    less = half - 0.2  # 1.2 standard errors
    assert not clearly_better(less, less, ones)
    assert clearly_better(half, less, ones)


def test_the_head_trusted_first_stays_unless_another_is_clearly_better():
    stack, soft = drawn(count=300)
    close = stack[1] + 0.1 * np.random.default_rng(1).normal(size=stack[1].shape).astype(np.float32)
    assert mix({"b": stack[1], "close": close}, soft, first="close").shares == {"close": 1.0}
    assert "a" not in mix({"a": stack[1][::-1], "b": stack[1]}, soft, first="a").shares
    assert mix({"b": stack[1]}, soft, first="gone").shares == {"b": 1.0}


def test_the_scale_of_a_head_and_a_shift_of_its_rows_do_not_matter():
    stack, soft = drawn(count=1500)
    plain = mix({"a": stack[0], "b": stack[1]}, soft)
    shift = np.arange(1500, dtype=np.float32)[:, None] % 7
    other = mix({"a": 50 * stack[0] + shift, "b": stack[1] / 50}, soft)
    assert other.shares == pytest.approx(plain.shares, abs=0.01)
    assert other.weights["a"] * 50 == pytest.approx(plain.weights["a"], rel=0.03)


def test_the_weights_make_calibrated_logits():
    stack, soft = drawn(count=1500)
    mixed = mix({"a": stack[0], "b": stack[1]}, soft)
    pooled = mixed.weights["a"] * stack[0] + mixed.weights["b"] * stack[1]
    assert best_temperature(pooled, soft) == pytest.approx(1.0, abs=0.02)
    assert mixed.scores["mixture"].log_likelihood == pytest.approx(likelihoods(pooled, soft).mean(), abs=0.01)
    assert mixed.judged == 1500
    assert mixed.rule == "mix"
    assert sum(mixed.shares.values()) == pytest.approx(1)


def test_rules():
    stack, soft = drawn(count=300)
    heads = {"a": stack[0], "b": stack[1]}
    assert mix(heads, soft, rule="best").shares == {"b": 1.0}
    assert mix(heads, soft, rule="equal").shares == {"a": 0.5, "b": 0.5}
    assert mix(heads, soft).to_dict() == mix(heads, soft).to_dict()
    with pytest.raises(ValueError, match="unknown rule"):
        mix(heads, soft, rule="worst")


def test_agreement_and_labels_by_hand():
    logits = np.tile(np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]], dtype=np.float32), (10, 1))
    labels = np.tile([0, 0], 10)
    labels[-1] = -1
    score = mix({"a": logits}, labels).scores["a"]
    assert score.agreement == pytest.approx(10 / 19)  # one name only: all images weigh the same
    assert mix({"a": logits}, labels).judged == 19


def test_names_a_head_can_never_give_are_no_obstacle():
    stack, soft = drawn(count=100)
    for never in (-np.inf, np.float32(-1e9), np.float32(-1e4)):
        shut = stack[1].copy()
        shut[:, 0] = never
        mixed = mix({"a": stack[0], "b": shut}, soft)
        assert all(np.isfinite(list(mixed.weights.values())))
        assert np.isfinite(mixed.scores["b"].log_likelihood)


def test_rows_that_cannot_be_judged_are_left_out():
    stack, soft = drawn(count=100)
    where = np.arange(100) % 3 > 0
    stack[0][~where] = np.nan
    one = mix({"a": stack[0], "b": stack[1]}, soft)
    other = mix({"a": stack[0][where], "b": stack[1][where]}, soft[where])
    assert one.judged == 66
    assert one.weights == pytest.approx(other.weights)
    assert mix({"b": stack[1]}, soft, judged=where).judged == 66


def test_with_too_few_to_judge_heads_count_alike_and_are_alike_sure():
    stack, soft = drawn(count=50)
    heads = {"a": 100 * stack[0], "b": stack[1]}
    where = np.arange(50) < LEAST - 1
    mixed = mix(heads, soft, judged=where)
    assert mixed.rule == "unjudged"
    assert mixed.judged == LEAST - 1
    assert "too few" in mixed.notes[0]
    assert mixed.shares == {"a": 0.5, "b": 0.5}
    assert not mixed.scores
    for name, values in heads.items():
        shifted = np.exp((values - values.max(axis=1, keepdims=True)) / mixed.temperatures[name])
        assert (1 / shifted.sum(axis=1)).mean() == pytest.approx(0.6, abs=1e-3)
    assert unjudged({"a": np.full((4, 3), np.nan)}).shares == {"a": 1.0}
    assert unjudged(heads, first="b").shares == {"b": 1.0} == mix(heads, soft, judged=where, first="b").shares


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="no head"):
        mix({}, np.zeros(3))
    with pytest.raises(ValueError, match="fit"):
        mix({"a": np.zeros((3, 2)), "b": np.zeros((3, 4))}, np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="fit"):
        mix({"a": np.zeros((3, 2))}, np.zeros(4, dtype=np.int64))
    with pytest.raises(ValueError, match="fit"):
        mix({"a": np.zeros((3, 2))}, csr_matrix((3, 4)))
