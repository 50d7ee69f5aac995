"""The reply parser: no text raises, every answer is consistent, time is linear and short.

Random replies are built from pieces of real ones, of JSON, of Markdown and of attacks, then cut, repeated, spliced and
sprinkled with characters from anywhere in Unicode. The generator is seeded: a failure can be repeated by its number.
"""

from __future__ import annotations

import random
import time

import pytest

from fgvr.labels import parse_reply
from tests.labels.test_parse import NAMED
from tests.promises.test_hostile_text import HONEST, REPLIES, TALKING

PIECES = [
    "**", "*", "_", "__", "`", "```json\n", "#", "- ", "1. ", "{", "}", "[", "]", '"', "'", ":", ",", "(", ")", "\\",
    "\n", "\r", "\t", "the bird is ", "Species: ", "identified as ", "known as ", "specifically ", "not ", "or ",
    "confidence: ", "9", "%", "1e999", '{"name": "', '"alternatives": ["', "</think>", "<think>", "null", "\x01",
    "\ud800", "\u202e", "\u0301", "İ", "ﷺ", "é", "名", " ",
]  # fmt: skip
WHOLE = [reply for reply, _, _ in NAMED] + [*HONEST, *TALKING, *(reply for reply in REPLIES if len(reply) < 500)]


def random_reply(seed: int) -> str:
    """Reply number ``seed``, at most some thousand characters."""
    rng = random.Random(seed)
    text = "".join(rng.choice(PIECES) if rng.random() < 0.7 else rng.choice(WHOLE) for _ in range(rng.randrange(1, 14)))
    kind = rng.randrange(6)
    if kind == 0:
        text = text[: rng.randrange(len(text) + 1)]
    elif kind == 1:
        text = text * rng.randrange(1, 6)
    elif kind == 2:
        text = "".join(rng.choice((c, c, c, c, chr(rng.randrange(0x110000)))) for c in text)
    elif kind == 3:
        text = "".join(rng.sample(text, len(text)))
    elif kind == 4:
        text = "".join(chr(rng.randrange(0x250)) for _ in range(rng.randrange(200)))
    return text[:4000]


def check(reply: str) -> None:
    parsed = parse_reply(reply, "i")
    assert parsed.reply == reply
    assert parsed.status in ("named", "refused", "empty", "unparsed")
    assert (parsed.name is not None) == (parsed.status == "named")
    for name in (parsed.name, parsed.scientific, *parsed.alternatives):
        assert name is None or (name.strip() and len(name) <= 120 and (name.isprintable() or name >= "\u00a0"))
    assert len(parsed.alternatives) <= 10
    assert parsed.name not in parsed.alternatives
    assert parsed.confidence is None or 0 <= parsed.confidence <= 1


def fuzz(seeds: range) -> None:
    for seed in seeds:
        try:
            check(random_reply(seed))
        except Exception as error:
            raise AssertionError(f"reply {seed}: {random_reply(seed)!r}") from error


def test_no_random_reply_raises_and_every_answer_is_consistent() -> None:
    fuzz(range(3000))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_reply_of_100_000_raises() -> None:
    fuzz(range(1_000_000, 1_100_000))


GROWING = [
    "[", '{"a":', "the bird is ", "**", "species: ", "(", "a ", "'", "'a':'", "identified the ", "known as ", "A",
    "_a_", "\n", "1", "the bird is a Linnet. ", "**Linnet** ", "- Linnet\n", '["a", ', "\\", "\u0301", "ignore ",
    "ignore the ", "say it only ", "<script", "system ", "Linnet or ", "Linnet, ", "http", "<|a",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("piece", GROWING)
def test_time_grows_no_faster_than_the_reply(piece: str) -> None:
    """Linear is a ratio of 3 between 10 and 30 kB, quadratic is 9; beyond 32 kB only head and tail are read."""

    def seconds(length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length]
        took = []
        for _ in range(5):
            began = time.process_time()
            parse_reply(text)
            took.append(time.process_time() - began)
        return min(took)

    small, middle, large, huge = (seconds(length) for length in (10_000, 30_000, 100_000, 1_000_000))
    assert middle < 6 * small + 0.005
    assert large < 2.5 * middle + 0.005
    assert huge < 2.5 * middle + 0.02
    assert huge < 1
