"""New versions that nobody's Terraform wrote: a file that a person keeps, and an old version made the newest again."""

from __future__ import annotations

import json
from uuid import UUID

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.iac.documents import RefusedError, recognised
from asset_ledger.domain.iac.locking import Held
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.store.database import Connection
from asset_ledger.store.iac.states import Name, NewBody, Who, Written, add_version, opened, stored


def add_file(connection: Connection, tenant_id: UUID, name: Name, data: bytes, ring: KeyRing, actor: str) -> Written:
    """Keep a file's bytes as the next version. Raises PermanentError for what is no state, and while it is locked."""
    try:
        known = recognised(data)
    except RefusedError as error:
        raise PermanentError(CONFIG_INVALID, str(error), target=f"{name.project}/{name.stack}") from None
    if known.tool != name.tool:
        raise PermanentError(
            CONFIG_INVALID,
            f"the file is {known.tool}'s, the state {name.tool}'s",
            target=f"{name.project}/{name.stack}",
        )
    body = NewBody(data, known.kind, known.parsed, known.serial, known.lineage, known.tool_version)
    outcome = add_version(connection, tenant_id, name, body, lock_id=None, who=Who(actor, None), ring=ring)
    if isinstance(outcome, Written):
        return outcome
    why = f"it is locked by {outcome.lock.who or outcome.lock.lock_id}" if isinstance(outcome, Held) else outcome.reason
    raise PermanentError(CONFIG_INVALID, why, target=f"{name.project}/{name.stack}")


def roll_back(
    connection: Connection, tenant_id: UUID, name: Name, state_id: UUID, version: int, ring: KeyRing, actor: str
) -> int:
    """Keep an old version once more, as the newest; return its number. Raises PermanentError, as `add_file` does.

    A Terraform state gets a serial above the head's, without which Terraform would take it for an old one; nothing else
    of its bytes changes.
    """
    data = opened(ring, tenant_id, stored(connection, tenant_id, state_id, version))
    row = connection.execute(
        "SELECT max(serial) FROM iac.states WHERE tenant_id = %s AND state_id = %s", [tenant_id, state_id]
    ).fetchone()
    known = recognised(data)
    if known.serial is not None and row is not None and row[0] is not None and row[0] >= known.serial:
        data = _with_serial(data, known.serial, row[0] + 1)
    return add_file(connection, tenant_id, name, data, ring, actor).version


def _with_serial(data: bytes, old: int, new: int) -> bytes:
    """Return a state with another serial. Raises PermanentError where the number cannot be found in its text."""
    import re

    # by its bytes: written anew, numbers and the order of keys would be others
    found = re.sub(rb'("serial"\s*:\s*)%d\b' % old, rb"\g<1>%d" % new, data, count=1)
    if json.loads(found).get("serial") != new:
        raise PermanentError(CONFIG_INVALID, "the state's serial is not where Terraform writes it")
    return found
