"""Windows hosts behind the double, probed over WinRM into a ledger that an import filled before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast, get_args

import pytest

from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.outcome import Outcome
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.sources.winrm import errors
from asset_ledger.sources.winrm.config import WinrmConfig
from asset_ledger.store.sources import SourceRow
from tests.doubles.wsman import Account, WsmanDouble, windows
from tests.doubles.wsman.hosts import Release
from tests.pipeline.canaries import Canaries, everything_in
from tests.pipeline.importing import Importing, everything
from tests.sources.live import Credentials
from tests.sources.winrm.live import PASSWORD, add, config_of, fields_of

TODAY = collected_date(datetime.now(UTC))
GIB = 1 << 30


@dataclass
class Probing:
    """A probe source beside the import source, on the same connection, and the hosts it reads."""

    office: Importing
    double: WsmanDouble
    source: WinrmConfig
    row: SourceRow

    def read(self) -> Outcome:
        ledger = cast("Ledger", SimpleNamespace(credentials=Credentials(fields_of())))
        connection = self.office.connection
        read_source(ledger, connection, self.source, self.row, scope="all", run_id="probe", mode="collect")
        return self.derive(TODAY)

    def derive(self, day: date) -> Outcome:
        derived = derive_day(self.office.connection, self.source, self.row, day, run_id="probe", mode="collect")
        return derived.readings[-1].outcome

    def specs(self) -> dict[str, dict[str, Any]]:
        """Return what the probe said of the day, by the name the import gave."""
        found = self.office.rows(
            "SELECT a.hostname AS asset, d.* FROM ledger.asset_daily_specs d JOIN ledger.assets a ON a.id = d.asset_id "
            "WHERE d.source_id = %s",
            self.row.id,
        )
        return {row["asset"]: row for row in found}


@pytest.fixture
def windows_hosts() -> Iterator[WsmanDouble]:
    with WsmanDouble(tls=True) as double:
        yield double


@pytest.fixture
def probing(office: Importing, windows_hosts: WsmanDouble) -> Probing:
    source = config_of(windows_hosts)
    return Probing(office, windows_hosts, source, source_row(office.connection, source))


def place_hosts(probing: Probing, *addresses: str) -> None:
    """Import hosts and move them to loopback, where the double is: no file may name a loopback address."""
    rows = "".join(f"192.0.2.{number},host-{number},winrm,env:WIN,2,1\n" for number, _ in enumerate(addresses, 1))
    probing.office.read(TODAY.isoformat(), f"mgmt_ip,hostname,protocol,credential_ref,cpu_cores,memory_gb\n{rows}")
    move_hosts(probing, *addresses)


def move_hosts(probing: Probing, *addresses: str) -> None:
    """Move hosts to loopback; deriving a day puts them back to where the import says they are."""
    for number, address in enumerate(addresses, 1):
        probing.office.connection.execute(
            "UPDATE ledger.assets SET mgmt_ip = %s WHERE mgmt_ip = %s", [address, f"192.0.2.{number}"]
        )


def test_every_release_attaches_by_address_and_what_it_says_counts_before_the_files(probing: Probing) -> None:
    releases = get_args(Release)
    place_hosts(probing, *(f"127.0.3.{number}" for number, _ in enumerate(releases, 1)))
    for number, release in enumerate(releases, 1):
        locale = ("en", "zh", "de")[number % 3]
        ips = [[f"10.20.0.{number}", f"2001:db8::{number}"], [f"10.30.0.{number}"]]
        add(
            probing.double,
            f"127.0.3.{number}",
            release=release,
            locale=locale,
            page=1,
            wmi=_wmi(release, number, locale, ips),
        )

    outcome = probing.read()

    assert (outcome.created, outcome.attached, outcome.failures) == (0, len(releases), ())
    for number, release in enumerate(releases, 1):
        row = probing.specs()[f"host-{number}"]
        assert row["cpu_cores"] == 8, release
        assert 15 * GIB < row["memory_bytes"] < 16 * GIB, release
        assert 149 * GIB < row["disk_total_bytes"] < 150 * GIB, release  # two volumes; a mounted DVD is none
        assert row["unknown"] == {}, release
    kept = probing.office.rows("SELECT hostname, os_family, memory_bytes FROM ledger.assets ORDER BY hostname")
    assert {row["os_family"] for row in kept} == {"windows"}
    assert all(row["memory_bytes"] > GIB for row in kept)  # the file said 1 GiB
    addresses = probing.office.rows("SELECT DISTINCT host(ip) AS ip FROM ledger.asset_daily_ips")
    assert {row["ip"] for row in addresses} >= {"10.20.0.1", "10.30.0.7", "2001:db8::3"}


def _wmi(release: Release, number: int, locale: Any, ips: Any) -> Any:
    return windows(
        release=release,
        name=f"win-{number}",
        ips=ips,
        cpus=8,
        cores=4,
        sockets=2,
        memory=16 * GIB,
        disks=(50 * GIB, 100 * GIB),
        locale=locale,
    )


def test_a_host_that_lacks_a_right_is_a_null_day_with_the_step_to_take_and_stops_nobody(probing: Probing) -> None:
    place_hosts(probing, "127.0.3.1", "127.0.3.2")
    add(probing.double, "127.0.3.1")
    add(probing.double, "127.0.3.2", account=Account(PASSWORD, denied=("root/cimv2",)))

    outcome = probing.read()

    assert outcome.attached == 1
    (record,) = probing.office.rows("SELECT * FROM ledger.sync_target_records WHERE target = '127.0.3.2'")
    assert (record["status"], record["error_code"]) == ("failed", "WINRM_NAMESPACE_DENIED")
    assert "wmimgmt.msc" in record["advice"]
    assert probing.specs()["host-2"]["unknown"] == {"*": "WINRM_NAMESPACE_DENIED"}
    assert probing.specs()["host-2"]["cpu_cores"] is None
    assert probing.office.one("SELECT cpu_cores FROM ledger.assets WHERE hostname = 'host-2'") == 2  # the file's


def test_a_class_that_cannot_be_read_is_null_with_its_reason_and_the_rest_is_written(probing: Probing) -> None:
    place_hosts(probing, "127.0.3.1")
    add(probing.double, "127.0.3.1")
    probing.double.faults.add("Enumerate Win32_LogicalDisk", "wsman", code=2150858778, times=None)

    probing.read()

    row = probing.specs()["host-1"]
    assert row["disk_total_bytes"] is None
    assert row["unknown"]["hardware.disk_total_bytes"].startswith("WINRM_QUERY_FAILED: Win32_LogicalDisk: WINRM_FAULT")
    assert row["cpu_cores"] == 4


def test_a_past_reading_is_replayed_from_raw_without_asking_anybody(probing: Probing) -> None:
    place_hosts(probing, "127.0.3.1")
    add(probing.double, "127.0.3.1")
    probing.read()
    before, asked = everything(probing.office.connection), len(probing.double.requests.all())

    probing.derive(TODAY)

    after = everything(probing.office.connection)
    before.pop("sync_target_records"), after.pop("sync_target_records")
    assert after == before
    assert len(probing.double.requests.all()) == asked > 0


def test_who_answers_unchecked_is_said_on_every_run(probing: Probing) -> None:
    place_hosts(probing, "127.0.3.1")
    add(probing.double, "127.0.3.1")
    probing.source = config_of(probing.double, tls_verify=False)
    for _ in range(2):
        move_hosts(probing, "127.0.3.1")
        outcome = probing.read()
        assert outcome.failures == ()
        assert [caution.code for caution in outcome.cautions] == [errors.TLS_UNVERIFIED]


def test_the_password_is_in_no_row_of_the_ledger(probing: Probing, database_url: str) -> None:
    place_hosts(probing, "127.0.3.1", "127.0.3.2")
    add(probing.double, "127.0.3.1", name="seen-by-the-search")
    add(probing.double, "127.0.3.2", accounts={"LAB\\ledger": "another"})
    canaries = Canaries()
    canaries.watch("password", PASSWORD)
    canaries.watch("name", "seen-by-the-search")

    assert probing.read().attached == 1

    probing.office.connection.commit()
    found = {trace for where, content in everything_in(database_url) for trace in canaries.traces(content, where)}
    assert {trace for trace in found if trace.startswith("password")} == set()
    assert any("asset_observations" in trace and "(gzip)" in trace for trace in found), found  # it looks into raw


def test_a_ticket_needs_no_credential_so_assets_without_one_are_read_too(
    probing: Probing, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_hosts(probing, "127.0.3.1", "127.0.3.2")
    probing.office.connection.execute("UPDATE ledger.assets SET credential_ref = NULL")
    assert probing.read().failures == ()  # without a credential there is nothing to read
    move_hosts(probing, "127.0.3.1", "127.0.3.2")
    probing.office.connection.execute("UPDATE ledger.assets SET credential_ref = NULL")
    monkeypatch.setitem(sys.modules, "winrm.vendor.requests_kerberos", None)  # as if it could not be imported
    probing.source = config_of(probing.double, authentication="kerberos")
    assert [failure.code for failure in probing.read().failures] == [errors.KERBEROS_MISSING] * 2
