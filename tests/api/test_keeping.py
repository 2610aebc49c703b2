"""What is kept: versions without gaps whoever races, bodies that only their key opens, and no secret beside them."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.states import parse_waiting, rebuild
from asset_ledger.store.access import people
from asset_ledger.store.database import connect
from asset_ledger.store.iac.rekeying import rekey
from asset_ledger.store.iac.states import Name, head_body, opened
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import RING, Site, lock_info, serving, state

AT = "/terraform/state/shop/app"
APP = Name("terraform", "shop", "app")
DERIVED = ("resource_events", "resources_current", "dependency_edges")


def resource(name: str, **attributes: Any) -> dict[str, Any]:
    return {
        "mode": "managed", "type": "terraform_data", "name": name, "provider": 'provider["terraform.io/builtin/terraform"]',
        "instances": [{"schema_version": 0, "attributes": {"id": f"id-of-{name}", **attributes}, "sensitive_attributes": []}],
    }  # fmt: skip


def derived(site: Site) -> dict[str, list[dict[str, Any]]]:
    return {table: sorted(site.rows(f"SELECT * FROM iac.{table}"), key=repr) for table in DERIVED}


def parsed(site: Site) -> list[str | None]:
    with connect(site.database_url) as connection:
        return [each.said for each in parse_waiting(connection, site.ring)]


@pytest.fixture
def second(site: Site) -> Iterator[Site]:
    """Another service over the same database."""
    with serving(site.database_url) as made:
        yield made


def test_fifty_writers_over_two_services_leave_versions_without_a_gap(site: Site, second: Site) -> None:
    token = site.token()
    statuses: list[int] = []

    def write(number: int) -> None:
        body = state(serial=number, pad=str(number))
        statuses.append(site.ask("POST", AT, body, token=token, port=(site, second)[number % 2].port).status)

    threads = [threading.Thread(target=write, args=[number]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 50
    kept = site.versions()
    assert [row["version"] for row in kept] == list(range(1, 51))
    assert sorted(row["serial"] for row in kept) == list(range(50)), "none was lost, none came twice"
    assert site.rows("SELECT head_version FROM iac.state_heads") == [{"head_version": 50}]
    told = site.rows("SELECT (details->>'version')::int AS v FROM audit.audit_logs ORDER BY 1")
    assert [row["v"] for row in told] == list(range(1, 51))


def test_of_many_that_lock_at_once_one_wins_and_all_others_are_shown_it(site: Site, second: Site) -> None:
    token = site.token()
    answers = []

    def lock(number: int) -> None:
        port = (site, second)[number % 2].port
        answers.append(site.ask("LOCK", AT, lock_info(f"lock-{number}"), token=token, port=port))

    threads = [threading.Thread(target=lock, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answer.status for answer in answers) == [200] + [423] * 19
    (held,) = site.rows("SELECT info FROM iac.state_locks")
    assert {answer.body for answer in answers if answer.status == 423} == {bytes(held["info"])}


def test_a_body_is_compressed_encrypted_and_bound_to_its_place(site: Site) -> None:
    body = state(pad="y" * 5000)
    site.ask("POST", AT, body)
    site.ask("POST", AT, state(2))
    first, other = site.versions()
    assert first["key_id"] == "k1"
    assert len(first["body"]) < 1000
    assert b"lineage" not in first["body"]
    assert body not in zlib.compress(bytes(first["body"]))
    with connect(site.database_url) as connection, connection.transaction():
        connection.execute("UPDATE iac.states SET body = %s WHERE version = 2", [bytes(first["body"])])
    answer = site.ask("GET", AT)
    assert answer.status == 503
    assert answer.json["code"] == "STATE_KEY_UNREADABLE"
    assert [row[1:3] for row in site.audited()][-1] == ("state.read", "failed"), "one row, that says so"
    assert len(site.audited()) == 3
    del other


def test_a_body_of_another_tenant_cannot_be_read_as_ones_own(site: Site) -> None:
    rival = site.token("rob", tenant="rival")
    site.ask("POST", AT, state())
    site.ask("POST", AT, state(2), token=rival)
    with connect(site.database_url) as connection, connection.transaction():
        connection.execute(
            "UPDATE iac.states SET body = (SELECT body FROM iac.states WHERE tenant_id = %s) WHERE tenant_id = %s",
            [site.tenants["acme"], site.tenants["rival"]],
        )
    assert site.ask("GET", AT, token=rival).status == 503


def test_keys_are_changed_while_everything_stays_readable(site: Site) -> None:
    for serial in (1, 2, 3):
        site.ask("POST", AT, state(serial))
    site.token("rob", tenant="rival")
    anew = KeyRing({"k2": b"2" * 32, **RING.keys})
    tenant = site.tenants["acme"]
    with connect(site.database_url) as connection:
        steps = rekey(connection, tenant, anew)
        next(steps)
        del steps  # stopped in the middle, and run again
        assert sorted(row["key_id"] for row in site.versions()) == ["k1", "k1", "k2"]
        assert len(list(rekey(connection, tenant, anew))) == 2
        assert list(rekey(connection, tenant, anew)) == []
        list(rekey(connection, site.tenants["rival"], anew))
        new_alone = KeyRing({"k2": b"2" * 32})
        with as_tenant(connection, tenant):
            kept = head_body(connection, tenant, APP)
            assert kept is not None
            assert opened(new_alone, tenant, kept) == state(3)
            assert people.hash_key(connection, tenant, new_alone)
            with pytest.raises(PermanentError, match="'k2', which is not in the ring"):
                opened(RING, tenant, kept)
            with pytest.raises(PermanentError, match="was not encrypted with the key 'k2'"):
                opened(KeyRing({"k2": b"x" * 32}), tenant, kept)
        with pytest.raises(PermanentError):
            list(rekey(connection, tenant, KeyRing({"k3": b"3" * 32})))


def dumped(site: Site) -> bytes:
    """Return every row of every table, as a dump has them."""
    found = b""
    for table in site.rows(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace NOT IN"
        " ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    ):
        query = f"COPY (SELECT * FROM {table['name']}) TO STDOUT"
        with connect(site.database_url) as connection, connection.cursor().copy(query) as copy:
            found += table["name"].encode() + b"\n" + b"".join(bytes(part) for part in copy)
    return found


SECRETS = [
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "hunter2-of-the-database", "-----BEGIN RSA PRIVATE KEY-----\nMIIplanted\n",
    "Tr0ub4dor-in-an-output", "ghp_plantedplantedplantedplantedplanted1", "planted-user-data-script",
]  # fmt: skip


def test_what_is_secret_in_a_state_is_nowhere_in_the_database_but_in_its_sealed_body(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    held = resource(
        "a",
        secret_key=SECRETS[0],
        password=SECRETS[1],
        notes=SECRETS[2],
        deep=[{"token": SECRETS[4]}],
        user_data=SECRETS[5],
    )
    held["instances"][0]["private"] = base64.b64encode(b"planted-private").decode()
    first = state(resources=[held], outputs={"o": {"value": SECRETS[3], "type": "string", "sensitive": True}})
    site.ask("LOCK", AT, lock_info("a"))
    site.ask("POST", f"{AT}?ID=a", first)
    held["instances"][0]["attributes"]["password"] = SECRETS[1] + "-new"
    site.ask("POST", f"{AT}?ID=a", state(2, resources=[held]))
    site.ask("POST", f"{AT}?ID=a", first[:-3], headers={"Content-MD5": "x"})
    site.ask("POST", f"{AT}?ID=a", state(3, resources=[]))
    assert parsed(site) == [None, None, None]
    events = site.ask("GET", "/api/v1/states/terraform/shop/app/events").body.decode()
    dump = dumped(site)
    assert b"resource_events" in dump
    planted = [*SECRETS, "planted-private"]
    for text in planted:
        for way in (text, json.dumps(text)[1:-1], base64.b64encode(text.encode()).decode()[:-4]):
            for form in (way.encode(), way.encode().hex().encode()):
                assert form not in dump, text
            assert way not in events
            assert way not in caplog.text
    assert "redacted:" in events, "that it changed is told"


def test_concurrent_readers_read_each_version_once(site: Site) -> None:
    for number in range(1, 13):
        site.ask("POST", AT, state(number, resources=[resource("a", input=number)]))
    found: list[list[Any]] = []

    def read() -> None:
        with connect(site.database_url) as connection:
            found.append(parse_waiting(connection, site.ring))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert sorted(each.version.version for some in found for each in some) == list(range(1, 13))
    rows = site.rows("SELECT version, action FROM iac.resource_events ORDER BY version")
    assert [(row["version"], row["action"]) for row in rows] == [(1, "create")] + [(n, "update") for n in range(2, 13)]


def test_a_version_that_cannot_be_read_is_marked_and_holds_up_nobody(site: Site) -> None:
    site.ask("POST", AT, state(1, resources=[resource("a", input=1)]))
    # what is stored is damaged by hand in the ways that no client is known to
    site.ask("POST", AT, state(2, resources=[resource("a", input=2)]))
    site.ask("POST", AT, state(3, resources=[resource("a", input=3)]))
    with connect(site.database_url) as connection, connection.transaction():
        tenant = site.tenants["acme"]
        (row,) = connection.execute("SELECT state_id FROM iac.states WHERE version = 2").fetchall()
        sealed = site.ring.seal(zlib.compress(b"\xff no state"), f"{tenant}|{row[0]}|2")
        connection.execute("UPDATE iac.states SET body = %s WHERE version = 2", [sealed.data])
    said = parsed(site)
    assert (said[0], said[2]) == (None, None)
    assert said[1] is not None
    assert "cannot be read" in said[1]
    assert [row["parse_error"] for row in site.versions()] == said
    assert [row["version"] for row in site.rows("SELECT version FROM iac.resource_events ORDER BY 1")] == [1, 3]
    assert parsed(site) == []


def test_a_state_whose_key_is_not_there_waits_and_the_others_do_not(site: Site) -> None:
    site.ask("POST", AT, state(1, resources=[resource("a")]))
    site.ask("POST", AT, state(2, resources=[resource("b")]))
    other = "/terraform/state/shop/other"
    site.ask("POST", other, state(1, resources=[resource("c")]))
    with connect(site.database_url) as connection:
        connection.execute(
            "UPDATE iac.states SET key_id = 'gone' WHERE state_id = (SELECT state_id FROM iac.state_heads WHERE stack = 'app')"
        )
        found = parse_waiting(connection, site.ring)
        assert [(each.version.version, each.waits) for each in found] == [(1, True), (1, False)]
        assert "'gone', which is not in the ring" in str(found[0].said)
        assert [row["parsed_at"] for row in site.versions()] == [None, None]
        with pytest.raises(PermanentError, match="nothing was rebuilt"):
            rebuild(connection, site.tenants["acme"], site.ring)
        assert len(site.rows("SELECT * FROM iac.resources_current")) == 1
        connection.execute("UPDATE iac.states SET key_id = 'k1'")
        assert [each.version.version for each in parse_waiting(connection, site.ring)] == [1, 2]


def test_what_was_made_of_the_states_is_made_again_the_same(site: Site) -> None:
    rival = site.token("rob", tenant="rival")
    b = resource("b") | {"instances": [{"attributes": {"id": "id-of-b"}, "dependencies": ["terraform_data.a"]}]}
    site.ask("LOCK", AT, lock_info("x"))
    site.ask("POST", f"{AT}?ID=x", state(1, resources=[resource("a", password="one"), b]))
    site.ask("POST", f"{AT}?ID=x", state(2, resources=[resource("a", password="two"), b]))
    site.ask("UNLOCK", AT, lock_info("x"))
    site.ask("POST", AT, state(3, resources=[resource("a", password="two"), b, resource("c")]))
    site.ask("POST", AT, state(1, resources=[resource("z")]), token=rival)
    parsed(site)
    before = derived(site)
    assert all(before.values())
    with connect(site.database_url) as connection:
        assert len(rebuild(connection, site.tenants["acme"], site.ring)) == 3
        assert derived(site) == before
        connection.execute("DELETE FROM iac.resources_current WHERE tenant_id = %s", [site.tenants["acme"]])
        rebuild(connection, site.tenants["acme"], site.ring)
    assert derived(site) == before


def test_months_are_made_by_who_writes_in_them_and_there_is_no_room_for_what_fits_none(site: Site) -> None:
    site.ask("POST", AT, state(resources=[resource("a")]))
    with connect(site.database_url) as connection, connection.transaction():
        connection.execute("UPDATE iac.states SET created_at = '2031-01-31 23:59:59.9+00'")
    assert parsed(site) == [None]
    parts = {row["p"] for row in site.rows("SELECT inhrelid::regclass::text AS p FROM pg_inherits")}
    assert "iac.resource_events_y2031m01" in parts
    assert not [name for name in parts if "default" in name]
    assert site.rows("SELECT count(*) FROM iac.resource_events_y2031m01") == [{"count": 1}]
    now = site.rows("SELECT to_char(now() AT TIME ZONE 'UTC', '\"audit.audit_logs_y\"YYYY\"m\"MM') AS this, to_char((now() AT TIME ZONE 'UTC') + interval '1 month', '\"audit.audit_logs_y\"YYYY\"m\"MM') AS next")[0]  # fmt: skip
    assert set(now.values()) <= parts


def test_months_that_many_make_at_once_are_made_once(site: Site) -> None:
    failed: list[Exception] = []
    day = "(now() AT TIME ZONE 'UTC' + interval '2 months')::date"  # the last that may be made, and stands nowhere yet
    (due,) = site.rows(f'SELECT to_char({day}, \'"audit.audit_logs_y"YYYY"m"MM\') AS part')
    with connect(site.database_url) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {due['part']}")

    def make() -> None:
        try:
            with connect(site.database_url) as connection, connection.transaction():
                connection.execute(f"SELECT audit.make_month('audit.audit_logs', {day})")
                connection.execute("SELECT pg_sleep(0.05)")
        except psycopg.Error as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert site.rows("SELECT to_regclass(%s) IS NOT NULL AS made", [due["part"]]) == [{"made": True}]


def test_a_database_that_was_restarted_costs_requests_and_not_the_service(tmp_path: Path) -> None:
    from asset_ledger.store.database import ensure_database, migrate
    from asset_ledger.store.embedded.server import EmbeddedServer
    from tests.postgres import FAST

    home = tmp_path / "home"
    for folder in (home, *list(home.parents)[:3]):
        folder.mkdir(exist_ok=True)
        if os.access(folder, os.W_OK):
            folder.chmod(0o711)
    server = EmbeddedServer(home, FAST)
    server.start()
    try:
        url = server.url("ledger")
        ensure_database(url)
        migrate(url)
        with serving(url) as site:
            assert site.ask("POST", AT, state()).status == 200
            crowd = [threading.Thread(target=site.ask, args=["GET", AT]) for _ in range(30)]
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join(30)
            held = site.rows("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'asset_ledger api'")
            assert held[0]["count"] > 3
            server.stop()
            server.start()
            statuses = [site.ask("GET", AT, token=site.token()).status for _ in range(6)]
            assert statuses[1:] == [200] * 5, "one request finds it out for all connections"
    finally:
        server.stop()


def test_of_a_state_that_cannot_be_read_whole_nothing_is_taken_for_gone(site: Site) -> None:
    b = resource("b") | {"instances": [{"attributes": {"id": "id-of-b"}, "dependencies": ["terraform_data.a"]}]}
    site.ask("POST", AT, state(1, resources=[resource("a"), b]))
    site.ask("POST", AT, state(2, resources=[resource("a"), {**b, "instances": 7}]))
    said = parsed(site)
    assert said[0] is None
    assert "resources[1]" in str(said[1])
    assert [row["version"] for row in site.rows("SELECT version FROM iac.resource_events ORDER BY 1")] == [1, 1]
    assert len(site.rows("SELECT * FROM iac.resources_current")) == 2
    assert len(site.rows("SELECT * FROM iac.dependency_edges")) == 1
