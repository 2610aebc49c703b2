"""A ledger of a few machines that are told of, merged, missed, probed, declared and decided about, day by day.

Five days are told to the store record by record (two platforms, probes); a file brings instances, agents report, and a
cluster's double is read today, since only of today states and platforms can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.domain.inventory import MACHINE, TargetFailure
from asset_ledger.sources.ssh.errors import TIMEOUT
from asset_ledger.store.database import Connection
from asset_ledger.store.decide.decisions import not_duplicate, override, retire
from asset_ledger.store.decide.merges import merge
from asset_ledger.store.derive.follow import follow
from asset_ledger.store.query.assets import find_asset
from asset_ledger.store.raw import inventories
from asset_ledger.store.records import TargetRecord, save_records
from tests.pipeline.estate import Estate, estate
from tests.pipeline.importing import importing
from tests.pipeline.reporting import reporting_on
from tests.store.telling import Telling, document, telling

GIB = 1 << 30
DAYS = [date(2026, 10, number) for number in range(1, 6)]
WHO: dict[str, Any] = {"actor": "li.lei", "at": datetime(2026, 10, 3, 12, tzinfo=UTC)}


def vm(
    name: str, ip: str | None = None, cores: int | None = None, *, on: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return the document of a virtual machine that is known as far as said."""
    facts: dict[str, Any] = {"hostname": name, **({} if ip is None else {"ip": ip})}
    if cores is not None:
        facts["cores"] = cores
    if on is not None:
        facts["on"] = [on]
    made = document(**facts)
    if "memory" in more:
        made.setdefault("hardware", {})["memory_bytes"] = more["memory"] * GIB
    if "disk" in more:
        made.setdefault("hardware", {})["disk_total_bytes"] = more["disk"] * GIB
    made["runtime"] = {"power_state": more.get("power", "running")}
    made["unknown"] = more.get("unknown", {})
    if "tags" in more:
        made["tags"] = more["tags"]
    return made


def host(name: str, ip: str, cores: int, cluster: str | None = "c1") -> dict[str, Any]:
    """Return the document of a host of a cluster."""
    made = document(kind="host", hostname=name, ip=ip, cores=cores)
    made |= {"asset_type": "physical", "runtime": {"power_state": "running"}}
    made["hardware"]["memory_bytes"] = 256 * GIB
    made["relations"] = [{"kind": "member_of", "external_kind": "cluster", "external_id": cluster}] if cluster else []
    return made


def cluster(name: str) -> dict[str, Any]:
    return {
        "schema": "normalized-v1", "kind": "cluster", "asset_type": "cluster", "identity": {"caption": name},
        "unknown": {}, "identifiers": [],
    }  # fmt: skip


@dataclass
class World:
    """The ledger, the ids of its machines by name, and the days that it has."""

    connection: Connection
    estate: Estate
    ids: dict[str, UUID]
    today: date

    @property
    def first(self) -> date:
        return DAYS[0]

    @property
    def last(self) -> date:
        return DAYS[-1]


def tried(probes: Telling, day: str, *targets: tuple[str, int, ErrorCode | None]) -> None:
    """Write the records of targets (address, milliseconds, what went wrong) as a run does after its reading."""
    (inventory,) = inventories(probes.connection, probes.row, date.fromisoformat(day))
    records = [
        TargetRecord(address, address, inventory.collected_at, took, "failed" if code else "ok", code, None, "told")
        for address, took, code in targets
    ]
    with probes.connection.transaction():
        save_records(probes.connection, probes.row, inventory, records, run_id=f"probe {day}", mode="collect")


