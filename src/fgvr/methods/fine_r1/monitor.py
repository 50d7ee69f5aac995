"""Collapse monitor: reads what every step notes, and says when training has stopped making sense, and why.

Neither paper nor released code has one; PAPO, whose loss this is, reports that the term that is maximised here can
run away (its "KL hacking"). Signs that are watched, with the reasons for the defaults in `MonitorSettings`:

1. *All wrong* / *all right* / *all filtered*. The reward is the same for every rollout, so every advantage is zero and
   steps cost time and change nothing. All wrong has two causes, told apart by the format rate.
2. *Entropy* (nats a token). Near zero all rollouts of a group are one text; exploding, they are noise.
3. *KL* (inter-class). A mean k3 of 2 is a factor of about 4.5 between anchor and negative on *every* token, those of
   the format included; the released term is cut at 10 a token and gives no gradient beyond.
4. *Length* and *ended*. Replies that shrink to nothing, and replies that run to the limit and never end.
5. *Format* and *accuracy* far below their own best: moving averages, so that one unlucky batch is no alarm.
6. *Duplicates*. Rollouts of a group that are the same text teach one thing at the price of many.
7. *Not finite*. A loss or gradient that is no number stops at once.

A rule counts the steps in a row on which its condition holds and speaks up when they reach its ``patience``. A rule
that only warns speaks once, and again only after it has been quiet; a rule that stops speaks on every step. What a
step does not note leaves a rule's count as it was. Nothing is random, and the state is plain JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fgvr.errors import InputError, RunError

WATCHED = ("accuracy", "format", "length", "ended", "kl", "entropy", "filtered", "duplicates")
FINITE = ("loss", "gradient", "reward", *WATCHED)

# kind: (what was seen, what to do about it)
TEXTS = {
    "not_finite": (
        "{name} is {value}",
        "Go back to the last checkpoint with a lower learning rate, or bound the inter-class term.",
    ),
    "no_format": (
        "no answer was right for {held} steps, and only {format:.0%} of the replies have the format",
        "The model does not write the tags: fine-tune it on reasoning data first, or use a prompt style it knows.",
    ),
    "all_wrong": (
        "every answer was wrong for {held} steps, so the reward is constant and nothing can be learned",
        "Look at the rollouts: the names may need accepted synonyms, or the model more supervised fine-tuning first.",
    ),
    "all_right": (
        "every answer was right for {held} steps: nothing is left to learn from these pictures",
        "Use the last checkpoint, or train on harder pictures.",
    ),
    "all_filtered": (
        "dynamic sampling filtered out every prompt for {held} steps: each group is all right or all wrong",
        "Raise the temperature or the rollouts a prompt, or choose pictures the model is sometimes right on.",
    ),
    "entropy_low": (
        "entropy fell to {entropy:.4f} nats a token, from {entropy_start:.3f}: all rollouts of a group are one text",
        "Use an earlier checkpoint; lower the learning rate or eta1, or raise the upper clip.",
    ),
    "entropy_high": (
        "entropy rose to {entropy:.2f} nats a token, from {entropy_start:.2f}: replies are turning into noise",
        "Use an earlier checkpoint; lower gamma and eta2, or restrict these terms to correct rollouts.",
    ),
    "kl_high": (
        "the inter-class KL term has run away: {kl:.2f} a token for {held} steps",
        "Use an earlier checkpoint; lower gamma, use the bounded form, or restrict the term to correct rollouts.",
    ),
    "length_short": (
        "replies shrank to {length:.0f} tokens, from {length_start:.0f}",
        "Look at the rollouts: short thinking can be as good, but empty thinking is not thinking.",
    ),
    "never_end": (
        "only {ended:.0%} of the replies ended by themselves for {held} steps",
        "Raise the limit of new tokens, check the end token, or fine-tune on shorter rationales first.",
    ),
    "format_fell": (
        "the format rate fell to {format_mean:.0%}, from {format_best:.0%}",
        "Use an earlier checkpoint; lower the learning rate or the inter-class and entropy terms.",
    ),
    "accuracy_fell": (
        "accuracy on the rollouts fell to {accuracy_mean:.0%}, from {accuracy_best:.0%}",
        "Use the checkpoint of the best steps; lower the learning rate or the inter-class and entropy terms.",
    ),
    "duplicates": (
        "{duplicates:.0%} of the replies repeat another of their group",
        "Raise the temperature, or save time with fewer rollouts a prompt.",
    ),
}


@dataclass(frozen=True)
class Rule:
    """When a condition becomes an alarm."""

    threshold: float
    """What the condition compares with; see the field it is the value of."""
    patience: int
    """Steps in a row on which it must hold; 0 turns the rule off."""
    stop: bool = True
    """Whether training stops, or is only warned."""


@dataclass(frozen=True)
class MonitorSettings:
    """Every rule with its threshold; the fields are the kinds of alarm."""

    window: int = 10
    """Steps of a moving average, and of the start that later steps are compared with."""
    all_wrong: Rule = Rule(0.0, 5)
    """Accuracy at or below it. 128 prompts by 10 rollouts have hits unless there are none to have."""
    all_right: Rule = Rule(1.0, 5)
    """Accuracy at or above it: nothing is left to learn."""
    all_filtered: Rule = Rule(1.0, 5)
    """Share of prompts filtered out, at or above it."""
    entropy_low: Rule = Rule(0.01, 10)
    """Nats a token, and also below a tenth of the start: short answers of a tuned model are low from the beginning."""
    entropy_high: Rule = Rule(3.0, 5)
    """Times the start, and also above 1 nat: text that is read as language has about 0.3 to 1."""
    kl_high: Rule = Rule(2.0, 5)
    """Mean inter-class k3 a token."""
    length_short: Rule = Rule(0.25, 10, stop=False)
    """Times the start. Only a warning: short reasoning can be as good (ReFine-RFT)."""
    never_end: Rule = Rule(0.5, 5)
    """Share of replies that ended, at or below it."""
    format_fell: Rule = Rule(0.5, 5)
    """Times the best moving average, where that reached 0.5."""
    accuracy_fell: Rule = Rule(0.5, 10)
    """Times the best moving average, and also 0.1 below it: twice the noise of an average of 10 small batches."""
    duplicates: Rule = Rule(0.95, 10, stop=False)
    """Share of replies that repeat another of their group, at or above it. Only a warning: answers without thinking
    are few words, and right ones are all alike."""

    def __post_init__(self) -> None:
        if self.window < 1:
            raise InputError("the monitor needs a window", remedy="Give window >= 1.", window=self.window)


@dataclass(frozen=True)
class Alarm:
    """What the monitor has to say about a step."""

    kind: str
    """A field of ``MonitorSettings``, or ``not_finite``."""
    message: str
    """What was seen, with numbers."""
    remedy: str
    stop: bool
    step: int = 0
    """On which it was raised."""


class Monitor:
    """Watches one training; see ``see``."""

    def __init__(self, settings: MonitorSettings | None = None) -> None:
        self.settings = settings or MonitorSettings()
        self._series: dict[str, _Series] = {name: _Series() for name in WATCHED}
        self._held: dict[str, int] = {}
        self._warned: set[str] = set()

    def see(self, step: int, noted: Mapping[str, float]) -> Alarm | None:
        """Take in what a step noted; the alarm it raises, if any, those that stop first.

        Every step is to be shown, those whose batch kept nothing included. Names: ``accuracy, format, length, ended,
        kl, entropy, filtered`` of the live table, ``duplicates`` (`duplicate_share`); ``loss``, ``gradient`` and
        ``reward`` must only be finite. Unknown names are left alone.
        """
        broken = next((name for name in FINITE if name in noted and not math.isfinite(noted[name])), None)
        if broken is not None:
            message, remedy = TEXTS["not_finite"]
            return Alarm("not_finite", message.format(name=broken, value=noted[broken]), remedy, stop=True, step=step)
        for name in WATCHED:
            if name in noted:
                self._series[name].add(float(noted[name]), window=self.settings.window)
        due = [kind for kind, holds in self._conditions(noted).items() if self._count(kind, holds)]
        first = next((kind for kind in due if self._rule(kind).stop), due[0] if due else None)
        if first is None:
            return None
        if not self._rule(first).stop:
            self._warned.add(first)
        return self._alarm(first, step)

    def state(self) -> dict[str, Any]:
        """Everything `restored` needs, as plain JSON types."""
        series = {name: one.state() for name, one in self._series.items()}
        return {"series": series, "held": dict(self._held), "warned": sorted(self._warned)}

    @classmethod
    def restored(cls, settings: MonitorSettings | None, state: Mapping[str, Any]) -> Monitor:
        """The monitor that gave ``state``, under ``settings``. Raises ``RunError`` for a state of another kind."""
        monitor = cls(settings)
        try:
            monitor._series = {name: _Series.restored(state["series"].get(name, {})) for name in WATCHED}
            monitor._held = {str(kind): int(held) for kind, held in state["held"].items()}
            monitor._warned = {str(kind) for kind in state["warned"]}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            remedy = "Begin the training anew, or from an older checkpoint."
            raise RunError("the state of the monitor cannot be read", remedy=remedy, error=error) from error
        return monitor

    def _alarm(self, kind: str, step: int) -> Alarm:
        rule, series = self._rule(kind), self._series
        numbers: dict[str, float] = {"held": self._held[kind]}
        for name, one in series.items():
            if one.recent:
                numbers |= {name: one.recent[-1], f"{name}_mean": one.mean, f"{name}_best": one.best}
                numbers[f"{name}_start"] = one.start(self.settings.window)
        unformatted = kind == "all_wrong" and numbers.get("format", 1.0) < 0.5
        message, remedy = TEXTS["no_format" if unformatted else kind]
        return Alarm(kind, message.format(**numbers), remedy, rule.stop, step)

    def _rule(self, kind: str) -> Rule:
        rule: Rule = getattr(self.settings, kind)
        return rule

    def _count(self, kind: str, holds: bool) -> bool:
        """Count a step for a rule; whether it has something to say."""
        rule, held = self._rule(kind), self._held.get(kind, 0) + 1 if holds else 0
        self._held[kind] = held
        if not holds:
            self._warned.discard(kind)
        return 0 < rule.patience <= held and kind not in self._warned

    def _conditions(self, noted: Mapping[str, float]) -> dict[str, bool]:
        """Which conditions hold now, causes before consequences; those of numbers that were not noted are left out."""
        rules, series, window = self.settings, self._series, self.settings.window
        found: dict[str, bool] = {}
        if "kl" in noted:
            found["kl_high"] = noted["kl"] >= rules.kl_high.threshold
        if "entropy" in noted:
            now, start = noted["entropy"], series["entropy"].start(window)
            found["entropy_low"] = now < rules.entropy_low.threshold and now < 0.1 * start
            found["entropy_high"] = now > rules.entropy_high.threshold * start and now > 1
        if "ended" in noted:
            found["never_end"] = noted["ended"] <= rules.never_end.threshold
        if "format" in noted:
            mean, best = series["format"].mean, series["format"].best
            found["format_fell"] = best >= 0.5 and mean < rules.format_fell.threshold * best
        if "accuracy" in noted:
            now, mean, best = noted["accuracy"], series["accuracy"].mean, series["accuracy"].best
            found["all_wrong"] = now <= rules.all_wrong.threshold
            found["all_right"] = now >= rules.all_right.threshold
            found["accuracy_fell"] = mean < rules.accuracy_fell.threshold * best and mean < best - 0.1
        if "filtered" in noted:
            found["all_filtered"] = noted["filtered"] >= rules.all_filtered.threshold
        if "length" in noted:
            found["length_short"] = noted["length"] < rules.length_short.threshold * series["length"].start(window)
        if "duplicates" in noted:
            found["duplicates"] = noted["duplicates"] >= rules.duplicates.threshold
        return found


def duplicate_share(groups: Sequence[Sequence[str]]) -> float:
    """Share of replies that repeat an earlier one of their group, in [0, 1]: 1 where each group is one text.

    The first reply of a group cannot repeat any and is not counted; 0 where no group has two replies.
    """
    able = sum(max(len(group) - 1, 0) for group in groups)
    repeats = sum(len(group) - len({reply.strip() for reply in group}) for group in groups)
    return repeats / able if able else 0.0


@dataclass
class _Series:
    """One watched number: its first and its latest values, and its best moving average."""

    first: list[float] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)
    best: float = 0.0
    """Highest mean of a full window so far."""

    def add(self, value: float, *, window: int) -> None:
        if len(self.first) < window:
            self.first.append(value)
        self.recent = [*self.recent[-window + 1 :], value] if window > 1 else [value]
        if len(self.recent) == window:
            self.best = max(self.best, self.mean)

    @property
    def mean(self) -> float:
        """Of the latest window."""
        return math.fsum(value / len(self.recent) for value in self.recent)

    def start(self, window: int) -> float:
        """Mean of the first window; NaN, with which nothing compares, until it is over."""
        return math.fsum(value / window for value in self.first[:window]) if len(self.first) >= window else math.nan

    def state(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> _Series:
        first, recent = ([float(value) for value in state.get(key, ())] for key in ("first", "recent"))
        return cls(first, recent, float(state.get("best", 0.0)))
