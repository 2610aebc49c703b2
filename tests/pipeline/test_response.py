"""What a source's last reading told, as `collector-response-v1`."""

from __future__ import annotations

from datetime import date

import pytest

from asset_ledger.domain.errors import LedgerError
from asset_ledger.pipeline.response import collector_response
from tests.pipeline.importing import Importing

FILE = "mgmt_ip,hostname,cpu_cores\n192.0.2.1,web1,4\n192.0.2.2,web2,many\n"


def test_the_answer_has_every_machine_and_every_row_that_was_not_taken(office: Importing) -> None:
    office.read("2026-11-02", FILE)

    answer = collector_response(office.connection, office.source, office.row)

    assert answer["schema_version"] == "collector-response-v1"
    assert (answer["source"], answer["platform"], answer["status"]) == ("office", "import", "derived")
    assert [asset["normalized"]["identity"]["hostname"] for asset in answer["assets"]] == ["web1"]
    [failure] = answer["failures"]
    assert (failure["row"], failure["column"], failure["retryable"]) == (3, "cpu_cores", False)
    assert answer["stats"] == {
        "inventory_complete": False,
        "assets": 1,
        "instances": 0,
        "relations": 0,
        "failures": 1,
        "warnings": 0,
        "errors": 0,
        "raw": 1,
    }
    [raw] = answer["raw"]
    assert raw["bytes"] == len(FILE.encode())


def test_the_answer_of_a_day_is_of_that_day(office: Importing) -> None:
    office.read("2026-11-02", FILE)
    office.read("2026-11-03", "mgmt_ip,hostname\n192.0.2.9,db9\n")

    newest = collector_response(office.connection, office.source, office.row)
    earlier = collector_response(office.connection, office.source, office.row, date(2026, 11, 2))

    assert [asset["normalized"]["identity"]["hostname"] for asset in newest["assets"]] == ["db9"]
    assert [asset["normalized"]["identity"]["hostname"] for asset in earlier["assets"]] == ["web1"]


def test_a_source_that_was_never_read_says_so(office: Importing) -> None:
    with pytest.raises(LedgerError, match=r"RAW_MISSING: office: nothing was read for 2026-11-02"):
        collector_response(office.connection, office.source, office.row, date(2026, 11, 2))
