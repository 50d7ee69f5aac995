"""Before anything is asked: hash pictures, look every request up, find identical ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from fgvr.errors import FgvrError, InputError
from fgvr.mllm.base import BY_ITEM, Mllm, Reply, Request
from fgvr.mllm.cache import ResponseCache, is_repeatable, request_key
from fgvr.mllm.outcomes import LedgerLike, Outcome, Past


@dataclass(frozen=True)
class Plan:
    """Requests sorted into what is known already and what must be asked."""

    known: dict[str, Reply]
    failed: dict[str, str]
    leaders: list[tuple[Request, str]]
    """One (request, key) per distinct key still to be asked."""
    followers: dict[str, list[Request]]
    """Further requests of a key, answered by its leader's reply."""
    unrecorded: list[Outcome]
    """Known replies that have no ledger line under their own item yet."""


def plan(
    requests: Sequence[Request],
    mllm: Mllm,
    *,
    ledger: LedgerLike | None = None,
    cache: ResponseCache | None = None,
    retry_failed: bool = False,
) -> Plan:
    """Hash pictures, then look every request up in ledger and cache. Asks nothing; a dry run stops here.

    Raises InputError when two requests share an item id (use one ``ask_all`` per stage).
    """
    ids = [request.item_id for request in requests]
    if len(set(ids)) != len(ids):
        repeated = next(item for item in ids if ids.count(item) > 1)
        raise InputError("two requests share an item id", remedy="Give every item its own id.", item=repeated)
    past = Past.of(ledger)
    result = Plan({}, {}, [], {}, [])
    for request, problem in _with_hashes(requests, mllm):
        if problem is not None:
            result.failed[request.item_id] = str(problem)
            continue
        key = request_key(request, mllm)
        reply = past.reply(key, request.item_id)
        if reply is None and cache is not None and is_repeatable(request.parameters):
            reply = cache.get(key, item_id=request.item_id)
        if reply is not None:
            result.known[request.item_id] = reply
            if (request.item_id, key) not in past.items:
                result.unrecorded.append(Outcome(request, key, reply))
        elif key in past.failed and not retry_failed:
            result.failed[request.item_id] = past.failed[key]
        elif key in result.followers:
            result.followers[key].append(request)
        else:
            result.leaders.append((request, key))
            result.followers[key] = []
    return result


def _with_hashes(requests: Sequence[Request], mllm: Mllm) -> Iterator[tuple[Request, FgvrError | None]]:
    """Each request with its picture hashes; an unreadable picture is that item's problem, not the run's."""
    if mllm.preprocessing == BY_ITEM:
        yield from ((request, None) for request in requests)
        return
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield from pool.map(_with_hash, requests)


def _with_hash(request: Request) -> tuple[Request, FgvrError | None]:
    from fgvr.images import content_hash

    if len(request.image_hashes) == len(request.images):
        return request, None
    try:
        return replace(request, image_hashes=tuple(content_hash(path) for path in request.images)), None
    except FgvrError as error:
        return request, error
    except OSError as error:
        return request, InputError("the picture cannot be read", item=request.item_id, reason=error)
