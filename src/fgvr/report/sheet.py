"""The contact sheet: predictions grouped by name, pictures dealt out in turn until the budget is spent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fgvr.report.thumbs import Thumbnails
from fgvr.report.words import finite, name_shown, probability, shown, slug
from fgvr.types import Prediction

MAX_GROUPS = 400
TOP_SHOWN = 5
ITEM_CHARACTERS = 100
_MARKUP_BYTES = 320
"""Of one card, without its picture and texts."""


@dataclass(frozen=True)
class Card:
    """One picture on the sheet."""

    item: str
    uri: str
    """``""`` for the placeholder of a picture that cannot be read."""
    p: float
    percent: str
    guess: str
    top: str
    """JSON list of [name, "83 %", 0.83] for the enlarged view; escaped like any other text."""


@dataclass
class Group:
    """All images with one name."""

    id: str
    number: int
    name: str
    count: int
    mean: float
    lowest: float
    cards: list[Card] = field(default_factory=list)

    @property
    def hidden(self) -> int:
        """Images that are counted but not shown."""
        return self.count - len(self.cards)


@dataclass(frozen=True)
class Sheet:
    """Groups by falling size, the unknown ones apart."""

    groups: Sequence[Group]
    unknown: Group | None
    left_out: Sequence[tuple[str, int]]
    """Groups beyond the limit: (name, images), at most a few."""
    left_out_groups: int
    left_out_images: int

    @property
    def hidden(self) -> int:
        """Images without a place on the sheet."""
        groups = [*self.groups, *([self.unknown] if self.unknown else [])]
        return self.left_out_images + sum(group.hidden for group in groups)


def contact_sheet(
    predictions: Sequence[Prediction], images: Mapping[str, Path], thumbs: Thumbnails, *, max_per_class: int
) -> Sheet:
    """Group ``predictions`` and give every group its first picture before any group gets its second."""
    by_name: dict[str, list[Prediction]] = {}
    for one in predictions:
        if not one.unknown:
            by_name.setdefault(one.name, []).append(one)
    unknown = [one for one in predictions if one.unknown]
    ranked = sorted(by_name.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    groups = [_group(number, name, members) for number, (name, members) in enumerate(ranked[:MAX_GROUPS], start=1)]
    waiting = [(group, both_ends(members, max_per_class)) for group, (_, members) in zip(groups, ranked)]
    unknown_group = _group(0, "unknown", unknown) if unknown else None
    if unknown_group is not None:
        waiting.insert(0, (unknown_group, both_ends(unknown, 2 * max_per_class)))
    _deal(waiting, images, thumbs)
    for group, _ in waiting:
        group.cards.sort(key=lambda card: (-card.p, card.item))
    rest = ranked[MAX_GROUPS:]
    head = tuple((name_shown(name), len(members)) for name, members in rest[:40])
    return Sheet(groups, unknown_group, head, len(rest), sum(len(members) for _, members in rest))


def both_ends(members: Sequence[Prediction], most: int) -> list[Prediction]:
    """At most ``most``: the surest half and the least sure half, alternating, so that any cut keeps both ends."""
    ranked = sorted(members, key=lambda one: (-_number(one.probability), one.item_id))
    low, high = 0, len(ranked) - 1
    order: list[Prediction] = []
    while low <= high and len(order) < most:
        order.append(ranked[low])
        low += 1
        if low <= high and len(order) < most:
            order.append(ranked[high])
            high -= 1
    return order


def _deal(waiting: Sequence[tuple[Group, list[Prediction]]], images: Mapping[str, Path], thumbs: Thumbnails) -> None:
    for turn in range(max((len(members) for _, members in waiting), default=0)):
        for group, members in waiting:
            if turn < len(members):
                card = _card(members[turn], images, thumbs)
                if card is not None:
                    group.cards.append(card)


def _group(number: int, name: str, members: Sequence[Prediction]) -> Group:
    values = [_number(one.probability) for one in members]
    label = name_shown(name)
    return Group(slug(label, number), number, label, len(members), sum(values) / len(values), min(values))


def _card(one: Prediction, images: Mapping[str, Path], thumbs: Thumbnails) -> Card | None:
    uri = thumbs.get(images.get(one.item_id))
    if uri is None:
        return None
    top = [(name_shown(name), _number(p)) for name, p in one.top[:TOP_SHOWN]]
    guess = top[0][0] if top else name_shown(one.name)
    rows = json.dumps([[name, probability(p), round(p, 4)] for name, p in top], ensure_ascii=False)
    card = Card(
        shown(one.item_id, ITEM_CHARACTERS),
        uri,
        _number(one.probability),
        probability(one.probability),
        guess,
        rows,
    )
    thumbs.spend(_MARKUP_BYTES + 2 * len((card.item + guess + rows).encode()))
    return card


def _number(value: float) -> float:
    return min(1.0, max(0.0, value)) if finite(value) else 0.0
