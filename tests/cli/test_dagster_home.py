"""Dagster's home as the command line makes it ready, which several containers may share."""

from __future__ import annotations

from pathlib import Path

import pytest

from asset_ledger.cli.dagster_run import PROJECT, prepare
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.settings import Settings


def test_who_reads_dagsters_file_while_it_is_replaced_reads_a_whole_one(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(ledger)
    home = ledger.settings.dagster_home
    file, shipped = home / "dagster.yaml", (PROJECT / "deploy" / "dagster.yaml").read_text()
    assert file.read_text() == shipped
    file.chmod(0o600)
    beside = sorted(home.iterdir())
    own = tmp_path / "own.yaml"
    own.write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("ASSET_LEDGER_DAGSTER_CONFIG", str(own))
    with file.open("rb", buffering=0) as reader:
        begun = reader.read(10)
        prepare(Ledger(Settings.load()))
        assert (begun + reader.read()).decode() == shipped
    assert file.read_text() == own.read_text()
    assert file.stat().st_mode & 0o777 == 0o600, "what somebody closed to others stays closed"
    assert sorted(home.iterdir()) == beside, "nothing is left beside it"
