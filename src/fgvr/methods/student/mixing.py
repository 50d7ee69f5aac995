"""How much each head counts, learned from replies it has not seen (``held_out.py``); never from test data.

Every head gets the temperature of largest held-out likelihood. The ``mix`` rule then goes from the plain to the
elaborate, and takes a step only where the held-out replies clearly ask for it:

1. *First* stands the head that is trusted before anything is known (``first``).
2. *Best.* The head of largest likelihood takes its place if it is clearly better.
3. *Mix.* A product of experts ``p ~ exp(sum_h v_h z_h / T_h)``, v >= 0 (logarithmic opinion pool, Hinton 2002), of
   largest likelihood, drawn towards equal shares of the good heads by as much as ``prior`` images are worth, takes its
   place if it is clearly better when each image is judged by shares fitted without it. Good is a head within one
   standard error of the best (one-standard-error rule, Breiman et al. 1984).

*Clearly better* is by more than one standard error, image by image, in likelihood and in agreement with the teacher,
and by three in their sum.
Both are asked for because the held-out names are the teacher's, some of them wrong: likelihood also rewards a head that
copies what the teacher often says wrongly. In agreement every name counts alike, or a head could win by giving common
names to rare things. The temperature takes in the teacher's faults, and rightly so: a probability of 0.8 means that the
teacher would agree four times in five.

With fewer than ``least`` judged images nothing can be learned: see ``unjudged``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fgvr.methods.student.pooling import (
    best_temperature,
    finite,
    fitted_shares,
    likelihoods,
    pooled_logits,
    soft_targets,
    temperature_at,
)
from fgvr.methods.student.settings import Rule

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST = 1500
"""Judged images that are looked at, at most: a thousand settle a handful of shares."""
LEAST = 10
"""Judged images below which nothing is learned from them."""
EACH, TOGETHER = 1.0, 3.0
"""Standard errors by which a gain must pass zero in likelihood and in agreement, and the two together."""
LOWEST = 0.02
"""A share below this is not worth a head's time."""


@dataclass(frozen=True)
class Score:
    """How one head does on the judged images."""

    log_likelihood: float
    """Mean, nats, at the head's own temperature."""
    agreement: float
    """Share of images whose best name is the teacher's, in [0, 1]; every name counts alike."""
    error: float
    """Standard error of the difference in log-likelihood to the best head; 0 for that one."""


