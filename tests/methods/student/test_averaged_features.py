"""Views averaged block by block: the same as all at once, whatever the blocks and the broken files."""

from __future__ import annotations

import numpy as np
import pytest

from fgvr.data import as_items
from fgvr.encoders import FeatureStore, crop_views
from fgvr.errors import NoImagesError
from fgvr.methods.student.views import averaged_features, averaged_views
from tests.methods.near.world import ProjectionEncoder, clustered, picture

VIEWS = ("plain", *crop_views(2))


@pytest.fixture
def folder(tmp_path):
    features, _ = clustered(3, names=("A", "B", "C"), seed=0)
    for index, feature in enumerate(features):
        picture(feature).save(tmp_path / f"{index}.png")
    (tmp_path / "0.png").write_bytes(b"no picture")
    (tmp_path / "1.png").write_bytes(b"no picture")
    return tmp_path


@pytest.mark.parametrize("block", [1, 2, 3, 4, 100])  # the first block of one or two is all broken
def test_blocks_change_nothing(folder, tmp_path, block):
    items, encoder, store = as_items(folder).items, ProjectionEncoder(), FeatureStore(tmp_path / "store")
    whole = store.features(items, encoder, views=VIEWS)
    seen = []
    found = averaged_features(
        store, items, encoder, views=VIEWS, block=block, progress=lambda done, total: seen.append((done, total))
    )
    np.testing.assert_array_equal(found.features, averaged_views(whole.features))
    assert (found.items, found.hashes, found.set_aside) == (whole.items, whole.hashes, whole.set_aside)
    assert {item.id for item in found.set_aside} == {"0.png", "1.png"}
    assert seen[-1] == (27, 27)


def test_nothing_to_read_is_an_error(folder, tmp_path):
    broken = as_items(folder).items[:2]
    with pytest.raises(NoImagesError):
        averaged_features(FeatureStore(tmp_path / "store"), broken, ProjectionEncoder(), views=VIEWS, block=1)
