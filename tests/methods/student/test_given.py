"""Names of a person inside the pipeline: before every teacher, certain, and never merged away."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from fgvr.methods.student.em import em_head
from fgvr.methods.student.evidence import Evidence
from fgvr.methods.student.noise import Rates
from fgvr.methods.student.opinions import GIVEN, Opinions, first_labels
from fgvr.methods.student.pipeline import read
from fgvr.methods.student.pool import at_their_word
from fgvr.types import NamedImage


def said(*names):
    return [NamedImage(str(at), name) for at, name in enumerate(names)]


def opinions(rows, labels, source):
    count = len(rows)
    return Opinions(
        np.array(rows), np.array(labels), np.full(count, np.nan, np.float32), ((),) * count, np.array(source)
    )


def test_of_an_image_that_a_person_has_named_only_that_name_is_read():
    rows, second = np.array([0, 2, 4]), (np.array([2, 4]), said("Swift", "Owl"))
    given = (np.array([2, 3]), said("Wren", "Wren"))
    names, found = read(rows, said("Owl", "Rook", "Jay"), second, given, merge=True)
    told = {(int(r), names[label], int(s)) for r, label, s in zip(found.rows, found.labels, found.source, strict=True)}
    assert told == {(0, "Owl", 0), (4, "Jay", 0), (4, "Owl", 1), (2, "Wren", GIVEN), (3, "Wren", GIVEN)}
    assert not {"Rook", "Swift"} & set(names)
    assert found.given_rows.tolist() == [2, 3]


def test_a_person_may_name_everything_that_was_asked_about():
    names, found = read(np.array([0]), said("Owl"), None, (np.array([0]), said("Wren")), merge=True)
    assert names == ("Wren",)
    assert found.source.tolist() == [GIVEN]


def test_a_persons_name_comes_first():
    found = opinions([5, 5, 7], [0, 1, 2], [0, GIVEN, 1])
    assert first_labels(found, np.array([5, 7])).tolist() == [1, 2]


def test_what_a_person_says_is_certain_whatever_the_evidence():
    seeds = csr_matrix(np.array([[0.6, 0.3], [0.2, 0.5], [0, 0]], dtype=np.float32))
    found = Evidence(seeds, np.array([0, 1]), np.array([0.6, 0.5]), Rates())
    trusted = at_their_word(found, opinions([0, 1], [0, 0], [0, GIVEN]))
    np.testing.assert_allclose(trusted.seeds.toarray(), [[0.6, 0.3], [1, 0], [0, 0]])
    np.testing.assert_allclose(trusted.reliability, [0.6, 1.0])
    assert at_their_word(found, opinions([0, 1], [0, 0], [0, 0])) is found


def test_a_trusted_label_holds_where_a_teachers_gives_way():
    near = np.eye(3, dtype=np.float32)[[0, 0, 0, 0, 1, 1]]
    labels = np.array([0, 0, 0, 1, 1, 1])  # the fourth lies among those of the other name
    soft = csr_matrix(np.eye(2, dtype=np.float32)[labels])

    def pulled(accuracy):
        head = em_head(near, soft, said=soft, accuracy=accuracy, concentration=6.0)
        return float(head.logits(near[:1])[0, 1])

    assert pulled(np.array([0.8] * 3 + [0.999] + [0.8] * 2)) > pulled(0.8) + 1.0
    assert pulled(np.full(6, 0.8)) == pytest.approx(pulled(0.8))
    with pytest.raises(ValueError, match="accuracy"):
        pulled(np.array([0.8] * 5 + [1.0]))