@dataclass(frozen=True)
class Mixed:
    """Shares of the heads, and what they were judged by."""

    weights: dict[str, float]
    """What each head's logits are multiplied by (``heads.Mixture``): at temperature 1 the sum is calibrated."""
    shares: dict[str, float]
    """The same in [0, 1], summing to one: of logits at each head's own temperature."""
    temperatures: dict[str, float]
    """Of every head alone."""
    temperature: float
    """Of the mixture of shares; already in ``weights``."""
    scores: dict[str, Score]
    """Of every head, and of the result as ``mixture``; empty where nothing was judged."""
    rule: str
    """What was taken in the end: ``first``, ``best``, ``mix``, ``equal`` or ``unjudged``."""
    judged: int
    """Images."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)


def mix(
    logits: Mapping[str, np.ndarray],
    targets: np.ndarray | csr_matrix,
    *,
    rule: Rule = "mix",
    judged: np.ndarray | None = None,
    first: str | None = None,
    prior: float = 20.0,
    folds: int = 3,
    least: int = LEAST,
    most: int = MOST,
    seed: int = 0,
) -> Mixed:
    """Weights of the heads.

    Args:
        logits: each head's held-out logits (M, C), each at a scale of its own; -inf for names it can never give.
        targets: (M,) indices of names, -1 for none; or soft labels (M, C), rows of weight at most 1.
        judged: (M,) bool, images that may be judged by; by default all that have a target and finite best logits.
        first: the head trusted before anything is known: stays unless another is clearly better. ``None``, or one that
            is not there: the one of largest likelihood.
        prior: images that equal shares of the good heads are worth.
        folds: of the judged images, for judging the mixture itself.
        least: judged images below which ``unjudged`` decides.
        most: judged images looked at, drawn by ``seed``.

    Raises ``ValueError`` without heads or for shapes that do not fit.
    """
    if not logits:
        raise ValueError("there is no head to choose from")
    if rule not in ("mix", "best", "equal"):
        raise ValueError(f"unknown rule {rule!r}: choose mix, best or equal")
    names = list(logits)
    wanted = soft_targets(targets, _shape(logits[names[0]]))
    where = np.flatnonzero(_usable(logits, wanted, judged))
    if len(where) < least:
        return unjudged(logits, judged=len(where), first=first)
    if len(where) > most:
        where = np.sort(np.random.default_rng(seed).choice(where, size=most, replace=False))
    wanted = wanted[where]
    stack = [finite(logits[name][where]) for name in names]
    temperatures = [best_temperature(values, wanted) for values in stack]
    stack = [values / np.float32(t) for values, t in zip(stack, temperatures, strict=True)]
    each = np.stack([likelihoods(values, wanted) for values in stack])
    start = names.index(first) if first in names else int(each.mean(axis=1).argmax())
    if rule == "mix":
        taken, shares = _stepwise(stack, wanted, each, start=start, prior=prior, folds=folds, seed=seed)
    elif rule == "best":
        taken, shares = rule, np.eye(len(names))[each.mean(axis=1).argmax()]
    else:
        taken, shares = rule, np.full(len(names), 1.0 / len(names))
    return _result(names, stack, wanted, temperatures, shares, each, taken)


def unjudged(
    logits: Mapping[str, np.ndarray], *, judged: int = 0, first: str | None = None, confidence: float = 0.6
) -> Mixed:
    """The rule where too few images can be judged: ``first`` alone, or equal shares of heads that are alike sure.

    Each head's temperature is the one at which its best name has a mean probability of ``confidence``, about how often
    a multimodal model is right about species, over all rows that are finite.
    """
    temperatures = {name: temperature_at(finite(values[_known(values)]), confidence) for name, values in logits.items()}
    taken = [first] if first in logits else list(logits)
    shares = {str(name): 1.0 / len(taken) for name in taken}
    weights = {name: share / temperatures[name] for name, share in shares.items()}
    how = f"{first} alone" if first in logits else "equal shares"
    note = f"{judged} images could be judged, too few to learn from: {how}"
    return Mixed(weights, shares, temperatures, 1.0, {}, "unjudged", judged, (note,))


def _stepwise(
    stack: list[np.ndarray],
    targets: csr_matrix,
    each: np.ndarray,
    *,
    start: int,
    prior: float,
    folds: int,
    seed: int,
) -> tuple[str, np.ndarray]:
    """First, best or mix, and its shares (H,): see the top of this file."""
    alike = name_weights(targets)
    best = int(each.mean(axis=1).argmax())
    taken, shares = "first", np.eye(len(stack))[start]
    likely, agreed = each[start], _agreed(stack[start], targets)
    better = _agreed(stack[best], targets)
    if clearly_better(each[best] - likely, better - agreed, alike):
        taken, shares, likely, agreed = "best", np.eye(len(stack))[best], each[best], better
    if len(stack) == 1:
        return taken, shares
    outside = _cross_validated(stack, targets, prior, folds, seed)
    if clearly_better(likelihoods(outside, targets) - likely, _agreed(outside, targets) - agreed, alike):
        fitted = fitted_shares(stack, targets, centre=good_heads(each), prior=prior)
        taken, shares = "mix", np.where(fitted < LOWEST, 0.0, fitted)
    return taken, shares / shares.sum()


def clearly_better(likelihood_gain: np.ndarray, agreement_gain: np.ndarray, weights: np.ndarray) -> bool:
    """Whether paired gains (J,) are clear: in each by ``EACH`` standard errors and by ``TOGETHER`` in their sum.

    ``weights`` (J,): of the images in agreement, see ``name_weights``.
    """
    likelihood = standard_errors(likelihood_gain, np.ones(len(weights)))
    agreement = standard_errors(agreement_gain, weights)
    return min(likelihood, agreement) > EACH and likelihood + agreement > TOGETHER


def standard_errors(gain: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean of (J,) numbers over its standard error; 0 where nothing differs."""
    share = weights / weights.sum()
    mean = float(share @ gain)
    error = float(np.sqrt(share**2 @ (gain - mean) ** 2))
    return mean / max(error, 1e-9)


