"""`asset-ledger rebuild`: what it proves, how it shows a difference, and that it asks before it writes."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from asset_ledger.cli.main import app
from asset_ledger.pipeline.ledger import Ledger
from tests.cli.conftest import Cli


def test_a_ledger_that_is_as_its_evidence_says_verifies(cli: Cli, filled: str) -> None:
    done = cli("rebuild", "--verify")
    assert done.code == 0, done.err
    assert "3 readings were derived again: every table came out the same" in done.out
    assert "asset_daily_specs" in done.out
    document = json.loads(cli("rebuild", "--verify", "--json").out)
    assert document["same"] is True
    assert document["readings"] == 3
    assert document["differences"] == []


def test_a_row_that_no_evidence_supports_is_shown_field_by_field_and_a_rebuild_mends_it(
    cli: Cli, filled: str, ledger: Ledger
) -> None:
    with ledger.connect() as connection:
        connection.execute("UPDATE ledger.assets SET cpu_cores = 99 WHERE hostname = 'web-01'")
        connection.execute("DELETE FROM ledger.asset_daily_ips WHERE ip = '10.0.0.4'")
    refused = cli("rebuild", "--verify")
    assert refused.code == 1
    assert "REBUILD_DIFFERS" in refused.err
    assert "cpu_cores 99 → 8" in refused.out
    assert "asset_daily_ips: 0 rows are only in the ledger, 1 only in the rebuilt one" in refused.out
    assert "ip 10.0.0.4" in refused.out
    document = json.loads(cli("rebuild", "--verify", "--json").out)
    assert {each["table"] for each in document["differences"]} == {"assets", "asset_daily_ips"}

    mended = cli("rebuild", "--yes")
    assert mended.code == 0, mended.err
    assert "the tables above are what the evidence says now" in mended.out
    assert cli("rebuild", "--verify").code == 0


def test_a_rebuild_asks_first_and_leaves_everything_when_the_answer_is_no(
    cli: Cli, filled: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ledger.connect() as connection:
        connection.execute("UPDATE ledger.assets SET cpu_cores = 99 WHERE hostname = 'web-01'")
    monkeypatch.setattr(sys, "argv", ["asset-ledger"])
    answered = CliRunner().invoke(app, ["rebuild"], input="n\n")
    assert answered.exit_code == 1
    assert "Rebuild the ledger?" in answered.output
    with ledger.connect() as connection:
        found = connection.execute("SELECT cpu_cores FROM ledger.assets WHERE hostname = 'web-01'").fetchone()
    assert found == (99,)
