"""Several replies to one question as a distribution over names: by hand, and what must not matter."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.labels import normalise, parse_reply
from fgvr.mllm.base import Reply, Sample
from fgvr.naming.sampled import parse_samples, text_weights
from fgvr.types import NamedImage, Usage

REFUSED = "I'm sorry, I can't identify this."


def likely(**chances: float) -> list[Sample]:
    """Texts and their probabilities; an underscore in a text is a space."""
    return [Sample(text.replace("_", " "), math.log(chance)) for text, chance in chances.items()]


def reply(*samples: Sample, text: str = "") -> Reply:
    return Reply("a", text or (samples[0].text if samples else ""), "m", Usage(calls=1), samples=samples)


def named(*samples: Sample) -> NamedImage:
    return parse_samples(reply(*samples), "a")


def test_a_text_of_known_probability_counts_once_however_often_it_was_drawn():
    arctic, common = likely(Arctic_Tern=0.5, Common_Tern=0.25)
    weights = text_weights([arctic, common, common, common])
    assert weights == pytest.approx({"Arctic Tern": 2 / 3, "Common Tern": 1 / 3})


def test_of_two_ways_to_write_a_text_the_likelier_one_counts():
    weights = text_weights(
        [Sample("Tern", math.log(0.1)), Sample("Tern", math.log(0.4)), Sample("Gull", math.log(0.4))]
    )
    assert weights == pytest.approx({"Tern": 0.5, "Gull": 0.5})


def test_texts_are_counted_where_one_has_no_probability():
    told = [Sample("Tern", -9.0), Sample("Tern", -9.0), Sample("Gull", -0.1), Sample("Skua")]
    assert text_weights(told) == pytest.approx({"Tern": 0.5, "Gull": 0.25, "Skua": 0.25})
    assert text_weights([Sample("Tern"), Sample("Tern"), Sample("Gull")]) == pytest.approx(
        {"Tern": 2 / 3, "Gull": 1 / 3}
    )


@pytest.mark.parametrize("impossible", [math.nan, math.inf, -math.inf])
def test_a_probability_that_is_no_number_is_none(impossible: float):
    told = [Sample("Tern", impossible), Sample("Tern", impossible), Sample("Gull", -0.1)]
    assert text_weights(told) == pytest.approx({"Tern": 2 / 3, "Gull": 1 / 3})


def test_very_unlikely_texts_do_not_underflow_together_and_one_beside_others_is_left_out():
    assert text_weights([Sample("Tern", -9999.0), Sample("Gull", -9999.0 + math.log(3))]) == pytest.approx(
        {"Tern": 0.25, "Gull": 0.75}
    )
    assert text_weights([Sample("Tern", -1.0), Sample("Gull", -9999.0)]) == {"Tern": 1.0}
    assert named(Sample("Tern", -1.0), Sample("Gull", -9999.0)).chances == (1.0,)


def test_a_text_that_was_cut_off_counts_only_where_all_were():
    whole, cut = Sample("Arctic Tern", math.log(0.2)), Sample("The bird is", math.log(0.9), finish="length")
    assert text_weights([cut, whole]) == {"Arctic Tern": 1.0}
    assert text_weights([cut, replace(cut, text="The tern", logprob=math.log(0.3))]) == pytest.approx(
        {"The bird is": 0.75, "The tern": 0.25}
    )
    # An unfinished text without a probability does not spoil those of the finished ones.
    told = [replace(cut, logprob=None), *likely(Arctic_Tern=0.6, Common_Tern=0.2)]
    assert text_weights(told) == pytest.approx({"Arctic Tern": 0.75, "Common Tern": 0.25})


def test_names_come_best_first_with_their_chances():
    found = named(*likely(Common_Tern=0.3, Arctic_Tern=0.6, Little_Tern=0.1))
    assert (found.name, found.alternatives) == ("Arctic Tern", ("Common Tern", "Little Tern"))
    assert found.chances == pytest.approx((0.6, 0.3, 0.1))
    assert found.confidence == pytest.approx(0.6)
    assert (found.item_id, found.status, found.reply) == ("a", "named", "Common Tern")


def test_spellings_and_sentences_with_the_same_name_add_up():
    """No single text is as likely as the gull's; the likeliest of the tern's texts gives the spelling."""
    told = [("Herring Gull", 0.4), ("arctic  tern", 0.15), ("This is an **Arctic Tern**.", 0.25), ("Arctic Tern", 0.2)]
    found = named(*(Sample(text, math.log(chance)) for text, chance in told))
    assert (found.name, found.alternatives) == ("Arctic Tern", ("Herring Gull",))
    assert found.chances == pytest.approx((0.6, 0.4))


def test_replies_that_name_nothing_take_their_share():
    found = named(*likely(Arctic_Tern=0.4, unknown=0.3, Common_Tern=0.3))
    assert (found.name, found.alternatives) == ("Arctic Tern", ("Common Tern",))
    assert found.chances == pytest.approx((0.4, 0.3))


def test_naming_nothing_wins_where_it_is_likelier_than_any_name():
    """Together: two ways to refuse against two names, each of them likelier than each refusal."""
    told = [("Arctic Tern", 0.3), ("Common Tern", 0.25), (REFUSED, 0.24), ("unknown", 0.21)]
    found = named(*(Sample(text, math.log(chance)) for text, chance in told))
    assert (found.name, found.status, found.alternatives, found.chances) == (None, "refused", (), ())
    assert named(*likely(Arctic_Tern=0.5, unknown=0.5)).name == "Arctic Tern"


def test_where_nothing_is_named_the_reason_is_the_likeliest_texts():
    found = named(Sample("", math.log(0.2)), Sample(REFUSED, math.log(0.5)))
    assert (found.name, found.status, found.reply) == (None, "refused", "")
    assert named(Sample(""), Sample("")).status == "empty"


def test_structured_replies():
    """The other samples take the place of the alternatives that a reply lists itself."""
    one = '{"name": "Arctic Tern", "scientific": "Sterna paradisaea", "alternatives": ["Roseate Tern"]}'
    other = '```json\n{"name": "Common Tern", "confidence": 0.8}\n```'
    found = named(Sample(one), Sample(other), Sample(one))
    assert parse_reply(one).alternatives == ("Roseate Tern",)
    assert (found.name, found.scientific, found.alternatives) == ("Arctic Tern", "Sterna paradisaea", ("Common Tern",))
    assert found.chances == pytest.approx((2 / 3, 1 / 3))
    assert found.confidence == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "text", ["This is an **Arctic Tern**.", REFUSED, "", '{"name": "Owl", "alternatives": ["Jay"]}']
)
def test_without_samples_the_reply_is_read_alone(text: str):
    assert parse_samples(reply(text=text), "a") == parse_reply(text, "a")


def test_one_sample_is_certain():
    found = named(Sample("Arctic Tern", -40.0))
    assert (found.name, found.chances) == ("Arctic Tern", (1.0,))


TEXTS = st.sampled_from(
    ["Arctic Tern", "arctic tern", "Common Tern", "It is a **Common Tern**.", "Skua", REFUSED, "", "?"]
)
SAMPLES = st.lists(
    st.builds(Sample, TEXTS, st.none() | st.floats(-2000, 0), st.sampled_from(["stop", "stop", "length"])), min_size=1
)


@given(SAMPLES)
def test_shares_of_texts_sum_to_one(samples: list[Sample]):
    weights = text_weights(samples)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert all(value > 0 for value in weights.values())
    assert set(weights) <= {sample.text for sample in samples}


@given(SAMPLES)
def test_chances_descend_and_are_one_at_most_in_all(samples: list[Sample]):
    found = named(*samples)
    assert list(found.chances) == sorted(found.chances, reverse=True)
    assert sum(found.chances) <= 1 + 1e-9
    assert len(found.chances) == (0 if found.name is None else 1 + len(found.alternatives))
    assert len({normalise(name) for name in (found.name or "", *found.alternatives)}) == 1 + len(found.alternatives)


@given(SAMPLES, st.randoms(use_true_random=False))
def test_the_order_of_drawing_does_not_matter(samples: list[Sample], random):
    shuffled = list(samples)
    random.shuffle(shuffled)
    one, other = (
        {normalise(name): chance for name, chance in zip((found.name or "", *found.alternatives), found.chances)}
        for found in (named(*samples), named(*shuffled))
    )
    assert one == pytest.approx(other)
