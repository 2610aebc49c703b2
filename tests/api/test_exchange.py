"""A provider's token exchanged for one of ours: how long it holds, what it may, and whose locks it takes and gives back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from asset_ledger.domain.trusts import Terms
from asset_ledger.store import database
from asset_ledger.store.access import people, tokens, trusts
from asset_ledger.store.database import Connection, connect, migrate
from asset_ledger.store.pool import Pool
from asset_ledger.store.tenancy import as_tenant
from tests.api.identity import Provider, me, trust
from tests.api.site import RING, Answer, Site, bare_environment, basic, lock_info, state
from tests.plain_owner import plainly_owned

AT = "/terraform/state/shop/app"
JSON = {"Content-Type": "application/json"}
GUIDE = Path(__file__).parents[2] / "docs" / "service.md"


def exchange(site: Site, token: str, **told: Any) -> Answer:
    return site.ask("POST", "/api/v1/login", json.dumps({"token": token} | told).encode(), token="", headers=JSON)


def given(site: Site, token: str, **told: Any) -> str:
    """Return a token of ours for a provider's."""
    answer = exchange(site, token, **told)
    assert answer.status == 200, answer.body
    found: str = answer.json["token"]
    return found


def hours(answer: Answer) -> float:
    assert answer.status == 200, answer.body
    return (datetime.fromisoformat(answer.json["expires_at"]) - datetime.now(UTC)).total_seconds() / 3600


def audited(site: Site) -> list[dict[str, Any]]:
    return site.rows(
        "SELECT actor, event_type, event_result, user_id, details, tenant_id FROM audit.audit_logs ORDER BY id"
    )


def test_it_holds_an_hour_and_longer_only_where_the_trust_lets_it(own: Site, provider: Provider) -> None:
    trust(own, provider)
    trust(own, provider, "long", hours=12, audience="long")
    trust(own, provider, "none", hours=0, audience="none")
    token = provider.token()
    assert 0.99 < hours(exchange(own, token)) <= 1
    assert 0.99 < hours(exchange(own, token, hours=1)) <= 1
    refused = exchange(own, token, hours=2)
    assert (refused.status, refused.json["code"]) == (403, "TOO_LONG")
    assert "lets ours hold 1 h at most" in refused.json["message"]
    long = provider.token(aud="long")
    assert 0.99 < hours(exchange(own, long)) <= 1, "what is not asked for is not given"
    assert 11.99 < hours(exchange(own, long, hours=12)) <= 12
    assert exchange(own, long, hours=13).status == 422
    for asked in ({}, {"hours": 1}):
        refused = exchange(own, provider.token(aud="none"), **asked)
        assert (refused.status, refused.json["code"]) == (403, "NO_EXCHANGE")
    assert len(own.rows("SELECT * FROM agent.api_tokens")) == 4, "what is refused leaves none"


@pytest.mark.parametrize("username", [None, "", "acme", "acme/"])
def test_it_is_who_the_providers_token_is_and_may_what_that_may(
    own: Site, provider: Provider, username: str | None
) -> None:
    trust(own, provider, role="reader")
    token = provider.token()
    answer = exchange(own, token, tenant="acme")
    ours = answer.json["token"]
    assert ours.startswith("al_")
    assert answer.json["role"] == "reader"
    assert me(own, ours, username).json == me(own, token, username).json
    assert me(own, ours).json == {
        "tenant": "acme", "username": provider.called("project_path:shop/infra:ref_type:branch:ref:main"), "role": "reader",
    }  # fmt: skip
    own.ask("POST", AT, state())
    assert own.ask("GET", AT, token=ours).status == 200
    refused = own.ask("LOCK", AT, lock_info("a"), token=ours)
    assert (refused.status, refused.json["code"]) == (403, "ROLE_MISSING")


