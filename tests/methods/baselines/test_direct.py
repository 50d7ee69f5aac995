"""The MLLM on every image: the papers' words letter by letter, replies read alike, silence never a name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgvr.encoders import load_encoder
from fgvr.errors import InputError, MllmError
from fgvr.fieldguide.guide import accepted_names
from fgvr.labels import normalise
from fgvr.methods.baselines import direct
from fgvr.methods.baselines.direct_prompts import NAMES, QUESTIONS, filled, plural, question
from fgvr.mllm import Reply, Request, ScriptedMllm, load_mllm
from fgvr.mllm.cache import ResponseCache
from fgvr.mllm.replay import ReplayMllm
from fgvr.types import ImageItem, Usage
from tests.methods.baselines.few_pictures import SPECIES, by_picture, draw, task, truth

BIRD = {"category": "bird", "unit": "species", "expert": "zoologist"}


class TestPrompts:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("paper", "Provide a best fine-grained class label for this image"),
            ("paper_introduction", "Provide a best fine-grained class label for this image."),
            ("cased_caption", "Question: what's in the image? Answer:"),
            ("cased_list", "Question: list the objects in the image. Answer:"),
            ("cased_single", "Question: what's the name of the object in the image? Answer: a"),
            ("finer", "Questions: What is the species of the bird in this photo? Answer:"),
            ("findr_base", "What is the exact main object in the provided image?"),
            ("findr_meta", "What is the exact bird species in the provided image?"),
            ("findr_expert", "What is the exact bird species in the provided image?"),
            (
                "findr_limits",
                "What is the exact bird species in the provided image?\nEnsure that only one specific bird species is "
                "suggested, do not suggest species combinations or hybrids.",
            ),
            (
                "fine_r1",
                "Given the question: What kind of bird is this?. This is a fine-grained question. Output reasoning in "
                "<think></think> and the final answer in <answer></answer>.",
            ),
            ("fine_r1_question", "What kind of bird is this?"),
            (
                "rar",
                "Please play the role of a classification expert, and sort the provided categories from high to low "
                "according to the top 5 similarity with the input image.Here are the optional categories:"
                "['Arctic Tern', \"Forster's Tern\"].Your answer should follow the following format, like:"
                "['category A', 'category B', 'category C', 'category D', 'category E']. Only choose five categories, "
                "and no further information.",
            ),
        ],
    )
    def test_letter_by_letter(self, name: str, text: str):
        names = ("Arctic Tern", "Forster's Tern")
        asked, system = filled(question(name), **BIRD, names=names)
        assert asked == text
        expert = "You are a professional zoologist and an expert in bird classification."
        assert system == (expert if name in ("findr_expert", "findr_limits") else None)

    def test_every_question_has_its_golden_text_and_source(self):
        (golden,) = (mark for mark in self.test_letter_by_letter.pytestmark if mark.name == "parametrize")
        assert [*QUESTIONS] == sorted((case[0] for case in golden.args[1]), key=[*QUESTIONS].index)
        assert {*NAMES} == {*QUESTIONS, "structured"}
        assert all(len(one.source) > 10 for one in QUESTIONS.values())

    def test_breeds_and_species(self):
        assert (plural("breed"), plural("species")) == ("breeds", "species")
        text, _ = filled(question("findr_limits"), category="dog", unit="breed", expert="vet")
        assert "specific dog breed is suggested, do not suggest breeds combinations" in text

    def test_names_may_hold_braces(self):
        assert "{odd}" in filled(question("rar"), names=["{odd}"])[0]

    def test_what_is_missing_is_named(self):
        with pytest.raises(InputError, match=r"category and expert.*category=bird\+expert=ornithologist"):
            filled(question("findr_expert"), unit="species")
        with pytest.raises(InputError, match="Use one of: paper"):
            question("best")


class TestReading:
    @pytest.mark.parametrize(
        ("reply", "name"),
        [
            ("<think>A black cap. Common Tern?</think> <answer>Arctic Tern</answer>", "Arctic Tern"),
            ("<think>..</think>\n<answer>\nArctic Tern\n</answer>\n", "Arctic Tern"),
            ("<answer>Common Tern</answer> no: <answer>Arctic Tern</answer>", None),
            ("<answer>Arctic Ter", None),
            ("<think>cut off before it sa", None),
            ("The bird is an **Arctic Tern**.", "Arctic Tern"),
            ("['Arctic Tern', 'Common Tern']", "Arctic Tern"),
        ],
    )
    def test_the_part_that_answers(self, reply: str, name: str | None):
        found = direct.read(reply)
        assert found.name == name
        assert found.reply == reply

    @given(st.lists(st.sampled_from(["<answer>", "</answer>", "<think>", ",", "Tern", " ", "\n", "{"])), st.booleans())
    def test_no_reply_raises(self, parts: list[str], listed: bool):
        reply = "".join(parts)
        assert direct.read(reply, "a", listed=listed).reply == reply

    def test_a_list_begins_with_its_first(self):
        assert direct.read("Arctic Tern, sea, sky", listed=True).name == "Arctic Tern"
        assert direct.read(" , , ", listed=True).name is None
        assert direct.read("<answer>Arctic Tern, sea, sky</answer>", listed=True).name == "Arctic Tern"


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("fieldguide", device="cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[ImageItem]:
    return draw(tmp_path_factory.mktemp("pictures"), per_species=1)


def told(pictures: list[ImageItem], replies: list, **options) -> tuple[ScriptedMllm, list[Request]]:
    """An MLLM that says these things of these pictures, and what it was asked."""
    asked: list[Request] = []
    known = by_picture(pictures, replies)

    def script(request: Request):
        asked.append(request)
        return known[request.image_hashes[0]]

    return ScriptedMllm(script, **options), asked


class TestMethod:
    def test_names_refusals_and_silence_are_three_things(self, tmp_path: Path, encoder, pictures):
        sure = Reply("", "Ashgrove Woodpecker", "scripted", Usage(calls=1), confidence=0.25)
        stated = json.dumps({"common_name": "Red Fox", "confidence": 0.75})
        replies = ["This is a Two-barred Vireo.", "I'm sorry, I can't tell.", MllmError("broken"), sure, stated]
        mllm, asked = told(pictures, replies)
        found = direct.name_images(task(tmp_path, pictures, encoder, mllm=mllm), direct.Settings())
        assert found.names == ("Two-barred Vireo", None, None, "Ashgrove Woodpecker", "Red Fox")
        assert found.probabilities == (1.0, 0.0, 0.0, 0.25, 0.75)
        assert found.figures == {"unanswered": 1.0, "refused": 1.0, "replies without a name": 0.0}
        assert found.vocabulary == ()
        assert {one.prompt for one in asked} == {"Provide a best fine-grained class label for this image"}

    def test_the_system_message_and_room_for_reasons(self, tmp_path: Path, encoder, pictures):
        mllm, asked = told(pictures, [truth(item) for item in pictures])
        offered = task(tmp_path, pictures, encoder, mllm=mllm)
        chosen = direct.Settings(prompt="findr_expert", category="bird", expert="zoologist")
        found = direct.name_images(offered, chosen)
        assert found.names == tuple(truth(item) for item in pictures)
        assert {one.system for one in asked} == {
            "You are a professional zoologist and an expert in bird classification."
        }
        assert {one.parameters.max_tokens for one in asked} == {512}
        assert "told: category bird, unit species, expert zoologist" in found.notes
        asked.clear()
        direct.name_images(offered, dataclasses.replace(chosen, max_tokens=9))
        assert {one.parameters.max_tokens for one in asked} == {9}

    def test_the_papers_question_is_the_one_that_labels_the_support_set(self, tmp_path: Path, encoder, pictures):
        """Where a picture is in both sets, its reply is bought once."""
        mllm, asked = told(pictures, [truth(item) for item in pictures])
        cache = ResponseCache(tmp_path / "cache.sqlite")
        offered = task(tmp_path, pictures, encoder, mllm=mllm, asking=lambda: {"cache": cache})
        offered.label_support()
        assert len(asked) == len(pictures)
        found = direct.name_images(offered, direct.Settings())
        cache.close()
        assert found.names == tuple(truth(item) for item in pictures)
        assert len(asked) == len(pictures)

    def test_rars_list_is_what_the_mllm_said_of_the_support_set(self, tmp_path: Path, encoder, pictures):
        support = draw(tmp_path / "support", per_species=1, first=900_600_000)
        mllm, asked = told(
            [*pictures, *support],
            [*(f"['{truth(item)}', 'Crow']" for item in pictures), *(truth(item) for item in support)],
        )
        offered = task(tmp_path, pictures, encoder, support=support, mllm=mllm)
        found = direct.name_images(offered, direct.Settings(prompt="rar"))
        assert found.names == tuple(truth(item) for item in pictures)
        shown = {one.prompt for one in asked if "optional categories" in one.prompt}
        assert len(shown) == 1
        assert all(species.name in next(iter(shown)) for species in SPECIES)
        assert len(asked) == direct.calls(len(support), len(pictures), direct.Settings(prompt="rar"))

    def test_the_structured_prompt_asks_of_the_collection_first(self, tmp_path: Path, encoder, pictures):
        asked: list[Request] = []

        def script(request: Request) -> str:
            asked.append(request)
            return "birds" if request.stage == "meta" else json.dumps({"common_name": "Red Fox", "confidence": 0.5})

        offered = task(tmp_path, pictures, encoder, mllm=ScriptedMllm(script))
        found = direct.name_images(offered, direct.Settings(prompt="structured"))
        assert found.names == ("Red Fox",) * 5
        assert found.probabilities == (0.5,) * 5
        assert "asked of birds" in found.notes
        assert len(asked) == direct.calls(3, 5, direct.Settings(prompt="structured")) == 6

    def test_replayed_replies(self, tmp_path: Path, encoder, pictures):
        rows = [{"image": item.id, "model": "recorder", "reply": f"It is a {truth(item)}."} for item in pictures[1:]]
        (tmp_path / "replies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        offered = task(tmp_path, pictures, encoder, mllm=ReplayMllm(tmp_path / "replies.jsonl"))
        found = direct.name_images(offered, direct.Settings(prompt="findr_base"))
        assert found.names == (None, *(truth(item) for item in pictures[1:]))
        assert found.figures["unanswered"] == 1
        assert any(note.startswith("replayed") for note in found.notes)

    def test_the_embedded_mllm(self, tmp_path: Path, encoder, pictures):
        offered = task(tmp_path, pictures, encoder, mllm=load_mllm("fieldguide", batch_size=8))
        found = direct.name_images(offered, direct.Settings())
        accepted = [{normalise(name) for name in accepted_names(species)} for species in SPECIES]
        assert sum(normalise(name or "") in names for name, names in zip(found.names, accepted, strict=True)) >= 2
        assert all(0 < chance <= 1 for chance in found.probabilities)

    def test_nothing_is_asked_before_the_words_are_there(self, tmp_path: Path, encoder, pictures):
        offered = task(tmp_path, pictures, encoder)  # whose MLLM fails when asked
        for chosen in (
            direct.Settings(prompt="findr_meta"),
            direct.Settings(prompt="nonsense"),
            direct.Settings(max_tokens=0),
        ):
            with pytest.raises(InputError):
                direct.name_images(offered, chosen)