@contextmanager
def telling_world(url: str, inbox: Path) -> Iterator[World]:
    """Tell the days of a ledger that is empty, and open it."""
    one, two, _, four, five = (day.isoformat() for day in DAYS)
    fixed = {"h1": host("h1", "10.0.0.1", 32), "h2": host("h2", "10.0.0.2", 64), "c1": cluster("Cluster One")}
    with telling(url, "lab") as lab, telling(url, "old", naming_rank=20, specs_rank=20) as old:
        web = vm("web", "10.0.1.1", 4, on="h1", memory=8, disk=100)
        db = vm("db", "10.0.1.2", 8, on="h1", memory=32, disk=500)
        batch = vm("batch", None, 2, on="h2", memory=4, power="stopped", unknown={"network": "GUEST_OFF"})
        gone = vm("gone", "10.0.1.9", 1, on="h2", memory=1)
        lab.tell(one, {**fixed, "web": web, "db": db, "batch": batch, "gone": gone}, complete=True)
        # web grows and moves; db does not tell its memory; gone is gone
        web = vm("web", "10.0.1.1", 6, on="h2", memory=8, disk=100, tags=["prod"])
        db2 = vm("db", "10.0.1.2", 8, on="h1", disk=500, unknown={"hardware.memory_bytes": "AGENT_DOWN"})
        lab.tell(two, {**fixed, "web": web, "db": db2, "batch": batch}, complete=True)
        # nobody reads the third day
        lab.tell(four, {**fixed, "web": web, "db": db2, "batch": batch, "gone": gone}, complete=True)
        lab.tell(five, {**fixed, "web": web, "db": db, "batch": batch, "gone": gone}, complete=True)
        # another cluster has a copy of db under another id, and a machine that is like web and is not
        old.tell(one, {"db-old": vm("db", None, 7, memory=31, disk=499), "web-x": vm("web", None, 1)}, complete=True)
        old.tell(five, {"db-old": vm("db", None, 7, memory=31), "web-x": vm("web", None, 1)}, complete=True)
        ids = _named(lab.connection, lab.row.id) | _named(lab.connection, old.row.id)
    with telling(url, "probes", platform=False, naming_rank=40, specs_rank=20) as probes:
        probed = vm("web.example", "10.0.1.1", 6, memory=7)
        probed["os"] = {"family": "debian", "version": "12"}
        failed = TargetFailure(MACHINE, "10.0.1.2", "10.0.1.2", TIMEOUT, "no answer")
        probes.tell(two, {"10.0.1.1": probed}, failures=[failed], external_kind=MACHINE)
        tried(probes, two, ("10.0.1.1", 1500, None), ("10.0.1.2", 5000, TIMEOUT))
        probes.tell(five, {"10.0.1.1": probed}, external_kind=MACHINE)
        tried(probes, five, ("10.0.1.1", 2000, None))
        connection = probes.connection
        override(connection, ids["batch"], "hostname", "night-batch", **WHO)
        merge(connection, ids["db-old"], ids["db"], **WHO)
        not_duplicate(connection, ids["web"], ids["web-x"], **WHO)
        retire(connection, ids["web-x"], **WHO)
    with importing(url, inbox) as office:
        office.read(four, "mgmt_ip,hostname,cpu_cores\n10.0.9.1,desk,2\n")
        office.read(
            four,
            "name,host,port,db_type\norders,10.0.1.2,3306,mysql\nstock,night-batch,5432,postgresql\nlost,10.9.9.9,1521,oracle\n",
            f"instances_{four}.csv",
        )
        ids["desk"] = find_asset(office.connection, "desk")
    with estate(url) as found:
        now = datetime.now(UTC)
        found.read()
        agents = reporting_on(found.connection)
        agents.report("web1", now, addresses=["192.0.2.100/24"], cores=8, mac="bc:24:11:00:00:64")
        agents.run(
            date.fromisoformat(found.rows("SELECT max(collected_date)::text AS day FROM ledger.inventories")[0]["day"])
        )
        found.declare("web", db={"cores": 4})
        found.read()
        found.check(now=now + timedelta(hours=1))
        with found.connection.transaction():
            follow(found.connection)
        today = found.rows("SELECT max(collected_date) AS day FROM ledger.inventories")[0]["day"]
        yield World(found.connection, found, ids, today)


def _named(connection: Connection, source_id: int) -> dict[str, UUID]:
    found = connection.execute(
        "SELECT external_id, asset_id FROM ledger.asset_source_links WHERE source_id = %s", [source_id]
    )
    return dict(found.fetchall())
