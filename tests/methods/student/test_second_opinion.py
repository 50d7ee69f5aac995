import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from fgvr.methods.student.opinions import Opinions, joined
from fgvr.methods.student.pipeline import Learned, learn
from fgvr.methods.student.second_opinion import (
    Settled,
    disagreement,
    influence,
    labels_of,
    posterior,
    settle,
    split_budget,
)
from fgvr.methods.student.settings import EvidenceSettings, StudentSettings
from fgvr.types import NamedImage

NAMES = ["Siskin", "Finch", "Linnet"]
ROWS = np.array([4, 7, 9])


def said(rows: list[int], labels: list[int], source: int = 0) -> Opinions:
    count = len(rows)
    return Opinions(
        np.array(rows, dtype=np.int64),
        np.array(labels, dtype=np.int64),
        np.full(count, np.nan, np.float32),
        ((),) * count,
        np.full(count, source, dtype=np.int64),
    )


def test_the_budget_is_spent_once() -> None:
    assert split_budget(300, 0.0) == (300, 0)
    assert split_budget(300, 0.2) == (240, 60)
    assert split_budget(5, 0.9) == (3, 2)


@given(st.integers(0, 5000), st.floats(0, 1))
def test_there_are_never_more_second_questions_than_first_ones(budget: int, share: float) -> None:
    first, second = split_budget(budget, share)
    assert first + second == budget
    assert 0 <= second <= first


@pytest.mark.parametrize(("budget", "share"), [(-1, 0.1), (10, -0.1), (10, 1.1)])
def test_impossible_budgets_are_refused(budget: int, share: float) -> None:
    with pytest.raises(ValueError, match="budget"):
        split_budget(budget, share)


def test_influence_is_the_column_sum_of_the_propagation_matrix() -> None:
    affinity = np.array([[0.0, 0.6, 0.0], [0.6, 0.0, 0.5], [0.0, 0.5, 0.0]])
    expected = np.linalg.inv(np.eye(3) - 0.7 * affinity).sum(axis=0)
    np.testing.assert_allclose(influence(csr_matrix(affinity), alpha=0.7, steps=80), expected, atol=1e-9)
    assert (influence(csr_matrix((3, 3))) == 1).all()


def test_the_surest_contradiction_comes_first_and_agreement_not_at_all() -> None:
    probabilities = np.array([[0.5, 0.4, 0.1], [0.9, 0.05, 0.05], [0.8, 0.1, 0.1]])
    opinions = said([9, 4, 7], [0, 1, 2])
    assert disagreement(probabilities, ROWS, opinions).tolist() == [7, 4]
    assert disagreement(probabilities, ROWS, opinions, weight=np.array([20.0, 1.0, 1.0])).tolist() == [4, 7]


def test_what_the_student_was_not_judged_on_and_what_was_asked_twice_is_left_out() -> None:
    probabilities = np.array([[np.nan] * 3, [0.9, 0.05, 0.05], [0.8, 0.1, 0.1]])
    opinions = joined([said([4, 7, 9], [1, 2, 1]), said([9], [2], source=1)])
    assert disagreement(probabilities, ROWS, opinions).tolist() == [7]


def test_an_image_without_a_name_is_worth_asking_again_and_ties_go_to_the_lower_row() -> None:
    probabilities = np.full((3, 3), 1 / 3)
    assert disagreement(probabilities, ROWS, said([4, 7, 9], [-1, 0, -1])).tolist() == [4, 9]


@given(st.permutations(range(3)))
def test_the_order_of_opinions_does_not_matter(order: list[int]) -> None:
    probabilities = np.array([[0.5, 0.4, 0.1], [0.9, 0.05, 0.05], [0.2, 0.2, 0.6]])
    opinions = said([4, 7, 9], [1, 2, 0])
    turned = Opinions(
        opinions.rows[order], opinions.labels[order], opinions.confidence, opinions.alternatives, opinions.source
    )
    assert disagreement(probabilities, ROWS, turned).tolist() == disagreement(probabilities, ROWS, opinions).tolist()


def test_probabilities_must_fit_the_images() -> None:
    for rows, count in ((ROWS, 2), (np.array([4, 4]), 2)):
        with pytest.raises(ValueError, match="distinct images"):
            disagreement(np.ones((count, 3)), rows, said([4], [0]))


def test_bayes_by_hand() -> None:
    found = posterior(np.array([0.5, 0.3, 0.2]), (0, 1), (0.8, 0.6), confusable=2)
    weights = np.array([0.5 * 0.8 * 0.2, 0.3 * 0.1 * 0.6, 0.2 * 0.1 * 0.2])
    np.testing.assert_allclose(found, weights / weights.sum())


def judged(student: list[float], first: int, second: int, *, caution: float = 3.0) -> Settled:
    """One image, row 4, beside one that is not asked again."""
    probabilities = np.array([student, [1.0, 0.0, 0.0]])
    return settle(
        said([4, 7], [first, 0]),
        said([4], [second], source=1),
        probabilities,
        rows=np.array([4, 7]),
        names=NAMES,
        caution=caution,
        set_aside=True,
    )


def kept(settled: Settled) -> list[tuple[int, int, int]]:
    """(row, label, source) of all opinions."""
    opinions = settled.opinions
    return sorted(zip(opinions.rows.tolist(), opinions.labels.tolist(), opinions.source.tolist()))


def test_the_same_name_twice_is_confirmed_and_both_count() -> None:
    settled = judged([0.1, 0.8, 0.1], 0, 0)
    assert settled.of("confirmed") == (4,)
    assert kept(settled) == [(4, 0, 0), (4, 0, 1), (7, 0, 0)]


