"""WordNet's files: what they say, what happens when they are damaged, and the real ones where they are installed."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.errors import InputError
from fgvr.wordnet import NOUNS_OF_3_0, WordNet, coverage, find_wordnet, read_wordnet
from tests.wordnet_files import LICENCE, write_wordnet


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory) -> WordNet:
    return read_wordnet(write_wordnet(tmp_path_factory.mktemp("wordnet")))


class TestReading:
    def test_lemmas_have_spaces_and_no_licence(self, wordnet: WordNet):
        assert wordnet.nouns[:3] == ("arctic tern", "bird", "bird of paradise")
        assert not any("licence" in noun or "_" in noun for noun in wordnet.nouns)
        assert wordnet.is_noun("Arctic_Tern")
        assert not wordnet.is_noun("terns")

    def test_synsets_by_hand(self, wordnet: WordNet):
        (tern,) = wordnet.synsets("arctic tern")
        assert tern.lemmas == ("Arctic tern", "Sterna paradisaea")
        assert tern.gloss == "a far traveller"
        (bird,) = (wordnet.synset(offset) for offset in tern.hypernyms)
        assert bird.lemmas == ("Bird",)
        assert bird.gloss == "a feathered animal | with a beak", "only the first bar divides"
        assert wordnet.synset(bird.hypernyms[0]).lemmas == ("entity",)
        assert wordnet.synsets("entity")[0].hypernyms == ()

    def test_word_counts_are_hexadecimal(self, wordnet: WordNet):
        assert len(wordnet.synsets("synonym a")[0].lemmas) == 12

    def test_meanings_in_order_and_instances(self, wordnet: WordNet):
        assert [one.gloss for one in wordnet.synsets("leaf")] == ["a thing", "a sheet of paper"]
        assert len(wordnet.synsets("linnaeus")[0].hypernyms) == 1
        assert wordnet.synsets("no such word") == ()


class TestForms:
    @pytest.mark.parametrize(
        ("text", "bases"),
        [
            ("leaves", ("leaf", "leave")),
            ("finches", ("finch",)),
            ("glasses", ("glass", "glasses")),
            ("lens", ("lens",)),  # "len" is no noun
            ("Birds of Paradise", ("bird of paradise",)),
            ("birds_of_paradise", ("bird of paradise",)),
            ("men", ("man",)),
            ("geese", ()),  # the exception leads to a noun that is not there
            ("handfuls", ("handful",)),
            ("xyzzy", ()),
            ("", ()),
        ],
    )
    def test_base_forms_by_hand(self, wordnet: WordNet, text: str, bases: tuple[str, ...]):
        assert wordnet.base_forms(text) == bases

    @pytest.mark.parametrize(
        ("text", "base"),
        [("leaves", "leaf"), ("glasses", "glasses"), ("finches", "finch"), ("lens", "lens"), ("grass", None)],
    )
    def test_morphy_leaves_a_lemma_as_it_is(self, wordnet: WordNet, text: str, base: str | None):
        assert wordnet.morphy(text) == base

    @pytest.mark.parametrize(
        ("word", "parts"),
        [
            ("sitting", set()),  # the doubled letter is in the real exception list, not in this one
            ("sat", {"verb"}),
            ("moving", {"verb"}),
            ("crowned", {"verb"}),
            ("black", {"adj"}),
            ("blacker", {"adj"}),
            ("quickly", {"adv"}),
            ("birds", {"noun"}),
            ("the", set()),
        ],
    )
    def test_parts_of_speech(self, wordnet: WordNet, word: str, parts: set[str]):
        assert wordnet.parts_of_speech(word) == parts

    @given(st.text(alphabet="aefgilmnrsv _sS", max_size=12))
    def test_every_base_form_is_a_lemma(self, wordnet: WordNet, text: str):
        bases = wordnet.base_forms(text)
        assert all(wordnet.is_noun(base) for base in bases)
        assert wordnet.is_noun(text) == (bool(bases) and bases[-1] == " ".join(text.replace("_", " ").lower().split()))
        assert (wordnet.morphy(text) is None) == (not bases)


class TestPlaces:
    def test_a_folder_or_its_dict(self, tmp_path: Path):
        write_wordnet(tmp_path / "WordNet-3.0" / "dict")
        assert find_wordnet(tmp_path / "WordNet-3.0") == tmp_path / "WordNet-3.0" / "dict"
        assert find_wordnet(tmp_path / "WordNet-3.0" / "dict") == tmp_path / "WordNet-3.0" / "dict"

    @pytest.mark.parametrize(("variable", "below"), [("WNHOME", "dict"), ("WNSEARCHDIR", "")])
    def test_the_usual_variables(self, tmp_path: Path, monkeypatch, variable: str, below: str):
        write_wordnet(tmp_path / below)
        monkeypatch.setenv(variable, str(tmp_path))
        assert find_wordnet() == tmp_path / below

    def test_missing_says_how_to_get_it(self, tmp_path: Path):
        with pytest.raises(InputError, match="apt install wordnet-base") as caught:
            read_wordnet(tmp_path)
        assert str(tmp_path) in str(caught.value)

    def test_only_the_nouns_are_needed(self, tmp_path: Path):
        write_wordnet(tmp_path)
        for file in tmp_path.iterdir():
            if file.name != "index.noun":
                file.unlink()
        wordnet = read_wordnet(tmp_path)
        assert wordnet.base_forms("finches") == ("finch",)
        assert wordnet.parts_of_speech("moving") == frozenset()
        with pytest.raises(InputError, match=r"data\.noun"):
            wordnet.synsets("bird")


class TestDamage:
    @pytest.mark.parametrize(
        ("content", "what"),
        [
            ("", "no entries"),
            (LICENCE, "no entries"),
            (LICENCE + "bird n 1 1 @ 1 0 0000", "cut off"),
            (LICENCE + "bird n 2 1 @ 2 0 00001740  \n", "1 synsets, not 2"),
            (LICENCE + "bird n one 1 @ 1 0 00001740  \n", "line 30"),
            (LICENCE + "bird\n", "line 30"),
            (LICENCE + "bird n 1 1 @ 1 0 00001740  \n\n", "line 31"),
        ],
    )
    def test_an_index_is_whole_or_refused(self, tmp_path: Path, content: str, what: str):
        (tmp_path / "index.noun").write_text(content)
        with pytest.raises(InputError, match=what) as caught:
            read_wordnet(tmp_path)
        assert "wordnet-base" in caught.value.remedy

    def test_bytes_that_are_no_text(self, tmp_path: Path):
        (tmp_path / "index.noun").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError):
            read_wordnet(tmp_path)

    def test_data_of_another_release(self, tmp_path: Path):
        write_wordnet(tmp_path)
        data = tmp_path / "data.noun"
        data.write_text("  0 one more line of licence\n" + data.read_text())
        with pytest.raises(InputError, match="no synset at"):
            read_wordnet(tmp_path).synsets("bird")


class TestCoverage:
    def test_by_hand(self):
        found = coverage(
            ["Arctic_Tern", "Black-footed Albatross", "Colt's foot", "Yugo"], ["arctic tern", "colts foot"]
        )
        assert found.found == ("Arctic_Tern", "Colt's foot")
        assert found.missing == ("Black-footed Albatross", "Yugo")
        assert found.share == 0.5
        assert str(found) == "2 of 4 (50.0 %)"

    def test_nothing_is_covered_by_nothing(self):
        assert math.isnan(coverage([], ["a"]).share)
        assert coverage(["bird", "!"], ["?", "."]).share == 0, "what normalises to nothing is no name"

    @given(st.lists(st.text(alphabet="abc -'", min_size=1)), st.lists(st.text(alphabet="abc -'")))
    def test_every_name_is_found_or_missing(self, names: list[str], lemmas: list[str]):
        found = coverage(names, lemmas)
        assert sorted(found.found + found.missing) == sorted(names)
        assert set(coverage(names, [*lemmas, *names]).missing) <= {name for name in names if not name.strip(" -'")}


def _installed() -> bool:
    try:
        find_wordnet()
    except InputError:
        return False
    return True


@pytest.mark.skipif(not _installed(), reason="WordNet is not installed (wordnet-base)")
def test_the_installed_files():
    wordnet = read_wordnet()
    assert len(wordnet.nouns) > 100_000
    assert wordnet.base_forms("geese") == ("goose",)
    assert wordnet.morphy("Birds of paradise") == "bird of paradise"
    assert wordnet.parts_of_speech("sitting") >= {"noun", "verb"}
    (bunting,) = wordnet.synsets("indigo bunting")
    assert "Passerina cyanea" in bunting.lemmas
    assert "bunting" in wordnet.synset(bunting.hypernyms[0]).lemmas


COVERED = {"cub200": 71, "cars196": 0, "dogs120": 114, "flowers102": 69, "pets37": 23}


@pytest.mark.real
@pytest.mark.skipif("FGVR_SHARED" not in os.environ or not _installed(), reason="needs FGVR_SHARED and WordNet")
def test_coverage_of_the_papers_class_lists():
    """The lists as FineR's lineage has them, typos included."""
    nouns = read_wordnet().nouns
    assert len(nouns) == NOUNS_OF_3_0
    lists = Path(os.environ["FGVR_SHARED"]) / "data/vectors/clip_vitb16_support"
    names = {name: (lists / f"{name}_classnames.txt").read_text("utf-8").splitlines() for name in COVERED}
    assert {name: len(coverage(names[name], nouns).found) for name in COVERED} == COVERED
