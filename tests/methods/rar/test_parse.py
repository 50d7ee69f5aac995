"""Replies a ranker writes, and what must come of them."""

from __future__ import annotations

import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.methods.rar.parse import Parsed, parse_ranking

BIRDS = ["Arctic Tern", "Common Tern", "Forster's Tern", "Black-capped Gull", "Red_eyed Vireo"]
BEST = (2, 0, 1, 4, 3)
"""Forster's, Arctic, Common, Vireo, Gull."""
CARS = ["Audi A5 Coupe 2012", "Audi S5 Coupe 2012", "BMW M3, Coupe [E46]", "Audi TT", "737-300"]

WHOLE = {
    "python list": "[\"Forster's Tern\", 'Arctic Tern', 'Common Tern', 'Red_eyed Vireo', 'Black-capped Gull']",
    "python list, apostrophe not escaped": "['Forster's Tern', 'Arctic Tern', 'Common Tern', 'Red_eyed Vireo', "
    "'Black-capped Gull']",
    "json": json.dumps([BIRDS[i] for i in BEST]),
    "json object": json.dumps({"ranking": [BIRDS[i] for i in BEST]}, indent=2),
    "json objects": json.dumps([{"rank": n, "name": BIRDS[i]} for n, i in enumerate(BEST, 1)]),
    "json objects, names as keys": json.dumps([{BIRDS[i]: 0.5} for i in BEST]),
    "objects in a python list": repr([{"rank": n, "name": BIRDS[i]} for n, i in enumerate(BEST, 1)]),
    "no quotes": "[Forster's Tern, Arctic Tern, Common Tern, Red_eyed Vireo, Black-capped Gull]",
    "no brackets": "Forster's Tern, Arctic Tern, Common Tern, Red_eyed Vireo, Black-capped Gull",
    "greater than": "Forster's Tern > Arctic Tern > Common Tern > Red-eyed Vireo > Black-capped Gull",
    "arrows": "Forster's Tern → Arctic Tern → Common Tern → Red-eyed Vireo → Black-capped Gull",
    "semicolons": "Forster's Tern; Arctic Tern; Common Tern; Red-eyed Vireo; Black-capped Gull.",
    "and": "Forster's Tern, Arctic Tern, Common Tern, Red-eyed Vireo and Black-capped Gull.",
    "numbered": "1. Forster's Tern\n2. Arctic Tern\n3. Common Tern\n4. Red-eyed Vireo\n5. Black-capped Gull",
    "numbered with brackets": "1) Forster's Tern\n2) Arctic Tern\n3) Common Tern\n4) Red-eyed Vireo\n"
    "5) Black-capped Gull",
    "bullets": "- Forster's Tern\n- Arctic Tern\n- Common Tern\n- Red-eyed Vireo\n- Black-capped Gull",
    "stars": "* Forster's Tern\n* Arctic Tern\n* Common Tern\n* Red-eyed Vireo\n* Black-capped Gull\n",
    "round bullets": "• Forster's Tern\n• Arctic Tern\n• Common Tern\n• Red-eyed Vireo\n• Black-capped Gull",
    "bold and numbered": "1. **Forster's Tern**\n2. **Arctic Tern**\n3. **Common Tern**\n4. **Red-eyed Vireo**\n"
    "5. **Black-capped Gull**",
    "numbered, explained": "1. Forster's Tern: orange bill, unlike the Common Tern\n2. Arctic Tern: short legs\n"
    "3. Common Tern (similar, but darker)\n4. Red-eyed Vireo - a songbird, not an Arctic Tern\n"
    "5. Black-capped Gull, because it is larger",
    "bold, explained": "1. **Forster's Tern** – frosty wing, unlike an Arctic Tern.\n2. **Arctic Tern** – red bill.\n"
    "3. **Common Tern** – close.\n4. **Red-eyed Vireo** – far.\n5. **Black-capped Gull** – farther.",
    "plain lines": "Forster's Tern\nArctic Tern\nCommon Tern\nRed-eyed Vireo\nBlack-capped Gull",
    "table": "| rank | name |\n|---|---|\n| 1 | Forster's Tern |\n| 2 | Arctic Tern |\n| 3 | Common Tern |\n"
    "| 4 | Red-eyed Vireo |\n| 5 | Black-capped Gull |",
    "fence": "```json\n" + json.dumps([BIRDS[i] for i in BEST]) + "\n```",
    "fence, python": "```python\nranking = " + repr([BIRDS[i] for i in BEST]) + "\n```\nHope this helps!",
    "words before": "Sure! Here is the sorted list: " + repr([BIRDS[i] for i in BEST]),
    "words after": repr([BIRDS[i] for i in BEST]) + "\n\nThe Arctic Tern is less likely, since its bill is red.",
    "explained first": "The bird could be an Arctic Tern or a Common Tern. My ranking:\n"
    + repr([BIRDS[i] for i in BEST]),
    "the question again": f"The categories are {BIRDS!r}. Sorted: {[BIRDS[i] for i in BEST]!r}",
    "over lines": json.dumps([BIRDS[i] for i in BEST], indent=4),
    "case and signs": "['FORSTERS TERN', 'arctic_tern', 'common-tern', 'red eyed vireo', 'black capped gull']",
    "typographic quotes": "[“Forster’s Tern”, “Arctic Tern”, “Common Tern”, “Red-eyed Vireo”, “Black-capped Gull”]",
    "string of a list": '"' + repr([BIRDS[i] for i in BEST]).replace('"', "'") + '"',
    "sentence": "The order is: Forster's Tern, Arctic Tern, Common Tern, Red-eyed Vireo, Black-capped Gull.",
    "articles": "['a Forster's Tern', 'an Arctic Tern', 'the Common Tern', 'a Red-eyed Vireo', 'a Black-capped Gull']",
    "newlines for commas": "[Forster's Tern\nArctic Tern\nCommon Tern\nRed-eyed Vireo\nBlack-capped Gull]",
    "dictionary of ranks": '{"1": "Forster\'s Tern", "2": "Arctic Tern", "3": "Common Tern", "4": "Red-eyed Vireo", '
    '"5": "Black-capped Gull"}',
}


