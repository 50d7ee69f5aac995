"""CaSED: filters against a plain reference, duplicates, the two softmaxes by hand, and the whole on drawn pictures."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.encoders import load_encoder
from fgvr.errors import InputError
from fgvr.fieldguide.captions import write_captions
from fgvr.memory.pieces import Pieces
from fgvr.methods.baselines import cased
from fgvr.methods.baselines.cased_captions import Captions, gathered, read_captions
from fgvr.methods.baselines.cased_words import cleaned, frequent, plain_singular, vocabulary, word_filters
from fgvr.methods.baselines.task import Material
from fgvr.wordnet import WordNet, read_wordnet
from tests.methods.baselines.few_pictures import draw, task
from tests.wordnet_files import BIRDS, Meaning, write_wordnet

PLAIN = dict(zip(("singular", "keep"), word_filters(None)[:2], strict=True))


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory) -> WordNet:
    words = [*BIRDS, *(Meaning((word,)) for word in ("albatross", "tern", "sea", "rock", "over"))]
    return read_wordnet(write_wordnet(tmp_path_factory.mktemp("wordnet"), words))


class TestWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("<PERSON> feeds a Tern", ["feeds", "tern"]),
            ("see http://a.b/c?d tern", ["see", "tern"]),
            ("IMG_2043.jpg black-footed!", ["img", "blackfooted"[:5], "footed"]),
            ("end.Start again", ["end", "again"]),  # the released slip
            ("a1b it's R2D2", ["ab", "its", "rd"]),  # length is asked before digits go
            ("é où naïve", ["nave"]),
            ("", []),
        ],
    )
    def test_cleaning_by_hand(self, text: str, words: list[str]):
        assert cleaned(text) == words

    def test_frequent_by_hand(self):
        assert frequent(["a", "b", "a", "c", "b", "a"]) == ["a", "b", "a", "b", "a"]
        assert frequent(["a", "b"]) == ["a", "b"], "none twice: the bar falls to once"
        assert frequent(["a", "b", "a"], minimum=5) == ["a", "a"]
        assert frequent([]) == []

    @pytest.mark.parametrize(
        ("word", "one"),
        zip(
            ["finches", "boxes", "terns", "dishes", "grass", "species", "heroes", "iris", "cactus", "as"],
            ["finch", "box", "tern", "dish", "grass", "species", "heroes", "iris", "cactus", "as"],
            strict=True,
        ),
    )
    def test_plain_singular(self, word: str, one: str):
        assert plain_singular(word) == one

    def test_a_vocabulary_by_hand(self):
        captions = ["A photo of two terns over the sea", "Arctic tern, photo", "sea and rocks"]
        assert vocabulary(captions, **PLAIN) == ("tern", "sea")
        assert vocabulary(["the photo", "an image"], **PLAIN) == ("object",)
        assert vocabulary([], **PLAIN) == ("object",)

    def test_wordnet_keeps_nouns_adjectives_participles_and_the_unknown(self, wordnet: WordNet):
        singular, keep, ends = word_filters(wordnet)
        kept = ("tern", "black", "moving", "crowned", "xyzzy")
        assert [word for word in (*kept, "quickly", "sit", "the", "over") if keep(word)] == [*kept]
        assert [word for word in (*kept, "the") if ends(word)] == ["tern", "xyzzy"]
        assert [singular(word) for word in ("finches", "lens", "glasses", "xyzzys", "grass")] == [
            *("finch", "lens", "glass", "xyzzy", "grass")
        ]

    def test_phrases_reach_names_of_several_words(self, wordnet: WordNet):
        singular, keep, ends = word_filters(wordnet)
        captions = ["Black-footed albatrosses at sea", "a black-footed albatross", "rocks; sea <b> rocks"]
        words = vocabulary(captions, singular=singular, keep=keep)
        assert words == ("black", "footed", "albatross", "sea", "rock")
        found = vocabulary(captions, singular=singular, keep=keep, phrases=ends)
        assert found == (*words, "black-footed albatross", "footed albatross")

    @given(
        st.lists(
            st.text(alphabet=st.sampled_from("aest x-_.<>'&/:h1É\n"), max_size=25).map(lambda t: t.replace("t", "th")),
            max_size=5,
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_the_filters_are_the_released_ones(self, captions: list[str]):
        """Another way of writing the same: one string passed through one filter after the other."""
        text = " ".join(captions)
        for pattern in (r"<[^>]+>", r"http\S+", r"[^\w\s\-\.\'\&]", r"\.\w+"):
            text = re.sub(pattern, "", text)
        text = " ".join(word for word in re.sub(r"[_\-]", " ", text).split() if len(word) >= 3)
        words = [plain_singular(word) for word in re.sub(r"[^a-zA-Z\s]", "", text).lower().split()]
        counts = Counter(words)
        bar = 2 if counts and max(counts.values()) >= 2 else 1
        wanted = {word for word, count in counts.items() if count >= bar and PLAIN["keep"](word)}
        found = vocabulary(captions, **PLAIN)
        assert {*found} == (wanted or {"object"})
        assert len({*found}) == len(found)


class TestDatabase:
    def test_bad_rows_are_skipped_and_counted(self, tmp_path: Path):
        file = tmp_path / "captions.txt"
        bad = [b"", b"\xff\xfe", b"123 !", b"x" * 2001]
        file.write_bytes(b"\n".join([b"\xef\xbb\xbfan arctic tern", *bad, b"a  red\xc2\xa0fox\r", b"a red fox"]))
        assert read_captions(file) == Captions(("an arctic tern", "a red fox"), skipped=3, repeated=1)

    @pytest.mark.parametrize("column", ["caption", "TEXT"])
    def test_parquet(self, tmp_path: Path, column: str):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        table = pyarrow.table({"id": [1, 2, 3, 4], column: ["a tern", None, "a tern", "a fox"]})
        parquet.write_table(table, tmp_path / "captions")
        assert read_captions(tmp_path / "captions") == Captions(("a tern", "a fox"), skipped=1, repeated=1)

    def test_parquet_without_captions_or_cut_short(self, tmp_path: Path):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        file = tmp_path / "captions.parquet"
        parquet.write_table(pyarrow.table({"url": ["a"]}), file)
        with pytest.raises(InputError, match="no column of captions"):
            read_captions(file)
        file.write_bytes(file.read_bytes()[:-9])
        with pytest.raises(InputError, match="cannot be read"):
            read_captions(file)

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"12\n34\n"])
    def test_nothing_is_an_error(self, tmp_path: Path, content: bytes):
        (tmp_path / "captions.txt").write_bytes(content)
        with pytest.raises(InputError, match="no caption"):
            read_captions(tmp_path / "captions.txt")

    def test_a_missing_file_is_an_error(self, tmp_path: Path):
        with pytest.raises(InputError, match="cannot be read"):
            read_captions(tmp_path / "captions.txt")

    def test_rows_that_are_no_text(self):
        assert gathered([None, 7, ["a"], "a\x00 bird"]) == Captions(("a bird",), skipped=3)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


class TestScores:
    def test_duplicates_are_chained_and_the_first_stays(self):
        angles = np.deg2rad([0, 60, 15, 30, 90])  # neighbours 15 degrees apart have cosine 0.966
        vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
        rows, centroid = cased.distinct(np.array([0, 1, 2, 3, 4]), Pieces([vectors], dim=2), threshold=0.94)
        assert rows.tolist() == [0, 1, 4]
        np.testing.assert_allclose(centroid, unit(vectors[[0, 1, 4]].mean(axis=0)), atol=1e-6)

    @given(st.integers(0, 10**6), st.floats(-0.5, 1.0))
    @settings(max_examples=60, deadline=None)
    def test_groups_are_connected_components(self, seed: int, threshold: float):
        vectors = unit(np.random.default_rng(seed).normal(size=(9, 3)))
        order = np.random.default_rng(seed + 1).permutation(9)
        rows, _ = cased.distinct(order, Pieces([vectors], dim=3), threshold=threshold)
        cosines = vectors[order].astype(np.float64) @ vectors[order].T.astype(np.float64)
        left, wanted = [*range(9)], []
        while left:  # a search from each that is still alone
            wanted.append(left[0])
            reached, seen = [left[0]], {left[0]}
            while reached:
                at = reached.pop()
                new = [one for one in range(9) if one not in seen and cosines[at, one] >= threshold]
                seen |= {*new}
                reached += new
            left = [one for one in left if one not in seen]
        assert rows.tolist() == order[wanted].tolist()

    def test_two_softmaxes_by_hand(self):
        table = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 1.0]), "c": np.array([0.6, 0.8])}
        query, centroid = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
        image, text = (np.exp(np.array(cosines) / 0.5) for cosines in ([1.0, 0.6], [0.0, 0.8]))
        mixed = 0.25 * image / image.sum() + 0.75 * text / text.sum()
        chosen = cased.Settings(alpha=0.25, temperature=0.5)
        names, chances = cased.best_words(query, centroid, [("a", "c")], table, chosen)
        assert names == ("c",)
        assert chances == pytest.approx((mixed[1],))
        names, chances = cased.best_words(query, centroid, [("b",)], table, chosen)
        assert (names, chances) == (("b",), (1.0,)), "one word is certain, however unlike"

    def test_the_released_experiments_values(self):
        chosen = cased.Settings()
        assert (chosen.captions, chosen.alpha, chosen.temperature) == (10, 0.7, 0.07)
        assert (chosen.duplicates, chosen.minimum, chosen.template, chosen.phrases) == (0.94, 2, "{}", False)


class TestMethod:
    @pytest.fixture(scope="class")
    def encoder(self):
        return load_encoder("fieldguide", device="cpu")

    @pytest.fixture(scope="class")
    def words(self, tmp_path_factory) -> Path:
        return write_wordnet(tmp_path_factory.mktemp("words"))

    @pytest.fixture(scope="class")
    def pictures(self, tmp_path_factory):
        return draw(tmp_path_factory.mktemp("pictures"), per_species=2)

    def test_the_embedded_world_has_captions_of_its_own(self, tmp_path: Path, encoder, pictures, words):
        offered = task(tmp_path, pictures, encoder, material=Material(wordnet=words))
        chosen = cased.Settings(guide_captions=400)
        found = cased.name_images(offered, chosen)
        assert len(found.names) == len(pictures)
        assert {*found.names} <= {*found.vocabulary}
        assert all(0 < chance <= 1 for chance in found.probabilities)
        assert any("field guide's own writer" in note for note in found.notes)
        assert found.figures["captions"] + found.figures["captions repeated"] == 400
        assert 1 <= found.figures["captions an image"] <= 10
        assert found == cased.name_images(offered, chosen), "the same again"

    def test_a_file_of_the_same_captions_says_the_same(self, tmp_path: Path, encoder, pictures, words):
        write_captions(tmp_path / "captions.txt", 400, seed=cased.GUIDE_SEED)
        offered = task(tmp_path, pictures, encoder, material=Material(wordnet=words))
        own = cased.name_images(offered, cased.Settings(guide_captions=400))
        offered = dataclasses.replace(offered, material=Material(captions=tmp_path / "captions.txt", wordnet=words))
        found = cased.name_images(offered, cased.Settings())
        assert (found.names, found.vocabulary, found.figures) == (own.names, own.vocabulary, own.figures)
        assert any("captions.txt" in note for note in found.notes)

    def test_phrases_only_add(self, tmp_path: Path, encoder, pictures, words):
        """Each image's words stay what they were; longer names come to them."""
        chosen = cased.Settings(guide_captions=400, duplicates=2.0)
        offered = task(tmp_path, pictures, encoder, material=Material(wordnet=words))
        single = cased.name_images(offered, chosen)
        phrases = cased.name_images(offered, dataclasses.replace(chosen, phrases=True))
        assert {*single.vocabulary} < {*phrases.vocabulary}
        assert any(" " in name for name in phrases.vocabulary)
        assert not any(" " in name or "-" in name for name in single.vocabulary)

    def test_without_captions_the_remedy_is_named(self, tmp_path: Path, encoder, pictures, monkeypatch):
        monkeypatch.setattr(encoder, "name", "some/clip")
        with pytest.raises(InputError, match="--captions FILE"):
            cased.name_images(task(tmp_path, pictures, encoder), cased.Settings())

    def test_a_named_wordnet_must_be_there(self, tmp_path: Path, encoder, pictures):
        offered = task(tmp_path, pictures, encoder, material=Material(wordnet=tmp_path / "nowhere"))
        with pytest.raises(InputError, match="WordNet"):
            cased.name_images(offered, cased.Settings(guide_captions=50))

    def test_without_wordnet_the_notes_say_so(self, tmp_path: Path, encoder, pictures, monkeypatch):
        def missing(folder):
            raise InputError("no WordNet")

        monkeypatch.setattr(cased, "find_wordnet", missing)
        found = cased.name_images(task(tmp_path, pictures, encoder), cased.Settings(guide_captions=50))
        assert any("no WordNet at hand" in note for note in found.notes)

    @pytest.mark.parametrize(
        "wrong", [{"captions": 0}, {"alpha": 1.5}, {"temperature": 0.0}, {"minimum": 0}, {"template": "a photo"}]
    )
    def test_settings_without_sense(self, tmp_path: Path, encoder, pictures, wrong: dict):
        with pytest.raises(InputError):
            cased.name_images(task(tmp_path, pictures, encoder), cased.Settings(**wrong))
