"""A database whose owner is no superuser, as a managed server gives one: all of it works, under row-level security."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from asset_ledger.api.service import Limits
from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.sealing import KeyRing
from asset_ledger.pipeline.states import parse_waiting, rebuild
from asset_ledger.store.access import audit, people, tokens
from asset_ledger.store.database import connect, current_revision, migrate
from asset_ledger.store.iac.rekeying import rekey
from asset_ledger.store.tenancy import SERVICE_ROLE, as_tenant
from tests.api.site import RING, basic, lock_info, serving, state
from tests.api.test_keeping import resource
from tests.postgres import create_database, database_name, drop_database, shared_server

AT = "/terraform/state/shop/app"


@pytest.fixture
def owned(template_database: str) -> Iterator[tuple[str, str]]:
    """The URL of an empty database as its owner, who may make no roles, and that owner's name."""
    url = create_database(shared_server().url("postgres"))
    name = f"plain_{uuid4().hex[:12]}"
    with connect(url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEROLE PASSWORD 'hunter2'")
        connection.execute(f"ALTER DATABASE {database_name(url)} OWNER TO {name}")
        connection.execute(f"ALTER SCHEMA public OWNER TO {name}")
    parts = urlsplit(url)
    yield urlunsplit(parts._replace(netloc=f"{name}:hunter2@{parts.hostname}:{parts.port}")), name
    drop_database(url)
    with connect(shared_server().url("postgres")) as connection:
        connection.execute(f"DROP ROLE {name}")


def test_everything_works_for_an_owner_who_is_no_superuser(owned: tuple[str, str]) -> None:
    url, name = owned
    with connect(shared_server().url("postgres")) as connection:
        connection.execute(f"GRANT {SERVICE_ROLE} TO {name}")
    migrate(url)
    with serving(url) as site:
        rob, ann = site.token("rob", tenant="rival"), site.token("ann")
        site.ask("LOCK", AT, lock_info("a"))
        for serial in (1, 2):
            assert site.ask("POST", f"{AT}?ID=a", state(serial, resources=[resource("a", input=serial)])).status == 200
        site.ask("UNLOCK", AT, lock_info("a"))
        assert site.ask("POST", AT, state(resources=[resource("b")]), token=rob).status == 200
        assert site.ask("GET", AT, token="al_no").status == 401
        assert site.ask("GET", "/readyz", token="").status == 200
        assert b"versions_unparsed 3.0" in site.ask("GET", "/metrics", token="").body, "counted over all tenants"
        with connect(url) as connection:
            assert [(each.events, each.said) for each in parse_waiting(connection, RING)] == [(1, None)] * 3
            assert connection.execute("SELECT count(*) FROM iac.states").fetchone() == (0,), "the owner is held too"
            assert [row.username for row in people.users(connection, site.tenants["acme"])] == ["ann"]
            assert len(rebuild(connection, site.tenants["acme"], RING)) == 2
            assert list(rekey(connection, site.tenants["acme"], RING)) == []
            (refused,) = audit.entries(connection, None, kind=None, limit=10)
            assert (refused.actor, refused.type, refused.result) == ("nobody", "security.login", "refused")
            assert len(audit.entries(connection, site.tenants["acme"], kind="state.", limit=10)) == 4
            (mine,) = tokens.tokens(connection, site.tenants["acme"])
            assert tokens.revoke(connection, site.tenants["acme"], mine.id)
        assert site.ask("GET", AT, headers=basic("acme/ann", ann)).status == 401


def test_an_owner_who_may_not_make_the_role_is_told_what_to_have_run(owned: tuple[str, str]) -> None:
    url, name = owned
    hidden = f"hidden_{uuid4().hex[:8]}"
    with connect(shared_server().url("postgres")) as connection:
        connection.execute(f"ALTER ROLE {SERVICE_ROLE} RENAME TO {hidden}")
    try:
        with pytest.raises(PermanentError, match=f"GRANT {SERVICE_ROLE} TO {name}"):
            migrate(url)
        with connect(url) as connection, pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM iac.states")
    finally:
        with connect(shared_server().url("postgres")) as connection:
            connection.execute(f"ALTER ROLE {hidden} RENAME TO {SERVICE_ROLE}")


def test_an_owner_who_was_not_granted_the_role_that_is_there_is_told_so(owned: tuple[str, str]) -> None:
    url, name = owned
    with connect(shared_server().url("postgres")) as connection:
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [SERVICE_ROLE]).fetchone() == (1,)
    with pytest.raises(PermanentError, match=f"run: GRANT {SERVICE_ROLE} TO {name}"):
        migrate(url)
    with connect(url) as connection:
        assert current_revision(connection) in (None, "0001"), "nothing half done"
    with connect(shared_server().url("postgres")) as connection:
        connection.execute(f"GRANT {SERVICE_ROLE} TO {name}")
    assert migrate(url) is True
    with serving(url) as site:
        assert site.ask("GET", "/readyz", token="").status == 200


