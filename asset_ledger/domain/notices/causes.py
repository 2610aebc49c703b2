"""What of what is wrong is no cause of its own: a check that says of a source what its failed run said already.

Called by `news.decide`. What a trouble may follow from is said by who finds it (`Trouble.follows`); here it is
looked whether such a thing is open, of the same source and scope.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from asset_ledger.domain.notices.troubles import Standing, Trouble

_OF_THE_READING = ("inventory_complete", "relations_present", "last_reading_whole", "day_fresh")
"""Checks that one failed reading fails, the nearest to it first: each follows from those before it."""


def causes(trouble: Trouble, open_now: Iterable[Standing]) -> list[Standing]:
    """Return the open troubles that a trouble follows from; none where it is a cause itself."""
    if not trouble.follows:
        return []
    return [one for one in open_now if one.key != trouble.key and _causes(one, trouble)]


def _causes(one: Standing, trouble: Trouble) -> bool:
    source = trouble.source
    scope = _scope(source, trouble.place)
    theirs = _scope(source, one.place)
    # a run of the whole source has each of its scopes
    if theirs is None or theirs not in ("", scope):
        return False
    match trouble.follows:
        case "run":
            return one.kind == "failed_run" and one.code == trouble.code
        case "targets":
            return one.kind == "failed_target"
        case "fewer":
            return one.kind == "held_removal"
    if one.kind == "failed_check":
        nearer = takewhile(lambda code: code != trouble.code, _OF_THE_READING)
        return one.code in nearer
    return one.kind == "failed_run" or one.whole


def _scope(source: str, place: str) -> str | None:
    """Return the scope of a source that a place is of, empty for all of it; None where it is not of the source.

    Places are `vc` and `vc hosts`, steps `vc_chain_hosts`, jobs `vc_collect_hosts`, checks `vc/raw_hosts day_fresh`.
    """
    if place == source or place.startswith(f"{source} "):
        return place[len(source) + 1 :]
    for begins in (f"{source}_chain", f"{source}_collect"):
        if place == begins or place.startswith(f"{begins}_"):
            return place[len(begins) + 1 :]
    if place.startswith(f"{source}/"):
        node = place[len(source) + 1 :].split(maxsplit=1)[0]
        for stem in ("raw", "ledger", "normalized", "daily_specs"):
            if node.startswith(stem):
                rest = node[len(stem) + 1 :]
                return "" if rest in ("inventory", "assets") else rest
    return None
