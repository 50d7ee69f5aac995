"""ZS-CLIP and CLIP+kNN with the MLLM's names: by hand, and against slow references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.encoders import FeatureStore, FeatureTable
from fgvr.errors import InputError
from fgvr.methods.baselines import Task, knn, zero_shot
from fgvr.mllm import Request, ScriptedMllm
from fgvr.types import ImageItem

SCALE = 2.0


class Compass:
    """Texts have the feature that is written down for them."""

    name, fingerprint, dim, logit_scale, image_size = "compass", "compass", 2, SCALE, 8

    def __init__(self, texts: dict[str, tuple[float, float]]) -> None:
        self.texts, self.asked = texts, list[str]()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([self.texts[text] for text in texts], np.float32)


def unit(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def table(side: str, degrees: Sequence[float]) -> FeatureTable:
    items = tuple(ImageItem(f"{side}{i}", Path(f"{side}{i}.png")) for i in range(len(degrees)))
    return FeatureTable(np.array([unit(d) for d in degrees], np.float32), items, tuple(i.id for i in items))


def task(
    tmp_path: Path, support: Sequence[float], replies: Sequence[str], test: Sequence[float],
    texts: dict[str, tuple[float, float]] | None = None,
) -> Task:  # fmt: skip
    said = {f"support{i}": reply for i, reply in enumerate(replies)}

    def script(request: Request) -> str:
        return said[request.item_id]

    model = ScriptedMllm(script)
    encoder = Compass(texts or {})
    return Task(table("support", support), table("test", test), encoder, model, model,  # type: ignore[arg-type]
                FeatureStore(tmp_path / "store"), tmp_path / "work")  # fmt: skip


REFUSAL = "I'm sorry, I can't identify this."


def test_zero_shot_by_hand(tmp_path: Path) -> None:
    """Names at 0, 90 and 180 degrees; a picture at 30 has cosines 0.866, 0.5, -0.866 and logits twice that."""
    texts = {f"a photo of a {name}.": unit(d) for name, d in (("Red Fox", 0), ("Grey Wolf", 90), ("Brown Bear", 180))}
    world = task(tmp_path, [0] * 4, ["Red Fox", "Grey Wolf", REFUSAL, "Brown Bear"], [30, 80, 170, 225], texts)
    found = zero_shot.name_images(world, zero_shot.Settings())
    assert found.names == ("Red Fox", "Grey Wolf", "Brown Bear", "Brown Bear")
    assert set(found.vocabulary) == {"Red Fox", "Grey Wolf", "Brown Bear"}
    exps = [math.exp(SCALE * math.cos(math.radians(a))) for a in (30, 60, 150)]
    assert found.probabilities is not None
    assert found.probabilities[0] == pytest.approx(exps[0] / sum(exps), rel=1e-5)
    assert found.figures == {"support images without a name": 1.0}
    assert zero_shot.calls(4, 4, zero_shot.Settings()) == 4
    assert zero_shot.calls(4, 4, zero_shot.Settings(prompt="structured")) == 5


def test_zero_shot_merges_spellings_unless_told(tmp_path: Path) -> None:
    names = ("Red Fox", "red fox", "Red-Fox")
    texts = {f"a photo of a {name}.": unit(0) for name in names}
    for merge in (True, False):
        world = task(tmp_path, [0] * 3, names, [0], texts)
        assert len(zero_shot.name_images(world, zero_shot.Settings(merge=merge)).vocabulary) == 1


@pytest.mark.parametrize("template", ["", "a photo", "{} and {}", "{name}"])
def test_a_template_needs_a_place_for_the_name(tmp_path: Path, template: str) -> None:
    world = task(tmp_path, [0], ["Red Fox"], [0], {template: unit(0)})
    with pytest.raises(InputError, match="template"):
        zero_shot.name_images(world, zero_shot.Settings(template=template))


def test_another_template_is_used(tmp_path: Path) -> None:
    world = task(tmp_path, [0], ["Red Fox"], [0], {"a drawing of the Red Fox": unit(0)})
    zero_shot.name_images(world, zero_shot.Settings(template="a drawing of the {}"))
    assert world.encoder.asked == ["a drawing of the Red Fox"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", [zero_shot, knn])
def test_without_any_name_there_is_no_answer(tmp_path: Path, method: object) -> None:
    world = task(tmp_path, [0, 1], [REFUSAL, REFUSAL], [0])
    with pytest.raises(InputError, match="named none"):
        method.name_images(world, method.Settings())  # type: ignore[attr-defined]


def test_knn_by_hand(tmp_path: Path) -> None:
    """The nearest is a fox; of the nearest three, two wolves outweigh it; the refusal at 10 degrees is not there."""
    world = task(tmp_path, [0, 10, 25, 30], ["Red Fox", REFUSAL, "Grey Wolf", "Grey Wolf"], [5, 28])
    for k, names in ((1, ("Red Fox", "Grey Wolf")), (3, ("Grey Wolf", "Grey Wolf")), (99, ("Grey Wolf", "Grey Wolf"))):
        found = knn.name_images(world, knn.Settings(k=k))
        assert found.names == names, k
    assert found.probabilities is None
    assert found.figures == {"support images without a name": 1.0}
    with pytest.raises(InputError, match="k is at least 1"):
        knn.name_images(world, knn.Settings(k=0))


def slow_vote(labels: list[int], cosines: list[float]) -> int:
    """Sums in a dictionary, in order; the first of the largest."""
    sums: dict[int, float] = {}
    for label, cosine in zip(labels, cosines):
        sums[label] = sums.get(label, 0.0) + max(cosine, 0.0)
    return max(sums, key=lambda label: sums[label])  # a dictionary keeps its order: the nearer wins


@given(
    st.integers(1, 7).flatmap(
        lambda k: st.lists(
            st.tuples(
                st.lists(st.integers(0, 3), min_size=k, max_size=k),
                st.lists(st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0]), min_size=k, max_size=k),
            ),
            min_size=1, max_size=5,
        )
    )
)  # fmt: skip
def test_votes_are_those_of_a_slow_count(rows: list[tuple[list[int], list[float]]]) -> None:
    sorted_rows = [(labels, sorted(cosines, reverse=True)) for labels, cosines in rows]
    labels, cosines = (np.array([row[i] for row in sorted_rows]) for i in (0, 1))
    assert knn.voted(labels, cosines).tolist() == [slow_vote(*row) for row in sorted_rows]


def test_ties_go_to_the_nearer_and_negative_neighbours_do_not_vote() -> None:
    assert knn.voted(np.array([[2, 1]]), np.array([[0.5, 0.5]])).tolist() == [2]
    assert knn.voted(np.array([[3, 1, 1]]), np.array([[-0.1, -0.2, -0.3]])).tolist() == [3]
    assert knn.voted(np.array([[1, 0, 0]]), np.array([[0.9, 0.5, 0.5]])).tolist() == [0]


def test_many_neighbours_take_no_more_memory_than_their_table() -> None:
    rng = np.random.default_rng(0)
    labels, cosines = rng.integers(0, 50, (20_000, 200)), np.sort(rng.random((20_000, 200)))[:, ::-1]
    found = knn.voted(labels[:300], cosines[:300])
    assert found.tolist() == [slow_vote(*row) for row in zip(labels[:300].tolist(), cosines[:300].tolist())]
