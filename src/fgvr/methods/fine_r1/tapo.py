"""Triplet augmented policy optimisation as pure functions of tensors (paper, section 3.3, equations 2 to 5).

Minimised, with < > the mean over the tokens of the global batch, x_* the image of a reply (anchor or positive), x_neg
the most similar image of another class, r = log π_θ(o|x_*) - log π(o|x_neg) and d = -r::

    < max(-A ρ, -A clip(ρ)), dual-clipped >  -  γ < k3(d) >  +  η1 < H(x_*) >  +  η2 < H(x_neg) >

1. *Advantages.* One group is one triplet: replies to the anchor and to the positive image. The deviation is unbiased
   and ``eps`` is added to it, as released. A group without variance gives exactly 0 here; the released code divides a
   rounding error by ``eps`` there.
2. *Estimator.* The paper prints g - log g - 1 with g = π_θ / π_neg, the released code 1/g + log g - 1 (k3). For
   replies drawn from π_θ the released one estimates KL(π_θ || π_neg); the printed one estimates
   χ²(π_θ || π_neg) - KL(π_θ || π_neg).
3. *Its gradient* is taken through the sampled tokens' probabilities alone. On policy the gradient of k3 by π_θ is in
   expectation that of KL(π_neg || π_θ), by π_neg that of KL(π_θ || π_neg): both push the two apart.
4. *Sign of the entropy.* The paper defines H as log π and subtracts it, which would raise the entropy; its words, and
   the code, lower it. Here ``paper`` follows the words: -log π of the sampled token, under both images, both with
   gradient.
5. *The released entropy terms.* -log π_θ of the sampled token has an expected gradient of zero on policy, and the term
   of the negative image is a constant. ``corrected`` takes true entropies over the whole vocabulary
   (``training/token_scores.py``).
6. *Which tokens.* The released terms act on every reply, wrong ones and format tokens included; see ``applies_to``.
7. *Importance weights* (``anchor_is``) multiply all terms: each is a mean over tokens drawn under the anchor image.
8. *Divisor.* See ``TapoSettings.normalisation``; the released mean of micro-batch means is ``micro_batch_mean``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from torch import Tensor

from fgvr.errors import InputError
from fgvr.methods.fine_r1.tapo_settings import TapoSettings
from fgvr.methods.fine_r1.tapo_terms import PolicyTerms as PolicyTerms
from fgvr.methods.fine_r1.tapo_terms import bounded_divergence as bounded_divergence
from fgvr.methods.fine_r1.tapo_terms import group_advantages as group_advantages
from fgvr.methods.fine_r1.tapo_terms import importance_weights as importance_weights
from fgvr.methods.fine_r1.tapo_terms import inter_class_kl as inter_class_kl
from fgvr.methods.fine_r1.tapo_terms import policy_terms as policy_terms
from fgvr.methods.fine_r1.tapo_terms import wide


@dataclass(frozen=True)
class Terms:
    """What the loss is made of: N replies, padded to T tokens. Padding may hold anything, NaN included."""

    log_probs: Tensor
    """(N, T) float, with gradient: log π_θ of the sampled tokens."""
    old: Tensor
    """(N, T): the same by the weights that sampled."""
    advantages: Tensor
    """(N,): of ``group_advantages``."""
    mask: Tensor
    """(N, T) bool: tokens of the reply, its end token included."""
    negative: Tensor | None = None
    """(N, T): the same tokens under the negative image; with or without gradient, see ``negative_needs_gradient``."""
    entropy: Tensor | None = None
    """(N, T): full-vocabulary entropy of every token's distribution, nats."""
    negative_entropy: Tensor | None = None
    """(N, T): the same under the negative image."""
    reference: Tensor | None = None
    """(N, T): log-probabilities by the reference weights."""
    behaviour: Tensor | None = None
    """(N, T): old log-probabilities under the image that the reply was sampled from."""
    correct: Tensor | None = None
    """(N,) bool: replies whose answer is right."""
    answer: Tensor | None = None
    """(N, T) bool: tokens between the answer tags."""
    has_negative: Tensor | None = None
    """(N,) bool: replies that have a negative image; ``None`` for all. The rest of ``negative`` may hold anything."""


