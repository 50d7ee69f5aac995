"""Which classes are seen, and which pictures are for SFT, for reinforcement learning and for testing.

Paper, sections 3 and 4: 60 per cent of each data set's classes are seen; one image a seen class for SFT, four others
for reinforcement learning; seen and unseen classes are tested. The split itself is published only as question files.

1. *How many.* ``floor(0.6 n)`` seen classes of a super-category's ``n``, which gives the published counts of all six
   data sets. Which ones is drawn here by seed and name, in any order of the input; ``unseen`` names them instead.
2. *At least one* class of a super-category is seen and two in all; negatives need two.
3. *Small classes.* A seen class's pictures are given out in this order: two for reinforcement learning (anchor and
   positive), those for SFT, one for testing (unless ``test`` is given), the other shots, the rest for testing. So a
   class of one picture is trained on without a positive, one of two has no SFT picture, one of three none for testing.
4. *The same bytes* twice in a class count once (``duplicate``); under two classes they count as neither's (``two
   classes``); in training and in the user's own test folder they are no test (``leak``).
5. *File names.* Stanford Cars' train and test share file names. That is no leak and is noted: join by path, never by
   file name.
6. *Names.* An unseen class that is nearly a seen one's namesake (Leonberg, Leonberger) is noted.

Reason codes: ``no name``, ``duplicate``, ``two classes``, ``leak``. Files that cannot be read are not compared;
the decoder judges them: hand in pictures that a ``FeatureStore`` could read, else a class may come out a shot short.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from fgvr.errors import ImageError, InputError
from fgvr.images import available_cpus, content_hash
from fgvr.methods.fine_r1.class_names import (
    SuperCategory,
    by_class,
    class_key,
    look_alikes,
    rank,
    super_categories,
    written,
)
from fgvr.types import ImageItem, SetAside

Classes = Mapping[str, Sequence[ImageItem]]
MOST_TOLD = 5
"""Pairs of classes in the notes."""


@dataclass(frozen=True)
class Division:
    """Disjoint sets of pictures, each sorted by id; class names as most of their pictures write them, sorted."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    sft: tuple[ImageItem, ...]
    rl: tuple[ImageItem, ...]
    test: tuple[ImageItem, ...]
    """Of seen and unseen classes."""
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()
    """What a figure on this division must state."""