def test_it_may_no_more_than_its_trust_and_no_more_than_it_was_made_for(own: Site, provider: Provider) -> None:
    reader, admin = (
        trust(own, provider, role="reader", audience="a"),
        trust(own, provider, role="admin", audience="b"),
    )
    wide, narrow = given(own, provider.token(aud="a")), given(own, provider.token(aud="b"))
    with connect(own.database_url) as connection:
        connection.execute("UPDATE agent.api_tokens SET role = 'admin' WHERE trust_id = %s", [reader])
        connection.execute("UPDATE agent.api_tokens SET role = 'reader' WHERE trust_id = %s", [admin])
    assert [me(own, each).json["role"] for each in (wide, narrow)] == ["reader", "reader"]


@pytest.mark.parametrize("username", ["rival", "acme/ann", "ann", "/", "acme/x"])
def test_a_username_that_is_not_its_own_is_refused(own: Site, provider: Provider, username: str) -> None:
    trust(own, provider)
    own.tenant("rival")
    assert me(own, given(own, provider.token()), username).status == 401
    assert me(own, own.token(), "acme").status == 401, "a user's still names the user"


def test_it_ends_at_its_time_and_at_once_when_it_is_revoked_or_trust_or_tenant_end(
    own: Site, provider: Provider
) -> None:
    made = trust(own, provider)
    old, revoked, ours = (given(own, provider.token()) for _ in range(3))
    with connect(own.database_url) as connection:
        acme = own.tenants["acme"]
        rows = {each.shown: each for each in tokens.tokens(connection, acme)}
        connection.execute(
            "UPDATE agent.api_tokens SET expires_at = now() - interval '1 second' WHERE id = %s", [rows[old[:9]].id]
        )
        assert [me(own, each).status for each in (old, revoked, ours)] == [401, 200, 200]
        assert tokens.revoke(connection, acme, rows[revoked[:9]].id)
        assert [me(own, each).status for each in (revoked, ours)] == [401, 200]
        people.set_tenant(connection, "acme", active=False)
        assert me(own, ours).status == 401
        people.set_tenant(connection, "acme", active=True)
        assert me(own, ours).status == 200
        trust(own, provider)
        with as_tenant(connection, acme):
            assert trusts.end_trust(connection, acme, made)
        assert me(own, ours).status == 401, "another trust does not take its place"
        assert me(own, given(own, provider.token())).status == 200


def test_a_lock_is_given_back_with_either_token_whichever_took_it(own: Site, provider: Provider) -> None:
    trust(own, provider, claims={"ref": ["main", "other"]})
    theirs = provider.token(sub="one")
    ours = given(own, theirs)
    stranger = given(own, provider.token(sub="other"))
    for takes, gives in ((theirs, ours), (ours, theirs), (ours, given(own, provider.token(sub="one")))):
        lock = lock_info("a")
        taking, giving = basic("acme", takes), basic("acme", gives)
        assert own.ask("LOCK", AT, lock, headers=taking).status == 200
        assert own.ask("LOCK", AT, lock, headers=giving).status == 200, "it is the same one's"
        assert own.ask("LOCK", AT, lock, token=stranger).status == 423
        assert own.ask("POST", f"{AT}?ID=a", state(), token=stranger).status == 423
        assert own.ask("UNLOCK", AT, lock, token=stranger).status == 403
        assert own.ask("POST", f"{AT}?ID=a", state(len(own.versions()) + 1), headers=giving).status == 200
        assert own.ask("UNLOCK", AT, lock, headers=giving).status == 200
    assert {(each["actor"], each["user_id"]) for each in own.versions()} == {(provider.called("one"), None)}
    assert own.rows("SELECT * FROM iac.state_locks") == []


def test_no_further_token_comes_out_of_it(own: Site, provider: Provider) -> None:
    trust(own, provider, role="admin", hours=12)
    ours = given(own, provider.token())
    made = own.ask("POST", "/api/v1/tokens", b'{"name": "x"}', token=ours, headers=JSON)
    assert (made.status, made.json["code"]) == (403, "NO_USER")
    assert exchange(own, ours).status == 401
    assert exchange(own, ours, tenant="acme", hours=12).status == 401
    assert exchange(own, own.token()).status == 401, "nor out of a user's, so"
    assert len(own.rows("SELECT * FROM agent.api_tokens WHERE trust_id IS NOT NULL")) == 1


