"""From candidates to predictions by hand, and what lies on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fgvr.errors import RunError
from fgvr.memory import Memory
from fgvr.methods.rar.candidates import Candidates
from fgvr.methods.rar.fuse import bounded
from fgvr.methods.rar.rank import RankSettings
from fgvr.methods.rar.recogniser import SETTINGS, Recogniser
from fgvr.methods.rar.retrieve import AS_RELEASED, RetrieveSettings
from fgvr.methods.rar.rules import Rules, floors
from tests.methods.near.world import DIM, NAMES, clustered

RULES = Rules(asking="margin", margin=0.3, weight=1.0, weight_from="given", mllm="m 1")


def recogniser(rules: Rules = RULES, retrieval: RetrieveSettings | None = None) -> Recogniser:
    features, true = clustered(2, names=NAMES[:5])
    memory = Memory.create("projection", "f", DIM, 30.0)
    labels = [NAMES[label] for label in true]
    memory.add("image", labels, features, sources=labels, hashes=[f"h{i}" for i in range(len(labels))])
    return Recogniser(
        memory, retrieval or RetrieveSettings(k=3), rules, {"note": [1, "two"]}, RankSettings(ask="letters")
    )


def candidates(classes: list[list[int]], chances: list[list[float]]) -> Candidates:
    with np.errstate(divide="ignore"):
        return Candidates(np.array(classes), np.log(np.array(chances)))


DOUBT = candidates([[2, 0, 1], [3, 4, -1], [1, -1, -1]], [[0.4, 0.35, 0.05], [0.5, 0.1, 0], [0.9, 0, 0]])
SAID = np.log(np.array([[0.1, 0.8, 0.1], [np.nan] * 3, [np.nan] * 3]))


def test_the_mllm_moves_probability_between_candidates_and_no_further() -> None:
    one = recogniser()
    before, after = one.probabilities(DOUBT), one.probabilities(DOUBT, SAID)
    np.testing.assert_allclose(before, [[0.4, 0.35, 0.05], [0.5, 0.1, 0], [0.9, 0, 0]], rtol=1e-6)
    weights = np.array([0.4, 0.35, 0.05]) * np.exp(bounded(SAID[:1])[0])
    np.testing.assert_allclose(after[0], 0.8 * weights / weights.sum(), rtol=1e-6)
    np.testing.assert_array_equal(after[1:], before[1:])


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.float64, (4, 3), elements=st.floats(1e-6, 1.0)),
    hnp.arrays(np.float64, (4, 3), elements=st.floats(-30.0, 0.0)),
    st.floats(0.0, 50.0),
    st.floats(0.05, 10.0),
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_candidates_keep_their_mass_whatever_is_said(raw, said, weight, temperature, answered) -> None:
    chances = -np.sort(-raw / (raw.sum(axis=1, keepdims=True) + 0.1), axis=1)
    given = Candidates(np.tile(np.arange(3), (4, 1)), np.log(chances))
    heard = np.where(np.array(answered)[:, None], said, np.nan)
    one = recogniser(replace(RULES, weight=weight, temperature=temperature))
    found = one.probabilities(given, heard)
    np.testing.assert_allclose(found.sum(axis=1), chances.sum(axis=1), rtol=1e-5)
    assert ((found >= 0) & (found <= 1)).all()
    silent = ~np.array(answered)
    np.testing.assert_array_equal(found[silent], one.probabilities(given)[silent])
    mute = recogniser(replace(RULES, weight=0.0)).probabilities(given, heard)
    np.testing.assert_allclose(mute, chances, rtol=1e-5)


def test_predictions_by_hand() -> None:
    found = recogniser().predictions(DOUBT, ["a", "b", "c"], said=SAID, top_k=2)
    assert [one.name for one in found] == [NAMES[0], NAMES[3], NAMES[1]]
    assert [len(one.top) for one in found] == [2, 2, 1]
    for one in found:
        assert one.probability == one.top[0][1]
        assert [chance for _, chance in one.top] == sorted((chance for _, chance in one.top), reverse=True)
    assert [one.item_id for one in found] == ["a", "b", "c"]
    alone = recogniser().predictions(DOUBT, ["a", "b", "c"])
    assert alone[0].top[0] == (NAMES[2], pytest.approx(0.4))


def test_ties_go_to_the_better_retrieved() -> None:
    even = candidates([[4, 1, 3]], [[0.3, 0.3, 0.3]])
    assert recogniser().predictions(even, ["a"])[0].name == NAMES[4]
    moved = recogniser().predictions(even, ["a"], said=np.log([[0.2, 0.4, 0.4]]))
    assert [name for name, _ in moved[0].top] == [NAMES[1], NAMES[3], NAMES[4]]


def test_unknown_by_probability_or_by_strangeness_keeps_its_best_name() -> None:
    rules = replace(RULES, probability_floor=0.45)
    found = recogniser(rules).predictions(DOUBT, ["a", "b", "c"], strange=np.array([False, False, True]))
    assert [one.unknown for one in found] == [True, False, True]
    assert [one.name for one in found] == ["unknown", NAMES[3], "unknown"]
    assert [one.top[0][0] for one in found] == [NAMES[2], NAMES[3], NAMES[1]]


def test_no_image_of_a_class_known_by_name_is_too_strange_for_it() -> None:
    one = recogniser()
    one.memory.add("text", ["Named Only"], np.eye(1, DIM, dtype=np.float32))
    rows = candidates([[5, 0], [0, 5]], [[0.5, 0.3], [0.5, 0.3]])
    found = one.predictions(rows, ["a", "b"], strange=np.array([True, True]))
    assert [prediction.name for prediction in found] == ["Named Only", "unknown"]
    assert one.predictions(rows.rows(np.arange(0)), [], strange=np.zeros(0, dtype=bool)) == []


def test_a_class_that_fills_several_slots_is_one_class() -> None:
    """As the released code retrieves: its probability is not counted twice, the MLLM's word for it adds up."""
    twice = Candidates(np.array([[2, 2, 0]]), np.log([[0.6, 0.6, 0.3]]))
    one = recogniser(retrieval=AS_RELEASED)
    np.testing.assert_allclose(one.probabilities(twice), [[0.6, 0.0, 0.3]], rtol=1e-6)
    found = one.probabilities(twice, np.log([[0.3, 0.3, 0.4]]))
    assert found.sum() == pytest.approx(0.9)
    assert found[0, 1] == 0
    weights = np.array([0.6, 0.6, 0.3]) * np.exp(bounded(np.log([[0.3, 0.3, 0.4]]))[0])
    assert found[0, 0] == pytest.approx(0.9 * weights[:2].sum() / weights.sum())
    top = one.predictions(twice, ["a"])[0].top
    assert [name for name, _ in top] == [NAMES[2], NAMES[0]]


