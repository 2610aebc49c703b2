"""What the commands say of a cluster that was read: machines that moved, what was proven, what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asset_ledger.cli.sources import _facts
from asset_ledger.domain.calendar import collected_date
from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.derive import derive_day
from asset_ledger.pipeline.intake import read_source
from asset_ledger.pipeline.ledger import Ledger, source_row
from asset_ledger.pipeline.metrics import exposition
from asset_ledger.pipeline.response import collector_response
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.store.raw import save_inventory
from tests.cli.conftest import Cli
from tests.doubles.pve import PveDouble, load
from tests.sources.live import Credentials
from tests.sources.pve.live import collector, config_of, fields_of

ACCOUNT = "agent@pve!asset"
NOW = datetime.now(UTC)
TODAY = collected_date(NOW)


@dataclass
class Lab:
    """A cluster, and the ledger that reads it."""

    ledger: Ledger
    pve: PveDouble

    def read(self, run: str, name: str = "pve_x", zone: str = "default") -> None:
        source = config_of(self.pve, ACCOUNT, name=name, zone=zone)
        reader = cast("Ledger", SimpleNamespace(credentials=Credentials(fields_of(ACCOUNT))))
        with self.ledger.connect() as connection:
            row = source_row(connection, source)
            read_source(reader, connection, source, row, scope="all", run_id=run, mode="collect")
            derive_day(connection, source, row, TODAY, run_id=run, mode="collect")

    def read_on(self, day: date, run: str) -> None:
        """Read the cluster as it is now as the reading of a past day."""
        source = config_of(self.pve, ACCOUNT)
        records = list(collector(self.pve, ACCOUNT).collect(ReadOrder()))
        at = NOW - (TODAY - day)
        with self.ledger.connect() as connection:
            row = source_row(connection, source)
            save_inventory(
                connection, source=row, records=records, scope="all", collected_date=day, collected_at=at, run_id=run,
                mode="collect", complete=False,
            )  # fmt: skip
            derive_day(connection, source, row, day, run_id=run, mode="collect")

    def rename_ends(self) -> None:
        """Give the hosts names that are not their ids, as other platforms do."""
        with self.ledger.connect() as connection:
            connection.execute(
                "UPDATE ledger.assets SET hostname = 'node-' || hostname WHERE id IN "
                "(SELECT asset_id FROM ledger.asset_source_links WHERE external_kind = 'host')"
            )

    def response(self) -> dict[str, Any]:
        source = config_of(self.pve, ACCOUNT)
        with self.ledger.connect() as connection:
            return collector_response(connection, source, source_row(connection, source))


@pytest.fixture
def lab(ledger: Ledger) -> Iterator[Lab]:
    with PveDouble(load("cluster")) as double:
        yield Lab(ledger, double)


def line(text: str, *words: str) -> list[str]:
    """Return the words of the one line that has all of these."""
    (found,) = [each.split() for each in text.splitlines() if all(word in each for word in words)]
    return found


def test_a_move_within_a_day_is_told_by_the_reading_that_saw_it(cli: Cli, lab: Lab) -> None:
    lab.read("one")
    lab.rename_ends()
    lab.pve.cluster.migrate(100, "n3")
    lab.read("two")
    shown = cli("runs", "show", "two").out
    # n3 alone was settled again by the second reading, and has its name anew
    assert line(shown, "qemu/100", "runs_on")[:5] == ["qemu/100", "web1", "runs_on", "node-n1", "node-n3"]
    assert "relations" not in shown


def test_a_move_from_day_to_day_is_a_change_and_its_end_stays_on_the_page(cli: Cli, lab: Lab) -> None:
    yesterday = TODAY - timedelta(days=1)
    lab.read_on(yesterday, "one")
    lab.pve.cluster.migrate(100, "n3")
    lab.read("two")
    assert line(cli("changes").out, "web1", "runs_on")[:7] == [
        f"{TODAY}", "web1", "pve_x", "runs_on", "n1", "→", "n3",
    ]  # fmt: skip
    page = cli("assets", "show", "web1").out
    hangs = page[page.index("What it hangs on") : page.index("Aliases")]
    assert line(hangs, "n3")[:3] == ["runs_on", "n3", "pve_x"]
    assert line(hangs, "n1")[:3] == ["runs_on", "n1", "pve_x"]
    assert "current" in line(hangs, "n3")
    assert line(hangs, "n1")[3] == f"{(NOW - timedelta(days=1)).date()}"  # instants are shown in UTC
    assert line(hangs, "n1")[5] == f"{NOW.date()}"  # under `until`
    assert "runs_on n1 → n3" in " ".join(page[page.index("What happened") :].split())


def test_interfaces_and_relations_of_a_word_are_short(cli: Cli, lab: Lab) -> None:
    lab.read("one")
    page = cli("assets", "show", "web1").out
    assert line(page, "relations")[1:] == ["runs_on", "n1"]
    assert "192.0.2.100" in line(page, "network.interfaces")
    assert "{" not in page


def test_a_run_shows_what_was_proven_and_what_was_refused(cli: Cli, lab: Lab) -> None:
    lab.read("one")
    good = cli("runs", "show", "one").out
    assert "  proven complete\n" in good
    assert "guests: /cluster/resources 11, /cluster/resources?type=vm 11" in good
    assert "agents_asked 5" in good
    lab.pve.cluster.grant("/pool/prod", "NoAccess", "agent@pve")
    with pytest.raises(LedgerError):
        lab.read("two")
    refused = cli("runs", "show", "two").out
    assert "not proven complete" in refused
    assert any("against it: " in each and "VM.Audit" in each for each in refused.splitlines())
    assert "PVE_PERMISSION_DENIED; `asset-ledger errors" in refused
    error = lab.response()["errors"][0]
    assert error["code"] == "PVE_PERMISSION_DENIED"
    assert "VM.Audit" in error["message"]


def test_a_reading_that_rate_limiting_ended_is_counted(lab: Lab) -> None:
    lab.read("one")
    assert 'pve_rate_limit_count{scope="all",source="pve_x"} 0.0' in _metrics(lab)
    lab.pve.faults.add("GET /cluster/resources", "status", status=429, headers={"Retry-After": "0"}, times=None)
    with pytest.raises(LedgerError, match="PVE_RATE_LIMIT"):
        lab.read("two")
    assert 'pve_rate_limit_count{scope="all",source="pve_x"} 1.0' in _metrics(lab)


def _metrics(lab: Lab) -> str:
    with lab.ledger.connect() as connection:
        return exposition(connection, now=datetime.now(UTC))


def test_what_detect_found_is_a_line_each() -> None:
    told = {"capabilities": {"nodes": ["n1"], "node_fingerprints": {"n1": "AA:BB", "n2": "CC:DD"}, "empty": {}}}
    assert _facts(told) == {
        "capabilities.nodes": ["n1"],
        "capabilities.node_fingerprints.n1": "AA:BB",
        "capabilities.node_fingerprints.n2": "CC:DD",
        "capabilities.empty": {},
    }


def test_two_sources_that_read_the_same_cluster_are_pointed_out(cli: Cli, lab: Lab) -> None:
    both = "".join(
        f"  - {{name: {name}, platform: pve, endpoint: 'https://{name}:8006', credential_ref: 'env:PVE'}}\n"
        for name in ("pve_a", "pve_a2", "pve_b")
    )
    file = lab.ledger.settings.sources_file
    file.write_text(f"sources:\n{both}")
    lab.read("one", "pve_a")
    lab.read("elsewhere", "pve_b", zone="elsewhere")
    assert "seem to read" not in cli("sources", "list").err
    lab.read("two", "pve_a2")
    said = "pve_a and pve_a2 seem to read the same cluster lab: its machines are in the ledger twice; disable one\n"
    assert cli("sources", "list").err == said
    file.write_text(f"sources:\n{both}".replace("pve_a2:8006', ", "pve_a2:8006', enabled: false, "))
    assert "seem to read" not in cli("sources", "list").err
