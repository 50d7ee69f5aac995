"""Names to labels, refusals, and removals with their reasons."""

from __future__ import annotations

import numpy as np
import pytest

from fgvr.errors import InputError
from fgvr.methods.near import candidate_sets
from fgvr.methods.near.prune import prune
from fgvr.naming import label_space
from fgvr.types import NamedImage

from .test_candidates import PLANE


def named(*names):
    return [NamedImage(str(i), name, status="named" if name else "refused") for i, name in enumerate(names)]


def test_spellings_merge_and_refusals_have_no_label():
    space, labels = label_space(named("Grey Wren", None, "gray wren", "House Finch"))
    assert labels[1] == -1
    assert labels[0] == labels[2] != labels[3]
    assert len(space.names) == 2
    assert any(merge.raw in ("gray wren", "Grey Wren") for merge in space.provenance)


def test_a_scientific_name_joins_its_common_one():
    images = [NamedImage("a", "Mute Swan", scientific="Cygnus olor"), NamedImage("b", "Cygnus olor")]
    assert len(set(label_space(images)[1])) == 1


def test_nothing_named_is_an_error():
    with pytest.raises(InputError, match="named none"):
        label_space(named(None, None))


def test_a_label_nobody_supports_is_removed_with_its_reason():
    labels = np.array([0, 1, 0, 0])  # image 1's neighbours, 0 and 2, agree on another name
    sets = candidate_sets(PLANE, labels, k=3)
    pruned = prune(("Wren", "Odd One"), labels, sets, how="unsupported")
    assert pruned.names == ("Wren",)
    assert pruned.labels.tolist() == [0, -1, 0, 0]
    (removal,) = pruned.removed
    assert (removal.name, removal.images) == ("Odd One", (1,))
    assert "Wren" in removal.reason


def test_disagreeing_neighbours_or_a_second_image_keep_a_label():
    for labels in ([0, 1, 2, 0], [0, 1, 0, 1]):
        sets = candidate_sets(PLANE, np.array(labels), k=3)
        pruned = prune(("a", "b", "c")[: max(labels) + 1], np.array(labels), sets, how="unsupported")
        assert "b" in pruned.names


def test_pruning_is_off_by_default():
    labels = np.array([0, 1, 0, -1])
    pruned = prune(("a", "b"), labels, candidate_sets(PLANE, labels))
    assert pruned.names == ("a", "b")
    np.testing.assert_array_equal(pruned.labels, labels)
    assert pruned.removed == ()
