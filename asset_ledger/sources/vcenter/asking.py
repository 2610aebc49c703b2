"""Single objects asked for by their ids: is one that no view shows gone, or hidden from the account? Used by `survey`.

A view leaves both out. Asked for by its id, what does not exist is answered ManagedObjectNotFound, and what may not be
seen NoPermission; only the first word proves that it is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from asset_ledger.domain.errors import LedgerError
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.bulk import Retrieval, fault_at, of
from asset_ledger.sources.vcenter.client import FaultError, VcenterClient
from asset_ledger.sources.vcenter.faults import NO_SESSION
from asset_ledger.sources.vcenter.permissions import NO_PERMISSION
from asset_ledger.sources.vcenter.slices import GONE

AT_ONCE = 500
_THERE = "it is there"
_NO_ANSWER = "no answer"
_NOT_ASKED = "not asked for any more, after so many others"
# that a reading is not whole is known by then
_MOST_NOT_GONE = 100


@dataclass
class Asked:
    """What was said of each object: that it is gone, that it may not be seen, or, in `unclear`, anything else."""

    gone: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    unclear: dict[str, str] = field(default_factory=dict)

    def note(self, moid: str, fault: str) -> None:
        """Take in an answer by the name of its fault, "" for none."""
        if fault == GONE:
            self.gone.append(moid)
        elif fault == NO_PERMISSION:
            self.denied.append(moid)
        else:
            self.unclear[moid] = fault or _THERE


def ask_for(client: VcenterClient, kind: str, moids: Sequence[str]) -> Asked:
    """Ask for objects of a type by their ids, many at once, and singly for those that an answer leaves out."""
    asked = Asked()
    for begin in range(0, len(moids), AT_ONCE):
        some = moids[begin : begin + AT_ONCE]
        for moid in sorted(set(some) - _ask_many(client, kind, some, asked)):
            if len(asked.denied) + len(asked.unclear) < _MOST_NOT_GONE:
                _ask_one(client, kind, moid, asked)
            else:
                asked.unclear[moid] = _NOT_ASKED
    return asked


def _ask_many(client: VcenterClient, kind: str, moids: Sequence[str], asked: Asked) -> set[str]:
    """Return of which objects something was said, none where the question failed for what one of them is."""
    objects = [spec for moid in moids for spec in of(client.object_of(kind, moid))]
    wanted, said = set(moids), dict[str, str]()
    try:
        for found in Retrieval(client, objects, kind, ("name",)).parsed():
            if (moid := found.findtext("obj") or "") in wanted:
                said[moid] = fault_at(found, "name")
    except LedgerError as error:
        # one object that is denied, or gone, may be the answer to the question as a whole
        if error.code not in (errors.PERMISSION_DENIED, errors.SESSION_EXPIRED, errors.PARSE_ERROR):
            raise
        return set()
    for moid, fault in said.items():
        asked.note(moid, fault)
    return set(said)


def _ask_one(client: VcenterClient, kind: str, moid: str, asked: Asked) -> None:
    one = client.object_of(kind, moid)
    try:
        found = client.attempt(lambda: one.name)
    except FaultError as refused:
        if refused.fault.name == NO_SESSION:
            raise refused.error from None
        asked.note(moid, refused.fault.name)
    else:
        asked.unclear[moid] = _NO_ANSWER if found is None else _THERE
