"""`asset-ledger notices` as a person meets it: the dry run, the test, the lists, and refusals that say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asset_ledger.domain.notices.run import RunFacts, StepFailed
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.notices import look_at_run, note_defect
from asset_ledger.settings import Settings
from tests.cli.conftest import Cli
from tests.doubles.robots import WECOM, Answer, Robots

FILE = "receivers: [{name: group, credential_ref: 'env:GROUP'}, {name: findings, credential_ref: 'env:X', kinds: [finding]}]\n"

AT = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
FACTS = RunFacts("5c1d-run", "office_collect", "failure", "", "", "", "", "ops", AT, AT)


@pytest.fixture
def robots(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Robots]:
    with Robots() as double:
        for name, value in double.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("GROUP_URL", double.wecom)
        (project / "notices.yaml").write_text(FILE)
        yield double


@pytest.fixture
def failed(robots: Robots) -> str:
    """A run that failed and was looked at."""
    at = datetime.now(UTC) - timedelta(minutes=5)
    step = StepFailed("office_chain", "RAW_DAMAGED", "storage", "the digest is another, secret=hunter2")
    facts = RunFacts(
        "3f6a1c2e-run",
        "office_collect",
        "failure",
        "collect",
        "office",
        "all",
        "2026-11-20",
        "ops",
        at,
        at,
        (),
        (step,),
    )
    ledger = Ledger(Settings.load())
    with ledger.connect() as db:
        look_at_run(db, ledger.notices, facts, now=at)
    return facts.run_id


def test_a_receiver_is_tried_out(cli: Cli, robots: Robots) -> None:
    assert cli("notices", "test", "group").out == "receiver group: it has the test\n"
    assert "receiver group" in robots.said[WECOM][0]["text"]["content"]
    assert robots.said[WECOM][0]["text"]["content"].rstrip().endswith("Asia/Shanghai."), "as notices give times"
    robots.fault = lambda _host: Answer(200, {"errcode": 93000, "errmsg": robots.wecom_key})
    done = cli("notices", "test", "group")
    assert (done.code, done.out) == (1, "")
    assert done.err == "receiver group: answered with the code 93000: it knows no such key\n"
    wrong = cli("notices", "test", "nobody")
    assert wrong.code == 1
    assert "there are: group, findings" in wrong.err


def test_the_preview_is_what_is_sent(cli: Cli, robots: Robots, failed: str) -> None:
    before = json.loads(cli("notices", "preview", "--json").out)
    assert [one["state"] for one in before] == ["is sent next", "nothing is due"]
    shown = cli("notices", "preview", "--receiver", "group").out
    assert "CRITICAL office_chain `RAW_DAMAGED`: run failed. the digest is another, secret=[redacted]." in shown
    of_run = cli("notices", "preview", "--run", failed[:6]).out
    assert "findings: is told nothing of this run" in of_run
    assert "not told: failed_run office_chain RAW_DAMAGED: it does not ask for failed_run" in of_run
    assert not robots.said[WECOM]
    assert cli("notices", "deliver").out == "1 of 1 messages arrived, 0 digests were given up\n"
    assert robots.said[WECOM][0]["text"]["content"] == f"{before[0]['title']}\r\n{before[0]['body']}"
    (row,) = json.loads(cli("notices", "list", "--json").out)
    assert (row["state"], row["receiver"], row["severity"]) == ("sent", "group", "critical")
    assert "RAW_DAMAGED" in cli("notices", "troubles").out
    missing = cli("notices", "preview", "--run", "nothing")
    assert missing.code == 1
    assert "NOTICE_RUN_UNKNOWN" in missing.err


def test_what_did_not_arrive_is_said_and_listed(cli: Cli, robots: Robots, failed: str) -> None:
    robots.fault = lambda _host: Answer(503, "away")
    done = cli("notices", "deliver")
    assert done.code == 1
    assert "answered 503; again at" in done.err
    listed = cli("notices", "list")
    assert "waits" in listed.out
    assert "answered 503" in listed.out
    assert robots.wecom_key not in listed.out + done.err


def test_what_could_not_be_delivered_or_understood_is_said_above_the_list(
    cli: Cli, robots: Robots, failed: str, project: Path
) -> None:
    assert "warning" not in cli("notices", "list").err
    robots.fault = lambda _host: Answer(503, "away")
    cli("notices", "deliver")
    waits = cli("notices", "list")
    assert "warning: receiver group: 1 did not arrive and are tried again: answered 503; try it out" in waits.err
    ledger = Ledger(Settings.load())
    with ledger.connect() as db:
        db.execute("UPDATE audit.notices SET given_up_at = now(), next_at = now()")
        note_defect(db, ledger.notices, FACTS, ValueError("hunter2"), now=datetime.now(UTC))
    (project / "notices.yaml").write_text(FILE.replace("'env:GROUP'", "'env:GROUP', sources: [gone]"))
    said = cli("notices", "list", "--json")
    assert {row["state"] for row in json.loads(said.out)} == {"given up", "waits"}
    assert "receiver group: 1 were given up, at last because: answered 503; once it takes messages again" in said.err
    assert "notices.yaml: group: receivers[0].sources[0]: no source of sources.yaml has such a name" in said.err
    assert "office_collect: 1 of its runs could not be read for notices (NOT_LOOKED_AT), last at" in said.err
    assert robots.wecom_key not in said.err
    assert "hunter2" not in said.err
    (project / "notices.yaml").write_text("receivers: [{name: another, credential_ref: 'env:X'}]")
    assert "receiver group: notices.yaml does not name it, and 1 wait for it" in cli("notices", "list").err


def test_without_a_file_nobody_is_told_and_that_is_said(cli: Cli) -> None:
    for command in ("preview", "list"):
        assert "notices.yaml names no receiver" in cli("notices", command).err
    assert "still wrong" in cli("notices", "troubles").err
    assert cli("notices", "deliver").out == "0 of 0 messages arrived, 0 digests were given up\n"


def test_a_file_that_is_named_and_not_there_is_a_mistake(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSET_LEDGER_NOTICES", "/nowhere/notices.yaml")
    done = cli("notices", "preview")
    assert done.code == 1
    assert "ASSET_LEDGER_NOTICES names it" in done.err
