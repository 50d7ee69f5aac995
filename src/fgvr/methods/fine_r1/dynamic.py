"""Dynamic sampling: which prompts of a rollout batch are worth an update, and when to stop asking for more.

A group of rollouts that are all right or all wrong has no advantage, hence no gradient (DAPO, section 3.2; Fine-R1
keeps a prompt whose mean accuracy lies in (0.01, 0.99)). So mini-batches of prompts are rolled out until enough are
kept. Released (``_make_batch_data``) against what is done here:

1. *A mini-batch that keeps none.* Code: all its prompts are kept, without any signal. Here none is
   (``when_none="skip"``); ``"keep_all"`` is the released rule.
2. *Limit.* Paper: 20 tries; configuration: none (-1), so that a model that is always wrong is asked for ever were it
   not for rule 1; at a limit the code raises. Here, at the limit, the update is made of what there is; a batch that
   kept nothing is an alarm for the caller to handle (`Collection.empty`). No limit is allowed only with
   ``"keep_all"``, which always ends.
3. *Too many.* Both: what was kept beyond the wanted number is dropped, in the order in which it was asked for.
4. *What is averaged.* Accuracy over all rollouts of the prompt, those of the positive picture included; never the total
   reward, which a well-formed wrong answer also moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from fgvr.errors import InputError, RunError

WhenNone = Literal["skip", "keep_all"]
UNLIMITED = -1


@dataclass(frozen=True)
class DynamicSampling:
    """The rule of one training."""

    window: tuple[float, float] = (0.01, 0.99)
    """Open interval of mean accuracy."""
    tries: int = 20
    """Mini-batches that may be rolled out for one update; -1: no limit."""
    when_none: WhenNone = "skip"

    def __post_init__(self) -> None:
        low, high = self.window
        if not low < high:
            raise InputError("the window of accuracy is empty", remedy="Give low < high.", window=self.window)
        if self.when_none not in get_args(WhenNone):
            raise InputError(
                "no such rule", remedy=f"Use one of {', '.join(get_args(WhenNone))}.", when_none=self.when_none
            )
        if self.tries != UNLIMITED and self.tries < 1:
            raise InputError("no try is allowed", remedy="Give tries >= 1, or -1 for no limit.", tries=self.tries)
        if self.tries == UNLIMITED and self.when_none == "skip":
            remedy = 'Give a limit, or use when_none="keep_all", as released.'
            raise InputError("without a limit a model that is always wrong is asked for ever", remedy=remedy)


@dataclass(frozen=True)
class Collection:
    """Progress of one rollout batch; JSON both ways (`as_dict`, `from_dict`)."""

    wanted: int
    """Prompts of a full batch."""
    kept: tuple[tuple[int, str], ...] = ()
    """(try, prompt id) of what is trained on, in the order of asking; at most ``wanted``."""
    tries: int = 0
    asked: int = 0
    """Prompts rolled out, repeats included."""
    too_hard: int = 0
    """Filtered: mean accuracy at or below the window (no rollouts at all count here)."""
    too_easy: int = 0
    """Filtered: at or above the window."""
    kept_anyway: int = 0
    """Outside the window and kept all the same (``"keep_all"``); not among the filtered."""
    surplus: int = 0
    """Fit to be kept, but beyond ``wanted``."""

    def __post_init__(self) -> None:
        if self.wanted < 1:
            raise InputError("a batch of no prompts", remedy="Ask for one prompt or more.", wanted=self.wanted)

    @property
    def missing(self) -> int:
        """Prompts still wanted."""
        return self.wanted - len(self.kept)

    @property
    def empty(self) -> bool:
        """Whether something was asked and nothing kept: there is nothing to update on."""
        return self.asked > 0 and not self.kept

    @property
    def filtered(self) -> float:
        """Share of the prompts asked that were filtered out, in [0, 1]; 0 before any was asked."""
        return (self.too_hard + self.too_easy) / self.asked if self.asked else 0.0

    def noted(self) -> dict[str, float]:
        """For the live table: ``filtered`` and ``retries`` (tries after the first)."""
        return {"filtered": self.filtered, "retries": float(max(self.tries - 1, 0))}

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "kept": [list(one) for one in self.kept]}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Collection:
        """What ``as_dict`` gave. Raises ``RunError`` for anything else."""
        try:
            counts = {key: int(state[key]) for key in ("wanted", *_COUNTS)}
            kept = tuple((int(number), str(prompt)) for number, prompt in state["kept"])
        except (KeyError, TypeError, ValueError) as error:
            remedy = "Begin the step anew."
            raise RunError("the state of a rollout batch cannot be read", remedy=remedy, error=error) from error
        return cls(kept=kept, **counts)


_COUNTS = ("tries", "asked", "too_hard", "too_easy", "kept_anyway", "surplus")


def keeps(accuracies: Sequence[float], *, window: tuple[float, float] = (0.01, 0.99)) -> bool:
    """Whether the mean of a prompt's accuracies lies inside the open ``window``; ``False`` without any."""
    return bool(accuracies) and window[0] < sum(accuracies) / len(accuracies) < window[1]


def goes_on(so_far: Collection, rule: DynamicSampling) -> bool:
    """Whether another mini-batch is to be rolled out."""
    return so_far.missing > 0 and (rule.tries == UNLIMITED or so_far.tries < rule.tries)


def taken(
    so_far: Collection, scored: Sequence[tuple[str, Sequence[float]]], rule: DynamicSampling
) -> tuple[Collection, tuple[int, ...]]:
    """Take one mini-batch in.

    Args:
        scored: (prompt id, accuracies of all its rollouts), in the order of asking.

    Returns:
        The progress after it, and the places in ``scored`` of the prompts that are now among the kept, ascending.

    Raises:
        InputError: when the mini-batch is empty, which could be repeated for ever.
    """
    if not scored:
        raise InputError("a mini-batch without prompts", remedy="Roll out one prompt or more at a time.")
    inside = [place for place, (_, one) in enumerate(scored) if keeps(one, window=rule.window)]
    all_of_them = not inside and rule.when_none == "keep_all"
    fit = list(range(len(scored))) if all_of_them else inside
    chosen = tuple(fit[: so_far.missing])
    outside = [] if all_of_them else sorted(set(range(len(scored))) - set(inside))
    easy = sum(_mean(scored[place][1]) >= rule.window[1] for place in outside)
    after = Collection(
        wanted=so_far.wanted,
        kept=(*so_far.kept, *((so_far.tries, scored[place][0]) for place in chosen)),
        tries=so_far.tries + 1,
        asked=so_far.asked + len(scored),
        too_hard=so_far.too_hard + len(outside) - easy,
        too_easy=so_far.too_easy + easy,
        kept_anyway=so_far.kept_anyway + (len(chosen) if all_of_them else 0),
        surplus=so_far.surplus + len(fit) - len(chosen),
    )
    return after, chosen


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
