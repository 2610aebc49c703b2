"""A CMDB beside the ledger: a real second database over postgres_fdw, every machine and every CI once, nobody guessed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from asset_ledger.domain.duplicates import SHARED_BY_AT_MOST
from asset_ledger.domain.errors import CONFIG_INVALID, DATABASE_UNAVAILABLE, PermanentError, RetryableError
from asset_ledger.store.cmdb import Link, counts, link, linked, listed, unlink
from asset_ledger.store.cmdb_query import Rule
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.decide.merges import merge
from asset_ledger.store.tenancy import SERVICE_ROLE
from tests.plain_owner import plainly_owned
from tests.postgres import create_database, drop_database, shared_server
from tests.store.telling import Telling, document, telling

CIS = """
CREATE SCHEMA "Asset Mgmt";
CREATE TABLE "Asset Mgmt"."CI; DROP TABLE x" (
    "Nr'" text PRIMARY KEY, "serial ""no" text, fqdn text, addresses text, uuid uuid, owner text
);
"""
TABLE = "cmdb.CI; DROP TABLE x"


@pytest.fixture(scope="module")
def one_cmdb() -> Iterator[str]:
    url = create_database(shared_server().url("postgres"))
    with connect(url) as there:
        there.execute(CIS)
    yield url
    drop_database(url)


@pytest.fixture
def elsewhere(one_cmdb: str) -> str:
    """A CMDB in a database of its own, empty."""
    with connect(one_cmdb) as there:
        there.execute('TRUNCATE "Asset Mgmt"."CI; DROP TABLE x"')
    return one_cmdb


@pytest.fixture
def source(database_url: str) -> Iterator[Telling]:
    with telling(database_url) as told:
        yield told


def over_fdw(db: Connection, url: str, **options: str) -> None:
    """Bring the CMDB's tables into the ledger's database, as docs/cmdb.md says."""
    parts = urlsplit(url)
    server = {"host": parts.hostname or "", "port": str(parts.port), "dbname": parts.path.lstrip("/"), **options}
    user = {"user": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    for statement, said in (
        ("CREATE SERVER cmdb FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({})", server),
        ("CREATE USER MAPPING FOR CURRENT_USER SERVER cmdb OPTIONS ({})", user),
    ):
        told = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(k), sql.Literal(v)) for k, v in said.items())
        if statement.startswith("CREATE SERVER"):
            db.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
        db.execute(sql.SQL(statement).format(told))
    db.execute('CREATE SCHEMA cmdb; IMPORT FOREIGN SCHEMA "Asset Mgmt" FROM SERVER cmdb INTO cmdb')


def put(url: str, *rows: Sequence[str | None]) -> None:
    with connect(url) as there:
        for row in rows:
            there.execute('INSERT INTO "Asset Mgmt"."CI; DROP TABLE x" VALUES (%s, %s, %s, %s, %s, %s)', row)


def said(source: Telling, records: dict[str, Any]) -> None:
    """Derive a complete reading of the source."""
    source.tell("2026-01-10", records, complete=True)


def machine(serial: str | None = None, **facts: Any) -> dict[str, Any]:
    made = document(**facts)
    if serial:
        made["identifiers"].append({"kind": "serial", "value": serial})
    return made


WANTED = Link(
    TABLE,
    "Nr'",
    (("serial", 'serial "no'), ("uuid", "uuid"), ("hostname", "fqdn"), ("ip", "addresses")),
    ("owner", "fqdn"),
)


def sides(db: Connection, **said: Any) -> list[tuple[Any, ...]]:
    return [(row["side"], row["rule"], row["hostname"], row["ci_key"]) for row in listed(db, limit=100, **said)]


def test_every_machine_and_every_ci_of_another_database_is_there_once(source: Telling, elsewhere: str) -> None:
    db = source.connection
    said(
        source,
        {
            "1": machine("sn-1", hostname="web-01", ip="10.0.0.1"),
            "2": machine(hostname="web-02", uuid="4c4c4544-0033-5910-8052-b2c04f4b3032"),
            "3": machine(hostname="DB-03.example.com", ip="10.0.0.3"),
            "4": machine(hostname="left-over", ip="10.0.0.4"),
            "5": machine(hostname="named-otherwise", ip="2001:db8::5"),
        },
    )
    put(
        elsewhere,
        ("CI-1", " SN-1 ", "another-name", None, None, "shop"),
        # the same UUID as its other reader says it: the first three fields turned round
        ("CI-2", None, None, None, "44454c4c-3300-1059-8052-b2c04f4b3032", "shop"),
        ("CI-3", None, "db-03.example.com.", "10.9.9.9", None, None),
        ("CI-5", None, "", "[10.8.8.8, 2001:DB8::5/64]", None, None),
        ("CI-6", "never seen", "printer", "10.0.0.99", None, "office"),
    )
    over_fdw(db, elsewhere)
    link(db, WANTED)
    assert sides(db) == [
        ("both", "hostname", "DB-03.example.com", "CI-3"),
        ("only_ledger", None, "left-over", None),
        ("both", "ip", "named-otherwise", "CI-5"),
        ("both", "serial", "web-01", "CI-1"),
        ("both", "uuid", "web-02", "CI-2"),
        ("only_cmdb", None, None, "CI-6"),
    ]
    assert counts(db) == {"both": 4, "only_ledger": 1, "only_cmdb": 1, "unsure": 0}
    assert [row["hostname"] for row in listed(db, side="only_ledger", limit=5)] == ["left-over"]
    (only,) = listed(db, side="only_cmdb", limit=5)
    assert only["ci"] == {
        "Nr'": "CI-6",
        "owner": "office",
        "fqdn": "printer",
        'serial "no': "never seen",
        "uuid": None,
        "addresses": "10.0.0.99",
    }


def test_what_the_cmdb_says_tomorrow_is_seen_without_another_link(source: Telling, elsewhere: str) -> None:
    db = source.connection
    said(source, {"1": machine(hostname="web-01")})
    over_fdw(db, elsewhere)
    link(db, WANTED)
    assert sides(db) == [("only_ledger", None, "web-01", None)]
    put(elsewhere, ("CI-1", None, "WEB-01", None, None, None))
    assert sides(db) == [("both", "hostname", "web-01", "CI-1")]


def test_who_meets_several_is_joined_with_none_and_tells_them_all(source: Telling, elsewhere: str) -> None:
    db = source.connection
    said(source, {"1": machine(hostname="web-01"), "2": machine(hostname="web-02", ip="10.0.0.2")})
    put(
        elsewhere,
        ("CI-1", None, "web-01", None, None, None),
        ("CI-2", None, "web-01", None, None, None),
    )
    over_fdw(db, elsewhere)
    link(db, WANTED)
    assert sides(db, side="unsure") == [
        ("only_ledger", None, "web-01", None),
        ("only_cmdb", None, None, "CI-1"),
        ("only_cmdb", None, None, "CI-2"),
    ]
    met = [row["others"] for row in listed(db, side="unsure", limit=9)]
    assert met[0] == ["CI-1", "CI-2"]
    assert met[1] == met[2] == [str(listed(db, side="unsure", limit=1)[0]["asset_id"])]
    assert counts(db) == {"both": 0, "only_ledger": 2, "only_cmdb": 2, "unsure": 3}


def test_a_later_rule_decides_among_those_it_met_and_takes_no_third(source: Telling, elsewhere: str) -> None:
    db = source.connection
    said(
        source,
        {
            "1": machine(hostname="web-01", ip="10.0.0.1"),
            "2": machine(hostname="third", ip="10.0.0.9"),
            "3": machine(hostname="app-01", ip="10.0.0.3"),
        },
    )
    put(
        elsewhere,
        ("CI-1", None, "web-01", "10.0.0.1", None, None),  # of the two web-01 the one with its address
        ("CI-2", None, "web-01", "10.0.0.9", None, None),  # its address is a third's, whose name it has not
        ("CI-3", None, "app-01", None, None, None),
        ("CI-4", None, "app-01", None, None, None),
    )
    over_fdw(db, elsewhere)
    link(db, WANTED)
    found = {row["ci_key"]: (row["side"], row["rule"], row["hostname"]) for row in listed(db, limit=99) if row["ci"]}
    assert found == {
        "CI-1": ("both", "ip", "web-01"),
        "CI-2": ("only_cmdb", None, None),
        "CI-3": ("only_cmdb", None, None),
        "CI-4": ("only_cmdb", None, None),
    }


def test_merged_machines_are_one_and_retired_ones_and_clusters_are_none(source: Telling, elsewhere: str) -> None:
    db = source.connection
    cluster = document(hostname="cluster-1", kind="cluster")
    cluster["asset_type"] = "cluster"
    said(
        source,
        {
            "1": machine("SN-1", hostname="web-01"),
            "2": machine(hostname="web-one"),
            "3": machine(hostname="gone"),
            "c": cluster,
        },
    )
    ids = dict(db.execute("SELECT hostname, id FROM ledger.assets").fetchall())
    merge(db, ids["web-01"], ids["web-one"], actor="li.lei", at=datetime(2026, 1, 11, tzinfo=UTC))
    db.execute("UPDATE ledger.assets SET deleted_at = now() WHERE hostname = 'gone'")
    put(elsewhere, ("CI-1", "SN-1", None, None, None, None), ("CI-2", None, "gone", None, None, None))
    over_fdw(db, elsewhere)
    link(db, WANTED)
    assert [(side, rule, ci) for side, rule, _, ci in sides(db)] == [
        ("both", "serial", "CI-1"),
        ("only_cmdb", None, "CI-2"),
    ]


def test_a_name_that_many_have_is_nobodys(source: Telling, elsewhere: str) -> None:
    db = source.connection
    many = SHARED_BY_AT_MOST + 1
    said(source, {str(n): machine(hostname="localhost", ip=f"10.0.0.{n}") for n in range(1, many + 1)})
    put(elsewhere, ("CI-1", None, "localhost", "10.0.0.1", None, None))
    over_fdw(db, elsewhere)
    link(db, WANTED)
    (both,) = listed(db, side="both", limit=9)
    assert (both["rule"], str(both["mgmt_ip"]), both["others"]) == ("ip", "10.0.0.1", [])


def test_a_spelling_hides_nobody(source: Telling, elsewhere: str) -> None:
    db = source.connection
    uuid = "4c4c4544-0033-5910-8052-b2c04f4b3032"
    said(
        source,
        {
            "1": machine(hostname="bare", uuid=uuid),
            "2": machine(hostname="braced", uuid=uuid.replace("4c4c", "5c5c")),
            "3": machine(hostname="turned", uuid=uuid.replace("4c4c", "6c6c")),
            "4": machine(hostname="six", ip="2001:db8::7"),
            "5": machine(hostname="four", ip="10.0.0.7"),
        },
    )
    put(
        elsewhere,
        ("CI-1", None, None, None, uuid.replace("-", "").upper(), None),
        ("CI-2", None, None, None, "{" + uuid.replace("4c4c", "5c5c").upper() + "}", None),
        ("CI-3", None, None, None, "44456c6c33001059" + "8052b2c04f4b3032", None),
        ("CI-4", None, None, "2001:0DB8:0:0:0:0:0:7/64, no:address, 1.2.3", None, None),
        ("CI-5", None, None, "010.000.000.007", None, None),
    )
    over_fdw(db, elsewhere)
    link(db, WANTED)
    assert {(hostname, key): rule for _, rule, hostname, key in sides(db)} == {
        ("bare", "CI-1"): "uuid",
        ("braced", "CI-2"): "uuid",
        ("turned", "CI-3"): "uuid",
        ("six", "CI-4"): "ip",
        ("four", "CI-5"): "ip",
    }


def test_a_link_says_what_is_wrong_with_it(source: Telling, elsewhere: str) -> None:
    db = source.connection
    db.execute(
        "CREATE TABLE public.ci (nr text, sn text); INSERT INTO public.ci VALUES ('1', 'a'), ('1', 'b'), (NULL, 'c')"
    )
    for wanted, why in (
        (Link("ci", "nr", (("serial", "sn"),)), "SCHEMA.TABLE"),
        (Link("public.gone", "nr", (("serial", "sn"),)), "no such table"),
        (Link("public.ci", "id", (("serial", "serial"),), ("nr",)), "no column id, serial; there are: nr, sn"),
        (Link("public.ci", "nr", (("serial", "sn"),)), "3 rows have 1 values, and 1 have none"),
    ):
        with pytest.raises(PermanentError, match=why) as caught:
            link(db, wanted)
        assert caught.value.code is CONFIG_INVALID
        assert linked(db) is None
    with pytest.raises(PermanentError, match="CMDB_NOT_LINKED"):
        counts(db)


def test_a_link_is_kept_replaced_and_dropped_and_what_stands_on_it_stays(source: Telling, elsewhere: str) -> None:
    db = source.connection
    over_fdw(db, elsewhere)
    link(db, WANTED)
    assert linked(db) == WANTED
    db.execute("CREATE VIEW public.report AS SELECT side, ci FROM ledger.cmdb_assets")
    other = Link(TABLE, "Nr'", (("hostname", "fqdn"),))
    link(db, other)
    assert linked(db) == other
    with pytest.raises(PermanentError, match="other objects depend on it"):
        unlink(db)
    db.execute("DROP VIEW public.report")
    assert unlink(db)
    assert not unlink(db)
    assert linked(db) is None


def test_a_cmdb_that_is_away_is_said_to_be_without_its_password(source: Telling, elsewhere: str) -> None:
    db = source.connection
    over_fdw(db, elsewhere)
    link(db, WANTED)
    password = unquote(urlsplit(elsewhere).password or "")
    assert password
    db.execute("ALTER SERVER cmdb OPTIONS (SET port '1', ADD connect_timeout '2')")
    with pytest.raises(RetryableError, match="the CMDB's server: could not connect to server") as caught:
        counts(db)
    assert caught.value.code is DATABASE_UNAVAILABLE
    assert password not in str(caught.value)
    assert db.execute("SELECT count(*) FROM ledger.assets").fetchone() == (0,), "the ledger itself is as it was"
    # where a link is made anew, nothing of the one before is lost
    with pytest.raises(RetryableError):
        link(db, WANTED)
    assert linked(db) == WANTED


def test_the_service_does_not_see_the_cmdb(source: Telling, elsewhere: str) -> None:
    db = source.connection
    over_fdw(db, elsewhere)
    link(db, WANTED)
    found = db.execute("SELECT has_table_privilege('asset_ledger_service', 'ledger.cmdb_assets', 'SELECT')").fetchone()
    assert found == (False,)


def test_the_page_brings_a_table_here_for_an_owner_who_is_no_superuser(one_cmdb: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cmdb.md").read_text()
    (steps,) = re.findall(r"^```sql\n(CREATE EXTENSION.*?)^```", page, re.MULTILINE | re.DOTALL)
    there = urlsplit(one_cmdb)
    with connect(one_cmdb) as cmdb:
        cmdb.execute(
            "CREATE TABLE public.server_ci (ci_id integer PRIMARY KEY, serial_no text, fqdn text, addresses text,"
            " owner text, status text); INSERT INTO public.server_ci VALUES (1, 's-1', 'web-01', NULL, 'shop', 'live')"
        )
    with plainly_owned() as (url, name, as_superuser):
        steps = re.sub(r"\bledger\b", name, steps)
        for told, real in (
            ("'cmdb.example'", f"'{there.hostname}'"),
            ("'5432'", f"'{there.port}'"),
            ("dbname 'cmdb'", f"dbname '{there.path.lstrip('/')}'"),
            ("sslmode 'verify-full'", "sslmode 'prefer'"),
            ("'ledger_reader'", f"'{unquote(there.username or '')}'"),
            ("'…'", f"'{unquote(there.password or '')}'"),
        ):
            assert told in steps, told
            steps = steps.replace(told, real)
        with connect(as_superuser) as db:
            db.execute(steps)
        with connect(url) as db:
            link(db, Link("cmdb.server_ci", "ci_id", (("hostname", "fqdn"),), ("owner",)))
            assert counts(db) == {"both": 0, "only_ledger": 0, "only_cmdb": 1, "unsure": 0}
            # who else is to read it: as the page says
            db.execute(f"GRANT USAGE ON SCHEMA ledger TO {SERVICE_ROLE}")
            for reader in (
                "GRANT SELECT ON ledger.cmdb_assets TO reports",
                "GRANT EXECUTE ON FUNCTION ledger.cmdb_joined TO reports",
            ):
                assert reader in page
                db.execute(reader.replace("reports", SERVICE_ROLE))
            db.execute(f"SET ROLE {SERVICE_ROLE}")
            assert db.execute("SELECT ci_key, ci ->> 'owner' FROM ledger.cmdb_assets").fetchone() == ("1", "shop")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute("SELECT count(*) FROM cmdb.server_ci")


Words = dict[str, tuple[str, str]]
_WORDS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.sampled_from(["", "1", "2", "3"]), st.sampled_from(["", "1", "2", "3"])),
    max_size=6,
)


def joined(machines: Words, cis: Words) -> tuple[dict[str, tuple[str, int]], set[tuple[str, str]]]:
    """Return who is joined with whom by which rule, and who met whom without: as docs/cmdb.md says it."""
    done: dict[str, tuple[str, int]] = {}
    unsure: set[tuple[str, str]] = set()
    for rule in (0, 1):
        taken = {ci for ci, _ in done.values()}
        met = defaultdict(set)
        for m, of_m in machines.items():
            for c, of_c in cis.items():
                shared = of_m[rule]
                many = max(sum(w[rule] == shared for w in side.values()) for side in (machines, cis))
                if not shared or shared != of_c[rule] or many > SHARED_BY_AT_MOST or m in done or c in taken:
                    continue
                before = {pair for pair in unsure if m == pair[0] or c == pair[1]}
                if not before or (m, c) in before:
                    met[m].add(c)
        pairs = {(m, c) for m, each in met.items() for c in each}
        for m, c in pairs:
            if sum(m == pair[0] for pair in pairs) == sum(c == pair[1] for pair in pairs) == 1:
                done[m] = (c, rule)
            else:
                unsure.add((m, c))
    return done, unsure


@pytest.fixture
def plain(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as db:
        db.execute("CREATE TABLE public.ci (nr text, sn text, hn text)")
        yield db


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(machines=_WORDS, cis=_WORDS)
def test_who_is_joined_is_what_the_rules_say(plain: Connection, machines: Words, cis: Words) -> None:
    match: tuple[tuple[Rule, str], ...] = (("serial", "sn"), ("hostname", "hn"))
    uuids = {name: UUID(int=ord(name)) for name in machines}
    with plain.transaction(force_rollback=True):
        for name, (serial, hostname) in machines.items():
            plain.execute(
                "INSERT INTO ledger.assets (id, zone, platform_type, hostname, created_at, updated_at)"
                " VALUES (%s, 'default', 'pve', %s, now(), now())",
                [uuids[name], hostname or None],
            )
            if serial:
                plain.execute(
                    "INSERT INTO ledger.asset_identifiers (asset_id, source_id, kind, value, first_seen_at)"
                    " VALUES (%s, 1, 'serial', %s, now())",
                    [uuids[name], serial],
                )
        for name, (serial, hostname) in cis.items():
            plain.execute("INSERT INTO public.ci VALUES (%s, %s, %s)", [name, serial, hostname])
        link(plain, Link("public.ci", "nr", match))
        found = listed(plain, limit=99)
    done, unsure = joined(machines, cis)
    of = {uuid: name for name, uuid in uuids.items()}
    assert sorted(of[row["asset_id"]] for row in found if row["asset_id"]) == sorted(machines)
    assert sorted(row["ci_key"] for row in found if row["ci_key"]) == sorted(cis)
    assert {
        of[row["asset_id"]]: (row["ci_key"], ("serial", "hostname").index(row["rule"]))
        for row in found
        if row["side"] == "both"
    } == done
    for row in found:
        if row["asset_id"]:
            assert row["others"] == sorted(c for m, c in unsure if m == of[row["asset_id"]])
        else:
            assert row["others"] == sorted(str(uuids[m]) for m, c in unsure if c == row["ci_key"])
