"""Hosts probed over a real sshd and on this machine, into a ledger that an import filled before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.outcome import Outcome
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.sources.ssh.config import SshConfig
from asset_ledger.store.sources import SourceRow
from tests.pipeline.importing import Importing, everything
from tests.sshd import Daemon, Keyring, free_port

TODAY = collected_date(datetime.now(UTC))


@dataclass
class Probing:
    """A probe source beside the import source, on the same connection."""

    office: Importing
    source: SshConfig
    row: SourceRow
    keyring: Keyring

    def read(self) -> Outcome:
        # only the credentials of a ledger are asked for by a probe
        ledger = cast("Ledger", SimpleNamespace(credentials=self.keyring))
        connection = self.office.connection
        read_source(ledger, connection, self.source, self.row, scope="all", run_id="probe", mode="collect")
        return self.derive(TODAY)

    def derive(self, day: date) -> Outcome:
        derived = derive_day(self.office.connection, self.source, self.row, day, run_id="probe", mode="collect")
        return derived.readings[-1].outcome


@pytest.fixture
def probing(office: Importing, tmp_path: Path) -> Probing:
    source = SshConfig(name="probes", platform="ssh", known_hosts=tmp_path / "known_hosts", connect_timeout_s=2)
    return Probing(office, source, source_row(office.connection, source), Keyring())


def place_hosts(probing: Probing, daemon: Daemon, *addresses: str, port: int | None = None) -> None:
    """Import hosts and move them to loopback, where the tests' daemon is: no file may name a loopback address."""
    rows = "".join(
        f"192.0.2.{number},host-{number},ssh,{port or daemon.port},env:PROBE,4,1\n"
        for number, _ in enumerate(addresses, 1)
    )
    probing.office.read(TODAY.isoformat(), f"mgmt_ip,hostname,protocol,port,credential_ref,cpu_cores,memory_gb\n{rows}")
    for number, address in enumerate(addresses, 1):
        probing.office.connection.execute(
            "UPDATE ledger.assets SET mgmt_ip = %s WHERE mgmt_ip = %s", [address, f"192.0.2.{number}"]
        )
    probing.keyring.fields["env:PROBE"] = {"username": daemon.user, "private_key": daemon.client_key}
    probing.source.known_hosts.write_text("".join(daemon.known(address) for address in addresses))


def specs(probing: Probing) -> list[dict[str, Any]]:
    return probing.office.rows(
        """
        SELECT a.hostname, d.cpu_cores, d.memory_bytes, d.unknown, d.normalized_id IS NULL AS failed
        FROM ledger.asset_daily_specs d JOIN ledger.assets a ON a.id = d.asset_id
        WHERE d.source_id = %s ORDER BY a.hostname
        """,
        probing.row.id,
    )


@pytest.mark.needs("sshd")
def test_a_probe_attaches_by_address_and_its_hardware_counts_before_the_files(probing: Probing, sshd: Daemon) -> None:
    place_hosts(probing, sshd, "127.0.1.1")

    outcome = probing.read()

    assert (outcome.created, outcome.attached, outcome.failures) == (0, 1, ())
    hostname, memory, family = probing.office.one("SELECT hostname, memory_bytes, os_family FROM ledger.assets")
    assert hostname == "host-1"  # the file's name stands, the host's own is an alias
    assert memory != 2**30  # the file says 1 GiB; what the host says counts before it
    assert family
    assert probing.office.one("SELECT count(*) FROM ledger.asset_aliases") == 2
    assert probing.office.one("SELECT count(DISTINCT source_id) FROM ledger.asset_daily_specs") == 2


@pytest.mark.needs("sshd")
def test_one_dead_host_is_one_failed_record_and_a_null_day_with_a_reason(probing: Probing, sshd: Daemon) -> None:
    place_hosts(probing, sshd, "127.0.1.1", "127.0.1.2")
    probing.office.connection.execute("UPDATE ledger.assets SET port = %s WHERE hostname = 'host-2'", [free_port()])

    outcome = probing.read()

    assert outcome.attached == 1
    assert [(row["hostname"], row["failed"]) for row in specs(probing)] == [("host-1", False), ("host-2", True)]
    assert specs(probing)[1]["unknown"] == {"*": "SSH_REFUSED"}
    assert specs(probing)[1]["cpu_cores"] is None
    record = probing.office.rows("SELECT * FROM ledger.sync_target_records WHERE target = '127.0.1.2'")[0]
    assert (record["status"], record["error_code"], record["retryable"]) == ("failed", "SSH_REFUSED", True)
    assert record["advice"]
    # what the file said of it stands
    assert probing.office.one("SELECT cpu_cores FROM ledger.assets WHERE hostname = 'host-2'") == 4


@pytest.mark.needs("sshd")
def test_a_later_failure_does_not_take_back_what_was_read_well_that_day(probing: Probing, sshd: Daemon) -> None:
    place_hosts(probing, sshd, "127.0.1.1")
    probing.read()
    probing.office.connection.execute("UPDATE ledger.assets SET port = %s", [free_port()])

    probing.read()

    (row,) = specs(probing)
    assert row["failed"] is False
    assert row["cpu_cores"] is not None
    assert "*" not in row["unknown"]


@pytest.mark.needs("sshd")
def test_a_changed_host_key_stops_at_that_host(probing: Probing, sshd: Daemon, start_daemon: Any) -> None:
    place_hosts(probing, sshd, "127.0.1.1", "127.0.1.2")
    other = start_daemon()
    probing.source.known_hosts.write_text(
        sshd.known("127.0.1.1") + sshd.known("127.0.1.2").split(" ")[0] + " " + other.public() + "\n"
    )

    outcome = probing.read()

    assert outcome.attached == 1
    assert [failure.code.code for failure in outcome.failures] == ["SSH_HOST_KEY_MISMATCH"]


@pytest.mark.needs("sshd")
def test_a_past_days_probe_is_replayed_from_raw_and_gives_the_same_rows(probing: Probing, sshd: Daemon) -> None:
    place_hosts(probing, sshd, "127.0.1.1")
    probing.read()
    before = everything(probing.office.connection)
    sshd_is_not_asked = probing.office.one("SELECT count(*) FROM ledger.asset_observations")

    probing.derive(TODAY)

    after = everything(probing.office.connection)
    for table in ("sync_target_records",):
        before.pop(table), after.pop(table)
    assert after == before
    assert probing.office.one("SELECT count(*) FROM ledger.asset_observations") == sshd_is_not_asked


def test_this_machine_is_read_without_ssh_and_without_a_ledger_asset(probing: Probing) -> None:
    probing.source = probing.source.model_copy(update={"this_machine": True})

    outcome = probing.read()

    assert outcome.created == 1
    (row,) = specs(probing)
    assert row["cpu_cores"] >= 1
    assert row["memory_bytes"] > 2**20
    # the next day's sighting is the same asset
    assert probing.read().created == 0


def test_what_a_killed_run_had_read_is_kept_and_marked(probing: Probing) -> None:
    from asset_ledger.store.sources import exclusive

    connection = probing.office.connection
    connection.execute(
        "INSERT INTO ledger.inventories (source_id, scope, collected_date, collected_at, mode, complete, status) "
        "VALUES (%s, 'all', %s, now(), 'collect', false, 'reading')",
        [probing.row.id, TODAY],
    )
    with exclusive(connection, probing.row):
        pass
    assert probing.office.one("SELECT status FROM ledger.inventories") == "interrupted"
    assert derive_day(connection, probing.source, probing.row, TODAY, run_id=None, mode="replay").readings == ()
