"""Shards: the machines of a probing, cut into parts that are read by runs of their own, on any worker.

The cut goes by what a machine is called, never by how many there are: done again, a part reads the same machines, and
two parts of one cut never read the same one. Pure; `pipeline.intake` cuts, `store.sources` locks.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

SLOTS = 240
"""Into how many slots names fall. Parts are made of whole slots, so that of two cuts it is known which parts overlap;
240 is a multiple of most numbers into which one cuts."""
MOST_SHARDS = 48


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` (from 1) of a probing that is cut into `of` parts."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MOST_SHARDS:
            raise ValueError(f"there is no part {self.number} of {self.of}; at most {MOST_SHARDS} parts are cut")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @staticmethod
    def named(text: str) -> Shard:
        """Return the shard of a name like `3/8`. Raises ValueError for any other text."""
        found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
        if found is None:
            raise ValueError(f"{text!r} is no part of a probing; parts are named like 3/8")
        return Shard(int(found[1]), int(found[2]))

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots that the part is made of."""
        return tuple(range(self.number - 1, SLOTS, self.of))

    def has(self, name: str) -> bool:
        """Say whether a machine of this name (its address) is in the part."""
        return slot_of(name) % self.of == self.number - 1


def slot_of(name: str) -> int:
    """Return the slot of a name: the same on every machine and in every release."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % SLOTS


def cut(parts: int) -> tuple[Shard, ...]:
    """Return every part of a cut."""
    return tuple(Shard(number, parts) for number in range(1, parts + 1))
