"""How a machine becomes a client: a user's token for one of its own, once; and that one for another."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from asset_ledger.agent import collect, identity
from asset_ledger.agent.client import Client
from asset_ledger.agent.identity import Identity
from asset_ledger.agent.verdicts import demanded


def enroll(
    server: str, user_token: str, home: Path, identity_file: Path, ca_file: Path | None
) -> tuple[Identity, bool]:
    """Enrol this machine and keep its identity. Return it, and whether the server knew the machine already.

    Raises LedgerError, and OSError of this machine's disk. A token that this machine had before holds no more.
    """
    # before the server makes a token: one that cannot be kept would be lost
    identity.make_private(identity_file.parent)
    host = collect.collect(now=time.time())["host"]
    asked = {
        "hostname": host["hostname"],
        "machine_key": identity.machine_key(home),
        "os": host["os"],
        "platform": host["platform"],
        "arch": host["kernel_arch"],
        "agent_version": collect.agent_version(),
    }
    ca = str(ca_file.absolute()) if ca_file else None
    client = Client(server, ca)
    try:
        said = _asked(client, "enroll", user_token, asked)
    finally:
        client.close()
    found = Identity(client.server, _text(client, said, "client_id"), _text(client, said, "token"), ca)
    identity.save(identity_file, found)
    return found, said.get("again") is True


def renew(identity_file: Path) -> Identity:
    """Change the agent's token for a new one and keep that. The old one holds for some time more.

    Raises LedgerError, and OSError of this machine's disk: then the old one stands.
    """
    before = identity.load(identity_file)
    client = Client(before.server, before.ca_file)
    try:
        said = _asked(client, "token", before.token, None)
    finally:
        client.close()
    found = replace(before, token=_text(client, said, "token"))
    identity.save(identity_file, found)
    return found


def _asked(client: Client, what: str, token: str, document: dict[str, Any] | None) -> dict[str, Any]:
    answer = client.ask("POST", f"/api/v1/agents/{what}", token=token, document=document)
    return demanded(client.server, answer, token)


def _text(client: Client, said: dict[str, Any], name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not found:
        raise client.away(f"its answer has no {name}: something else answers in its place")
    return found