def test_tenants_are_apart_and_of_several_one_is_named(own: Site, provider: Provider) -> None:
    trust(own, provider)
    trust(own, provider, "rival", "admin")
    token = provider.token()
    refused = exchange(own, token)
    assert refused.status == 401
    assert "where it is exchanged, as `tenant`" in refused.json["message"]
    assert b"rival" not in refused.body
    acme, rival = given(own, token, tenant="acme"), given(own, token, tenant="rival")
    assert [me(own, each).json["tenant"] for each in (acme, rival)] == ["acme", "rival"]
    assert me(own, acme, "rival").status == 401
    own.ask("POST", AT, state(), token=acme)
    assert own.ask("GET", AT, token=rival).status == 404
    (theirs,) = own.ask("GET", "/api/v1/tokens", token=rival).json
    assert rival.startswith(theirs["shown"]), "not the one of the same name in the other tenant"
    (ours,) = own.ask("GET", "/api/v1/tokens", token=acme).json
    assert own.ask("DELETE", f"/api/v1/tokens/{ours['id']}", token=rival).status == 404
    assert me(own, acme).status == 200
    assert exchange(own, token, tenant="nobody").status == 401


def test_what_lets_nobody_in_is_exchanged_for_nothing_and_told_as_any_login(own: Site, provider: Provider) -> None:
    made = trust(own, provider)
    now = int(time.time())
    wrong = {
        provider.token(aud="other"): "aud is not what it asks for",
        provider.token(project_path="evil/infra"): "project_path is not what it asks for",
        provider.token(iat=now - 500, exp=now - 31): "has expired",
        provider.token()[:-8] + "AAAAAAAA": "Signature verification failed",
        "x": "no signed token", "al_x": "no signed token", "..": "no signed token",
    }  # fmt: skip
    for token, said in wrong.items():
        answer = exchange(own, token)
        assert (answer.status, answer.json["code"]) == (401, "LOGIN_REFUSED"), said
        row = audited(own)[-1]
        assert (row["event_type"], row["event_result"], row["tenant_id"]) == ("security.login", "refused", None)
        assert said in row["details"]["why"]
        assert str(made).encode() not in answer.body
    assert own.rows("SELECT * FROM agent.api_tokens") == []
    assert me(own, provider.token()).status == 200, "none of it counts against anybody"


def test_while_a_providers_keys_cannot_be_read_it_is_asked_again_later(own: Site, provider: Provider) -> None:
    trust(own, provider)
    provider.mode = "error"
    answer = exchange(own, provider.token())
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "PROVIDER_UNAVAILABLE", "10")
    assert own.rows("SELECT * FROM agent.api_tokens") == []


def test_of_trusts_that_let_do_as_much_the_one_that_lets_it_hold_longest_counts(own: Site, provider: Provider) -> None:
    for told in ({"hours": 2}, {"hours": 5}, {"hours": 1}, {"role": "reader", "hours": 12}):
        trust(own, provider, **told)  # type: ignore[arg-type]
    answer = exchange(own, provider.token(), hours=5)
    assert (answer.json["role"], round(hours(answer))) == ("writer", 5)
    assert exchange(own, provider.token(), hours=6).status == 403, "for longer by a trust that lets do less: no"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"token": "a.b.c", "hours": 0}, "hours"), ({"token": "a.b.c", "hours": "x"}, "hours"), ({"token": ""}, "token"),
        ({"token": ["hunter2"]}, "token"), ({"token": "x" * 17000}, "token"), ({"token": None}, "token"),
        ({"token": "a.b.c", "tenant": "A"}, "tenant"), ({"token": "a.b.c", "role": "admin"}, "role"),
        ({"token": "a.b.c", "tenant": "acme", "username": "ann", "password": "hunter2hunter2"}, "password"),
    ],
)  # fmt: skip
def test_what_is_no_exchange_is_refused_by_its_field_and_not_repeated(
    own: Site, body: dict[str, Any], said: str
) -> None:
    answer = own.ask("POST", "/api/v1/login", json.dumps(body).encode(), token="", headers=JSON)
    assert answer.status == 422
    assert f"body.with_token.{said}: " in answer.json["message"]
    assert "with_password" not in answer.json["message"], "what is wrong is told of what was meant"
    assert b"hunter2" not in answer.body


