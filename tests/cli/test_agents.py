"""`asset-ledger agents`: listed, shown, compared and ended, by id or by hostname."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from asset_ledger.domain.agents.payload import loads, read
from asset_ledger.pipeline.ledger import Ledger
from asset_ledger.store.access.people import tenants
from asset_ledger.store.agents.clients import Enrolled, Enrolment, enroll, hashed, holder
from asset_ledger.store.agents.reports import accept
from asset_ledger.store.tenancy import as_tenant
from tests.agents.payloads import GIB
from tests.agents.reporting import body
from tests.cli.conftest import Cli

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)


@pytest.fixture
def fleet(cli: Cli, ledger: Ledger) -> dict[str, Enrolled]:
    """Two clients; web-01 said three things, db-01 nothing."""
    assert cli("tenants", "add", "acme").code == 0
    made = {}
    with ledger.connect() as connection:
        (tenant,) = tenants(connection)
        for name in ("web-01", "db-01"):
            with as_tenant(connection, tenant.id):
                made[name] = enroll(connection, tenant.id, Enrolment(hostname=name), user_id=None, who="ann")
        web = holder(connection, hashed(made["web-01"].token))
        assert web is not None
        for minute, told in enumerate(({}, {"memory_total": 32 * GIB}, {"kernel_version": "6.1.0"})):
            sent = body(collected_at=NOW + timedelta(minutes=minute), **told)
            with as_tenant(connection, tenant.id):
                accept(connection, web, sent, read(loads(sent)), received_at=datetime.now(UTC), peer=None)
    return made


def holds(ledger: Ledger, token: str) -> bool:
    with ledger.connect() as connection:
        return holder(connection, hashed(token)) is not None


def test_clients_are_listed_with_what_they_said_and_what_waits(cli: Cli, fleet: dict[str, Enrolled]) -> None:
    done = cli("agents", "list")
    assert done.code == 0
    assert [line.split()[1] for line in done.out.splitlines()[-2:]] == ["db-01", "web-01"]
    assert "3 reports wait for the ledger" in done.err
    found = json.loads(cli("agents", "list", "--os", "linux", "--json").out)
    assert [(each["hostname"], each["waiting"]) for each in found] == [("web-01", 3)]
    assert "None." in cli("agents", "list", "--hostname", "nothing").err


def test_a_client_is_shown_by_name_and_by_id(cli: Cli, fleet: dict[str, Enrolled]) -> None:
    text = cli("agents", "show", "WEB-01").out
    assert "6.1.0" in text
    assert "15.3 GiB" in text
    by_id = json.loads(cli("agents", "show", str(fleet["web-01"].client_id)[:8], "--json").out)
    assert (by_id["hostname"], by_id["inventory"]["raw_data"]["host"]["hostname"]) == ("web-01", "web-01")
    assert json.loads(cli("agents", "show", "db-01", "--json").out)["inventory"] is None
    refused = cli("agents", "show", "web")
    assert (refused.code, "CLIENT_NOT_FOUND: web: there is no such client" in refused.err) == (1, True)
    assert cli("agents", "show", "").code == 1


def test_history_is_listed_by_type_and_any_two_rows_are_compared(cli: Cli, fleet: dict[str, Enrolled]) -> None:
    found = json.loads(cli("agents", "history", "web-01", "--json").out)
    assert [each["change_type"] for each in found] == [
        ["hardware_change", "os_change"],
        ["hardware_change"],
        ["periodic_snapshot"],
    ]
    assert "memory" in cli("agents", "history", "web-01", "--type", "os_change").out
    newest, middle, first = (str(each["id"]) for each in found)
    told = json.loads(cli("agents", "diff", "web-01", "--from", first, "--to", middle, "--json").out)
    assert (told["change_type"], [each["field"] for each in told["differences"]]) == (
        ["hardware_change"],
        ["memory_total"],
    )
    usual = json.loads(cli("agents", "diff", "web-01", "--json").out)
    assert (usual["from"]["id"], usual["to"]["id"]) == (int(middle), None)
    assert json.loads(cli("agents", "diff", "web-01", "--to", newest, "--json").out)["from"]["id"] == int(middle)
    assert "32 GiB" in cli("agents", "diff", "web-01", "--from", first, "--to", middle).out
    assert "nothing is known of the time before it" in cli("agents", "diff", "web-01", "--to", first).err
    assert "no such row" in cli("agents", "diff", "web-01", "--from", "99999").err
    assert cli("agents", "diff", "web-01", "--from", "x").code == 2


def test_a_new_token_is_printed_once_and_the_old_one_ends(cli: Cli, ledger: Ledger, fleet: dict[str, Enrolled]) -> None:
    done = cli("agents", "rotate", "web-01")
    token = done.out.strip()
    assert token.startswith("ac_")
    assert (holds(ledger, token), holds(ledger, fleet["web-01"].token)) == (True, False)
    assert json.loads(cli("agents", "revoke", "web-01", "--json").out)["tokens"] == 1
    assert not holds(ledger, token)
    told = json.loads(cli("audit", "list", "--type", "security.client", "--json").out)
    assert [(each["action"], each["actor"]) for each in told] == [("revoke", "li.lei"), ("rotate", "li.lei")]
    assert token not in json.dumps(told)


def test_a_retired_client_is_listed_when_asked_for_and_let_in_no_more(
    cli: Cli, ledger: Ledger, fleet: dict[str, Enrolled]
) -> None:
    assert "retired" in cli("agents", "retire", "web-01").out
    assert not holds(ledger, fleet["web-01"].token)
    assert [each["hostname"] for each in json.loads(cli("agents", "list", "--json").out)] == ["db-01"]
    assert "retired" in cli("agents", "list", "--all").out
    assert len(json.loads(cli("agents", "history", "web-01", "--json").out)) == 3
    again = cli("agents", "retire", "web-01")
    assert (again.code, "CLIENT_NOT_FOUND" in again.err) == (1, True)
    assert UUID(json.loads(cli("agents", "list", "--retired", "--json").out)[0]["id"]) == fleet["web-01"].client_id