@pytest.mark.parametrize("reply", WHOLE.values(), ids=WHOLE)
def test_whole_lists_of_every_layout(reply: str) -> None:
    assert parse_ranking(reply, BIRDS).order == BEST


CLEAN = (
    "python list",
    "json",
    "no quotes",
    "no brackets",
    "greater than",
    "numbered",
    "bullets",
    "fence",
    "over lines",
)


@pytest.mark.parametrize("layout", CLEAN)
def test_a_clean_list_is_parsed_without_repair(layout: str) -> None:
    assert parse_ranking(WHOLE[layout], BIRDS) == Parsed(BEST, "parsed", "", 5)


REPAIRED = [
    ("['Common Tern', 'Arctic Tern']", (1, 0, 2, 3, 4), "3 missing"),
    ("['Common Tern', 'Common Tern', 'Arctic Tern']", (1, 0, 2, 3, 4), "3 missing, 1 repeated"),
    ("['Sandwich Tern', 'Common Tern', 'Arctic Tern']", (1, 0, 2, 3, 4), "3 missing, 1 not a candidate"),
    ("['Common Tern', 'Arctic Tern', 'Forst", (1, 0, 2, 3, 4), "2 missing"),
    ("['Common Tern', 'Red_ey", (1, 4, 0, 2, 3), "3 missing"),
    ("['Common Tern', 'Arctic Tern',", (1, 0, 2, 3, 4), "3 missing"),
    ("['Comon Tern', 'Artic Tern']", (1, 0, 2, 3, 4), "3 missing, 2 misspelt"),
    ("['Blackcapped Gull', 'Foster's Tern']", (3, 2, 0, 1, 4), "3 missing, 2 misspelt"),
    ("['Redeyed Vireos']", (4, 0, 1, 2, 3), "4 missing, 1 misspelt"),
    ("Common Tern", (1, 0, 2, 3, 4), "4 missing"),
    ("It is a Common Tern.", (1, 0, 2, 3, 4), "4 missing"),
    ("This looks like a **Common Tern** to me.", (1, 0, 2, 3, 4), "4 missing"),
    ("It is not an Arctic Tern; I would say Common Tern.", (1, 0, 2, 3, 4), "4 missing"),
    ("Unlike the Arctic Tern this one has a dark tip, so the Common Tern fits best.", (1, 0, 2, 3, 4), "4 missing"),
    ("1. Common Tern\n2. Sooty Tern\n3. Arctic Tern", (1, 0, 2, 3, 4), "3 missing, 1 not a candidate"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "order", "note"), REPAIRED, ids=[reply[:40] for reply, *_ in REPAIRED])
def test_partial_and_faulty_lists_are_repaired(reply: str, order: tuple[int, ...], note: str) -> None:
    parsed = parse_ranking(reply, BIRDS)
    assert parsed == Parsed(order, "repaired", note, parsed.named)
    assert parsed.named == 5 - int(note.split()[0])


@pytest.mark.parametrize(
    "reply",
    ["", "   ", "I cannot see the image.", "[]", "['Sandwich Tern']", "[3, 1, 2]", "Sorry, I can't help with that.",
     "[[[[", "['", "{}", "A bird.", "Tern"],
)  # fmt: skip
def test_a_reply_without_candidates_leaves_the_retrievers_order(reply: str) -> None:
    assert parse_ranking(reply, BIRDS) == Parsed((0, 1, 2, 3, 4), "unusable", "no candidate in the reply")


def test_commas_brackets_and_digits_in_names() -> None:
    reply = repr([CARS[i] for i in (2, 4, 0, 1, 3)])
    assert parse_ranking(reply, CARS) == Parsed((2, 4, 0, 1, 3), "parsed", "", 5)
    bare = "[BMW M3, Coupe [E46], 737-300, Audi A5 Coupe 2012, Audi S5 Coupe 2012, Audi TT]"
    assert parse_ranking(bare, CARS) == Parsed((2, 4, 0, 1, 3), "parsed", "", 5)
    numbered = "1. 737-300\n2. BMW M3, Coupe [E46]\n3. Audi TT"
    assert parse_ranking(numbered, CARS).order[:3] == (4, 2, 3)


