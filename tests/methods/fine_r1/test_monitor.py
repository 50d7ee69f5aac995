"""The collapse monitor: every alarm on a trajectory that must raise it, none on healthy ones, resume bit for bit."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.errors import InputError, RunError
from fgvr.methods.fine_r1.monitor import TEXTS, WATCHED, Alarm, Monitor, MonitorSettings, Rule, duplicate_share

KINDS = [field.name for field in dataclasses.fields(MonitorSettings) if field.name != "window"]


def _healthy(step: int, steps: int, noise: random.Random) -> dict[str, float]:
    """A training as it should be: accuracy and format rise, entropy falls by half, everything is noisy."""
    done = step / steps
    accuracy = min(max(0.25 + 0.4 * done + noise.gauss(0, 0.12), 0.02), 0.98)
    form = min(max(0.7 + 0.25 * done + noise.gauss(0, 0.1), 0), 1)
    return {
        "accuracy": accuracy,
        "format": form,
        "reward": 0.9 * accuracy + 0.1 * form,
        "length": 180 - 40 * done + noise.gauss(0, 25),
        "ended": min(max(0.93 + noise.gauss(0, 0.08), 0), 1),
        "loss": noise.gauss(0, 0.3),
        "kl": abs(noise.gauss(0.1 + 0.4 * done, 0.15)),
        "entropy": 0.6 - 0.3 * done + noise.gauss(0, 0.05),
        "filtered": min(max(0.4 + noise.gauss(0, 0.2), 0), 1),
        "duplicates": min(max(0.2 + 0.3 * done + noise.gauss(0, 0.1), 0), 1),
        "gradient": abs(noise.gauss(1, 0.5)),
        "rate": 1e-6,
    }


# From step 30 on, one sign at a time goes wrong: step since then -> what is noted instead.
FAULTS = {
    "all_wrong": lambda since: {"accuracy": 0.0},
    "all_right": lambda since: {"accuracy": 1.0},
    "all_filtered": lambda since: {"filtered": 1.0},
    "entropy_low": lambda since: {"entropy": 0.3 * 0.5**since},
    "entropy_high": lambda since: {"entropy": 0.5 * 1.3**since},
    "kl_high": lambda since: {"kl": min(0.5 * 1.4**since, 9.9)},
    "length_short": lambda since: {"length": max(150 * 0.8**since, 4)},
    "never_end": lambda since: {"ended": max(0.9 - 0.1 * since, 0.05), "length": min(180 + 40 * since, 512)},
    "format_fell": lambda since: {"format": max(0.9 - 0.1 * since, 0.0)},
    "accuracy_fell": lambda since: {"accuracy": max(0.45 - 0.05 * since, 0.03)},
    "duplicates": lambda since: {"duplicates": min(0.6 + 0.1 * since, 0.97)},
}


def _alarms(fault=None, *, steps=80, begins=30, seed=0, monitor=None) -> list[tuple[int, Alarm]]:
    monitor, noise, found = monitor or Monitor(), random.Random(seed), []
    for step in range(steps):
        noted = _healthy(step, steps, noise)
        if fault is not None and step >= begins:
            noted |= fault(step - begins)
        alarm = monitor.see(step, noted)
        if alarm is not None:
            found.append((step, alarm))
    return found


def test_every_rule_is_tried_and_has_words():
    assert sorted(FAULTS) == sorted(KINDS)
    assert set(KINDS) | {"not_finite", "no_format"} == set(TEXTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_alarm_is_raised_and_names_its_cause(kind, seed):
    found = _alarms(FAULTS[kind], seed=seed)
    assert found, kind
    step, alarm = found[0]
    rule = getattr(MonitorSettings(), kind)
    assert alarm.kind == kind
    assert alarm.stop == rule.stop
    assert 30 + rule.patience - 1 <= step <= 60
    assert alarm.step == step
    assert alarm.remedy.endswith(".")
    assert "nan" not in alarm.message


@pytest.mark.parametrize("seed", range(30))
def test_healthy_noise_raises_none(seed):
    assert _alarms(seed=seed, steps=200) == []


SIGNS = {
    "all_wrong": {"accuracy": 0.0}, "all_right": {"accuracy": 1.0}, "all_filtered": {"filtered": 1.0},
    "entropy_low": {"entropy": 1e-4}, "entropy_high": {"entropy": 9.0}, "kl_high": {"kl": 5.0},
    "length_short": {"length": 1.0}, "never_end": {"ended": 0.0}, "duplicates": {"duplicates": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("kind", SIGNS)
def test_patience_is_exact(kind):
    patience = getattr(MonitorSettings(), kind).patience
    for held in (patience - 1, patience):
        monitor, noise, found = Monitor(), random.Random(4), []
        for step in range(60):
            sign = SIGNS[kind] if 30 <= step < 30 + held else {}
            found.append(monitor.see(step, _healthy(step, 60, noise) | sign))
        steps = [step for step, alarm in enumerate(found) if alarm is not None and alarm.kind == kind]
        assert steps == ([] if held < patience else [30 + patience - 1])


@pytest.mark.parametrize(
    ("kind", "name", "level"), [("format_fell", "format", 0.9), ("accuracy_fell", "accuracy", 0.6)]
)
def test_averages_are_compared_with_the_best_average(kind, name, level):
    patience = getattr(MonitorSettings(), kind).patience
    monitor = Monitor()
    found = [monitor.see(step, {name: level if step < 20 else 0.01}) for step in range(50)]
    first = next(step for step, alarm in enumerate(found) if alarm is not None and alarm.kind == kind)
    # An average of ten is below half of the level for the first time after six low steps (five: just above half).
    assert first == 20 + 5 + patience - 1
    monitor = Monitor()
    assert [monitor.see(step, {name: level if step % 10 else 0.01}) for step in range(90)] == [None] * 90
    monitor = Monitor()  # what was never high cannot fall
    assert [monitor.see(step, {name: 0.09 if step < 20 else 0.01}) for step in range(90)] == [None] * 90


def _until(monitor: Monitor, noted: dict[str, float], most: int = 50) -> tuple[int, Alarm]:
    return next((step, alarm) for step in range(1, most) if (alarm := monitor.see(step, noted)) is not None)


def test_the_constant_reward_alarm_tells_its_two_causes_apart():
    step, alarm = _until(Monitor(), {"accuracy": 0.0, "format": 0.0, "reward": 0.0})
    assert (step, alarm.kind, alarm.stop) == (5, "all_wrong", True)
    assert "format" in alarm.message
    assert "fine-tune" in alarm.remedy
    assert "prompt style" in alarm.remedy
    step, alarm = _until(Monitor(), {"accuracy": 0.0, "format": 1.0, "reward": 0.1})
    assert "constant" in alarm.message
    assert "synonyms" in alarm.remedy
    step, alarm = _until(Monitor(), {"accuracy": 1.0, "format": 1.0, "reward": 1.0})
    assert (step, alarm.kind) == (5, "all_right")
    assert "nothing is left to learn" in alarm.message


def test_groups_that_are_each_all_right_or_all_wrong_are_a_constant_reward_too():
    step, alarm = _until(Monitor(), {"accuracy": 0.5, "filtered": 1.0})
    assert (step, alarm.kind, alarm.stop) == (5, "all_filtered", True)


def test_a_single_hit_begins_the_count_anew():
    monitor = Monitor()
    seen = [monitor.see(step, {"accuracy": 0.01 if step % 5 == 4 else 0.0}) for step in range(40)]
    assert seen == [None] * 40


@pytest.mark.parametrize("name", ["loss", "gradient", "reward", *WATCHED])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stops_at_once_and_leaves_no_trace(name, value):
    monitor = Monitor()
    monitor.see(0, {"accuracy": 0.5})
    before = monitor.state()
    alarm = monitor.see(7, {"accuracy": 0.5, name: value})
    assert alarm is not None
    assert (alarm.kind, alarm.stop) == ("not_finite", True)
    assert (alarm.message, alarm.step) == (f"{name} is {value}", 7)
    assert monitor.state() == before
    json.dumps(before, allow_nan=False)


def test_a_warning_is_given_once_until_all_is_quiet_a_stop_every_step():
    monitor = Monitor(MonitorSettings(duplicates=Rule(0.9, 2, stop=False)))
    given_ = [monitor.see(step, {"duplicates": value}) for step, value in enumerate([1, 1, 1, 1, 0, 1, 1, 1])]
    assert [one is not None for one in given_] == [False, True, False, False, False, False, True, False]
    monitor = Monitor()
    given_ = [monitor.see(step, {"ended": 0.1}) for step in range(8)]
    assert [one is not None for one in given_] == [False] * 4 + [True] * 4


def test_a_stop_goes_before_a_warning_and_two_warnings_are_both_given():
    quick = MonitorSettings(duplicates=Rule(0.9, 1, stop=False), never_end=Rule(0.5, 1))
    alarm = Monitor(quick).see(0, {"duplicates": 1.0, "ended": 0.0})
    assert alarm is not None
    assert alarm.kind == "never_end"
    both = MonitorSettings(window=1, duplicates=Rule(0.9, 1, stop=False), length_short=Rule(0.5, 1, stop=False))
    monitor = Monitor(both)
    monitor.see(0, {"length": 100.0})
    said = [monitor.see(step, {"duplicates": 1.0, "length": 5.0}) for step in range(1, 4)]
    assert [one and one.kind for one in said] == ["length_short", "duplicates", None]


def test_a_rule_can_be_turned_off_or_made_to_warn_only():
    assert _alarms(FAULTS["kl_high"], monitor=Monitor(MonitorSettings(kl_high=Rule(2.0, 0)))) == []
    found = _alarms(FAULTS["kl_high"], monitor=Monitor(MonitorSettings(kl_high=Rule(2.0, 5, stop=False))))
    assert [(alarm.kind, alarm.stop) for _, alarm in found] == [("kl_high", False)]


def test_what_is_not_noted_is_not_judged():
    monitor = Monitor()
    assert [monitor.see(step, {"rate": 1e-6, "seconds": 3.0}) for step in range(40)] == [None] * 40
    for step in range(4):
        assert monitor.see(step, {"accuracy": 0.0}) is None
    assert monitor.see(4, {"loss": 0.1}) is None  # the count stays
    alarm = monitor.see(5, {"accuracy": 0.0})
    assert alarm is not None
    assert alarm.kind == "all_wrong"


def test_a_model_of_few_words_from_the_beginning_has_not_collapsed():
    noted = {"entropy": 0.004, "length": 3.0, "accuracy": 0.5, "format": 1.0, "ended": 1.0}
    monitor = Monitor()
    assert [monitor.see(step, noted) for step in range(60)] == [None] * 60


@pytest.mark.parametrize("kind", [*KINDS, None])
@pytest.mark.parametrize("cut", [0, 3, 33, 38])
def test_resume_is_bit_exact(kind, cut):
    fault = FAULTS[kind] if kind else None
    noise = random.Random(3)
    steps = [_healthy(step, 80, noise) | (fault(step - 30) if fault and step >= 30 else {}) for step in range(60)]
    whole, first = Monitor(), Monitor()
    expected = [whole.see(step, noted) for step, noted in enumerate(steps)]
    found = [first.see(step, noted) for step, noted in enumerate(steps[:cut])]
    second = Monitor.restored(MonitorSettings(), json.loads(json.dumps(first.state(), allow_nan=False)))
    found += [second.see(cut + step, noted) for step, noted in enumerate(steps[cut:])]
    assert found == expected
    assert second.state() == whole.state()


@pytest.mark.parametrize(
    "state",
    [{}, {"series": {}, "held": {}}, {"series": {"kl": {"first": ["x"]}}, "held": {}, "warned": []},
     {"series": {}, "held": 3, "warned": []}, {"series": {"kl": 3}, "held": {}, "warned": []}],
)  # fmt: skip
def test_a_state_of_another_kind_is_no_state(state):
    with pytest.raises(RunError, match="cannot be read"):
        Monitor.restored(None, state)


def test_resume_with_another_window_goes_on():
    monitor = Monitor()
    for step in range(20):
        monitor.see(step, {"accuracy": 0.5, "entropy": 0.5, "length": 50.0, "format": 1.0})
    for window in (1, 3, 30):
        other = Monitor.restored(MonitorSettings(window=window), monitor.state())
        seen = [other.see(step, {"accuracy": 0.5, "entropy": 0.5, "length": 50.0, "format": 1.0}) for step in range(40)]
        assert seen == [None] * 40


def test_a_monitor_needs_a_window():
    with pytest.raises(InputError):
        MonitorSettings(window=0)


@pytest.mark.parametrize(
    ("groups", "share"),
    [
        ([["a", "a", "a"], ["b", "b", "b"]], 1.0),
        ([["a", "b", "c"]], 0.0),
        ([["a", " a\n", "b"], ["a", "b", "c"]], 0.25),
        ([["a"], ["a"]], 0.0),
        ([[], ["a", "a"]], 1.0),
        ([], 0.0),
    ],
)
def test_duplicates_are_counted_within_their_group(groups, share):
    assert duplicate_share(groups) == share


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.sampled_from([*WATCHED, "loss", "other"]), st.floats(), max_size=6), max_size=20))
def test_no_number_breaks_it(steps):
    monitor = Monitor(MonitorSettings(window=2))
    for step, noted in enumerate(steps):
        alarm = monitor.see(step, noted)
        assert alarm is None or (alarm.message and alarm.remedy)
    json.dumps(monitor.state())