def name_weights(targets: csr_matrix) -> np.ndarray:
    """(J,) weights under which every name counts alike: one over how many images have the image's likeliest name."""
    label = np.asarray(targets.argmax(axis=1)).ravel()
    return np.asarray(1.0 / np.bincount(label)[label])


def _result(
    names: list[str],
    stack: list[np.ndarray],
    targets: csr_matrix,
    temperatures: list[float],
    shares: np.ndarray,
    each: np.ndarray,
    taken: str,
) -> Mixed:
    pooled = pooled_logits(stack, shares)
    temperature = best_temperature(pooled, targets)
    pooled /= np.float32(temperature)
    best = int(each.mean(axis=1).argmax())
    rows = {name: _score(values, each[h], each[best], targets) for h, (name, values) in enumerate(zip(names, stack))}
    rows["mixture"] = _score(pooled, likelihoods(pooled, targets), each[best], targets)
    kept = [h for h in range(len(names)) if shares[h] > 0]
    return Mixed(
        weights={names[h]: float(shares[h] / temperatures[h] / temperature) for h in kept},
        shares={names[h]: float(shares[h]) for h in kept},
        temperatures=dict(zip(names, temperatures, strict=True)),
        temperature=temperature,
        scores=rows,
        rule=taken,
        judged=targets.shape[0],
        notes=(),
    )


def good_heads(each: np.ndarray) -> np.ndarray:
    """Equal shares (H,) of the heads within one standard error of the best: ``each`` (H, J) log-likelihoods."""
    best = each[each.mean(axis=1).argmax()]
    behind = (best - each).mean(axis=1)
    error = (best - each).std(axis=1) / np.sqrt(each.shape[1])
    good = (behind <= error).astype(float)
    return np.asarray(good / good.sum())


def _cross_validated(stack: list[np.ndarray], targets: csr_matrix, prior: float, folds: int, seed: int) -> np.ndarray:
    """(J, C) logits of mixtures whose shares and temperature were fitted without the image."""
    fold_of = np.random.default_rng(seed).permutation(targets.shape[0]) % folds
    outside = np.empty_like(stack[0])
    for fold in range(folds):
        held, train = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        inside, wanted = [values[train] for values in stack], targets[train]
        each = np.stack([likelihoods(values, wanted) for values in inside])
        shares = fitted_shares(inside, wanted, centre=good_heads(each), prior=prior)
        temperature = best_temperature(pooled_logits(inside, shares), wanted)
        outside[held] = pooled_logits([values[held] for values in stack], shares) / np.float32(temperature)
    return outside


def _score(logits: np.ndarray, own: np.ndarray, best: np.ndarray, targets: csr_matrix) -> Score:
    weights = name_weights(targets)
    agreement = float(weights @ _agreed(logits, targets) / weights.sum())
    return Score(float(own.mean()), agreement, float((own - best).std() / np.sqrt(len(own))))


def _agreed(logits: np.ndarray, targets: csr_matrix) -> np.ndarray:
    """(J,) in [0, 1]: the share of its target that each image's best name has."""
    at_best = np.asarray(targets[np.arange(len(logits)), logits.argmax(axis=1)]).ravel()
    return np.asarray(at_best / np.asarray(targets.sum(axis=1)).ravel(), dtype=np.float64)


def _shape(logits: np.ndarray) -> tuple[int, int]:
    rows, names = logits.shape
    return rows, names


def _usable(logits: Mapping[str, np.ndarray], targets: csr_matrix, judged: np.ndarray | None) -> np.ndarray:
    used = np.asarray(targets.sum(axis=1)).ravel() > 0
    if judged is not None:
        used &= np.asarray(judged, dtype=bool)
    for values in logits.values():
        if values.shape != targets.shape:
            raise ValueError(f"logits do not fit each other: {values.shape} and {targets.shape}")
        used &= _known(values)
    return np.asarray(used)


def _known(logits: np.ndarray) -> np.ndarray:
    """(M,) bool: rows without NaN and with something possible."""
    return np.asarray(~np.isnan(logits).any(axis=1) & np.isfinite(logits.max(axis=1, initial=-np.inf)))
