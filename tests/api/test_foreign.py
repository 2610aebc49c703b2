"""Logins of an identity provider: real tokens of a provider that publishes its keys over a socket, at a real service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from asset_ledger.api.provider_keys import Pace, ProviderKeys
from asset_ledger.store.access import people, trusts
from asset_ledger.store.access.tokens import tokens
from asset_ledger.store.database import Connection, connect
from asset_ledger.store.pool import Pool
from asset_ledger.store.tenancy import as_tenant, knowing
from tests.api.identity import RSA_KEYS, Provider, me, publishing, trust, unsigned
from tests.api.site import Site, basic, lock_info, state

AT = "/terraform/state/shop/app"
SUB = "project_path:shop/infra:ref_type:branch:ref:main"


def why(site: Site) -> str:
    """Return what the audit has of the last login that was refused."""
    rows = site.rows("SELECT details, tenant_id FROM audit.audit_logs WHERE event_type = 'security.login' ORDER BY id")
    assert rows[-1]["tenant_id"] is None
    said: str = rows[-1]["details"]["why"]
    return said


@pytest.mark.parametrize("username", [None, "", "acme", f"acme/{'ann'}"])
def test_a_provider_that_is_trusted_logs_in_as_bearer_and_as_basic(
    own: Site, provider: Provider, username: str | None
) -> None:
    trust(own, provider, actor_claim="user_login")
    ann = provider.called("ann", "user_login")
    answer = me(own, provider.token(user_login="ann"), username)
    assert answer.json == {"tenant": "acme", "username": ann, "role": "writer"}
    assert own.audited()[-1][:3] == (f"acme/{ann}", "access.read", "success")


@pytest.mark.parametrize(
    "username", ["rival", "acme/bob", "ann", "/", "/ann", "acme/ann/x", "ACME", "acme\0", "x" * 500, "acme/"]
)
def test_a_username_that_is_not_the_tokens_is_refused(own: Site, provider: Provider, username: str) -> None:
    trust(own, provider, actor_claim="user_login")
    own.tenant("rival")
    entered = me(own, provider.token(user_login="ann"), username).status == 200
    assert entered == (username == "acme/"), "a name may be left out"


def test_terraform_reads_locks_writes_and_unlocks_as_a_pipeline(own: Site, provider: Provider) -> None:
    trust(own, provider)
    given = basic("acme", provider.token())
    asked = [
        ("LOCK", AT, lock_info("a")), ("GET", AT, None), ("POST", f"{AT}?ID=a", state()), ("UNLOCK", AT, lock_info("a")),
        ("GET", AT, None), ("UNLOCK", AT, None), ("GET", "/api/v1/audit", None),
    ]  # fmt: skip
    assert [own.ask(*each, headers=given).status for each in asked] == [200, 404, 200, 200, 200, 403, 403]
    (version,) = own.versions()
    assert (version["actor"], version["user_id"]) == (provider.called(SUB), None)
    assert len(provider.asked) == 1, "keys are kept"


SHAPES = {
    "GitLab CI": (
        {"namespace_path": "shop", "ref_protected": "true", "ref": ["main", "release"]},
        {
            "aud": "ledger", "sub": SUB, "namespace_id": "7", "namespace_path": "shop", "project_id": "22", "project_path": "shop/infra",
            "user_id": "42", "user_login": "ann", "user_email": "ann@example.com", "pipeline_id": "6", "pipeline_source": "push",
            "job_id": "41", "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
            "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
            "project_visibility": "private", "ci_config_ref_uri": "gitlab.example.com/shop/infra//.gitlab-ci.yml@refs/heads/main",
        },
    ),
    "GitHub Actions": (
        {"repository_id": "74", "repository_owner_id": "65", "environment": "production"},
        {
            "aud": ["ledger"], "sub": "repo:octo-org/octo-repo:environment:production", "jti": "5c0c1e8a", "environment": "production",
            "ref": "refs/heads/main", "sha": "example-sha", "repository": "octo-org/octo-repo", "repository_owner": "octo-org",
            "actor_id": "12", "repository_visibility": "private", "repository_id": "74", "repository_owner_id": "65",
            "run_id": "6", "run_number": "10", "run_attempt": "2", "runner_environment": "github-hosted", "actor": "octocat",
            "workflow": "deploy", "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch", "ref_type": "branch",
            "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        },
    ),
    "Kubernetes": (
        {"sub": "system:serviceaccount:infra:terraform"},
        {
            "aud": ["ledger", "https://kubernetes.default.svc"], "sub": "system:serviceaccount:infra:terraform",
            "kubernetes.io": {"namespace": "infra", "serviceaccount": {"name": "terraform", "uid": "x"}},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_tokens_as_pipelines_have_them_are_taken(own: Site, provider: Provider, shape: str) -> None:
    wanted, claims = SHAPES[shape]
    trust(own, provider, claims=wanted)
    assert me(own, provider.token(**claims)).json["username"] == provider.called(claims["sub"])
    for name in wanted:
        assert me(own, provider.token(**claims | {name: "other"})).status == 401, name
        assert me(own, provider.token(**claims, without=(name,))).status == 401, name


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES256", "ES384", "EdDSA"])
def test_every_algorithm_that_is_taken_works(own: Site, provider: Provider, alg: str) -> None:
    key = {"ES256": ec.generate_private_key(ec.SECP256R1()), "ES384": ec.generate_private_key(ec.SECP384R1())}.get(alg)
    provider.keys["k1"] = key or (ed25519.Ed25519PrivateKey.generate() if alg == "EdDSA" else RSA_KEYS[1])
    trust(own, provider)
    assert me(own, provider.token(alg=alg)).status == 200
    assert me(own, provider.token(alg=alg)[:-8] + "AAAAAAAA").status == 401


def test_a_token_that_is_wrong_in_one_thing_is_refused(own: Site, provider: Provider) -> None:
    trust(own, provider)
    now, other = int(time.time()), rsa.generate_private_key(65537, 2048)
    public = (
        RSA_KEYS[0]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    hs256 = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    payload = jwt.decode(provider.token(), options={"verify_signature": False})
    signed = unsigned(hs256, payload).rpartition(".")[0]
    good = provider.token()
    head, body, signature = good.split(".")
    forged = unsigned({"alg": "RS256", "kid": "k1"}, payload | {"sub": "somebody"}).split(".")[1]
    wrong = {
        "another audience": (provider.token(aud="other"), "aud is not what it asks for"),
        "another issuer": (provider.token(iss="https://evil.example"), "there is no trust in https://evil.example"),
        "expired": (provider.token(iat=now - 500, exp=now - 31), "has expired"),
        "not yet": (provider.token(nbf=now + 60), "does not hold yet"),
        "made tomorrow": (provider.token(iat=now + 60, exp=now + 90), "does not hold yet"),
        "for two days": (provider.token(exp=now + 2 * 86400), "longer than 24 hours"),
        **{f"without {name}": (provider.token(without=(name,)), f"no {name}") for name in ("exp", "iat", "aud", "sub")},
        "without iss": (provider.token(without=("iss",)), "no iss"),
        "another claim": (provider.token(project_path="evil/infra"), "project_path is not what it asks for"),
        "without the claim": (provider.token(without=("project_path",)), "project_path is not what it asks for"),
        "of no algorithm": (unsigned({"alg": "none", "kid": "k1"}, payload, b""), "must be signed"),
        "signed with what is public": (
            signed + "." + jwt.utils.base64url_encode(jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signed.encode(), public)).decode(),
            "must be signed",
        ),
        "of another's key": (provider.token(key=other), "Signature verification failed"),
        "of a key nobody knows": (provider.token(kid="k9", key=other), "has no key 'k9' for RS256"),
        "of a key of another kind": (provider.token(key=ec.generate_private_key(ec.SECP256R1()), alg="ES256"), "no key 'k1' for ES256"),
        "with its own key": (provider.token(kid="k9", key=other, header={"jwk": {"kty": "RSA"}, "jku": f"{provider.url}/own", "x5u": f"{provider.url}/own"}), "no key 'k9'"),
        "with demands": (provider.token(header={"crit": ["x"], "x": 1}), "demands (crit)"),
        "of another type": (provider.token(header={"typ": "logout+jwt"}), "its typ must be"),
        "changed": (f"{head}.{forged}.{signature}", "Signature verification failed"),
        "without a signature": (f"{head}.{body}.", "Signature verification failed"),
        "junk": ("a.b.c", "no signed token"), "deep": (unsigned({"alg": "RS256"}, b"[" * 9000), "no signed token"),
        "no object": (unsigned({"alg": "RS256"}, b"[]"), "no signed token"), "large": (provider.token(more="x" * 20_000), "no signed token"),
        "a long number": (unsigned({"alg": "RS256"}, b"9" * 9000), "no signed token"), "of dots": ("..", "no signed token"),
        "other letters": ("\xe9.\xff.x", "no signed token"), "an odd sub": (provider.token(sub="a\0b"), "sub is no text"),
        "a kid of another kind": (unsigned({"alg": "RS256", "kid": 7}, payload), "kid"),
    }  # fmt: skip
    for name, (token, said) in wrong.items():
        for username in (None, "acme"):
            answer = me(own, token, username)
            assert (answer.status, answer.json["code"]) == (401, "LOGIN_REFUSED"), name
            assert "Basic" in answer.headers["www-authenticate"]
            assert said in why(own), (name, why(own))
            for part in token.split("."):
                assert len(part) < 20 or part not in json.dumps(
                    own.rows("SELECT details FROM audit.audit_logs"), default=str
                )
    assert me(own, good).status == 200
    assert provider.asked == ["/oauth/discovery/keys"], (
        "no address of a token's own is asked, and no key twice a minute"
    )


def test_who_sent_a_token_is_told_of_it_alone_and_who_runs_the_service_of_the_trust(
    own: Site, provider: Provider
) -> None:
    made = trust(own, provider)
    refused = me(own, provider.token(project_path="evil/infra"))
    assert "asset-ledger audit list --nobody" in refused.json["message"]
    assert me(own, provider.token(iss="https://evil.example")).body == refused.body, "who trusts whom is not told"
    assert me(own, provider.token(), "nobody").body == refused.body
    assert me(own, provider.token(project_path="evil/infra")).status == 401
    assert why(own) == f"trust {made}: the token's project_path is not what it asks for"
    assert "has expired" in me(own, provider.token(iat=1, exp=2)).json["message"]


def test_a_trust_that_ended_and_a_tenant_that_is_kept_out_are_refused_at_once(own: Site, provider: Provider) -> None:
    made, token = trust(own, provider), provider.token()
    assert me(own, token).status == 200
    with connect(own.database_url) as connection:
        people.set_tenant(connection, "acme", active=False)
        assert me(own, token).status == 401
        assert "kept out" in why(own)
        people.set_tenant(connection, "acme", active=True)
        assert me(own, token).status == 200
        with as_tenant(connection, own.tenants["acme"]):
            assert trusts.end_trust(connection, own.tenants["acme"], made)
            assert not trusts.end_trust(connection, own.tenants["acme"], made)
        assert me(own, token).status == 401
    trust(own, provider, role="reader")
    assert me(own, token).json["role"] == "reader", "another one holds"


def test_of_several_tenants_that_take_a_token_one_must_be_named(own: Site, provider: Provider) -> None:
    trust(own, provider)
    trust(own, provider, "rival", "admin")
    token = provider.token()
    answer = me(own, token)
    assert answer.status == 401
    assert "HTTP Basic with TENANT as username" in answer.json["message"]
    assert b"rival" not in answer.body
    assert me(own, token, "acme").json["role"] == "writer"
    assert me(own, token, "rival").json["role"] == "admin"
    assert me(own, provider.token(project_path="evil/infra"), "rival").status == 401
    with connect(own.database_url) as connection:
        people.set_tenant(connection, "rival", active=False)
    assert me(own, token).json["tenant"] == "acme", "who is kept out takes none"


def test_of_several_trusts_of_a_tenant_the_one_that_lets_do_the_most_counts(own: Site, provider: Provider) -> None:
    trust(own, provider, role="reader")
    trust(own, provider, role="writer", claims={"ref": "main", "project_path": "shop/infra"})
    trust(own, provider, role="admin", claims={"ref": "release"})
    assert me(own, provider.token()).json["role"] == "writer"
    assert me(own, provider.token(ref="feature")).json["role"] == "reader"


def test_another_provider_does_not_sign_for_this_one(own: Site, provider: Provider) -> None:
    with publishing() as evil:
        evil.keys = {"k1": RSA_KEYS[1]}
        trust(own, provider)
        trust(own, evil, "rival")
        assert me(own, evil.token(iss=provider.issuer)).status == 401
        assert me(own, provider.token(iss=evil.issuer)).status == 401
        assert me(own, evil.token()).json["tenant"] == "rival"
        assert me(own, evil.token(), "acme").status == 401


def test_while_a_providers_keys_cannot_be_read_everybody_else_is_served(
    own: Site, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    made = trust(own, provider)
    provider.mode = "error"
    answer = own.ask("POST", AT, state(), headers=basic("acme", provider.token()))
    assert (answer.status, answer.json["code"]) == (503, "PROVIDER_UNAVAILABLE"), "Terraform asks again"
    assert answer.headers["retry-after"] == "10"
    assert provider.url.encode() not in answer.body
    assert f"trust {made}: {provider.jwks_url}: answered with 503" in caplog.text
    assert me(own, own.token()).status == 200
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    guessed = unsigned({"alg": "RS256", "kid": "k1"}, claims)
    assert me(own, guessed).status == 503, "that claims were guessed right can be told then"
    assert me(own, provider.token(aud="other")).status == 401, "who could not come in anyhow is told so"
    assert len(provider.asked) == 1


@pytest.mark.parametrize("away_first", [True, False])
@pytest.mark.parametrize("tenant", ["acme", "rival"])
def test_a_trust_whose_keys_cannot_be_read_keeps_nobody_out_whom_another_takes(
    own: Site, provider: Provider, tenant: str, away_first: bool
) -> None:
    nowhere = {"jwks_url": "http://127.0.0.1:1/keys", "tenant": tenant, "role": "admin"}
    for told in (nowhere, {}) if away_first else ({}, nowhere):
        trust(own, provider, **told)  # type: ignore[arg-type]
    for username in (None, "acme"):
        assert (me(own, provider.token(), username).json["tenant"], me(own, provider.token()).json["role"]) == (
            "acme", "writer",
        )  # fmt: skip
    assert me(own, provider.token(key=RSA_KEYS[1])).status == 503, "whether the other takes it is not known"
    assert me(own, provider.token(ref="x", project_path="evil/infra")).status == 401


def test_a_provider_that_withdraws_its_keys_is_believed_no_more(own: Site, provider: Provider) -> None:
    assert own.service is not None
    own.service.provider_keys = ProviderKeys(Pace(fresh_s=0.0, again_s=0.0, within_s=20.0))
    trust(own, provider)
    assert me(own, provider.token()).status == 200
    provider.published = []
    assert me(own, provider.token()).status == 401
    assert "its provider has no key 'k1' for RS256" in why(own)


def test_keys_change_under_a_running_service(own: Site, provider: Provider) -> None:
    assert own.service is not None
    own.service.provider_keys = ProviderKeys(Pace(again_s=0.0, within_s=20.0))
    trust(own, provider)
    assert me(own, provider.token()).status == 200
    provider.keys = {"k2": RSA_KEYS[1]}
    assert me(own, provider.token(kid="k2")).status == 200
    assert me(own, provider.token(kid="k1", key=RSA_KEYS[0])).status == 401


def test_a_lock_of_one_pipeline_is_not_anothers(own: Site, provider: Provider) -> None:
    trust(own, provider, claims={"ref": ["main", "other"]})
    trust(own, provider, role="admin", claims={"ref": "admins"})
    one = basic("acme", provider.token(sub="one"))
    other = basic("acme", provider.token(sub="other"))
    admin = basic("acme", provider.token(sub="admin", ref="admins"))
    assert own.ask("LOCK", AT, lock_info("a"), headers=one).status == 200
    assert own.ask("LOCK", AT, lock_info("a"), headers=one).status == 200, "an answer that was lost"
    assert own.ask("LOCK", AT, lock_info("a"), headers=other).status == 423
    assert own.ask("LOCK", AT, lock_info("a"), token=own.token("ann")).status == 423
    assert own.ask("POST", f"{AT}?ID=a", state(), headers=other).status == 423
    assert own.ask("UNLOCK", AT, lock_info("a"), headers=other).status == 403
    assert own.ask("POST", f"{AT}?ID=a", state(), headers=one).status == 200
    namesake = basic("acme", provider.token(sub="three", nick="one", ref="nicks"))
    trust(own, provider, claims={"ref": "nicks"}, actor_claim="nick")
    assert own.ask("LOCK", AT, lock_info("a"), headers=namesake).status == 423, "another claim that says the same"
    assert own.ask("UNLOCK", AT, lock_info("a"), headers=namesake).status == 403
    later = basic("acme", provider.token(sub="one", job_id="2"))
    assert own.ask("UNLOCK", AT, lock_info("a"), headers=later).status == 200, "its next job is the same one"
    assert own.ask("LOCK", AT, lock_info("b"), token=own.token("ann")).status == 200
    assert own.ask("UNLOCK", AT, lock_info("b"), headers=one).status == 403
    assert own.ask("UNLOCK", AT, lock_info("b"), headers=admin).status == 200


def test_every_route_answers_a_pipeline_as_it_does_a_user_but_makes_it_no_token(own: Site, provider: Provider) -> None:
    own.ask("POST", AT, state())
    trust(own, provider, role="admin")
    foreign, ours = basic("acme", provider.token()), basic("acme/ann", own.token())
    paths = own.ask("GET", "/openapi.json", token="").json["paths"]
    filled = {"tool": "terraform", "project": "shop", "stack": "app", "org": "acme"}
    seen = 0
    for path, verbs in paths.items():
        at = path
        for name, value in filled.items():
            at = at.replace(f"{{{name}}}", value)
        if "get" not in verbs or "{" in at or "security" not in verbs["get"]:
            continue
        seen += 1
        answers = [own.ask("GET", at, headers=given).status for given in (foreign, ours)]
        assert answers[0] == answers[1] != 401, at
    assert seen >= 6
    made = own.ask("POST", "/api/v1/tokens", b'{"name": "x"}', headers=foreign | {"Content-Type": "application/json"})
    assert (made.status, made.json["code"]) == (403, "NO_USER")
    with connect(own.database_url) as connection:
        (ann,) = tokens(connection, own.tenants["acme"])
    assert own.ask("DELETE", f"/api/v1/tokens/{ann.id}", headers=foreign).status == 204, "an administrator ends any"


def test_a_token_stands_nowhere_afterwards(own: Site, provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    trust(own, provider)
    taken, refused = provider.token(), provider.token(aud="other")
    me(own, taken)
    me(own, refused)
    own.ask("POST", AT, state(), headers=basic("acme", taken))
    kept = json.dumps([own.rows("SELECT * FROM audit.audit_logs"), own.rows("SELECT * FROM agent.trusts")], default=str)
    for token in (taken, refused):
        for part in token.split(".")[1:]:
            assert part not in kept
            assert part not in caplog.text
            assert part not in own.ask("GET", "/metrics", token="").body.decode()


@pytest.fixture
def service(own: Site, provider: Provider) -> Iterator[Connection]:
    """The one connection of a pool, as the service has it; two tenants trust one provider, one another as well."""
    trust(own, provider)
    trust(own, provider, "rival")
    trust(own, provider, "rival", issuer="https://other.example")
    pool = Pool(own.database_url, most=1, wait_s=5)
    pool.start()
    with pool.connection() as connection:
        yield connection
    pool.stop()


def test_the_service_sees_trusts_of_its_tenant_or_of_the_issuer_that_it_can_name(
    own: Site, provider: Provider, service: Connection
) -> None:
    def seen() -> list[Any]:
        return service.execute("SELECT tenant_id, issuer FROM agent.trusts ORDER BY created_at").fetchall()

    acme, rival = own.tenants["acme"], own.tenants["rival"]
    assert seen() == []
    with as_tenant(service, acme):
        assert seen() == [(acme, provider.issuer)]
    with knowing(service, issuer=provider.issuer):
        assert seen() == [(acme, provider.issuer), (rival, provider.issuer)]
    with knowing(service, issuer=""):
        assert seen() == []
    assert [each.tenant_id for each in trusts.in_issuer(service, provider.issuer, "rival")] == [rival]
    assert trusts.in_issuer(service, "https://other.example", "acme") == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE agent.trusts SET ended_at = NULL", "UPDATE agent.trusts SET role = 'admin'", "DELETE FROM agent.trusts",
        "INSERT INTO agent.trusts SELECT * FROM agent.trusts",
    ],
)  # fmt: skip
def test_the_service_makes_ends_and_changes_no_trust(own: Site, service: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_tenant(service, own.tenants["acme"]):
        service.execute(statement)


def test_whoever_owns_the_tables_is_held_by_the_policy_too(own: Site) -> None:
    (row,) = own.rows("SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 'agent.trusts'::regclass")
    assert row == {"relrowsecurity": True, "relforcerowsecurity": True}