def tapo_loss(
    terms: Terms, settings: TapoSettings, *, tokens: int, replies: int | None = None, micro_batches: int = 1
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of one micro-batch, and sums for the log. Micro-batches' losses, and their gradients, add up.

    ``tokens``: of the global batch: all micro-batches of all processes. ``replies``: likewise, for
    ``normalisation="sequence"``; ``micro_batches``: likewise, for ``"micro_batch_mean"``. A caller whose processes
    *average* gradients multiplies the loss by their number.

    The sums are detached and over the masked tokens of all replies, whatever ``applies_to`` says: ``policy``,
    ``entropy`` (true where given, else -log π_θ), ``clipped``, ``tokens``, ``applied`` (tokens that the terms apply
    to); where their tensors were given ``negative_entropy``, ``inter_class`` (the estimate that the loss has), ``kl``
    (k3, whatever the loss has, so that objectives can be compared), ``reference_kl`` and ``importance``; where only
    some replies have a negative image, ``negative_tokens`` counts the tokens of the first three. ``loss`` is the loss
    itself. Raises ``InputError`` where a tensor is missing or does not fit.
    """
    _check_terms(terms, settings)
    terms = _without_padding(terms)
    mask = terms.mask
    parts, clipped = _parts(terms, settings)
    applied = _applies(terms, settings)
    opposed = applied if terms.has_negative is None else applied & terms.has_negative[:, None]
    per_token = parts["policy"]
    for name, weight, where in (
        ("inter_class", -settings.gamma, opposed),
        ("entropy", settings.eta1, applied),
        ("negative_entropy", settings.eta2, opposed),
        ("reference_kl", settings.kl_ref, mask),
    ):
        if weight:
            per_token = per_token + weight * parts[name] * where
    if settings.needs_behaviour:
        parts["importance"] = _importance(terms, settings)
        per_token = per_token * parts["importance"]
    shares = _shares(mask, settings, tokens=tokens, replies=replies, micro_batches=micro_batches)
    loss = (per_token * shares.to(per_token.dtype)).sum()
    return loss, _sums(parts, terms, loss=loss, clipped=clipped, applied=applied)


# --- parts ------------------------------------------------------------------------------------------------------------


def _parts(terms: Terms, settings: TapoSettings) -> tuple[dict[str, Tensor], Tensor]:
    """Every quantity that the tensors allow, token by token (N, T), and which tokens are clipped."""
    log_probs, negative = terms.log_probs, terms.negative
    policy = policy_terms(
        log_probs, terms.old, terms.advantages, low=settings.low, high=settings.high, dual=settings.dual
    )
    parts = {"policy": policy.loss, "entropy": -log_probs}
    if negative is not None:
        parts["inter_class"] = _inter_class(log_probs, negative, settings)
        parts["negative_entropy"] = -negative
    if settings.variant == "corrected":
        parts |= _true_entropies(terms)
    if terms.reference is not None:
        parts["reference_kl"] = inter_class_kl(log_probs, terms.reference.detach(), bound=settings.kl_bound)
    return parts, policy.clipped


def _true_entropies(terms: Terms) -> dict[str, Tensor]:
    given = {"entropy": terms.entropy, "negative_entropy": terms.negative_entropy}
    return {name: value for name, value in given.items() if value is not None}


def _inter_class(log_probs: Tensor, negative: Tensor, settings: TapoSettings) -> Tensor:
    if settings.bounded != "none":
        return bounded_divergence(log_probs, negative, bounded=settings.bounded, margin=settings.margin)
    form: Literal["k3", "paper"] = "paper" if settings.variant == "paper" else "k3"
    return inter_class_kl(log_probs, negative, form=form, bound=settings.kl_bound)


def _applies(terms: Terms, settings: TapoSettings) -> Tensor:
    """(N, T) bool: the tokens that the inter-class and entropy terms are summed over."""
    applied = terms.mask
    if settings.needs_correct and terms.correct is not None:
        applied = applied & terms.correct[:, None]
    if settings.needs_answer and terms.answer is not None:
        applied = applied & terms.answer
    return applied


def _importance(terms: Terms, settings: TapoSettings) -> Tensor:
    assert terms.behaviour is not None  # held by _check_terms
    return importance_weights(
        terms.old, terms.behaviour, terms.mask, cap=settings.importance_cap, per=settings.importance
    )


def _shares(mask: Tensor, settings: TapoSettings, *, tokens: int, replies: int | None, micro_batches: int) -> Tensor:
    """(N, T): what every token counts in the loss; 0 for padding."""
    counted = mask.double() if mask.device.type != "mps" else mask.float()
    if settings.normalisation == "micro_batch_mean":
        return counted / (counted.sum().clamp(min=1) * micro_batches)
    if settings.normalisation == "sequence":
        if replies is None or replies < 1:
            raise InputError("the number of replies is missing", remedy="Give replies= of the global batch.")
        return counted / (counted.sum(dim=1, keepdim=True).clamp(min=1) * replies)
    if tokens < 1:
        raise InputError("there are no tokens to learn from", remedy="Give the token count of the global batch.")
    return counted / tokens


def _sums(
    parts: dict[str, Tensor], terms: Terms, *, loss: Tensor, clipped: Tensor, applied: Tensor
) -> dict[str, Tensor]:
    mask = terms.mask
    told = {name: part.detach() for name, part in (parts | _true_entropies(terms)).items()}
    if terms.negative is not None:
        told["kl"] = inter_class_kl(terms.log_probs.detach(), terms.negative.detach())
    opposed = mask if terms.has_negative is None else mask & terms.has_negative[:, None]
    real = dict.fromkeys(("inter_class", "kl", "negative_entropy"), opposed)
    sums = {name: part.masked_fill(~real.get(name, mask), 0.0).sum() for name, part in told.items()}
    if terms.has_negative is not None:
        sums["negative_tokens"] = opposed.sum()
    sums |= {"clipped": (clipped & mask).sum(), "tokens": mask.sum(), "applied": applied.sum()}
    return {"loss": loss.detach(), **sums}


# --- shapes and numbers -----------------------------------------------------------------------------------------------


def _without_padding(terms: Terms) -> Terms:
    """The terms with zeros for padding, so that nothing there, NaN included, reaches a value or a gradient."""
    clean = {}
    for field in fields(terms):
        value = getattr(terms, field.name)
        if value is not None and value.ndim == 2 and value.is_floating_point():
            real = terms.mask
            if field.name in ("negative", "negative_entropy") and terms.has_negative is not None:
                real = real & terms.has_negative[:, None]
            value = wide(value).masked_fill(~real, 0.0)
        clean[field.name] = value
    return Terms(**clean)


def _check_terms(terms: Terms, settings: TapoSettings) -> None:
    """Raises ``InputError`` where the settings need a tensor that is missing, or a tensor has another shape."""
    settings.check()
    needed = ("negative", "entropy", "negative_entropy", "reference", "behaviour", "correct", "answer")
    missing = [name for name in needed if getattr(settings, f"needs_{name}") and getattr(terms, name) is None]
    if missing:
        raise InputError(
            "the objective needs tensors that were not given",
            remedy="Compute them, or switch their terms off.",
            missing=", ".join(missing),
        )
    shape = terms.log_probs.shape
    for field in fields(terms):
        value = getattr(terms, field.name)
        wanted = shape[:1] if field.name in ("advantages", "correct", "has_negative") else shape
        if value is not None and (value.shape != wanted or len(shape) != 2):
            raise InputError(
                f"{field.name} does not fit the log-probabilities",
                remedy="Give (N, T) a token and (N,) a reply.",
                given=tuple(value.shape),
                expected=tuple(wanted),
            )