@pytest.mark.parametrize(
    ("candidates", "reply"),
    [
        (["Red-eyed Vireo", "Gull"], "['White-eyed Vireo']"),  # another word, however alike the rest
        (["737-300", "Gull"], "['737-400']"),  # other digits
        (["Audi A5", "Audi S5"], "['Audi B5']"),  # one letter from both
        (["Grey Gull", "Great Gull"], "['Greyt Gull']"),  # near two candidates
        (["Tern", "Gull"], "['Common Tern']"),  # part of another name
        (["Tern", "Gull"], "I believe this to be a Common Tern."),
        (["Audi A5", "Gull"], "['Audi A5 Coupe']"),
    ],
)
def test_another_name_is_not_taken_for_a_candidate(candidates: list[str], reply: str) -> None:
    assert parse_ranking(reply, candidates).status == "unusable"


def test_the_longer_of_two_names_wins() -> None:
    assert parse_ranking("It is an Arctic Tern, less likely a Tern", ["Tern", "Arctic Tern"]).order == (1, 0)
    assert parse_ranking("[Arctic Tern, Tern]", ["Tern", "Arctic Tern"]).order == (1, 0)


def test_a_name_that_was_retrieved_twice_takes_both_its_places() -> None:
    released = ["707-320", "727-200", "707-320"]
    assert parse_ranking("['727-200', '707-320', '707-320']", released) == Parsed((1, 0, 2), "parsed", "", 3)
    assert parse_ranking("['707-320', '727-200']", released) == Parsed((0, 1, 2), "repaired", "1 missing", 2)


@pytest.mark.parametrize(
    "reply",
    ["B, A, C", "B > A > C", "B A C", "[B, A, C]", "['B', 'A', 'C']", "1. B\n2. A\n3. C", "(B), (A), (C)", "b, a, c",
     "The order is B, A, C.", "B. A. C."],
)  # fmt: skip
def test_letters_count_where_the_prompt_lettered_them(reply: str) -> None:
    assert parse_ranking(reply, ["Tern", "Gull", "Vireo"], letters=True).order == (1, 0, 2)
    assert parse_ranking(reply, ["Tern", "Gull", "Vireo"]).status == "unusable"


def test_letters_with_names_and_articles() -> None:
    assert parse_ranking("B. Gull\nA. Tern", ["Tern", "Gull", "Vireo"], letters=True).order == (1, 0, 2)
    assert parse_ranking("A bird I do not know", ["Tern", "Gull"], letters=True).status == "unusable"


def test_nothing_of_another_image_enters() -> None:
    """The released code answers with the previous image's list where it finds none."""
    assert parse_ranking(WHOLE["json"], BIRDS).order == BEST
    assert parse_ranking("no list here", BIRDS).order == (0, 1, 2, 3, 4)


NAMES = st.lists(st.text(max_size=20), max_size=7)


@given(st.text(max_size=200), NAMES, st.booleans())
def test_always_a_permutation_and_a_status(reply: str, candidates: list[str], letters: bool) -> None:
    parsed = parse_ranking(reply, candidates, letters=letters)
    assert sorted(parsed.order) == list(range(len(candidates)))
    assert parsed.status in ("parsed", "repaired", "unusable")
    assert parse_ranking(reply, candidates, letters=letters) == parsed


WORD = st.text(string.ascii_letters + " -'éß", min_size=1, max_size=12).filter(lambda name: name.strip(" -'"))


@given(st.data())
def test_any_order_written_as_json_comes_back(data: st.DataObject) -> None:
    from fgvr.labels.normalise import normalise

    names = data.draw(
        st.lists(WORD, min_size=1, max_size=6, unique_by=normalise).filter(lambda all_: all(map(normalise, all_)))
    )
    order = data.draw(st.permutations(range(len(names))))
    parsed = parse_ranking(json.dumps([names[i] for i in order]), names)
    assert parsed == Parsed(tuple(order), "parsed", "", len(names))


@pytest.mark.parametrize("count", [4_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_random_replies_never_raise(count: int) -> None:
    rng = random.Random(0)
    signs = string.printable + "[]'\",,,>>\n\n–—“”’•→𝔸é\u202e\ud800"
    snippets = [*BIRDS, "1. ", "- ", "```", '{"a": [', "']", "', '"]
    for _ in range(count):
        parts = [rng.choice(snippets) if rng.random() < 0.3 else rng.choice(signs) for _ in range(rng.randrange(24))]
        assert sorted(parse_ranking("".join(parts), BIRDS, letters=True).order) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("unit", ["[", "'", "['", "1. ", ">", "a ", "\n", ", ", "Arctic ", "[a,", '"', "(", "- "])
def test_long_replies_take_no_time(unit: str) -> None:
    import time

    started = time.perf_counter()
    parse_ranking(unit * 50_000, BIRDS, letters=True)
    assert time.perf_counter() - started < 5
