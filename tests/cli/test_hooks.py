"""`asset-ledger hooks`, `cmdb` and `metrics` as a person meets them: listings, refusals that say what to do, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.pipeline.metrics import exposition
from asset_ledger.settings import Settings
from asset_ledger.store.database import Connection
from asset_ledger.store.iac import outbox
from asset_ledger.store.tenancy import as_tenant
from tests.cli.conftest import Cli
from tests.doubles.webhooks import Receiver, new_secret
from tests.pipeline.telling_hooks import opened, tenant

NOW = datetime.now(UTC) - timedelta(minutes=5)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with Receiver() as double:
        yield double


@pytest.fixture
def told(project: Path, there: Receiver, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """An installation whose iac.yaml names a webhook, of which two findings are told."""
    (project / "iac.yaml").write_text(
        "webhooks:\n"
        f"  - {{name: tickets, url: '{there.url}', credential_ref: 'env:TICKETS', ca_file: '{there.ca_file}'}}\n"
        f"  - {{name: quiet, url: '{there.url}', credential_ref: 'env:QUIET', kinds: [double]}}\n"
    )
    monkeypatch.setenv("TICKETS_SECRET", there.secret)
    ledger = Ledger(Settings.load())
    with ledger.connect() as db:
        opened(db, NOW, "drift", "orphan")
        with as_tenant(db, tenant(db)):
            assert outbox.enqueue(db, "acme", ledger.iac_rules.hooks, at=NOW) == 2
    return ledger


def test_what_is_due_is_sent_and_what_came_of_it_is_listed(told: Ledger, there: Receiver, cli: Cli) -> None:
    before = json.loads(cli("hooks", "list", "--json").out)
    assert [(row["hook"], row["waiting"], row["configured"]) for row in before] == [
        ("tickets", 2, True),
        ("quiet", 0, True),
    ]
    done = cli("hooks", "deliver")
    assert (done.code, done.out) == (0, "2 of 2 messages arrived, 0 were given up\n")
    assert len(there.taken) == 2
    listed = cli("hooks", "list")
    assert "tickets" in listed.out
    assert "acme" in listed.out
    assert cli("hooks", "deliver").out.startswith("0 of 0 messages")


def test_a_receiver_that_is_away_is_an_exit_code_and_a_line(told: Ledger, there: Receiver, cli: Cli) -> None:
    there.faults.add("POST *", "status", status=503, times=None)
    done = cli("hooks", "deliver")
    assert done.code == 1
    assert "webhook tickets (acme): answered 503; again at " in done.err
    (box,) = (row for row in json.loads(cli("hooks", "list", "--json").out) if row["hook"] == "tickets")
    assert (box["waiting"], box["last_error"]) == (2, "answered 503")


def test_what_was_given_up_is_tried_again_where_a_person_says_so(told: Ledger, there: Receiver, cli: Cli) -> None:
    there.faults.add("POST *", "status", status=410, times=2)
    assert "2 were given up" in cli("hooks", "deliver").out
    assert "0 of 0" in cli("hooks", "deliver").out
    again = cli("hooks", "deliver", "--again")
    assert again.out.splitlines() == [
        "2 given-up messages are due again",
        "2 of 2 messages arrived, 0 were given up",
    ]


def test_a_hook_that_is_in_the_file_no_more_is_shown_as_such(told: Ledger, project: Path, cli: Cli) -> None:
    (project / "iac.yaml").write_text("webhooks: []\n")
    (box,) = json.loads(cli("hooks", "list", "--json").out)
    assert (box["configured"], box["waiting"]) == (False, 2)
    (project / "iac.yaml").unlink()
    assert cli("hooks", "test", "tickets").code == 1


def test_a_hook_is_tried_out_and_its_failure_said(
    told: Ledger, there: Receiver, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("hooks", "test", "tickets").out == "webhook tickets: answered 204\n"
    unknown = cli("hooks", "test", "nobody")
    assert unknown.code == 1
    assert "there are: tickets, quiet" in unknown.err
    assert "CREDENTIAL_NOT_FOUND" in cli("hooks", "test", "quiet").err
    monkeypatch.setenv("TICKETS_SECRET", wrong := new_secret())
    refused = cli("hooks", "test", "tickets")
    assert (refused.code, refused.err) == (1, "webhook tickets: answered 400\n")
    monkeypatch.setenv("TICKETS_SECRET", "hunter2")
    bad = cli("hooks", "test", "tickets")
    assert "CREDENTIAL_UNREADABLE" in bad.err
    assert "hunter2" not in bad.err
    assert wrong not in refused.out + refused.err


def test_where_nobody_is_told_it_is_said_where_to_begin(project: Path, cli: Cli) -> None:
    assert "docs/webhooks.md" in cli("hooks", "list").err
    assert cli("hooks", "list", "--json").out == "[]\n"
    assert cli("hooks", "deliver").out == "0 of 0 messages arrived, 0 were given up\n"


def covered(db: Connection) -> None:
    """Write what looking for findings leaves of two days of a source."""
    tenant_id = tenant(db)
    with as_tenant(db, tenant_id):
        db.execute("INSERT INTO iac.tenant_sources VALUES (%s, 1)", [tenant_id])
        for day, managed in (("2026-11-19", 1), ("2026-11-20", 3)):
            db.execute(
                "INSERT INTO iac.coverage (tenant_id, source_id, source, day, evaluated_at, complete, observed, managed,"
                " declared, ignored, drifting, missing, doubles, orphans)"
                " VALUES (%s, 1, 'pve_lab', %s, %s, true, 4, %s, 5, 0, 1, 2, 0, 1)",
                [tenant_id, day, day, managed],
            )


def test_metrics_say_how_much_is_declared_what_is_open_and_who_was_not_told(told: Ledger) -> None:
    with told.connect() as db:
        covered(db)
        said = exposition(db, now=NOW + timedelta(hours=1))
    of = 'source="pve_lab",tenant="acme"'
    for line in (
        f"iac_coverage_ratio{{{of}}} 0.75",
        f"iac_reading_complete{{{of}}} 1.0",
        'iac_machines{source="pve_lab",state="declared",tenant="acme"} 5.0',
        f'iac_findings_open{{kind="drift",{of}}} 1.0',
        f'iac_findings_oldest_seconds{{kind="orphan",{of}}} 3600.0',
        f'iac_findings_unsure{{kind="drift",{of}}} 0.0',
        'iac_webhook_waiting{tenant="acme",webhook="tickets"} 2.0',
        'iac_webhook_given_up{tenant="acme",webhook="tickets"} 0.0',
    ):
        assert line in said.splitlines(), said
    assert f"iac_evaluated_timestamp_seconds{{{of}}} " in said


def test_a_source_of_which_nothing_was_seen_has_no_share(told: Ledger) -> None:
    with told.connect() as db:
        covered(db)
        with as_tenant(db, tenant(db)):
            db.execute("UPDATE iac.coverage SET observed = 0")
        assert "iac_coverage_ratio{" not in exposition(db, now=NOW)


def test_a_cmdb_is_linked_shown_and_unlinked(filled: str, ledger: Ledger, cli: Cli) -> None:
    with ledger.connect() as db:
        db.execute(
            "CREATE TABLE public.ci (nr text, name text, addr text, owner text);"
            "INSERT INTO public.ci VALUES ('CI-1', 'web-01', NULL, 'shop'), ('CI-9', 'printer', '10.9.9.1', 'office')"
        )
    assert "CMDB_NOT_LINKED: ledger.cmdb_assets" in cli("cmdb", "show").err
    made = cli(
        *("cmdb", "link", "--table", "public.ci", "--key", "nr", "--match", "hostname=name", "--match", "ip=addr"),
        *("--show", "owner"),
    )
    assert made.code == 0, made.err
    assert "ledger.cmdb_assets is made over public.ci: 1 on both sides" in made.out
    shown = cli("cmdb", "show", "--side", "only_cmdb")
    assert "CI-9" in shown.out
    assert "CI-1" not in shown.out
    found = json.loads(cli("cmdb", "show", "--json").out)
    assert found["counts"]["only_cmdb"] == 1
    (both,) = (row for row in found["assets"] if row["side"] == "both")
    assert (both["rule"], both["ci_key"], both["ci"]["owner"]) == ("hostname", "CI-1", "shop")
    assert cli("cmdb", "unlink").out == "ledger.cmdb_assets is dropped\n"
    assert cli("cmdb", "unlink").out == "no CMDB was linked\n"


def test_what_is_wrong_with_a_link_is_said(project: Path, cli: Cli) -> None:
    link = ("cmdb", "link", "--table", "public.ci", "--key", "nr", "--match")
    assert "no such table" in cli(*link, "ip=addr").err
    for wrong in ("ip", "mac=addr", "ip="):
        refused = cli(*link, wrong)
        assert refused.code == 2
        assert "RULE=COLUMN" in refused.err
    assert cli("cmdb", "show", "--side", "left").code == 2