def test_the_mllm_is_asked_where_the_rules_say_so() -> None:
    gaps = candidates([[0, 1], [0, 1], [0, -1]], [[0.5, 0.3], [0.7, 0.2], [0.5, 0]])

    def asks(**changed: object) -> list[bool]:
        return recogniser(replace(RULES, **changed)).asks(gaps).tolist()  # type: ignore[arg-type]

    assert asks() == [True, False, False]
    assert asks(margin=0.6) == [True, True, False]
    assert asks(asking="always") == [True, True, False]
    assert asks(asking="never") == asks(weight=0.0) == [False] * 3
    assert recogniser(replace(RULES, asking="always")).retrieving_only().asks(gaps).tolist() == [False] * 3


def test_far_from_every_image_is_strange() -> None:
    one = recogniser(replace(RULES, cosine_floor=0.9))
    own = one.memory.images.vectors[:2]
    assert one.strange(np.concatenate([own, -own])).tolist() == [False, False, True, True]
    assert not recogniser().strange(-own).any()


def test_floors_are_quantiles_of_the_left_out() -> None:
    chances, cosines = np.linspace(0.01, 1.0, 100), np.r_[np.linspace(0.0, 0.98, 99), np.nan]
    low, far = floors(chances, cosines, unknown_share=0.1, strange_share=0.5)
    assert (low, far) == (pytest.approx(0.109), pytest.approx(0.49))
    assert floors(chances, cosines, unknown_share=0, strange_share=0) == (0.0, -1.0)
    assert floors(np.empty(0), np.array([np.nan])) == (0.0, -1.0)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    rules = replace(
        RULES, probability_floor=0.1 + 0.2, cosine_floor=1 / 3, heard=NAMES[:2], study={"points": [{"a": 1e-17}]}
    )
    one = recogniser(rules, RetrieveSettings(k=2, image_temperature=0.1 / 3, hits=7))
    one.save(tmp_path)
    found = Recogniser.load(tmp_path)
    assert (found.rules, found.retrieval, found.ranking) == (one.rules, one.retrieval, one.ranking)
    assert found.notes == one.notes
    assert found.names == one.names
    np.testing.assert_array_equal(found.memory.images.vectors, one.memory.images.vectors)
    features, _ = clustered(3, names=NAMES[:5], seed=4)
    mine, its = one.candidates(features), found.candidates(features)
    np.testing.assert_array_equal(mine.log_probs, its.log_probs)
    np.testing.assert_array_equal(mine.classes, its.classes)


