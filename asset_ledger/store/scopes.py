"""Which readings of a source speak of the same: what a reading covers is its external kinds, and none means every kind.

Two readings that overlap say something of the same day together; two that do not have nothing to do with one another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

OVERLAPPING = "(covers = '{}' OR %(covers)s::text[] = '{}' OR covers && %(covers)s::text[])"
"""Whether a reading (a row of `ledger.inventories`) may speak of a kind of the parameter `covers`."""


def overlaps(covers: Collection[str], others: Collection[str]) -> bool:
    """Say whether two readings may speak of one kind."""
    return not covers or not others or not set(covers).isdisjoint(others)


def spanned(coverings: Iterable[Collection[str]]) -> frozenset[str]:
    """Return every kind that any of the readings covers; none where one of them covers every kind."""
    named = [frozenset(covers) for covers in coverings]
    return frozenset().union(*named) if all(named) else frozenset()