def divide(
    items: Sequence[ImageItem],
    *,
    unseen_share: float = 0.4,
    unseen: Collection[str] | None = None,
    shots: int = 4,
    sft_per_class: int = 1,
    tests_per_class: int | None = None,
    test: Sequence[ImageItem] | None = None,
    super_category: SuperCategory = None,
    hashes: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Division:
    """Divide labelled pictures; see the module for the rules.

    Args:
        unseen_share: of each super-category's classes, in [0, 1); 0 where only the own classes matter.
        unseen: names of the unseen classes instead of a draw.
        tests_per_class: at most so many; the same ones whatever ``shots`` is.
        test: pictures to test on instead of what training leaves over; classes that only they show are unseen.
        hashes: SHA-256 by id of ``items`` where known; the other files are read once.

    Raises ``InputError`` for settings out of range, two items of one id, fewer than two classes, fewer than two seen
    ones, an unseen name without pictures, or no test picture left where some were asked for.
    """
    _check(unseen_share, shots, sft_per_class, tests_per_class)
    pool, aside = _distinct(items, hashes or {})
    own_tests, unnamed = _named(test or ())
    classes, everywhere = by_class(pool), by_class([*pool, *own_tests])
    names = {key: written(members) for key, members in everywhere.items()}
    kinds = super_categories(names, super_category)
    if unseen is not None:
        seen = _all_but(unseen, classes, names)
    else:
        seen = _drawn(classes, kinds, share=unseen_share, seed=seed)
    _require_two(seen, names)
    sft: list[ImageItem] = []
    rl: list[ImageItem] = []
    left: dict[str, Sequence[ImageItem]] = {key: members for key, members in classes.items() if key not in seen}
    for key in sorted(seen):
        ranked = _ranked(classes[key], seed)
        n_rl, n_sft = given_out(len(ranked), shots=shots, sft=sft_per_class, testing=test is None)
        sft += ranked[:n_sft]
        rl += ranked[n_sft : n_sft + n_rl]
        left[key] = ranked[n_sft + n_rl :]
    tests, leaks = ([*own_tests], []) if test is None else _without_leaks(own_tests, [*sft, *rl])
    for_test = by_class(tests) if test is not None else left
    chosen = _by_id(item for group in for_test.values() for item in _capped(group, tests_per_class, seed))
    if not chosen and tests_per_class != 0:
        remedy = "Give more pictures a class, or a test folder of its own."
        raise InputError("no picture is left to test on", remedy=remedy, set_aside=len(leaks) + len(unnamed))
    division = Division(
        seen=tuple(sorted(names[key] for key in seen)),
        unseen=tuple(sorted(names[key] for key in names.keys() - seen)),
        sft=_by_id(sft),
        rl=_by_id(rl),
        test=chosen,
        set_aside=tuple(sorted((*aside, *unnamed, *leaks), key=lambda one: (one.id, one.reason))),
    )
    train = {names[key]: classes[key] for key in sorted(seen)}
    notes = _notes(division, train, everywhere, full=shots + sft_per_class, sft=sft_per_class > 0)
    if test is not None:
        notes += _shared_file_names(division)
        if unused := sum(map(len, left.values())):
            notes.append(f"{unused} pictures given for training are neither trained on nor tested.")
    return replace(division, notes=tuple(notes))


def given_out(count: int, *, shots: int = 4, sft: int = 1, testing: bool = True) -> tuple[int, int]:
    """(pictures for reinforcement learning, for SFT) of a seen class of ``count``; the module's rule 3."""
    pair = min(2, shots)
    order = ["rl"] * pair + ["sft"] * sft + ["test"] * testing + ["rl"] * (shots - pair)
    return order[:count].count("rl"), order[:count].count("sft")


def _check(share: float, shots: int, sft: int, tests: int | None) -> None:
    if not 0 <= share < 1 or shots < 1 or sft < 0 or (tests is not None and tests < 0):
        remedy = "Take an unseen share in [0, 1), one shot or more, and no negative number."
        raise InputError("pictures cannot be divided so", remedy=remedy, unseen_share=share, shots=shots, sft=sft)


# --- classes ----------------------------------------------------------------------------------------------------------


def _drawn(classes: Classes, kinds: Mapping[str, str], *, share: float, seed: int) -> set[str]:
    """Keys of the seen classes, drawn within each super-category among those that have training pictures."""
    groups: dict[str, list[str]] = defaultdict(list)
    for key, kind in kinds.items():
        groups[kind].append(key)
    seen: set[str] = set()
    for members in groups.values():
        wanted = max(1, math.floor(round((1 - share) * len(members), 9)))  # 0.6 * 5 must be 3, not 2.9999
        seen.update(sorted(classes.keys() & members, key=lambda key: (rank(seed, key), key))[:wanted])
    others = sorted(classes.keys() - seen, key=lambda key: (rank(seed, key), key))
    return seen | set(others[: max(0, 2 - len(seen))])


def _all_but(unseen: Collection[str], classes: Classes, names: Mapping[str, str]) -> set[str]:
    if isinstance(unseen, str):
        raise InputError("unseen is one text", remedy="Give a list of class names.", unseen=unseen)
    if unknown := sorted(name for name in unseen if class_key(name) not in names):
        remedy = "Write the names as the labels do; spelling and plural need not agree."
        raise InputError(
            "an unseen class has no pictures", remedy=remedy, classes=len(names), unknown=", ".join(unknown[:5])
        )
    return set(classes) - {class_key(name) for name in unseen}


def _require_two(seen: Collection[str], names: Mapping[str, str]) -> None:
    if len(seen) < 2:
        remedy = "Give labelled pictures of two or more classes to train on; negatives come from another class."
        raise InputError("there are fewer than two seen classes", remedy=remedy, classes=len(names), seen=len(seen))


# --- pictures ---------------------------------------------------------------------------------------------------------


def _named(items: Iterable[ImageItem]) -> tuple[list[ImageItem], list[SetAside]]:
    """Items with a name, each id once, and those without."""
    good: dict[str, ImageItem] = {}
    bad = []
    for item in items:
        if not (item.label or "").strip():
            bad.append(SetAside(item.id, str(item.path), "no name", "Fine-R1 learns from named pictures"))
        elif good.setdefault(item.id, item) is not item:
            raise InputError("two pictures have the same id", remedy="Give every picture an id of its own.", id=item.id)
    return [*good.values()], bad


def _distinct(items: Sequence[ImageItem], known: Mapping[str, str]) -> tuple[list[ImageItem], list[SetAside]]:
    """Named items without copies (the module's rule 4)."""
    good, aside = _named(items)
    groups: dict[str, list[ImageItem]] = defaultdict(list)
    for item, digest in _hashed(good, known):
        groups[digest or f"unreadable {item.id}"].append(item)
    kept = []
    for group in groups.values():
        first, *copies = sorted(group, key=lambda one: one.id)
        if len({class_key(item.label or "") for item in group}) > 1:
            found = ", ".join(sorted({item.label or "" for item in group}))
            aside += [SetAside(one.id, str(one.path), "two classes", f"the same bytes as {found}") for one in group]
            continue
        kept.append(first)
        aside += [SetAside(one.id, str(one.path), "duplicate", f"the same bytes as {first.id}") for one in copies]
    return kept, aside


def _without_leaks(tests: Sequence[ImageItem], train: Sequence[ImageItem]) -> tuple[list[ImageItem], list[SetAside]]:
    trained = {digest: item.id for item, digest in _hashed(train, {}) if digest}
    kept, aside = [], []
    for item, digest in _hashed(tests, {}):
        if digest and digest in trained:
            aside.append(SetAside(item.id, str(item.path), "leak", f"the training picture {trained[digest]}"))
        else:
            kept.append(item)
    return kept, aside


def _hashed(items: Sequence[ImageItem], known: Mapping[str, str]) -> list[tuple[ImageItem, str | None]]:
    def digest(item: ImageItem) -> str | None:
        try:
            return known.get(item.id) or content_hash(item.path)
        except ImageError:
            return None

    with ThreadPoolExecutor(min(8, available_cpus())) as pool:
        return list(zip(items, pool.map(digest, items), strict=True))


def _ranked(members: Sequence[ImageItem], seed: int) -> list[ImageItem]:
    return sorted(members, key=lambda item: (rank(seed, item.id), item.id))


def _capped(members: Sequence[ImageItem], most: int | None, seed: int) -> list[ImageItem]:
    """The last of the draw's order: training takes the first."""
    ranked = _ranked(members, seed)[::-1]
    return ranked if most is None else ranked[:most]


def _by_id(items: Iterable[ImageItem]) -> tuple[ImageItem, ...]:
    return tuple(sorted(items, key=lambda item: item.id))


# --- notes ------------------------------------------------------------------------------------------------------------


def _notes(division: Division, train: Classes, everywhere: Classes, *, full: int, sft: bool) -> list[str]:
    """What is odd; ``train``: seen classes' pictures by name, ``full``: how many of them a class should have."""
    for_sft, tested = ({class_key(item.label or "") for item in part} for part in (division.sft, division.test))
    spellings = [members for members in everywhere.values() if len({item.label for item in members}) > 1]
    told = (
        ([name for name, members in train.items() if len(members) < full], f"have fewer than {full} training pictures"),
        ([name for name, members in train.items() if len(members) == 1], "have one training picture, and no positive"),
        ([name for name in train if sft and class_key(name) not in for_sft], "have no picture for SFT"),
        ([name for name in (*division.seen, *division.unseen) if class_key(name) not in tested], "are not tested"),
        ([written(members) for members in spellings], "are written in more than one way and taken as one"),
    )
    notes = [f"{len(names)} classes {what}, such as {names[0]}." for names, what in told if names]
    if not division.unseen:
        notes.append("There is no unseen class.")
    for one, other in look_alikes(division.seen, division.unseen)[:MOST_TOLD]:
        notes.append(f"Seen {one} and unseen {other} may be one class, which then is not unseen.")
    return notes


def _shared_file_names(division: Division) -> list[str]:
    """The trap of Stanford Cars."""
    train = {item.path.name for item in (*division.sft, *division.rl)}
    shared = train & {item.path.name for item in division.test}
    if not shared:
        return []
    return [f"{len(shared)} file names occur in training and test, such as {min(shared)}: join by path, not by name."]
