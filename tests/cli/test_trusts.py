"""`asset-ledger tenants trust`: what is taken is what was said, and every change leaves a row of the audit."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from asset_ledger.store.access import tokens
from asset_ledger.store.access.people import tenant_named
from asset_ledger.store.database import connect
from tests.api.identity import publishing
from tests.cli.conftest import Cli, Done

GITLAB = {
    "--issuer": "https://gitlab.example", "--jwks-url": "http://127.0.0.1:1/keys", "--audience": "https://ledger.example",
    "--claim": "project_path=shop/infra", "--role": "writer",
}  # fmt: skip


@pytest.fixture
def acme(cli: Cli) -> Cli:
    assert cli("tenants", "add", "acme").code == 0
    return cli


def add(cli: Cli, *more: str, **other: str) -> Done:
    told = GITLAB | {f"--{name.replace('_', '-')}": value for name, value in other.items()}
    return cli("tenants", "trust", "add", *(part for pair in told.items() for part in pair), *more)


def listed(cli: Cli, *more: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cli("tenants", "trust", "list", "--json", *more).out)
    return found


def test_a_trust_is_made_listed_and_ended_and_each_is_recorded(acme: Cli) -> None:
    assert "trust add --help" in acme("tenants", "trust", "list").err
    made = add(acme, "--claim", "ref=main", "--claim", "ref=release", "--claim", "n:=7", "--claim", 'g:=["a", true]', "--actor-claim", "user_login")  # fmt: skip
    assert made.code == 0, made.err
    assert "acme takes tokens of https://gitlab.example now, as writer" in made.out
    assert "its keys cannot be read just now" in made.err
    (row,) = listed(acme)
    assert row["claims"] == {"project_path": "shop/infra", "ref": ["main", "release"], "n": 7, "g": ["a", True]}
    assert (row["audience"], row["role"], row["actor_claim"], row["created_by"], row["ended_at"]) == (
        "https://ledger.example", "writer", "user_login", "li.lei", None,
    )  # fmt: skip
    shown = acme("tenants", "trust", "list").out
    assert row["id"][:8] in shown
    assert "project_path" in shown
    assert acme("tenants", "trust", "end", "ffffffff-0").code == 1
    done = acme("tenants", "trust", "end", row["id"][:8])
    assert "acme takes no tokens of https://gitlab.example by it any more" in done.out
    assert acme("tenants", "trust", "end", row["id"]).code == 1, "it ended already"
    assert listed(acme) == []
    assert [each["ended_at"] is None for each in listed(acme, "--ended")] == [False]
    told = json.loads(acme("audit", "list", "--type", "security.", "--json").out)
    assert [(each["action"], each["actor"], each["details"]["trust_id"]) for each in told[:2]] == [
        ("trust end", "li.lei", row["id"]), ("trust add", "li.lei", row["id"]),
    ]  # fmt: skip
    assert told[1]["details"]["claims"] == row["claims"]
    assert told[1]["details"]["jwks_url"] == GITLAB["--jwks-url"]


def test_the_keys_are_tried_where_they_can_be_read(acme: Cli) -> None:
    with publishing() as provider:
        assert "1 of its keys were read to try it" in add(acme, jwks_url=provider.jwks_url).err


def test_a_provider_that_publishes_no_key_is_told_of(acme: Cli) -> None:
    with publishing() as provider:
        provider.published = []
        said = add(acme, jwks_url=provider.jwks_url).err
    assert f"{provider.jwks_url}: it publishes no key that can be used here" in said
    assert "a token of it works now" not in said


def test_a_star_in_a_claim_is_taken_literally_and_that_is_said(acme: Cli) -> None:
    done = add(acme, claim="sub=repo:acme/*")
    assert done.code == 0, "it may be meant"
    assert "`*` in claim sub stands for itself" in done.err
    assert listed(acme)[0]["claims"] == {"sub": "repo:acme/*"}
    assert "stands for itself" not in add(acme).err


def test_a_trust_is_ended_by_enough_of_its_id_to_be_meant(acme: Cli) -> None:
    assert add(acme).code == 0
    (row,) = listed(acme)
    for short in ("", row["id"][:1], row["id"][:7]):
        refused = acme("tenants", "trust", "end", short)
        assert refused.code == 1
        assert "give its id, or at least the first 8 characters" in refused.err
    assert len(listed(acme)) == 1
    assert acme("tenants", "trust", "end", row["id"][:8].upper()).code == 0


def test_what_cannot_be_is_refused_by_its_name(acme: Cli) -> None:
    wrong = [
        ({"issuer": "http://gitlab.example"}, "issuer: must begin with https://"), ({"claim": "ref"}, "--claim ref: write it as NAME=VALUE"),
        ({"jwks_url": "https://u:hunter2@x/"}, "jwks_url: must be without user, password"), ({"claim": "n:=x"}, "what follows := is not JSON"),
        ({"claim": "aud=x"}, "claim aud: tells nobody from others"), ({"claim": "=x"}, "write it as NAME=VALUE"), ({"tenant": "none"}, "no such tenant"),
    ]  # fmt: skip
    for other, said in wrong:
        done = add(acme, **other)
        assert done.code == 1, other
        assert said in done.err
        assert "hunter2" not in done.err
    assert add(acme, role="king").code == 2
    assert listed(acme) == []


def test_the_tenant_must_be_named_where_there_are_several(acme: Cli) -> None:
    assert acme("tenants", "add", "rival").code == 0
    assert "name one with --tenant" in add(acme).err
    assert add(acme, tenant="rival").code == 0
    assert listed(acme, "--tenant", "acme") == []
    (row,) = listed(acme, "--tenant", "rival")
    assert acme("tenants", "trust", "end", row["id"], "--tenant", "acme").code == 1
    assert acme("tenants", "trust", "end", row["id"], "--tenant", "rival").code == 0


def test_how_long_a_token_of_ours_holds_for_one_is_the_trusts_to_say(acme: Cli) -> None:
    for hours, made in ((None, 0), ("0", 0), ("12", 0), ("13", 2), ("-1", 2)):
        assert add(acme, **({} if hours is None else {"hours": hours})).code == made, hours
    assert sorted(each["hours"] for each in listed(acme)) == [0, 1, 12]
    (row,) = [each for each in json.loads(acme("audit", "list", "--json").out) if each["details"].get("hours") == 12]
    assert row["action"] == "trust add"


def test_a_token_that_was_exchanged_is_listed_by_its_actor_and_revoked(acme: Cli, database_url: str) -> None:
    assert add(acme).code == 0
    (row,) = listed(acme)
    with connect(database_url) as connection:
        tenant = tenant_named(connection, "acme")
        assert tenant is not None
        until = datetime.now(UTC) + timedelta(hours=1)
        text = tokens.exchange(
            connection, tenant.id, UUID(row["id"]), "oidc:gitlab.example:ann", "writer", expires_at=until
        )
        found = tokens.holder(connection, text)
        assert found is not None
        assert (found.tenant, found.user_id, found.actor, found.role) == ("acme", None, "oidc:gitlab.example:ann", "writer")  # fmt: skip
        (told,) = json.loads(acme("tokens", "list", "--json").out)
        assert (told["username"], told["trust_id"], told["name"]) == ("oidc:gitlab.example:ann", row["id"], "login")
        shown = acme("tokens", "list").out
        assert text[:9] in shown
        assert text not in shown
        assert "oidc:gitlab" in shown
        assert acme("tokens", "revoke", told["id"][:8]).code == 0
        assert tokens.holder(connection, text) is None