def test_every_altered_byte_and_every_cut_is_refused(tmp_path: Path) -> None:
    one = recogniser()
    one.save(tmp_path)
    file = tmp_path / SETTINGS
    whole = file.read_bytes()
    believed = 0
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        believed += not refused(tmp_path, one)
        if at % 16 == 0:
            file.write_bytes(whole[:at])
            with pytest.raises(RunError) as error:
                Recogniser.load(tmp_path)
            assert error.value.remedy
    assert believed < len(whole) / 10  # white space for white space, e for E


def refused(folder: Path, one: Recogniser) -> bool:
    """Whether loading is refused; where not, nothing may be different."""
    try:
        found = Recogniser.load(folder)
    except RunError:
        return True
    assert (found.rules, found.retrieval, found.ranking, found.notes) == (
        one.rules,
        one.retrieval,
        one.ranking,
        one.notes,
    )
    return False


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"format": 1}',
        b'{"format": 1, "sum": "x", "retrieval": {}, "rules": {}}',
        b'{"format": 99}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"names": ["a"], "temperature": 1.0}',
    ],
)
def test_a_foreign_file_is_refused(content: bytes, tmp_path: Path) -> None:
    recogniser().save(tmp_path)
    (tmp_path / SETTINGS).write_bytes(content)
    with pytest.raises(RunError) as error:
        Recogniser.load(tmp_path)
    assert error.value.remedy


def test_settings_that_make_no_sense_are_refused_though_their_sum_is_right(tmp_path: Path) -> None:
    from fgvr.methods.rar import recogniser as module

    recogniser().save(tmp_path)
    content = json.loads((tmp_path / SETTINGS).read_bytes())
    del content["sum"]
    for part, key, value in (
        ("ranking", "mode", "sing"),
        ("retrieval", "k", 0),
        ("rules", "other", 1),
        ("retrieval", "source", 3),
    ):
        wrong = {**content, part: {**content[part], key: value}}
        (tmp_path / SETTINGS).write_text(json.dumps({**wrong, "sum": module._sum(wrong)}))
        with pytest.raises(RunError, match="cannot be read"):
            Recogniser.load(tmp_path)
    without = {key: value for key, value in content.items() if key != "notes"}
    (tmp_path / SETTINGS).write_text(json.dumps({**without, "sum": module._sum(without)}))
    with pytest.raises(RunError, match="cannot be read"):
        Recogniser.load(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished RAR run"):
        Recogniser.load(tmp_path)
    recogniser().save(tmp_path / "a")
    for file in (tmp_path / "a" / "memory").iterdir():
        if file.is_file():
            file.unlink()
    with pytest.raises(RunError):
        Recogniser.load(tmp_path / "a")
