"""The HTTP service's commands: a first administrator, tokens, states, keys; and that each leaves a row of the audit."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from asset_ledger.credentials.key_ring import load_or_make
from asset_ledger.domain.iac.locking import lock_of
from asset_ledger.store.access import tokens
from asset_ledger.store.access.people import account
from asset_ledger.store.database import connect
from asset_ledger.store.iac.states import Name, Who, take_lock
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import free_port
from tests.cli.conftest import Cli

STATE = {"version": 4, "terraform_version": "1.15.5", "serial": 1, "lineage": "l", "outputs": {}, "resources": []}


def resource(name: str, **attributes: object) -> dict[str, object]:
    return {
        "mode": "managed", "type": "terraform_data", "name": name, "provider": 'provider["terraform.io/builtin/terraform"]',
        "instances": [{"schema_version": 0, "attributes": {"id": f"id-{name}", **attributes}, "sensitive_attributes": []}],
    }  # fmt: skip


@pytest.fixture
def acme(cli: Cli) -> Cli:
    """A tenant with an administrator."""
    assert cli("tenants", "add", "acme").code == 0
    assert cli("users", "add", "ann", "--role", "admin").code == 0
    return cli


def keep(cli: Cli, folder: Path, serial: int, *resources: dict[str, object], stack: str = "shop/app") -> str:
    path = folder / "state.json"
    path.write_text(json.dumps({**STATE, "serial": serial, "resources": list(resources)}))
    done = cli("state", "import", stack, str(path))
    assert done.code == 0, done.err
    return done.out


def test_a_first_administrator_is_made_by_two_commands(cli: Cli, project: Path) -> None:
    assert "make one: `asset-ledger tenants add NAME`" in cli("users", "add", "ann", "--role", "admin").err
    made = cli("tenants", "add", "acme")
    assert "asset-ledger users add" in made.out
    keys = project / "home" / "state_keys"
    assert str(keys) in made.err
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert cli("users", "add", "ann", "--role", "admin").code == 0
    assert cli("tenants", "add", "acme").code == 1
    assert cli("tenants", "add", "Acme!").code == 1
    assert cli("users", "add", "ann", "--role", "king").code == 2
    (user,) = json.loads(cli("users", "list", "--json").out)
    assert (user["username"], user["role"], user["is_active"]) == ("ann", "admin", True)
    assert cli("users", "disable", "ann").code == 0
    assert json.loads(cli("users", "list", "--json").out)[0]["is_active"] is False
    assert cli("tenants", "disable", "acme").code == 0
    assert json.loads(cli("tenants", "list", "--json").out)[0]["is_active"] is False
    assert cli("tenants", "enable", "acme").code == 0
    told = [(row["type"], row["action"], row["actor"]) for row in json.loads(cli("audit", "list", "--json").out)]
    assert told == [
        ("security.tenant", "enable", "li.lei"),
        ("security.tenant", "disable", "li.lei"),
        ("security.user", "disable", "li.lei"),
        ("security.user", "set", "li.lei"),
        ("security.tenant", "add", "li.lei"),
    ]


def test_a_token_is_printed_alone_and_ended_by_how_it_begins(acme: Cli, database_url: str) -> None:
    done = acme("tokens", "add", "ann", "--name", "ci", "--role", "writer", "--days", "30")
    token = done.out.strip()
    assert token.startswith(tokens.PREFIX)
    assert token not in done.err
    with connect(database_url) as connection:
        found = tokens.holder(connection, token)
        assert found is not None
        assert (found.tenant, found.actor, found.role) == ("acme", "ann", "writer")
    assert token not in acme("tokens", "list").out
    assert acme("tokens", "revoke", "nothing").code == 1
    assert "8 characters" in acme("tokens", "revoke", "").err
    assert acme("tokens", "revoke", token).code == 0
    with connect(database_url) as connection:
        assert tokens.holder(connection, token) is None
    assert acme("tokens", "add", "nobody", "--name", "x").code == 1


def test_a_password_is_asked_for_and_one_that_is_too_short_is_refused(
    acme: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    refused = acme("users", "add", "bob", "--password")
    assert refused.code == 2
    assert "at least 12 characters" in refused.err
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    assert acme("users", "add", "bob", "--password").code == 0


def test_states_are_listed_read_compared_and_rolled_back(acme: Cli, project: Path) -> None:
    assert "No state yet" in acme("state", "list").err
    assert "version 1" in keep(acme, project, 1, resource("a", password="first-secret", size=1))
    keep(acme, project, 2, resource("a", password="second-secret", size=2), resource("b"))
    assert "already" in keep(acme, project, 2, resource("a", password="second-secret", size=2), resource("b"))
    (listed,) = json.loads(acme("state", "list", "--json").out)
    assert (listed["project"], listed["stack"], listed["head_version"]) == ("shop", "app", 2)
    waiting = acme("state", "diff", "shop/app")
    assert "version 2 was not read yet: `asset-ledger state parse`" in waiting.err
    assert acme("state", "parse").out == "2 versions read: 3 events\n"
    assert acme("state", "parse").out == "0 versions read: 0 events\n"
    told = acme("state", "diff", "shop/app").out
    assert "update terraform_data.a" in told
    assert "size: now 2" in told
    assert "create terraform_data.b" in told
    assert 'password: now "redacted:' in told
    assert "secret" not in told
    assert "version 1," in acme("state", "diff", "shop/app", "0", "2").out
    assert len(json.loads(acme("state", "diff", "shop/app", "0", "2", "--json").out)) == 3
    assert acme("state", "diff", "shop/app", "2", "1").code == 2
    assert "nothing happened" in acme("state", "diff", "shop/app", "2", "2").out

    assert "as version 3" in acme("state", "rollback", "shop/app", "1").out
    assert acme("state", "rollback", "shop/app", "9").code == 1
    body = json.loads(acme("state", "show", "shop/app", "--body").out)
    assert body["serial"] == 3
    assert body["resources"] == [resource("a", password="first-secret", size=1)]
    acme("state", "parse")
    assert "delete terraform_data.b" in acme("state", "diff", "shop/app").out
    rebuilt = acme("state", "rebuild")
    assert rebuilt.out == "3 versions read: 5 events\n"
    kinds = {row["type"] for row in json.loads(acme("audit", "list", "--type", "state.", "--json").out)}
    assert kinds == {"state.write", "state.rollback", "state.read"}


def test_a_file_that_is_no_state_or_the_other_tools_is_refused(acme: Cli, project: Path) -> None:
    path = project / "x.json"
    for text in ("{}", "null", "<html>", '{"version":3,"deployment":{}}'):
        path.write_text(text)
        done = acme("state", "import", "shop/app", str(path))
        assert done.code == 1, text
        assert "Traceback" not in done.err
    assert acme("state", "import", "shop", str(path)).code == 2
    assert acme("state", "versions", "shop/app").code == 1


def test_a_lock_is_shown_and_taken_away_by_its_id_alone(acme: Cli, project: Path, database_url: str) -> None:
    keep(acme, project, 1)
    with connect(database_url) as connection:
        row = connection.execute("SELECT id FROM agent.tenants").fetchone()
        assert row is not None
        with as_tenant(connection, row[0]):
            info = b'{"ID":"lock-1","Who":"li@host","Operation":"OperationTypeApply"}'
            take_lock(connection, row[0], Name("terraform", "shop", "app"), lock_of(info), Who("ann", None))
    (held,) = json.loads(acme("state", "locks", "--json").out)
    assert (held["lock_id"], held["who"], held["actor"]) == ("lock-1", "li@host", "ann")
    assert "locked by li@host" in acme("state", "rollback", "shop/app", "1").err
    assert acme("state", "force-unlock", "shop/app", "lock-2").code == 1
    assert acme("state", "force-unlock", "shop/app", "lock-1").code == 0
    assert acme("state", "force-unlock", "shop/app", "lock-1").code == 1
    assert json.loads(acme("state", "locks", "--json").out) == []


def test_keys_are_changed_by_putting_a_new_one_first(acme: Cli, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(acme, project, 1)
    file = project / "home" / "state_keys"
    old = file.read_text().strip()
    new = acme("state", "new-key").out.strip()
    monkeypatch.setenv("ASSET_LEDGER_STATE_KEYS", f"{new},{old}")
    name = new.partition(":")[0]
    assert acme("state", "rekey").out == f"acme: 1 versions are encrypted with {name} now, the others were already\n"
    monkeypatch.setenv("ASSET_LEDGER_STATE_KEYS", new)
    assert acme("state", "show", "shop/app", "--body").code == 0
    monkeypatch.setenv("ASSET_LEDGER_STATE_KEYS", old)
    refused = acme("state", "show", "shop/app", "--body")
    assert refused.code == 1
    assert name in refused.err
    for wrong in ("k1:x", "k1:", new + "," + new, ","):
        monkeypatch.setenv("ASSET_LEDGER_STATE_KEYS", wrong)
        refused = acme("state", "parse")
        assert refused.code == 1, wrong
        assert new.partition(":")[2] not in refused.err


def test_new_keys_are_not_made_where_something_is_encrypted_already(acme: Cli, project: Path) -> None:
    (project / "home" / "state_keys").unlink()
    for command in (("tenants", "add", "rival"), ("state", "parse"), ("state", "rekey")):
        refused = acme(*command)
        assert refused.code == 1
        assert "STATE_KEY_UNREADABLE" in refused.err
    assert not (project / "home" / "state_keys").exists()


def test_with_a_wrong_key_of_the_right_name_nothing_is_written_and_the_service_does_not_start(
    acme: Cli, project: Path
) -> None:
    keep(acme, project, 1)
    keys = project / "home" / "state_keys"
    right = keys.read_text()
    wrong = f"{right.partition(':')[0]}:{base64.b64encode(b'w' * 32).decode()}\n"
    keys.write_text(wrong)
    (project / "state.json").write_text(json.dumps({**STATE, "serial": 2}))
    for command in (
        ("state", "import", "shop/app", str(project / "state.json")),
        ("state", "rollback", "shop/app", "1"),
        ("state", "rekey"),
        ("tenants", "add", "rival"),
        ("serve", "--port", "1"),
    ):
        refused = acme(*command)
        assert refused.code == 1, command
        assert "STATE_KEY_UNREADABLE" in refused.err
        assert "not the ring that the ledger is encrypted with" in refused.err
        assert "Vault" not in refused.err
        assert wrong.strip() not in refused.err
    keys.write_text(right)
    assert [row["name"] for row in json.loads(acme("tenants", "list", "--json").out)] == ["acme"]
    assert [row["version"] for row in json.loads(acme("state", "versions", "shop/app", "--json").out)] == [1]


def test_the_service_as_it_is_started_records_who_asks_for_a_websocket(acme: Cli, project: Path) -> None:
    token = acme("tokens", "add", "ann", "--name", "ci").out.strip()
    port = free_port()
    serving = subprocess.Popen(
        [sys.executable, "-m", "asset_ledger.cli.main", "serve", "--port", str(port)], stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + 30
        while not answers(port):
            assert time.monotonic() < end
            assert serving.poll() is None
            time.sleep(0.05)
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        asked.request(
            "GET", "/terraform/state/shop/app", headers={"Authorization": f"Bearer {token}", **upgrade, **key}
        )
        assert asked.getresponse().status == 404
        asked.close()
    finally:
        serving.terminate()
        _, said = serving.communicate(timeout=30)
    (row, *_) = json.loads(acme("audit", "list", "--json").out)
    assert (row["actor"], row["type"], row["result"]) == ("acme/ann", "state.read", "refused"), said
    assert token.encode() not in said


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_who_was_disabled_is_let_in_again_by_enable_alone(acme: Cli, database_url: str) -> None:
    assert acme("tenants", "add", "rival").code == 0
    assert acme("users", "add", "rae", "--tenant", "acme").code == 0
    token = acme("tokens", "add", "rae", "--name", "ci", "--tenant", "acme").out.strip()
    assert acme("users", "disable", "rae").code == 0
    again = acme("users", "add", "rae", "--tenant", "rival", "--role", "writer")
    assert again.code == 0
    assert "`asset-ledger users enable rae`" in again.err
    with connect(database_url) as connection:
        assert tokens.holder(connection, token) is None
        assert account(connection, "rae") is None
    assert acme("users", "enable", "rae").code == 0
    with connect(database_url) as connection:
        assert tokens.holder(connection, token) is not None
    told = json.loads(acme("audit", "list", "--tenant", "acme", "--json").out)
    assert [row["action"] for row in told if row["type"] == "security.user"][:2] == ["enable", "disable"]
    assert acme("users", "enable", "nobody").code == 1


def test_who_is_taken_out_of_a_tenant_loses_its_tokens_and_keeps_those_of_others(acme: Cli, database_url: str) -> None:
    acme("tenants", "add", "rival")
    made = {}
    for tenant in ("acme", "rival"):
        assert acme("users", "add", "rae", "--tenant", tenant).code == 0
        made[tenant] = acme("tokens", "add", "rae", "--name", "ci", "--tenant", tenant).out.strip()
    assert acme("users", "remove", "rae").code == 1, "of several tenants one is named"
    assert "tokens that ended by it: 1" in acme("users", "remove", "rae", "--tenant", "acme").out
    with connect(database_url) as connection:
        assert tokens.holder(connection, made["acme"]) is None
        assert tokens.holder(connection, made["rival"]) is not None
    assert [row["username"] for row in json.loads(acme("users", "list", "--tenant", "acme", "--json").out)] == ["ann"]
    assert acme("users", "remove", "rae", "--tenant", "acme").code == 1
    acme("users", "add", "rae", "--tenant", "acme")
    with connect(database_url) as connection:
        assert tokens.holder(connection, made["acme"]) is None, "coming back does not bring an ended token back"
    (newest, *_) = json.loads(acme("audit", "list", "--tenant", "acme", "--type", "security.user", "--json").out)[1:]
    assert (newest["action"], newest["details"]["tokens_ended"]) == ("remove", 1)


def test_processes_that_make_the_first_key_at_once_have_one(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(load_or_make(tmp_path / "home", {})[0].current)) for _ in range(8)
    ]
    # threads share a process id: each takes a turn at a folder of its own name
    for thread in threads[:1]:
        thread.start()
        thread.join(60)
    for thread in threads[1:]:
        thread.start()
    for thread in threads[1:]:
        thread.join(60)
    assert len(set(found)) == 1
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["state_keys"]


def test_a_plan_is_told_in_words_without_its_secrets(acme: Cli, tmp_path: Path) -> None:
    change = {
        "actions": ["update"],
        "before": {"id": "i-1", "ami": "ami-1", "password": "hunter2-canary"},
        "after": {"id": "i-1", "ami": "ami-2", "password": "hunter3-canary"},
        "after_unknown": {},
        "before_sensitive": {},
        "after_sensitive": {},
    }
    told = {"address": "aws_instance.web", "mode": "managed", "type": "aws_instance", "name": "web", "change": change}
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"format_version": "1.2", "planned_values": {}, "resource_changes": [told]}))
    done = acme("state", "plan", str(plan))
    assert done.code == 0, done.err
    assert "update aws_instance.web" in done.out
    assert 'ami: now "ami-2"' in done.out
    assert "redacted:" in done.out
    assert "canary" not in done.out + done.err
    plan.write_text(json.dumps({**STATE, "values": {}}))
    assert "save a plan with `-out`" in acme("state", "plan", str(plan)).err
    plan.write_text("{")
    assert "no plan: " in acme("state", "plan", str(plan)).err