def test_a_service_with_a_wrong_key_of_the_right_name_writes_nothing_and_is_not_ready(database_url: str) -> None:
    wrong = KeyRing({"k1": b"2" * 32})
    with serving(database_url, ring=wrong) as site:
        assert site.ask("GET", "/readyz", token="").status == 200, "nothing is encrypted yet"
        site.ring = RING  # the tenant is made by who has the right key
        tenant = str(site.tenant("acme"))
        ready, written = site.ask("GET", "/readyz", token=""), site.ask("POST", AT, state())
        assert (ready.status, written.status) == (503, 503)
        assert ready.body.startswith(b"STATE_KEY_UNREADABLE")
        assert written.json["code"] == "STATE_KEY_UNREADABLE"
        for answer in (ready, written):
            assert b"state_keys" in answer.body, "what to do is said"
            for word in (tenant, "Vault", "CREDENTIALS_KEY"):
                assert word.encode() not in answer.body
        assert site.versions() == []
    with serving(database_url, ring=KeyRing({"k0": b"0" * 32, "k1": b"1" * 32})) as right:
        assert right.ask("GET", "/readyz", token="").status == 200, "while keys are changed both are there"


def test_what_is_wrong_with_the_database_is_answered_without_its_host_and_user(
    caplog: pytest.LogCaptureFixture,
) -> None:
    nowhere = "postgresql://ledger_owner:hunter2@127.0.0.1:1/inside"
    with serving(nowhere, limits=Limits(wait_s=0.3)) as site:
        for path in ("/readyz", AT):
            answer = site.ask("GET", path, token="al_any")
            assert answer.status == 503
            assert b"DATABASE_UNAVAILABLE" in answer.body
            for word in (b"ledger_owner", b"127.0.0.1", b"inside"):
                assert word not in answer.body, path
    assert "ledger_owner@127.0.0.1:1/inside" in caplog.text, "who runs the service reads which"
    assert "hunter2" not in caplog.text


def test_the_service_makes_partitions_of_the_months_around_now_alone(database_url: str) -> None:
    with connect(database_url) as connection:
        connection.execute(f"SET ROLE {SERVICE_ROLE}")
        for table in ("audit.audit_logs", "iac.resource_events"):
            for month in (-1, 0, 1, 2):
                made = connection.execute(
                    "SELECT audit.make_month(%s, (now() AT TIME ZONE 'UTC' + make_interval(months => %s))::date)",
                    [table, month],
                )
                assert made.fetchone() == (True,), (table, month)
            for day in ("9999-01-01", "1999-01-01", "infinity"):
                with pytest.raises(psycopg.Error):
                    connection.execute("SELECT audit.make_month(%s, %s)", [table, day])
            for month in (-2, 3):
                with pytest.raises(psycopg.errors.RaiseException, match="no rows of"):
                    connection.execute(
                        "SELECT audit.make_month(%s, (now() AT TIME ZONE 'UTC' + make_interval(months => %s))::date)",
                        [table, month],
                    )


def test_an_old_version_that_is_read_again_has_its_month(owned: tuple[str, str]) -> None:
    url, name = owned
    with connect(shared_server().url("postgres")) as connection:
        connection.execute(f"GRANT {SERVICE_ROLE} TO {name}")
    migrate(url)
    with serving(url) as site:
        assert site.ask("POST", AT, state(resources=[resource("a")])).status == 200
    with connect(url) as connection:
        with as_tenant(connection, site.tenants["acme"]):
            connection.execute("UPDATE iac.states SET created_at = '2021-03-31 23:30+00'")
        assert [(each.events, each.said) for each in parse_waiting(connection, RING)] == [(1, None)]
        assert connection.execute("SELECT to_regclass('iac.resource_events_y2021m03') IS NOT NULL").fetchone() == (
            True,
        )


def test_a_service_with_a_login_of_its_own_works_and_no_way_leads_to_the_owner(database_url: str) -> None:
    name = f"api_{uuid4().hex[:12]}"
    with connect(database_url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN NOINHERIT PASSWORD 'hunter2' IN ROLE {SERVICE_ROLE}")
    parts = urlsplit(database_url)
    own = urlunsplit(parts._replace(netloc=f"{name}:hunter2@{parts.hostname}:{parts.port}"))
    try:
        with serving(own) as site:
            site.database_url = database_url  # what is made by commands is the owner's
            site.token()
            assert site.ask("GET", "/readyz", token="").status == 200
            assert site.ask("POST", AT, state()).status == 200
            assert site.ask("GET", AT).status == 200
        with connect(own) as connection:
            for way in ("SET ROLE NONE", "RESET ROLE", "RESET SESSION AUTHORIZATION"):
                connection.execute(f"SET ROLE {SERVICE_ROLE}")
                connection.execute(way)
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("SELECT * FROM agent.tenants")
    finally:
        with connect(database_url) as connection:
            connection.execute(f"DROP ROLE {name}")
