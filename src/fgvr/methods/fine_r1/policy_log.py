"""What a reinforcement learning writes down: a line a step, a line a reply, and the digest a checkpoint belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgvr.methods.fine_r1.monitor import duplicate_share
from fgvr.methods.fine_r1.policy_settings import PolicySettings
from fgvr.methods.fine_r1.rollouts import Collected
from fgvr.methods.fine_r1.triplets import Triplet
from fgvr.methods.fine_r1.update import Learned
from fgvr.runs import Ledger, write_text


def told(collected: Collected) -> dict[str, float]:
    """Means over all replies of a step, filtered ones included."""
    replies = collected.replies
    count = max(1, len(replies))
    return {
        "reward": sum(one.reward.total for one in replies) / count,
        "accuracy": sum(one.reward.accuracy for one in replies) / count,
        "format": sum(one.reward.format for one in replies) / count,
        "length": sum(len(one.sampled.tokens) for one in replies) / count,
        "ended": sum(one.sampled.ended for one in replies) / count,
        "duplicates": duplicate_share([[one.sampled.text for one in group] for group in collected.groups]),
        "prompts": float(collected.progress.asked),
        **collected.progress.noted(),
    }


def records(collected: Collected, groups: Sequence[Sequence[Learned]], *, step: int) -> list[dict[str, Any]]:
    """The lines of ``rollouts.jsonl`` of one step."""
    found = [
        one.reply.record(step=step, attempt=attempt, advantage=one.advantage, kept=True)
        for (attempt, _), group in zip(collected.kept, groups, strict=True)
        for one in group
    ]
    found += [
        reply.record(step=step, attempt=attempt, advantage=None, kept=False)
        for attempt, group in collected.others
        for reply in group
    ]
    return found


def means(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of every figure over some lines of the log."""
    names = dict.fromkeys(name for line in lines for name, value in line.items() if isinstance(value, int | float))
    found = {name: [float(line[name]) for line in lines if name in line] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items() if name != "step"}


def run_key(triplets: Sequence[Triplet], settings: PolicySettings, *, seed: int, key: str) -> str:
    """Digest of all that decides the weights after each step; pictures by name, since a folder may move."""
    digest = hashlib.sha256(json.dumps([settings.meant(), seed, key], sort_keys=True).encode())
    for one in triplets:
        pictures = [None if path is None else path.name for path in (one.anchor, one.positive, one.negative)]
        line = [one.id, *pictures, one.category, one.question, list(one.accepted)]
        digest.update(json.dumps(line).encode())
    return digest.hexdigest()[:32]


def cut(path: Path, done: int) -> list[dict[str, Any]]:
    """Drop the lines after the checkpoint gone on from; returns the others."""
    kept = [line for line in Ledger(path).records() if line["step"] <= done]
    if path.exists():
        write_text(path, "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in kept))  # as a ledger does
    return kept
