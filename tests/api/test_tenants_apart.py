"""Tenants attacked: as each other by every route, and by SQL as the service itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import scalar_row

from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.pool import Pool
from asset_ledger.store.tenancy import as_tenant, knowing
from tests.api.site import Site, lock_info, state

AT = "/terraform/state/shop/app"
TABLES = (
    "agent.memberships",
    "agent.api_tokens",
    "audit.audit_logs",
    "iac.state_heads",
    "iac.states",
    "iac.state_locks",
    "iac.resource_events",
    "iac.resources_current",
    "iac.dependency_edges",
)
RESOURCE = {
    "mode": "managed", "type": "terraform_data", "name": "a", "provider": 'provider["terraform.io/builtin/terraform"]',
    "instances": [{"schema_version": 0, "attributes": {"id": "id-of-acme-1", "input": None}, "sensitive_attributes": []}],
}  # fmt: skip
NEEDS = RESOURCE | {
    "name": "b",
    "instances": [{"attributes": {"id": "id-of-acme-2"}, "dependencies": ["terraform_data.a"]}],
}


@pytest.fixture
def two(site: Site) -> Site:
    """Two tenants with the same names of everything; of the first there is a row in every table."""
    site.token("ann", tenant="acme")
    site.token("ann2", tenant="rival")
    site.ask("LOCK", AT, lock_info("lock-of-acme"))
    site.ask("POST", f"{AT}?ID=lock-of-acme", state(resources=[RESOURCE, NEEDS]))
    with connect(site.database_url) as connection:
        assert [parsed.said for parsed in parse_waiting(connection, site.ring)] == [None]
    return site


@pytest.fixture
def service(two: Site) -> Iterator[Connection]:
    """The one connection of a pool, as the service has it."""
    pool = Pool(two.database_url, most=1, wait_s=5)
    pool.start()
    with pool.connection() as connection:
        yield connection
    pool.stop()


def count(connection: Connection, table: str) -> int:
    with connection.cursor(row_factory=scalar_row) as cursor:
        found: int = cursor.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[assignment]
    return found


def test_no_route_shows_or_touches_what_is_anothers(two: Site) -> None:
    rival = two.token("ann2", tenant="rival")
    before = two.rows("SELECT * FROM iac.state_heads"), two.rows("SELECT * FROM iac.state_locks")
    assert two.ask("GET", AT, token=rival).status == 404
    for path in ("/api/v1/states", "/api/v1/locks"):
        assert two.ask("GET", path, token=rival).json == []
        assert len(two.ask("GET", path).json) == 1
    for what in ("versions", "events"):
        assert two.ask("GET", f"/api/v1/states/terraform/shop/app/{what}", token=rival).status == 404
        assert two.ask("GET", f"/api/v1/states/terraform/shop/app/{what}").json
    (mine,) = two.ask("GET", "/api/v1/tokens").json
    assert [each["username"] for each in two.ask("GET", "/api/v1/tokens", token=rival).json] == ["ann2"]
    assert two.ask("DELETE", f"/api/v1/tokens/{mine['id']}", token=rival).status == 404
    assert "acme" not in two.ask("GET", "/api/v1/audit?limit=1000", token=rival).body.decode()
    assert two.ask("UNLOCK", AT, lock_info("lock-of-acme"), token=rival).status == 200, "nothing of theirs is locked"
    assert two.ask("UNLOCK", AT, token=rival).status == 200
    assert before == (two.rows("SELECT * FROM iac.state_heads"), two.rows("SELECT * FROM iac.state_locks"))
    assert two.ask("LOCK", AT, lock_info("x"), token=rival).status == 200, "theirs is free"
    assert two.ask("POST", f"{AT}?ID=x", state(serial=77), token=rival).status == 200
    assert two.ask("GET", AT).json["serial"] == 1
    assert two.ask("GET", AT, token=rival).json["serial"] == 77


def test_without_a_tenant_the_service_sees_no_row_of_any_table(two: Site, service: Connection) -> None:
    for table in TABLES:
        assert two.rows(f"SELECT count(*) FROM {table}")[0]["count"] > 0, table
        assert count(service, table) == 0, table
    assert count(service, "agent.tenants") == 0
    assert count(service, "agent.users") == 0


def test_a_tenant_sees_its_own_rows_alone_and_changes_none_of_anothers(two: Site, service: Connection) -> None:
    rival, acme = two.tenants["rival"], two.tenants["acme"]
    with as_tenant(service, rival):
        for table in TABLES:
            seen = service.execute(f"SELECT DISTINCT tenant_id FROM {table}").fetchall()
            assert set(seen) <= {(rival,)}, table
        assert service.execute("SELECT name FROM agent.tenants").fetchall() == [("rival",)]
        assert service.execute("SELECT username FROM agent.users").fetchall() == [("ann2",)]
        assert (
            service.execute("UPDATE agent.api_tokens SET revoked_at = now() WHERE tenant_id = %s", [acme]).rowcount == 0
        )
        assert service.execute("DELETE FROM iac.state_locks WHERE tenant_id = %s", [acme]).rowcount == 0
        assert service.execute("UPDATE iac.state_heads SET head_version = 9 WHERE tenant_id = %s", [acme]).rowcount == 0
    with as_tenant(service, acme):
        for table in TABLES:
            assert count(service, table) > 0, table


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO iac.state_heads (tenant_id, tool, project, stack) VALUES (%(acme)s, 'terraform', 'shop', 'new')",
        "INSERT INTO iac.state_locks (tenant_id, state_id, lock_id, info, actor) SELECT %(acme)s, %(state)s, 'x', 'x', 'x'",
        "INSERT INTO audit.audit_logs (tenant_id, actor, event_type, event_action, event_result) VALUES (%(acme)s, 'x', 'x', 'x', 'success')",
        "INSERT INTO audit.audit_logs (actor, event_type, event_action, event_result) VALUES ('x', 'x', 'x', 'success')",
        "INSERT INTO agent.api_tokens (tenant_id, user_id, name, token_hash, shown, role) SELECT %(acme)s, id, 'x', 'x', 'x', 'admin' FROM agent.users",
    ],
)
def test_a_tenant_writes_no_row_of_anothers(two: Site, service: Connection, statement: str) -> None:
    (of_acme,) = two.rows("SELECT state_id FROM iac.state_heads")
    named = {"acme": two.tenants["acme"], "state": of_acme["state_id"]}
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
        as_tenant(service, two.tenants["rival"]),
    ):
        service.execute(statement, named)


def test_a_conflict_betrays_nothing(two: Site, service: Connection) -> None:
    insert = "INSERT INTO iac.state_heads (tenant_id, tool, project, stack) VALUES (%s, 'terraform', 'shop', %s) ON CONFLICT DO NOTHING"
    rival = two.tenants["rival"]
    with as_tenant(service, rival):
        assert service.execute(insert, [rival, "app"]).rowcount == 1, "acme has one of this name"
        assert service.execute(insert, [rival, "none"]).rowcount == 1
        # a key of acme's, taken by its id: the same answer as for an id that nobody has
        (known,) = two.rows("SELECT state_id FROM iac.state_heads")
        for state_id in (known["state_id"], uuid4()):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
                service.execute(
                    "INSERT INTO iac.state_heads (tenant_id, state_id, tool, project, stack) VALUES (%s, %s, 'terraform', 'a', 'b') ON CONFLICT DO NOTHING",
                    [two.tenants["acme"], state_id],
                )
        for state_id in (known["state_id"], uuid4()):
            with pytest.raises(psycopg.errors.ForeignKeyViolation), service.transaction():
                service.execute(
                    "INSERT INTO iac.state_locks (tenant_id, state_id, lock_id, info, actor) VALUES (%s, %s, 'x', 'x', 'x')",
                    [rival, state_id],
                )


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE iac.mine (x int)", "DROP TABLE iac.states", "TRUNCATE iac.states", "DELETE FROM iac.states",
        "UPDATE iac.states SET body = ''", "DELETE FROM audit.audit_logs", "UPDATE audit.audit_logs SET actor = 'x'",
        "ALTER TABLE iac.states DISABLE ROW LEVEL SECURITY", "SELECT rolpassword FROM pg_authid",
        "UPDATE agent.users SET is_active = true", "UPDATE agent.users SET password_hash = ''",
        "INSERT INTO agent.tenants (name, hash_key, key_id) VALUES ('x', '', '')", "UPDATE agent.memberships SET role = 'admin'",
        "UPDATE agent.api_tokens SET role = 'admin'", "SELECT * FROM ledger.assets", "SELECT audit.make_month('iac.states', current_date)",
        "SELECT audit.make_month('audit.audit_logs; DROP TABLE iac.states', current_date)",
        "INSERT INTO iac.resource_events SELECT * FROM iac.resource_events", "DELETE FROM iac.resources_current",
    ],
)  # fmt: skip
def test_what_the_service_need_not_do_it_may_not(two: Site, service: Connection, statement: str) -> None:
    with (
        pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)),
        as_tenant(service, two.tenants["acme"]),
    ):
        service.execute(statement)
    assert len(two.versions()) == 1


def test_partitions_are_not_a_way_around(two: Site, service: Connection) -> None:
    parts = two.rows(
        "SELECT inhrelid::regclass::text AS part FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relkind = 'r' AND inhparent IN ('audit.audit_logs'::regclass, 'iac.resource_events'::regclass)"
    )
    assert len(parts) >= 3
    for part in parts:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
            service.execute(f"SELECT * FROM {part['part']}")


def test_a_setting_ends_with_its_transaction_and_a_role_that_is_reset_is_the_services_again(
    two: Site, service: Connection
) -> None:
    with as_tenant(service, two.tenants["acme"]):
        pass
    assert count(service, "iac.states") == 0
    with pytest.raises(ZeroDivisionError), as_tenant(service, two.tenants["acme"]):
        raise ZeroDivisionError
    assert count(service, "iac.states") == 0
    for change in ("RESET ROLE", "RESET ALL", "DISCARD ALL", "SET SESSION AUTHORIZATION DEFAULT"):
        service.execute(change)
        assert service.execute("SELECT current_user").fetchone() == ("asset_ledger_service",), change
        assert count(service, "iac.states") == 0, change


def test_a_login_of_the_services_own_is_nobody_even_without_its_role(two: Site) -> None:
    name = f"login_{uuid4().hex[:12]}"
    with connect(two.database_url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN NOINHERIT PASSWORD 'hunter2' IN ROLE asset_ledger_service")
    try:
        from urllib.parse import urlsplit, urlunsplit

        parts = urlsplit(two.database_url)
        url = urlunsplit(parts._replace(netloc=f"{name}:hunter2@{parts.hostname}:{parts.port}"))
        pool = Pool(url, most=1, wait_s=5)
        pool.start()
        with pool.connection() as connection:
            with as_tenant(connection, two.tenants["acme"]):
                assert count(connection, "iac.states") == 1
            connection.execute("SET ROLE NONE")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM iac.states")
        pool.stop()
    finally:
        with connect(two.database_url) as connection:
            connection.execute(f"DROP ROLE {name}")


def test_what_is_asked_before_a_tenant_is_known_shows_the_row_that_is_named(two: Site, service: Connection) -> None:
    with knowing(service, username="ann"):
        assert service.execute("SELECT username FROM agent.users").fetchall() == [("ann",)]
        assert count(service, "agent.memberships") == 0
    with knowing(service, tenant_name="acme"):
        assert service.execute("SELECT name FROM agent.tenants").fetchall() == [("acme",)]
        assert count(service, "iac.states") == 0
    (hashed,) = two.rows(
        "SELECT token_hash, tenant_id FROM agent.api_tokens WHERE tenant_id = %s", [two.tenants["acme"]]
    )
    with knowing(service, token_hash=hashed["token_hash"].hex()):
        assert service.execute("SELECT tenant_id FROM agent.api_tokens").fetchall() == [(two.tenants["acme"],)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
            service.execute("UPDATE agent.api_tokens SET revoked_at = now()")


def test_the_owner_is_held_by_the_policies_too(two: Site) -> None:
    name = f"owner_{uuid4().hex[:12]}"
    with connect(two.database_url) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"CREATE ROLE {name} NOSUPERUSER")
        for table in TABLES:
            connection.execute(f"GRANT USAGE ON SCHEMA {table.split('.')[0]} TO {name}")
            connection.execute(f"GRANT CREATE ON SCHEMA {table.split('.')[0]} TO {name}")
            connection.execute(f"ALTER TABLE {table} OWNER TO {name}")
        connection.execute(f"SET LOCAL ROLE {name}")
        for table in TABLES:
            assert count(connection, table) == 0, table
        connection.execute("SELECT set_config('app.tenant', %s, true)", [str(two.tenants["acme"])])
        assert count(connection, "iac.states") == 1


def test_the_versions_that_wait_are_counted_over_all_tenants_and_nothing_else_is_told(
    two: Site, service: Connection
) -> None:
    for stack in ("a", "b"):
        two.ask("POST", f"/terraform/state/shop/{stack}", state(), token=two.token("ann2", tenant="rival"))
    with service.transaction():
        found = service.execute("SELECT versions, oldest IS NOT NULL FROM iac.waiting()").fetchone()
        assert found == (2, True)
        assert count(service, "iac.states") == 0, "the setting it looks with does not stay"


def test_a_tenant_that_is_none_is_an_error_and_not_everything(service: Connection) -> None:
    for nothing in ("", " ", "00000000-0000-0000-0000-000000000000"):
        try:
            with service.transaction():
                service.execute("SELECT set_config('app.tenant', %s, true)", [nothing])
                assert count(service, "iac.states") == 0
        except psycopg.errors.InvalidTextRepresentation:
            assert nothing == " "


def test_ids_in_answers_are_the_tenants_own(two: Site) -> None:
    text = json.dumps(two.ask("GET", "/api/v1/states").json)
    assert str(two.tenants["rival"]) not in text
    assert UUID(str(two.tenants["acme"]))
