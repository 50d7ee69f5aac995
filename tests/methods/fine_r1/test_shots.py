"""Division into seen and unseen classes and into pictures for SFT, reinforcement learning and testing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fgvr.data.benchmarks.fine_r1 import COUNTS
from fgvr.errors import InputError
from fgvr.methods.fine_r1.class_names import class_key, look_alikes, nearly_same
from fgvr.methods.fine_r1.shots import divide, given_out
from fgvr.types import ImageItem


def items(sizes: dict[str, int], folder: Path = Path("nowhere"), prefix: str = "") -> list[ImageItem]:
    return [
        ImageItem(f"{prefix}{name}/{n}.jpg", folder / f"{prefix}{name}/{n}.jpg", name)
        for name, size in sizes.items()
        for n in range(size)
    ]


def on_disk(folder: Path, files: dict[str, tuple[str, bytes]]) -> list[ImageItem]:
    found = []
    for id_, (label, data) in files.items():
        path = folder / id_
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        found.append(ImageItem(id_, path, label))
    return found


def labels(part) -> Counter:
    return Counter(item.label for item in part)


FIVE = dict.fromkeys(("robin", "wren", "owl", "kite", "crow"), 20)
TEN = {f"class {letter}": 20 for letter in "abcdefghij"}


class TestClasses:
    @pytest.mark.parametrize("name", sorted(COUNTS))
    def test_the_published_numbers_of_classes(self, name):
        published = COUNTS[name]
        seen, unseen = published["seen"][0], published["unseen"][0]
        division = divide([ImageItem(f"{n}", Path("x"), f"class x{n} y") for n in range(seen + unseen)])
        assert (len(division.seen), len(division.unseen)) == (seen, unseen)

    def test_super_categories_are_divided_one_by_one(self):
        kinds = {name: "bird" if name < "class f" else "dog" for name in TEN}
        for seed in range(8):
            division = divide(items(TEN), super_category=kinds, seed=seed)
            assert Counter(kinds[name] for name in division.seen) == {"bird": 3, "dog": 3}
        assert any(
            Counter(kinds[name] for name in divide(items(TEN), seed=seed).seen) != {"bird": 3, "dog": 3}
            for seed in range(8)
        )

    def test_every_super_category_keeps_one_seen_class_and_two_are_seen_in_all(self):
        kinds = {name: name for name in FIVE}
        assert len(divide(items(FIVE), super_category=kinds).seen) == 5
        division = divide(items({"robin": 20, "owl": 20}))
        assert (division.seen, division.unseen) == (("owl", "robin"), ())
        assert "There is no unseen class." in division.notes

    def test_classes_are_drawn_by_seed(self):
        assert len({divide(items(TEN), seed=seed).unseen for seed in range(10)}) > 5

    def test_named_unseen_classes(self):
        division = divide(items(FIVE), unseen=["Owls", "kite"])
        assert division.unseen == ("kite", "owl")
        with pytest.raises(InputError, match=r"no pictures.*eagle"):
            divide(items(FIVE), unseen=["owl", "eagle"])
        with pytest.raises(InputError, match="one text"):
            divide(items(FIVE), unseen="owl")

    def test_no_share_no_unseen_class(self):
        assert divide(items(FIVE), unseen_share=0.0).unseen == ()

    def test_spellings_are_one_class(self):
        found = [*items({"Grey_Jays": 3, "gray jay": 9}), *items({"owl": 12})]
        division = divide(found, unseen_share=0.0)
        assert division.seen == ("gray jay", "owl")
        assert len(division.rl) == 8
        assert "1 classes are written in more than one way and taken as one, such as gray jay." in division.notes

    @pytest.mark.parametrize("sizes", [{}, {"owl": 9}, {"owl": 9, "Owls": 9}])
    def test_fewer_than_two_classes(self, sizes):
        with pytest.raises(InputError, match="two seen classes"):
            divide(items(sizes))

    @pytest.mark.parametrize("unseen", [list(FIVE), ["robin", "wren", "owl", "kite"]])
    def test_fewer_than_two_seen_classes(self, unseen):
        with pytest.raises(InputError, match="two seen classes"):
            divide(items(FIVE), unseen=unseen)


class TestPictures:
    def test_four_shots_one_for_sft_the_rest_for_testing(self):
        division = divide(items(FIVE))
        assert labels(division.sft) == dict.fromkeys(division.seen, 1)
        assert labels(division.rl) == dict.fromkeys(division.seen, 4)
        assert labels(division.test) == {**dict.fromkeys(division.seen, 15), **dict.fromkeys(division.unseen, 20)}
        assert division.set_aside == ()
        assert division.notes == ()

    @pytest.mark.parametrize(
        ("count", "rl", "sft", "left"),
        [(1, 1, 0, 0), (2, 2, 0, 0), (3, 2, 1, 0), (4, 2, 1, 1), (5, 3, 1, 1), (6, 4, 1, 1), (9, 4, 1, 4)],
    )
    def test_small_classes(self, count, rl, sft, left):
        assert given_out(count) == (rl, sft)
        division = divide(items({"owl": count, "robin": 9}), unseen_share=0.0)
        found = [labels(part)["owl"] for part in (division.rl, division.sft, division.test)]
        assert found == [rl, sft, left]

    @pytest.mark.parametrize(("count", "rl", "sft"), [(1, 1, 0), (2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 4, 1), (6, 4, 1)])
    def test_small_classes_with_a_test_folder_give_all_to_training(self, count, rl, sft):
        assert given_out(count, testing=False) == (rl, sft)

    def test_small_classes_are_noted(self):
        notes = divide(items({"owl": 1, "robin": 9, "wren": 2}), unseen_share=0.0).notes
        assert notes == (
            "2 classes have fewer than 5 training pictures, such as owl.",
            "1 classes have one training picture, and no positive, such as owl.",
            "2 classes have no picture for SFT, such as owl.",
            "2 classes are not tested, such as owl.",
            "There is no unseen class.",
        )

    def test_tests_are_capped_and_the_same_for_any_shots(self):
        tests = [divide(items(FIVE), tests_per_class=3, shots=shots).test for shots in (1, 4, 8)]
        assert tests[0] == tests[1] == tests[2]
        assert labels(tests[0]) == dict.fromkeys(FIVE, 3)
        assert divide(items(FIVE), tests_per_class=0).test == ()

    def test_fewer_shots_are_among_the_more(self):
        one, four = (divide(items(FIVE), shots=shots) for shots in (1, 4))
        assert set(one.rl) < set(four.rl)
        assert one.sft == four.sft

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(st.integers(1, 9), min_size=2, max_size=6),
        st.integers(0, 99),
        st.integers(1, 5),
        st.integers(0, 2),
        st.randoms(use_true_random=False),
    )
    def test_what_holds_for_any_input(self, sizes, seed, shots, sft, random):
        given = items({f"class {'abcdef'[n]}": size for n, size in enumerate(sizes)})
        if max(sizes) < 8:
            given += items({"class z": 12})
        division = divide(given, seed=seed, shots=shots, sft_per_class=sft)
        parts = [item.id for part in (division.sft, division.rl, division.test) for item in part]
        assert sorted(parts) == sorted(item.id for item in given)
        assert {item.label for item in division.rl} == set(division.seen)
        assert {item.label for item in division.sft} <= set(division.seen)
        assert max(labels(division.rl).values()) <= shots
        assert not set(division.seen) & set(division.unseen)
        shuffled = [*given]
        random.shuffle(shuffled)
        assert divide(shuffled, seed=seed, shots=shots, sft_per_class=sft) == division

    def test_nothing_left_to_test_on(self):
        with pytest.raises(InputError, match="test on"):
            divide(items({"owl": 2, "robin": 2}), unseen_share=0.0)


class TestCopies:
    def test_the_same_bytes_count_once_or_not_at_all(self, tmp_path):
        files = {f"owl/{n}": ("owl", b"owl %d" % n) for n in range(9)} | {
            f"wren/{n}": ("wren", b"wren %d" % n) for n in range(9)
        }
        files |= {"owl/copy": ("Owls", b"owl 3"), "wren/stray": ("wren", b"owl 5")}
        division = divide(on_disk(tmp_path, files), unseen_share=0.0)
        assert [(one.id, one.reason) for one in division.set_aside] == [
            ("owl/5", "two classes"),
            ("owl/copy", "duplicate"),
            ("wren/stray", "two classes"),
        ]
        used = {item.id for part in (division.sft, division.rl, division.test) for item in part}
        assert used == files.keys() - {"owl/5", "owl/copy", "wren/stray"}

    def test_known_hashes_are_used(self):
        given = items({"owl": 9, "wren": 9})
        hashes = {item.id: f"{number}" for number, item in enumerate(given)} | {"owl/3.jpg": "0"}
        assert [one.id for one in divide(given, hashes=hashes).set_aside] == ["owl/3.jpg"]

    def test_two_items_of_one_id(self):
        with pytest.raises(InputError, match="same id"):
            divide([*items(FIVE), ImageItem("owl/0.jpg", Path("other"), "owl")])

    def test_pictures_without_a_name(self):
        division = divide([*items(FIVE), ImageItem("?", Path("?"), None), ImageItem("!", Path("!"), " ")])
        assert [(one.id, one.reason) for one in division.set_aside] == [("!", "no name"), ("?", "no name")]


class TestOwnTestFolder:
    def train(self, folder: Path) -> list[ImageItem]:
        return on_disk(
            folder / "train",
            {
                f"{name}/{n:05}.jpg": (name, f"{name} {n}".encode())
                for name in ("owl", "wren", "crow")
                for n in range(6)
            },
        )

    def test_it_replaces_the_rest_and_copies_of_training_pictures_are_leaks(self, tmp_path):
        train = self.train(tmp_path)
        files = {f"{name}/t{n}.jpg": (name, f"test {name} {n}".encode()) for name in ("owl", "kite") for n in range(3)}
        test = on_disk(tmp_path / "test", files | {"owl/leak.jpg": ("owl", b"owl 0"), "x.jpg": ("", b"x")})
        division = divide(train, test=test, unseen_share=0.0, shots=5)
        assert division.seen == ("crow", "owl", "wren")
        assert division.unseen == ("kite",)
        assert labels(division.test) == {"owl": 3, "kite": 3}
        assert [(one.id, one.reason) for one in division.set_aside] == [("owl/leak.jpg", "leak"), ("x.jpg", "no name")]
        assert len(division.rl) == 15
        assert any("are not tested" in note for note in division.notes)

    def test_unused_training_pictures_are_told(self, tmp_path):
        test = on_disk(tmp_path / "test", {f"{n}.jpg": (n, n.encode()) for n in ("owl", "wren", "crow")})
        division = divide(self.train(tmp_path), test=test, unseen=["crow"])
        assert division.unseen == ("crow",)
        assert "8 pictures given for training are neither trained on nor tested." in division.notes

    def test_shared_file_names_are_no_leak_and_noted(self, tmp_path):
        files = {f"{name}/{n:05}.jpg": (name, f"t {name} {n}".encode()) for name in ("owl", "wren") for n in range(6)}
        division = divide(self.train(tmp_path), test=on_disk(tmp_path / "test", files), unseen_share=0.0, shots=5)
        assert division.set_aside == ()
        assert len(division.test) == 12
        assert (
            "6 file names occur in training and test, such as 00000.jpg: join by path, not by name." in division.notes
        )

    def test_test_pictures_are_capped_too(self, tmp_path):
        files = {f"{name}/t{n}.jpg": (name, f"t {name} {n}".encode()) for name in ("owl", "kite") for n in range(6)}
        test = on_disk(tmp_path / "test", files)
        assert labels(divide(self.train(tmp_path), test=test, tests_per_class=2).test) == {"owl": 2, "kite": 2}

    def test_all_leaks_leave_nothing(self, tmp_path):
        train = self.train(tmp_path)
        with pytest.raises(InputError, match="test on"):
            divide(train, test=[replace(item, id=f"t/{item.id}") for item in train], unseen_share=0.0, shots=5)


class TestNearNames:
    @pytest.mark.parametrize(
        ("one", "other"),
        [("Leonberg", "Leonberger"), ("Siamese", "Siamese_cat"), ("brewer blackbird", "Brewer's_Blackbird")],
    )
    def test_nearly_the_same(self, one, other):
        assert nearly_same(one, other)
        assert nearly_same(other, one)
        assert look_alikes([one, "zebra"], [other, "apple"]) == [(one, other)]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("A320", "A321"),
            ("Boeing 737-200", "Boeing 737-300"),
            ("Audi S4 2007", "Audi S4 2012"),
            ("Western Gull", "Eastern Gull"),
            ("Fish Crow", "Crow"),
            ("Red Fox", "Redd Fox"),
            ("", "owl"),
        ],
    )
    def test_different(self, one, other):
        assert not nearly_same(one, other)
        assert look_alikes([one], [other]) == []

    def test_they_are_noted_across_seen_and_unseen(self):
        given = items({"Leonberg": 9, "Leonberger": 9, "beagle": 9, "poodle": 9})
        (note,) = divide(given, unseen=["Leonberg"]).notes
        assert note == "Seen Leonberger and unseen Leonberg may be one class, which then is not unseen."

    @given(*[st.lists(st.sampled_from(["leon", "leonb", "Leonberg", "leonberger", "cat", "a3"])).map(" ".join)] * 2)
    def test_the_shortcut_finds_what_all_pairs_find(self, one, other):
        assert bool(look_alikes([one], [other])) == nearly_same(one, other)

    def test_class_keys(self):
        assert class_key("Grey_Jays") == class_key("gray jay")
        assert class_key("737-200") != class_key("737-300")
        assert class_key("?!") == "?!"


@pytest.mark.parametrize(
    "options",
    [{"unseen_share": 1.0}, {"unseen_share": -0.1}, {"shots": 0}, {"sft_per_class": -1}, {"tests_per_class": -1}],
)
def test_settings_out_of_range(options):
    with pytest.raises(InputError):
        divide(items(FIVE), **options)
