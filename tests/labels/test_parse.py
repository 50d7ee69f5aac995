"""Reading names out of replies: hand-written replies in the styles that MLLMs use."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.labels import normalise, parse_reply

NAMED = [
    # bare
    ("Sedge Warbler", "Sedge Warbler", None),
    ("  sedge warbler.\n", "sedge warbler", None),
    ("**Sedge Warbler**", "Sedge Warbler", None),
    ('"Sedge Warbler"', "Sedge Warbler", None),
    ("Answer: a Sedge Warbler", "Sedge Warbler", None),
    ("a photo of a sedge warbler", "sedge warbler", None),
    ("Species: Forster's Tern", "Forster's Tern", None),
    ("### Sedge Warbler", "Sedge Warbler", None),
    ("Bird of Paradise", "Bird of Paradise", None),
    ("Love in the Mist", "Love in the Mist", None),
    ("2012 Fiat 500 Abarth", "2012 Fiat 500 Abarth", None),
    # pairs, both ways round
    ("Sedge Warbler (Acrocephalus schoenobaenus)", "Sedge Warbler", "Acrocephalus schoenobaenus"),
    ("Acrocephalus schoenobaenus (Sedge Warbler)", "Sedge Warbler", "Acrocephalus schoenobaenus"),
    ("*Acrocephalus schoenobaenus* (**Sedge Warbler**)", "Sedge Warbler", "Acrocephalus schoenobaenus"),
    ("Tufted puffin (Fratercula cirrhata)", "Tufted puffin", "Fratercula cirrhata"),
    ("Fratercula cirrhata", "Fratercula cirrhata", "Fratercula cirrhata"),
    # chat around the name
    ("The bird here is a **Reed Bunting** (*Emberiza schoeniclus*). It has a black head.", "Reed Bunting",
     "Emberiza schoeniclus"),
    ("The dog in the photo appears to be a Borzoi. Borzois are tall sighthounds.", "Borzoi", None),
    ("I think it is a Marsh Tit, though the light is poor.", "Marsh Tit", None),
    ("The pet in this picture is a cat, specifically a Korat. The breed is known for its coat.", "Korat", None),
    ("This is most likely a **Corn Crake**.", "Corn Crake", None),
    ("Looking at the bill, it can be precisely identified as a **Little Auk**.", "Little Auk", None),
    ("This is not a Rook but rather a **Carrion Crow**.", "Carrion Crow", None),
    ("The flower is a **Silene dioica**, commonly known as the Red Campion.", "Red Campion", "Silene dioica"),
    ("The flower is a common daisy, scientifically known as *Bellis perennis*.", "common daisy", "Bellis perennis"),
    # reasoning first, the conclusion last
    ("Let me look closely.\n\n1. **Size:** The bird is a small passerine.\n2. **Bill:** It is thin, unlike that of a "
     "House Sparrow.\n\n**Conclusion:**\n\n**Exact Species:** Willow Tit (*Poecile montanus*)", "Willow Tit",
     "Poecile montanus"),
    ("Rooks have bare faces. Jackdaws have pale eyes.\n\nTherefore, the bird in the image is the **Jackdaw**.",
     "Jackdaw", None),
    ("* **Common Name:** Stock Dove\n* **Scientific Name:** *Columba oenas*", "Stock Dove", None),
    ("<think>It might be a Linnet or a Twite.</think>Twite", "Twite", None),
    ("<think>It might be a Linnet.</think> <answer>Twite</answer>", "Twite", None),
    ("<think>\nA Linnet? No.\n</think>\n\n<answer>\nThis is a **Twite**.\n</answer>", "Twite", None),
    ("A Linnet?</think><answer>Stock Dove (Columba oenas)</answer>", "Stock Dove", "Columba oenas"),
    ('<think>..</think><answer>{"common_name": "Stock Dove"}</answer>', "Stock Dove", None),
    ("<answer>I think it is a Marsh Tit.</answer> The Linnet is smaller.", "Marsh Tit", None),
    ("<think>The Linnet is smaller. <answer>Twite</answer>", "Twite", None),
    # JSON, whole, fenced, in prose, cut off, single-quoted
    ('{"common_name": "Stock Dove", "scientific_name": "Columba oenas"}', "Stock Dove", "Columba oenas"),
    ('```json\n{"species": "Stock Dove"}\n```', "Stock Dove", None),
    ('Here you are: {"Name": "Stock Dove", "confidence": 0.7} Hope it helps!', "Stock Dove", None),
    ('{"common_name": "Stock Dove", "scientific_name": "Columba oenas", "alterna', "Stock Dove", "Columba oenas"),
    ('{"common_name": "Stock Do', "Stock Do", None),
    ("{'name': 'Stock Dove', 'confidence': 0.4}", "Stock Dove", None),
    ('{"answer": {"common_name": "Stock Dove"}}', "Stock Dove", None),
    ('{"name": null, "scientific_name": "Columba oenas"}', "Columba oenas", "Columba oenas"),
    ('[{"name": "Stock Dove"}, {"name": "Rock Dove"}]', "Stock Dove", None),
    ('{"name": "Stock Dove (Columba oenas)"}', "Stock Dove", "Columba oenas"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "name", "scientific"), NAMED)
def test_named(reply: str, name: str, scientific: str | None) -> None:
    parsed = parse_reply(reply, "a.jpg")
    assert (parsed.status, parsed.item_id, parsed.reply) == ("named", "a.jpg", reply)
    assert normalise(parsed.name or "") == normalise(name)
    if scientific is not None:
        assert parsed.scientific == scientific


@pytest.mark.parametrize(
    ("reply", "name", "alternatives"),
    [
        ("- Linnet\n- Twite\n- Redpoll", "Linnet", ("Twite", "Redpoll")),
        ("1. Linnet\n2. Twite", "Linnet", ("Twite",)),
        ("Possible names:\n1. Linnet\n2. Twite", "Linnet", ("Twite",)),
        ("Siamese cat, Siamese", "Siamese cat", ("Siamese",)),
        ("It is possibly a Linnet or a Twite.", "Linnet", ("Twite",)),
        ('["Linnet", "Twite"]', "Linnet", ("Twite",)),
        ('{"name": "Linnet", "alternatives": ["Twite", "linnet", "Redpoll"]}', "Linnet", ("Twite", "Redpoll")),
        ('{"name": "Linnet", "candidates": [{"name": "Twite", "confidence": 0.1}]}', "Linnet", ("Twite",)),
        ('{"name": "Linnet", "alternatives": "Twite, Redpoll"}', "Linnet", ("Twite", "Redpoll")),
    ],
)
def test_alternatives(reply: str, name: str, alternatives: tuple[str, ...]) -> None:
    parsed = parse_reply(reply)
    assert (parsed.name, parsed.alternatives) == (name, alternatives)


@pytest.mark.parametrize(
    ("written", "value"),
    [("0.8", 0.8), ('"80%"', 0.8), ("80", 0.8), ('"high"', 0.9), ("true", None), ("1e999", None), ("-1", None),
     ("NaN", None), ('"quite"', None), ("null", None), ("1", 1.0), ('"0.5%"', 0.005)],
)  # fmt: skip
def test_confidence(written: str, value: float | None) -> None:
    parsed = parse_reply('{"name": "Linnet", "confidence": %s}' % written)  # noqa: UP031
    assert parsed.name == "Linnet"
    assert parsed.confidence == (None if value is None else pytest.approx(value))


def test_confidence_in_prose() -> None:
    assert parse_reply("It is a Linnet.\nConfidence: 75%").confidence == pytest.approx(0.75)


@pytest.mark.parametrize(
    "reply",
    ["I'm sorry, I can't help with identifying this.", "I am unable to determine the species.", "Unknown", "N/A.",
     "Sorry, but I cannot tell what this is.", '{"name": "unknown"}', '{"name": null}', '{"species": "N/A"}',
     "There is no bird in this image.", "It is not possible to tell which bird this is."],
)  # fmt: skip
def test_refusals_name_nothing(reply: str) -> None:
    parsed = parse_reply(reply)
    assert (parsed.name, parsed.status) == (None, "refused")


@pytest.mark.parametrize("reply", ["", "  \n\t ", "\x00\u202e", "\u200b"])
def test_empty(reply: str) -> None:
    assert (parse_reply(reply).name, parse_reply(reply).status) == (None, "empty")


@pytest.mark.parametrize("reply", ["!!!", "12345", "{}", "[]", "{[", "***"])
def test_noise_names_nothing(reply: str) -> None:
    parsed = parse_reply(reply)
    assert parsed.name is None
    assert parsed.status != "named"


def test_hostile_name_is_shown_clean_and_bounded() -> None:
    parsed = parse_reply(json.dumps({"name": "Lin\u0000net\u202e " + "x" * 300}))
    assert parsed.name is None or (len(parsed.name) <= 120 and parsed.name.isprintable())
    parsed = parse_reply('{"name": "Lin\\u0000net\\u202e"}')
    assert parsed.name == "Linnet"


def test_nothing_is_evaluated(tmp_path) -> None:  # type: ignore[no-untyped-def]
    target = tmp_path / "made"
    parse_reply(f"{{'name': open({str(target)!r}, 'w')}}")
    parse_reply(f"__import__('pathlib').Path({str(target)!r}).touch()")
    assert not target.exists()


@pytest.mark.parametrize(
    "reply",
    ["[" * 1_000_000, '{"a":' * 200_000, "the bird is " * 90_000, "**" * 500_000, "species: " * 110_000,
     "(" * 1_000_000, "a " * 500_000, "'" * 1_000_000, "{" + "'a':'" * 150_000, "identified the " * 70_000,
     "\x01" * 1_000_000, "known as " * 110_000, "A" * 1_000_000, "_a_" * 300_000, "\n" * 1_000_000 + "Linnet",
     '{"name": ' + "1" * 900_000 + "}"],
    ids=range(16),
)  # fmt: skip
def test_a_megabyte_is_read_in_bounded_time(reply: str) -> None:
    start = time.process_time()
    parse_reply(reply)
    assert time.process_time() - start < 3


def test_a_conclusion_behind_a_megabyte_is_found() -> None:
    reply = "The light is poor here. " * 50_000 + "\n\n**Exact Species:** Willow Tit"
    assert parse_reply(reply).name == "Willow Tit"


FRAGMENTS = st.lists(
    st.sampled_from(
        ["**", "*", "_", "{", "}", "[", "]", '"', "'", ":", ",", "(", ")", "\n", "the bird is ", "Species: ", "name",
         "or ", "a ", "Linnet", "known as ", "specifically ", "- ", "1. ", "```json", "</think>", "\\", "\ud800", "é",
         "identified as ", "not ", "confidence: ", "9", "%", " ", ".", "<think>", "<answer>", "</answer>"]
    ),
    max_size=60,
).map("".join)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=400), FRAGMENTS))
def test_never_raises_and_answers_consistently(reply: str) -> None:
    parsed = parse_reply(reply)
    assert parsed.status in ("named", "refused", "empty", "unparsed")
    assert (parsed.name is not None) == (parsed.status == "named")
    if parsed.name is not None:
        assert parsed.name.strip()
        assert len(parsed.name) <= 120
    assert parsed.confidence is None or 0 <= parsed.confidence <= 1
    assert parse_reply(reply) == parsed


def test_a_list_that_was_never_closed_does_not_swallow_the_next_field() -> None:
    reply = '{"common_name": "Marsh Tit", "alternatives": ["Willow Tit", "Coal Tit", "confidence": 0.9}'
    parsed = parse_reply(reply)
    assert (parsed.name, parsed.alternatives, parsed.confidence) == ("Marsh Tit", ("Willow Tit", "Coal Tit"), 0.9)


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("<think>It is a Linnet, without doubt", "cut off"),
        ("<think>Species: Linnet. <answer>Twite</answer> or is it", "cut off"),
        ("<think>The bird is a Linnet.</think>", "no answer"),
        ("<think>The bird is a Linnet.</think> <answer>Twi", "unclosed"),
        ("<answer>Linnet</answer> <answer>Twite</answer>", "several answers"),
        ("<think><answer>Linnet</answer></think> <answer>Twite</answer>", "nested"),
        ("The bird is a Linnet. <answer> </answer>", "empty answer"),
        ("Linnet</answer>", "wrong order"),
    ],
)
def test_tags_without_one_clear_answer_name_nothing(reply: str, fault: str) -> None:
    parsed = parse_reply(reply, "a")
    assert (parsed.name, parsed.alternatives, parsed.status) == (None, (), "unparsed")
    assert parsed.note == f"tags: {fault}"
    assert parsed.reply == reply


def test_an_answer_in_tags_is_read_as_the_same_reply_without_them() -> None:
    for answer in (
        "Linnet, Twite",
        "Linnet or Twite",
        "unknown",
        "I cannot tell.",
        "- Linnet\n- Twite",
        "maybe a Linnet",
    ):
        plain, tagged = parse_reply(answer), parse_reply(f"<think>Stock Dove.</think><answer>{answer}</answer>")
        assert (tagged.name, tagged.alternatives, tagged.status) == (plain.name, plain.alternatives, plain.status)


@given(FRAGMENTS)
def test_what_stands_in_the_thinking_never_becomes_a_name(thought: str) -> None:
    parsed = parse_reply(
        f"<think>The bird is a Capercaillie. {thought.replace('<', '')}</think> <answer>Twite</answer>"
    )
    assert (parsed.name, parsed.alternatives) == ("Twite", ())
    assert parse_reply(f"<think>The bird is a Capercaillie. {thought.replace('<', '')}").name is None
