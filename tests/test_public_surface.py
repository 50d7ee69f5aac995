"""The public surface cannot drift unnoticed."""

from __future__ import annotations

import fgvr
from fgvr.methods import near, rar


def test_the_package_exports_what_it_says():
    expected = [
        "ImageItem",
        "NamedImage",
        "NeaR",
        "Prediction",
        "RAR",
        "SetAside",
        "Student",
        "Usage",
        "__version__",
        "errors",
        "load",
    ]
    assert sorted(fgvr.__all__) == sorted(expected)
    assert all(getattr(fgvr, name) is not None for name in fgvr.__all__)


def test_the_ideas_of_near_are_importable_by_the_papers_words():
    for name in ("candidate_sets", "proden_loss", "PromptLearner", "NeaR", "tune"):
        assert callable(getattr(near, name))


def test_the_ideas_of_rar_are_importable_by_the_papers_words():
    for name in ("RAR", "retrieve", "rank", "parse_ranking", "fuse"):
        assert callable(getattr(rar, name))