def test_an_exchange_is_a_row_of_the_audit_and_neither_token_stands_anywhere(
    own: Site, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    made = trust(own, provider)
    theirs = provider.token()
    ours = given(own, theirs)
    row = audited(own)[-1]
    until = row["details"].pop("expires_at")
    assert 0 < (datetime.fromisoformat(until) - datetime.now(UTC)).total_seconds() <= 3600
    assert row == {
        "actor": f"acme/{provider.called('project_path:shop/infra:ref_type:branch:ref:main')}",
        "event_type": "security.token", "event_result": "success", "user_id": None,
        "details": {"trust_id": str(made), "role": "writer"}, "tenant_id": own.tenants["acme"],
    }  # fmt: skip
    assert exchange(own, theirs, hours=9).status == 403
    refused = audited(own)[-1]
    assert (refused["event_type"], refused["event_result"], refused["actor"]) == ("security.token", "refused", row["actor"])  # fmt: skip
    assert refused["details"] == {"trust_id": str(made), "hours": 9, "status": 403}
    own.ask("POST", AT, state(), token=ours)
    assert audited(own)[-1]["actor"] == row["actor"]
    kept = json.dumps([own.rows(f"SELECT * FROM {each}") for each in ("audit.audit_logs", "agent.api_tokens")], default=str)  # fmt: skip
    for secret in (ours[9:], *theirs.split(".")[1:]):
        assert secret not in kept
        assert secret not in caplog.text
        assert secret not in own.ask("GET", "/metrics", token="").body.decode()


def test_they_are_listed_by_whose_they_are_and_ended_by_these_and_by_administrators(
    own: Site, provider: Provider
) -> None:
    made = trust(own, provider)
    mine, others, bob = given(own, provider.token()), given(own, provider.token(sub="b")), own.token("bob", "writer")

    def listed(token: str) -> dict[str, dict[str, Any]]:
        return {each["shown"]: each for each in own.ask("GET", "/api/v1/tokens", token=token).json}

    (row,) = listed(mine).values()
    assert (row["shown"], row["username"], row["trust_id"]) == (mine[:9], me(own, mine).json["username"], str(made))
    assert row["last_used_at"] is not None
    assert [each["username"] for each in listed(bob).values()] == ["bob"]
    of_all = listed(own.token())
    assert {each["trust_id"] for each in of_all.values()} == {str(made), None}
    ids = {shown: each["id"] for shown, each in of_all.items()}
    assert own.ask("DELETE", f"/api/v1/tokens/{ids[others[:9]]}", token=mine).status == 404
    assert own.ask("DELETE", f"/api/v1/tokens/{ids[mine[:9]]}", token=bob).status == 404
    assert own.ask("DELETE", f"/api/v1/tokens/{ids[mine[:9]]}", token=mine).status == 204, "a job gives its own back"
    assert own.ask("DELETE", f"/api/v1/tokens/{ids[others[:9]]}", token=own.token()).status == 204
    assert [me(own, each).status for each in (mine, others)] == [401, 401]


def test_those_that_are_long_over_go_with_the_next_exchange_and_no_other_does(own: Site, provider: Provider) -> None:
    made = trust(own, provider)
    trust(own, provider, "rival")
    ended = "UPDATE agent.api_tokens SET expires_at = now() - %s::interval WHERE shown = %s"
    kept = {own.token("ann")[:9]}
    with connect(own.database_url) as connection:
        connection.execute(ended, ["3 days", *kept])
        for tenant, ago in (("acme", "25 hours"), ("acme", "23 hours"), ("rival", "25 hours")):
            shown = given(own, provider.token(), tenant=tenant)[:9]
            connection.execute(ended, [ago, shown])
            if (tenant, ago) != ("acme", "25 hours"):
                kept.add(shown)
        # as one whom no policy holds back; the service itself is held, below
        acme, now = own.tenants["acme"], datetime.now(UTC)
        kept.add(tokens.exchange(connection, acme, made, "oidc:x:y", "reader", expires_at=now)[:9])
        connection.execute(ended, ["25 hours", given(own, provider.token(), tenant="acme")[:9]])
    kept.add(given(own, provider.token(), tenant="acme")[:9])
    assert {row["shown"] for row in own.rows("SELECT shown FROM agent.api_tokens")} == kept


@pytest.fixture
def service(own: Site, provider: Provider) -> Iterator[Connection]:
    """The one connection of a pool, as the service has it; one token of a user and one of a pipeline, both in force."""
    trust(own, provider)
    own.token()
    given(own, provider.token())
    pool = Pool(own.database_url, most=1, wait_s=5)
    pool.start()
    with pool.connection() as connection:
        yield connection
    pool.stop()


def test_the_service_drops_no_token_that_could_still_hold(own: Site, service: Connection) -> None:
    with as_tenant(service, own.tenants["acme"]):
        assert service.execute("DELETE FROM agent.api_tokens").rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_tenant(service, own.tenants["acme"]):
        service.execute("UPDATE agent.api_tokens SET expires_at = now() + interval '1 year'")
    assert len(own.rows("SELECT * FROM agent.api_tokens")) == 2


@pytest.mark.parametrize(
    ("user", "by_trust", "actor", "ends"),
    [("x", "x", "x", "x"), ("x", "x", None, "x"), ("x", None, "x", "x"), (None, None, None, "x"), (None, None, "x", "x"),
     (None, "x", None, "x"), (None, "x", "x", None)],
)  # fmt: skip
def test_a_token_is_a_users_or_a_trusts_and_the_latter_has_a_name_and_an_end(
    own: Site, service: Connection, user: str | None, by_trust: str | None, actor: str | None, ends: str | None
) -> None:
    acme = own.tenants["acme"]
    with pytest.raises(psycopg.errors.CheckViolation, match="api_tokens_whose"), as_tenant(service, acme):
        service.execute(
            "INSERT INTO agent.api_tokens (tenant_id, user_id, trust_id, actor, expires_at, name, token_hash, shown, role)"
            " SELECT %(acme)s, CASE WHEN %(user)s::text = 'x' THEN u.id END, CASE WHEN %(trust)s::text = 'x' THEN r.id END,"
            " %(actor)s, CASE WHEN %(ends)s::text = 'x' THEN now() END, 'x', 'x', 'x', 'writer'"
            " FROM agent.users AS u, agent.trusts AS r",
            {"acme": acme, "user": user, "trust": by_trust, "actor": actor, "ends": ends},
        )


def test_a_trust_of_another_tenant_makes_no_token(own: Site, provider: Provider, service: Connection) -> None:
    of_rival = trust(own, provider, "rival")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        tokens.exchange(service, own.tenants["acme"], of_rival, "x", "admin", expires_at=datetime.now(UTC))


def test_where_the_schema_goes_back_the_tokens_of_pipelines_go_and_those_of_users_stay() -> None:
    with plainly_owned() as (url, _, _):
        with connect(url) as connection:
            acme = people.add_tenant(connection, "acme", RING)
            user = people.set_user(connection, acme, "ann", "admin", password_hash=None, email=None)
            tokens.add_token(connection, acme, user, "hers", "admin", expires_at=None)
            terms = Terms("https://x.example", "a", "https://x.example/keys", {"b": "c"}, "writer")
            with as_tenant(connection, acme):
                by = trusts.add_trust(connection, acme, terms, actor="tests")
            ours = tokens.exchange(
                connection, acme, by, "oidc:x:y", "writer", expires_at=datetime(2999, 1, 1, tzinfo=UTC)
            )
            found = tokens.holder(connection, ours)
            assert found is not None
            assert (found.actor, found.role) == ("oidc:x:y", "writer")
        config = Config()
        config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as held:
            config.attributes["connection"] = held
            command.downgrade(config, "0004")
        engine.dispose()
        with connect(url) as connection, as_tenant(connection, acme):
            assert connection.execute("SELECT name FROM agent.api_tokens").fetchall() == [("hers",)]
        assert migrate(url) is True
        with connect(url) as connection:
            assert [each.name for each in tokens.tokens(connection, acme)] == ["hers"]


def examples() -> dict[str, str]:
    """Return the commands in the guide that exchange a token, by the platform that they are for."""
    text = GUIDE.read_text().partition("### An apply that takes longer")[2].partition("\n### ")[0]
    found = dict(re.findall(r"^\*\*(\w+).*?^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    return {
        name: "\n".join(line.strip() for line in block.split("|\n", 1)[1].splitlines() if "terraform " not in line)
        for name, block in found.items()
    }


@pytest.mark.needs("curl", "jq", "bash")
@pytest.mark.parametrize(
    ("platform", "shell"), [("GitHub", ["bash", "-e", "-o", "pipefail"]), ("GitLab", ["sh", "-e"])]
)
def test_the_guides_examples_exchange_a_token_and_show_it_to_no_other_process(
    own: Site, provider: Provider, tmp_path: Path, platform: str, shell: list[str]
) -> None:
    trust(own, provider, hours=2)
    ours = f"http://127.0.0.1:{own.port}"
    commands = examples()[platform].replace("https://ledger.example.com/api", f"{ours}/api")
    spy = tmp_path / "bin" / "curl"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/said\nexec {shutil.which("curl")} "$@"\n')
    (spy.parent / "jq").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/said\nexec {shutil.which("jq")} "$@"\n'
    )
    for each in spy.parent.iterdir():
        each.chmod(0o755)
    token = provider.token()
    provider.job = ("request-token", token)
    environment = bare_environment() | {
        "PATH": f"{spy.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "GITHUB_ENV": str(tmp_path / "env"),
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "request-token", "ACTIONS_ID_TOKEN_REQUEST_URL": f"{provider.url}/job?api-version=2",
        "LEDGER_ID_TOKEN": token,
    }  # fmt: skip
    done = subprocess.run(
        [*shell, "-c", f'{commands}\necho "TF_HTTP_PASSWORD=$TF_HTTP_PASSWORD" >> "$GITHUB_ENV.after"'],
        check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kept = (tmp_path / ("env" if platform == "GitHub" else "env.after")).read_text()
    made = kept.strip().removeprefix("TF_HTTP_PASSWORD=")
    assert me(own, made, "acme").json["role"] == "writer"
    said = (tmp_path / "said").read_text()
    assert "/api/v1/login" in said
    for secret in (made, token, "request-token"):
        assert secret not in said
    assert made not in done.stdout.replace(f"::add-mask::{made}", "")


def test_logging_in_and_out_are_recorded_as_a_users_own(site: Site) -> None:
    site.token("ann", password="correct horse")
    body = json.dumps({"tenant": "acme", "username": "ann", "password": "correct horse"}).encode()
    answer = site.ask("POST", "/api/v1/login", body, token="", headers={"Content-Type": "application/json"})
    token = answer.json["token"]
    mine = [each for each in site.ask("GET", "/api/v1/tokens", token=token).json if token.startswith(each["shown"])]
    assert site.ask("DELETE", f"/api/v1/tokens/{mine[0]['id']}", token=token).status == 204
    assert site.ask("GET", "/api/v1/me", token=token).status == 401
    words = [(who, what, result) for who, what, result, _ in site.audited()]
    assert ("acme/ann", "user.login", "success") in words
    assert ("acme/ann", "user.logout", "success") in words