def test_a_second_reply_with_a_sure_student_behind_it_takes_the_first_one_s_place() -> None:
    settled = judged([0.04, 0.95, 0.01], 0, 1)
    assert settled.accepted == (4,)
    assert kept(settled) == [(4, 1, 1), (7, 0, 0)]
    (decision,) = settled.decisions
    assert (decision.first, decision.second, decision.student) == ("Siskin", "Finch", "Finch")
    # Equal accuracies cancel: 0.95 against three times 0.04; of Linnet only 0.01 times a small factor is left.
    wrong = (0.4 / 10) / 0.6
    assert decision.probability == pytest.approx(0.95 / (0.95 + 3 * 0.04 + 0.01 * wrong))


def test_a_second_reply_against_student_and_first_reply_is_set_aside() -> None:
    settled = judged([0.7, 0.2, 0.1], 0, 1)
    assert settled.rejected == (4,)
    assert kept(settled) == [(4, 0, 0), (7, 0, 0)]


def test_without_clear_evidence_both_stay() -> None:
    settled = judged([0.25, 0.74, 0.01], 0, 1)
    assert settled.undecided == (4,)
    assert kept(settled) == [(4, 0, 0), (4, 1, 1), (7, 0, 0)]
    assert judged([0.25, 0.74, 0.01], 0, 1, caution=1.0).accepted == (4,)


def test_a_name_of_the_student_s_own_is_never_put_in() -> None:
    settled = judged([0.001, 0.001, 0.998], 0, 1)
    assert settled.undecided == (4,)
    assert 2 not in settled.opinions.labels


def test_replies_without_a_name_and_images_never_held_out_decide_nothing() -> None:
    assert judged([0.3, 0.3, 0.4], 0, -1).of("unnamed") == (4,)
    assert judged([0.3, 0.3, 0.4], -1, 1).undecided == (4,)
    assert judged([np.nan] * 3, 0, 1).undecided == (4,)
    assert judged([np.nan] * 3, 1, 1).of("confirmed") == (4,)


def test_an_image_that_the_student_has_no_row_of_stays_undecided() -> None:
    settled = settle(said([1], [0]), said([1], [2], source=1), np.ones((3, 3)) / 3, rows=ROWS, names=NAMES)
    assert settled.undecided == (1,)


def test_the_account_is_json_and_in_the_order_of_the_pool() -> None:
    first, second = said([4, 7, 9], [0, 1, 2]), said([9, 4], [2, 1], source=1)
    settled = settle(first, second, np.eye(3) * 0.9 + 0.03, rows=ROWS, names=NAMES)
    told = json.loads(json.dumps(settled.to_dict()))
    assert [one["row"] for one in told["decisions"]] == [4, 9]


def test_labels_of_a_source() -> None:
    both = joined([said([4, 7], [0, -1]), said([4], [2], source=1)])
    assert labels_of(both, ROWS, source=0).tolist() == [0, -1, -1]
    assert labels_of(both, ROWS, source=1).tolist() == [2, -1, -1]
    assert labels_of(replace(both, source=both.source + 5), ROWS, source=0).tolist() == [-1, -1, -1]


def test_by_default_every_reply_stays_to_be_weighed() -> None:
    first, second = said([4, 7], [0, 0]), said([4], [1], source=1)
    probabilities = np.array([[0.04, 0.95, 0.01], [1.0, 0.0, 0.0]])
    settled = settle(first, second, probabilities, rows=np.array([4, 7]), names=NAMES)
    assert settled.accepted == (4,)
    assert kept(settled) == [(4, 0, 0), (4, 1, 1), (7, 0, 0)]


def taught(settings: StudentSettings, replies: str, again: str) -> Learned:
    """Two blobs of twenty images; the first six of each are asked about, row 0 twice (W: Wren, T: Tit)."""
    rng = np.random.default_rng(1)
    features = np.repeat(np.eye(2, 8), 20, axis=0) + 0.1 * rng.normal(size=(40, 8))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    rows = np.array([0, 1, 2, 3, 4, 5, 20, 21, 22, 23, 24, 25])
    name = {"W": "Song Wren", "T": "Marsh Tit"}
    named = [NamedImage(str(row), name[one]) for row, one in zip(rows, replies, strict=True)]
    second = np.array([0]), [NamedImage("0", name[again])]
    return learn(features, rows, named, None, settings, second=second)


@pytest.mark.parametrize(
    ("first", "again", "verdict", "kept_source"),
    [("T", "W", "accepted", [1]), ("W", "T", "rejected", [0]), ("W", "W", "confirmed", [0, 1])],
)
def test_a_student_believes_the_reply_that_the_images_bear_out(
    first: str, again: str, verdict: str, kept_source: list[int]
) -> None:
    learned = taught(StudentSettings(), first + "WWWWWTTTTTT", again)
    (decision,) = learned.notes["second_opinions"]["decisions"]
    assert (decision["row"], decision["verdict"], decision["student"]) == (0, verdict, "Song Wren")
    opinions = learned.opinions
    assert opinions.source[opinions.rows == 0].tolist() == kept_source
    assert learned.names[learned.soft[0].argmax()] == "Song Wren"


def test_evidence_weighs_two_replies_itself() -> None:
    learned = taught(StudentSettings(evidence=EvidenceSettings()), "TWWWWWTTTTTT", "W")
    assert learned.notes["second_opinions"] is None
    assert (learned.opinions.rows == 0).sum() == 2
