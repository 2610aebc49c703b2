"""A Proxmox VE cluster's double that is read for real, and states of tenants that declare its guests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import LedgerError
from asset_ledger.domain.iac.documents import recognised
from asset_ledger.domain.iac.locking import lock_of
from asset_ledger.domain.iac.rules import FindingKind, Ignored, Mapped, Rules
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.findings import Evaluated, evaluate
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.sources.platform import SourceConfig
from asset_ledger.store.access.people import add_tenant
from asset_ledger.store.database import Connection, clock, connect, rows
from asset_ledger.store.iac import states
from asset_ledger.store.iac.found import FindingRow, listed
from asset_ledger.store.iac.states import Name, NewBody, Who, Written
from asset_ledger.store.tenancy import as_tenant
from tests.doubles.pve import PveDouble, load
from tests.sources.live import Credentials
from tests.sources.pve.live import config_of, fields_of

RING = KeyRing({"k1": b"k" * 32})
ACCOUNT = "agent@pve!asset"
SOURCE = "pve_x"
BPG = 'provider["registry.terraform.io/bpg/proxmox"]'
DECLARED: dict[str, Any] = {
    "web": {"vm_id": 100, "node_name": "n1", "cores": 4, "sockets": 2, "memory": 8192, "started": True},
    "db": {"vm_id": 101, "node_name": "n2", "cores": 12, "sockets": 1, "memory": 16384, "started": True},
}
"""Two guests of the double, as they are."""
MAPPED = Mapped("acme", SOURCE, ("*/*",), None, None, None, True)
Evaluation = list[Evaluated]


def guest(name: str, **said: Any) -> dict[str, Any]:
    """Return a guest as bpg/proxmox keeps it; what is not said is as the double has it."""
    told = {**DECLARED.get(name, {"cores": None, "sockets": None, "memory": None}), **said}
    attributes = {
        "id": str(told["vm_id"]),
        "vm_id": told["vm_id"],
        "name": told.get("name", name),
        "node_name": told.get("node_name"),
        "started": told.get("started"),
        "template": False,
        "clone": [],
        "cpu": [{"cores": told["cores"], "sockets": told["sockets"]}],
        "memory": [{"dedicated": told["memory"]}],
        "disk": [{"size": size} for size in told.get("disks", ())],
        "smbios": [{"uuid": told["uuid"]}] if "uuid" in told else [],
        "ipv4_addresses": [told.get("addresses", [])],
    }
    return {
        "mode": "managed",
        "type": "proxmox_virtual_environment_vm",
        "name": name,
        "provider": told.get("provider", BPG),
        "instances": [{"schema_version": 0, "attributes": attributes}],
    }


@dataclass
class Estate:
    """A ledger that one cluster is read into, and the tenants whose states declare it."""

    connection: Connection
    pve: PveDouble
    tenants: dict[str, UUID]
    url: str = ""
    rules: Rules = field(default_factory=lambda: Rules((MAPPED,)))
    account: str = ACCOUNT
    serial: int = 0

    @property
    def source(self) -> SourceConfig:
        return config_of(self.pve, self.account)

    def map(self, *mappings: Mapped, ignore: tuple[Ignored, ...] = ()) -> None:
        self.rules = Rules(mappings or (MAPPED,), ignore)

    def declare(
        self, *names: str, state: str = "shop/prod", tenant: str = "acme", read: bool = True, **said: Mapping[str, Any]
    ) -> None:
        """Write a version that declares guests by name; `said` has what is otherwise than in the double."""
        resources = [guest(name, **said.get(name, {})) for name in dict.fromkeys((*names, *said))]
        self.write(
            json.dumps({"version": 4, "serial": self.serial + 1, "lineage": "one", "resources": resources}).encode(),
            state=state,
            tenant=tenant,
            read=read,
        )

    def write(
        self, body: bytes, *, state: str = "shop/prod", tenant: str = "acme", tool: Any = "terraform", read: bool = True
    ) -> None:
        self.serial += 1
        known = recognised(body)
        new = NewBody(body, known.kind, known.parsed, known.serial, known.lineage, known.tool_version)
        tenant_id = self.tenants[tenant]
        with as_tenant(self.connection, tenant_id):
            name = Name(tool, *state.split("/"))
            done = states.add_version(
                self.connection, tenant_id, name, new, lock_id=None, who=Who("ci", None), ring=RING
            )
            assert isinstance(done, Written)
        if read:
            parse_waiting(self.connection, RING)

    def lock(self, state: str = "shop/prod", operation: str = "OperationTypeApply") -> None:
        with as_tenant(self.connection, self.tenants["acme"]):
            lock = lock_of(json.dumps({"ID": "run", "Operation": operation}).encode())
            states.take_lock(
                self.connection, self.tenants["acme"], Name("terraform", *state.split("/")), lock, Who("ci", None)
            )

    def read(self, *, fails: bool = False) -> None:
        """Read the cluster as a run does. Where it is to fail, what was read is kept as such."""
        source = self.source
        row = source_row(self.connection, source)
        ledger = cast("Ledger", SimpleNamespace(credentials=Credentials(fields_of(self.account))))
        with suppress(LedgerError) if fails else _nothing():
            read_source(ledger, self.connection, source, row, scope="all", run_id="r", mode="collect")
            derive_day(self.connection, source, row, collected_date(clock(self.connection)), run_id="r", mode="collect")

    def check(self, *, now: datetime | None = None) -> dict[str, Evaluated]:
        """Look for findings."""
        found = evaluate(self.connection, self.rules, now=now or datetime.now(UTC))
        return {one.tenant: one for one in found}

    def findings(
        self, status: Any = "open", tenant: str = "acme", kinds: tuple[FindingKind, ...] = ()
    ) -> list[FindingRow]:
        with as_tenant(self.connection, self.tenants[tenant]):
            return listed(self.connection, self.tenants[tenant], status=status, kinds=kinds, limit=1000)

    def drift(self) -> dict[tuple[str, str], tuple[Any, Any]]:
        """Return what is open of drift: (address, attribute) → (declared, observed)."""
        return {
            (str(one.addr).removeprefix("proxmox_virtual_environment_vm."), one.attribute): (one.declared, one.observed)
            for one in self.findings(kinds=("drift",))
        }

    def orphans(self) -> set[str]:
        return {str(one.external_id) for one in self.findings(kinds=("orphan",))}

    def closed(self) -> dict[tuple[str, str], str]:
        """Return why findings closed, by kind and by address or id."""
        return {
            (one.kind, str(one.addr or one.external_id).rpartition(".")[2]): str(one.closed_because)
            for one in reversed(self.findings("closed"))
        }

    def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return rows(self.connection, query, list(parameters) or None)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def estate(database_url: str) -> Iterator[Estate]:
    """Open an estate of the tenants acme and other."""
    with PveDouble(load("cluster")) as pve, connect(database_url) as connection:
        tenants = {name: add_tenant(connection, name, RING) for name in ("acme", "other")}
        yield Estate(connection, pve, tenants, database_url)
