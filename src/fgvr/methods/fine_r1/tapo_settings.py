"""What TAPO minimises, and the losses it contains: GRPO and DAPO are TAPO with terms off.

1. *Three variants.* ``official_code`` is the released objective: the log-probabilities under the negative image are
   computed once, by the old weights, without gradient. ``paper`` is the printed one: both distributions of the
   inter-class term and of the entropy terms belong to the policy being trained, so both carry gradient; equation 4's
   estimator g - log g - 1. ``corrected`` (default) is the released estimator with gradient through both images and
   true entropies instead of one-sample surrogates, on the tokens of correct replies only.
2. *Conditioning.* The paper's text computes all log-probabilities under the anchor image, its equations 2 to 4 admit
   the positive image, the released code takes each reply under its own image. ``own`` is the code (on-policy) and the
   default; ``anchor`` is the text and what ``tapo("paper")`` sets; ``anchor_is`` corrects ``anchor`` by importance
   weights.
3. *Dual clip.* DAPO's own paper has none; the code base of the released baseline has (3.0). So has ``dapo()`` here, so
   that DAPO and TAPO differ by the terms alone; ``dapo(dual=None)`` is DAPO's paper.
4. *Normalisation.* "Token mean" is in the released code the mean of the means of micro-batches, which depends on how
   a batch is cut. Here it is one mean over the tokens of the global batch; ``micro_batch_mean`` is the released one.
5. *GRPO* (Shao et al. 2024) has symmetric clipping, the mean over replies of the means over their tokens, and a
   penalty against the reference weights (0.04), which the paper of Fine-R1 draws in figure 2 but the code switches off.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from fgvr.errors import InputError

Variant = Literal["paper", "official_code", "corrected"]
Conditioning = Literal["own", "anchor", "anchor_is"]
Applies = Literal["all", "correct", "answer", "correct_answer"]
Bounded = Literal["none", "hinge", "js"]
Normalisation = Literal["global", "micro_batch_mean", "sequence"]
Importance = Literal["token", "sequence"]


@dataclass(frozen=True)
class TapoSettings:
    """The objective; ``TapoSettings()`` is ``TapoSettings.tapo()``, the other named constructors are published ones."""

    variant: Variant = "corrected"
    intra: bool = True
    """Replies to the positive image join the group (intra-class augmentation). Read by the loop, not by the loss."""
    gamma: float = 0.01
    """Weight of the inter-class divergence, which is maximised; 0 for none."""
    eta1: float = 0.03
    """Weight of the entropy under the image of the reply, which is minimised; 0 for none."""
    eta2: float = 0.03
    """Weight of the entropy under the negative image, which is minimised; 0 for none."""
    low: float = 0.2
    """The ratio of new to old probability is clipped below at 1 - low ..."""
    high: float = 0.28
    """... and above at 1 + high."""
    dual: float | None = 3.0
    """Of a token with negative advantage A the loss is at most -dual * A; ``None`` for no such bound."""
    applies_to: Applies = "correct"
    """Tokens that the inter-class and entropy terms are summed over: of all replies, of ``correct`` ones, those of the
    ``answer``, or the answers of correct ones. The divisor stays the number of all tokens."""
    bounded: Bounded = "none"
    """A bounded stand-in for the inter-class estimator (``corrected`` only); see ``tapo.bounded_divergence``."""
    margin: float = 1.0
    """Of the hinge, in nats: a token is told apart well enough where its log-ratio reaches this."""
    kl_bound: float = 10.0
    """The estimate of a token's divergence is clamped to +- this, in nats."""
    kl_ref: float = 0.0
    """Weight of the divergence from the reference weights, which is minimised; 0 for none (paper)."""
    conditioning: Conditioning = "own"
    """Image under which new and old log-probabilities are taken; the caller computes them so."""
    importance: Importance = "token"
    """Weights of ``anchor_is``: each token's own ratio (less variance, ignores the tokens before), or the product over
    the reply (the only unbiased one)."""
    importance_cap: float = 2.0
    """The importance weights are cut off here; infinity for never."""
    normalisation: Normalisation = "global"

    @classmethod
    def tapo(cls, variant: Variant = "corrected", **changes: Any) -> TapoSettings:
        """Fine-R1's objective in one of its variants, with every other setting as that variant has it."""
        published: dict[str, Any] = {} if variant == "corrected" else {"applies_to": "all"}
        if variant == "paper":
            published["conditioning"] = "anchor"
        return cls(**{"variant": variant, **published, **changes}).check()

    @classmethod
    def intra_only(cls, **changes: Any) -> TapoSettings:
        """Intra-class augmentation alone: DAPO on groups of anchor and positive replies."""
        return cls.dapo(**{"intra": True, **changes})

    @classmethod
    def inter_only(cls, variant: Variant = "corrected", **changes: Any) -> TapoSettings:
        """Inter-class augmentation alone: all terms, replies to the anchor image only."""
        return cls.tapo(variant, **{"intra": False, **changes})

    @classmethod
    def dapo(cls, **changes: Any) -> TapoSettings:
        """DAPO as the paper's baseline ran it: clip-higher, token mean, dual clip, no divergence, no entropy."""
        return cls(**{"gamma": 0.0, "eta1": 0.0, "eta2": 0.0, "intra": False, **changes}).check()

    @classmethod
    def grpo(cls, **changes: Any) -> TapoSettings:
        """GRPO (Shao et al. 2024, equation 3): symmetric clip, mean of replies' means, reference penalty of 0.04."""
        grpo = {"high": 0.2, "dual": None, "normalisation": "sequence", "kl_ref": 0.04}
        return cls.dapo(**{**grpo, **changes})

    @property
    def needs_negative(self) -> bool:
        """Whether ``Terms.negative`` is needed: log-probabilities of the replies under the negative image."""
        return self.gamma > 0 or self.eta2 > 0

    @property
    def negative_needs_gradient(self) -> bool:
        """Whether they must carry gradient, from the weights being trained; otherwise old weights, no gradient."""
        return self.needs_negative and self.variant != "official_code"

    @property
    def needs_entropy(self) -> bool:
        """Whether ``Terms.entropy`` is needed: full-vocabulary entropies under the image of the reply."""
        return self.variant == "corrected" and self.eta1 > 0

    @property
    def needs_negative_entropy(self) -> bool:
        """Whether ``Terms.negative_entropy`` is needed: full-vocabulary entropies under the negative image."""
        return self.variant == "corrected" and self.eta2 > 0

    @property
    def needs_reference(self) -> bool:
        """Whether ``Terms.reference`` is needed: log-probabilities by the reference weights."""
        return self.kl_ref > 0

    @property
    def needs_behaviour(self) -> bool:
        """Whether ``Terms.behaviour`` is needed: old log-probabilities under the image a reply was sampled from."""
        return self.conditioning == "anchor_is"

    @property
    def needs_correct(self) -> bool:
        """Whether ``Terms.correct`` is needed; never where no term is restricted."""
        return self._restricted and self.applies_to in ("correct", "correct_answer")

    @property
    def needs_answer(self) -> bool:
        """Whether ``Terms.answer`` is needed; never where no term is restricted."""
        return self._restricted and self.applies_to in ("answer", "correct_answer")

    @property
    def _restricted(self) -> bool:
        return self.gamma > 0 or self.eta1 > 0 or self.eta2 > 0

    def check(self) -> TapoSettings:
        """These settings; raises ``InputError`` where they make no sense."""
        _check_words(self)
        # Written so that NaN fails too: every comparison with it is false.
        weights = all(0 <= weight < float("inf") for weight in (self.gamma, self.eta1, self.eta2, self.kl_ref))
        clips = 0 <= self.low <= 1 and 0 <= self.high < float("inf") and (self.dual is None or self.dual > 1)
        bounds = self.kl_bound > 0 and self.margin > 0 and self.importance_cap > 0
        if not (weights and clips and bounds):
            remedy = "Weights are at least 0, low is in [0, 1], high at least 0, dual above 1, bounds positive."
            raise InputError("these TAPO settings make no sense", remedy=remedy, settings=self)
        if self.dual is not None and self.dual < 1 + self.high:
            remedy = "Give a dual clip of at least 1 + high, or None."
            raise InputError("the dual clip would cut inside the clip range", remedy=remedy, dual=self.dual)
        if self.bounded != "none" and self.variant != "corrected":
            remedy = 'Bounded terms belong to variant="corrected"; the other variants are what was published.'
            raise InputError("this variant has no bounded term", remedy=remedy, variant=self.variant)
        return self


def _check_words(settings: TapoSettings) -> None:
    """Raises ``InputError`` for a word that its setting does not know."""
    hints = get_type_hints(TapoSettings)
    for field in fields(settings):
        known = get_args(hints[field.name])
        value = getattr(settings, field.name)
        if known and all(isinstance(word, str) for word in known) and value not in known:
            raise InputError(f"unknown {field.name}", remedy=f"Known are: {', '.join(known)}.", given=value)
