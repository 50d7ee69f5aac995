"""Pictures: the same seed gives the same picture, the box is tight, siblings look different but not very."""

from __future__ import annotations

import numpy as np
from PIL import Image

from fgvr.fieldguide.guide import all_species
from fgvr.fieldguide.render import posed, render, render_scene, sample_view, view_generator

SPECIES = all_species()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture():
    one, again, other = (render(SPECIES[5], seed, size=64).image for seed in (3, 3, 4))
    assert one.tobytes() == again.tobytes() != other.tobytes()
    assert one.mode == "RGB"
    assert one.size == (64, 64)


def test_a_view_is_the_same_picture_at_any_size():
    """The organism may lie a pixel or two beside its place, as drawings are cropped to whole pixels."""
    likeness = []
    for number in range(0, len(SPECIES), 9):
        small, large = (render(SPECIES[number], 11, size=size) for size in (64, 192))
        coarse = [np.asarray(one.image.resize((16, 16), Image.Resampling.BOX), float).ravel() for one in (small, large)]
        likeness.append(np.corrcoef(*coarse)[0, 1])
        assert np.abs(3 * np.array(small.box) - np.array(large.box)).max() <= 0.05 * 192
    assert np.median(likeness) > 0.95
    assert min(likeness) > 0.8


def test_boxes_lie_inside_and_are_tight():
    for number in range(0, len(SPECIES), 9):
        shown = render(SPECIES[number], 2, size=96)
        x0, y0, x1, y1 = shown.box
        assert 0 <= x0 < x1 <= 96
        assert 0 <= y0 < y1 <= 96
        organism = posed(SPECIES[number], shown.view, size=96)
        assert x1 - x0 <= organism.width + 1
        assert y1 - y0 <= organism.height + 1
        assert max(x1 - x0, y1 - y0) > 0.25 * 96


def test_about_15_per_cent_of_the_views_are_poor():
    views = [sample_view(one, view_generator(one, seed)) for one in SPECIES for seed in range(20)]
    poor = np.mean([view.difficulty == "poor" for view in views])
    assert 0.12 < poor < 0.19


def test_individuals_of_a_species_vary_more_than_siblings_differ():
    """Low between-class and high within-class variance, in plain pixels."""
    within, between = [], []
    for number in range(0, len(SPECIES), 12):
        first, sibling = SPECIES[number], SPECIES[number + 1]
        a, b = (np.asarray(render(first, seed, size=48).image, float) for seed in (1, 2))
        view = sample_view(first, view_generator(first, 1))
        c = np.asarray(posed(first, view, size=48).convert("RGBA"), float)
        d = np.asarray(posed(sibling, view, size=48).convert("RGBA").resize(posed(first, view, size=48).size), float)
        within.append(np.abs(a - b).mean())
        between.append(np.abs(c - d).mean())
    assert min(between) > 0
    assert np.mean(within) > 2 * np.mean(between)


def test_scenes_hold_a_box_for_every_organism():
    specimens = [(SPECIES[0], 1), (SPECIES[9], 2), (SPECIES[17], 3)]
    scene = render_scene(specimens, 5, size=128)
    assert [one.key for one in scene.species] == [one.key for one, _ in specimens]
    for x0, y0, x1, y1 in scene.boxes:
        assert 0 <= x0 < x1 <= 128
        assert 0 <= y0 < y1 <= 128
    again = render_scene(specimens, 5, size=128)
    assert scene.image.tobytes() == again.image.tobytes()
