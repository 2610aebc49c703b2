"""Pulumi's stacks over HTTP: in and out byte for byte, with the versions, locks and audit that Terraform's states have."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request

from asset_ledger.api.answers import RefusedRequestError
from asset_ledger.api.bodies import unpacked
from asset_ledger.api.service import Limits
from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.store.access.people import tenants
from asset_ledger.store.database import connect
from asset_ledger.store.iac.states import Name
from asset_ledger.store.iac.writing import add_file
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Answer, Site, lock_info, md5, serving, state

AT = "/api/stacks/acme/shop/dev"
A, B = lock_info("lock-a"), lock_info("lock-b")
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:planted-cipher"}
STACK = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"


def urn(name: str) -> str:
    return f"urn:pulumi:dev::shop::aws:ec2/instance:Instance::{name}"


def resource(name: str, outputs: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    told = {"urn": urn(name), "type": "aws:ec2/instance:Instance", "custom": True, "id": f"i-{name}", "parent": STACK}
    return {**told, "inputs": {}, "outputs": outputs or {}, **more}


def deployment(*resources: Any, version: str = "v3.142.0") -> dict[str, Any]:
    manifest = {"time": "2026-01-01T00:00:00Z", "magic": "m", "version": version}
    providers = {"type": "passphrase", "state": {"salt": "v1:planted-salt"}}
    return {"manifest": manifest, "secrets_providers": providers, "resources": list(resources)}


def export(*resources: Any, **more: Any) -> bytes:
    """What `pulumi stack export` prints."""
    return json.dumps({"version": 3, "deployment": deployment(*resources), **more}, indent=4).encode() + b"\n"


def imported(site: Site, body: bytes, lock: str = "", at: str = AT, **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return site.ask("POST", f"{at}/import{f'?ID={lock}' if lock else ''}", body, headers=sent)


def versions(site: Site) -> list[dict[str, Any]]:
    return site.versions("dev")


@pytest.fixture(autouse=True)
def tenant(site: Site) -> None:
    site.token()


@pytest.fixture(scope="module")
def narrow(template_database: str) -> Iterator[Site]:
    """A service that takes bodies of 100,000 bytes."""
    from tests.postgres import create_database, database_name, drop_database

    url = create_database(template_database, template=database_name(template_database))
    with serving(url, limits=Limits(body_bytes=100_000)) as made:
        made.token()
        yield made
    drop_database(url)


def test_what_was_imported_is_exported_byte_for_byte_secrets_and_all(site: Site) -> None:
    body = b' {"version": 3,"deployment": {"b":1,"a":12345678901234567890123,"a":1e400,"t":"\\u0000\\ud800",'
    body += b'"resources":[' + json.dumps(resource("a", {"password": SECRET})).encode() + b"]}}\n"
    answer = imported(site, body)
    assert (answer.status, answer.json) == (200, {"updateId": "1"})
    assert answer.headers["x-state-version"] == "1"
    found = site.ask("GET", f"{AT}/export")
    assert (found.status, found.body) == (200, body)
    assert (found.headers["content-type"], found.headers["x-state-version"]) == ("application/json", "1")


def test_an_import_is_done_as_soon_as_it_is_answered(site: Site) -> None:
    number = imported(site, export()).json["updateId"]
    asked = site.ask("GET", f"{AT}/update/{number}?continuationToken=x")
    assert (asked.status, asked.json) == (200, {"status": "succeeded", "events": []})
    assert site.ask("GET", f"{AT}/update/2").status == 404
    assert site.ask("GET", f"{AT}/update/none").status == 422


def test_every_version_is_exported_by_its_number(site: Site) -> None:
    bodies = [export(resource("a", {"n": number})) for number in range(3)]
    for body in bodies:
        assert imported(site, body).status == 200
    assert [site.ask("GET", f"{AT}/export/{number}").body for number in (1, 2, 3)] == bodies
    for number in ("4", "9223372036854775806"):
        missing = site.ask("GET", f"{AT}/export/{number}")
        assert (missing.status, missing.json["code"]) == (404, "NO_VERSION")
    for number in ("0", "-1", "x", "9223372036854775807"):
        assert site.ask("GET", f"{AT}/export/{number}").status == 422


def test_a_stack_that_nothing_was_deployed_to_is_empty_and_one_that_nobody_named_is_none(site: Site) -> None:
    for path in ("export", "export/1", "update/1"):
        assert site.ask("GET", f"{AT}/{path}").status == 404
    assert site.rows("SELECT * FROM iac.state_heads") == [], "reading makes nothing"
    assert site.ask("POST", f"{AT}/lock", A).status == 200
    found = site.ask("GET", f"{AT}/export")
    assert (found.json, found.headers["x-state-version"]) == ({"version": 3, "deployment": {}}, "0")
    assert site.ask("GET", f"{AT}/export/1").status == 404


def test_the_same_bytes_again_are_no_new_version(site: Site) -> None:
    for body in (export(), export(), export(resource("a"))):
        assert imported(site, body).status == 200
    assert [row["flags"] for row in versions(site)] == [["unlocked_write"]] * 2


def test_packed_or_not_the_same_stack_is_the_same(site: Site) -> None:
    body = export(resource("a"))
    for packed, coding in ((body, "identity"), (gzip.compress(body), "gzip"), (gzip.compress(body), "GZip")):
        answer = imported(site, packed, Content_Encoding=coding, Content_MD5=md5(packed))
        assert answer.json == {"updateId": "1"}
    assert site.ask("GET", f"{AT}/export").body == body


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (export(), "gzip", 400),
        (gzip.compress(export())[:-5], "gzip", 400),
        (gzip.compress(export()) + gzip.compress(export()), "gzip", 400),
        (gzip.compress(export()) + b"more", "gzip", 400),
        (zlib.compress(export()), "gzip", 400),
        (b"", "gzip", 400),
        (zlib.compress(export()), "deflate", 415),
        (gzip.compress(gzip.compress(export())), "gzip, gzip", 415),
        (export(), "br", 415),
    ],
)
def test_what_is_not_packed_as_it_says_is_refused(site: Site, body: bytes, coding: str, status: int) -> None:
    assert imported(site, body, Content_Encoding=coding).status == status
    assert site.rows("SELECT * FROM iac.state_heads") == []


def test_no_more_is_unpacked_than_a_state_may_have(narrow: Site) -> None:
    bomb = gzip.compress(b'{"version":3,"deployment":{"pad":"' + b"x" * 50_000_000 + b'"}}')
    assert len(bomb) < 100_000
    answer = imported(narrow, bomb, Content_Encoding="gzip")
    assert (answer.status, answer.json["code"]) == (413, "BODY_TOO_LARGE")
    for size, status in ((99_000, 200), (100_001, 413), (900_000, 413)):
        body = b'{"version":3,"deployment":{}, "pad":"%s"}' % (b"x" * (size - 38))
        assert imported(narrow, body).status == status, size
        assert imported(narrow, gzip.compress(body), Content_Encoding="gzip").status == status, size


def test_of_what_is_too_large_no_more_is_unpacked_than_shows_it() -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    request = Request({"type": "http", "headers": [(b"content-encoding", b"gzip")]})
    tracemalloc.start()
    try:
        with pytest.raises(RefusedRequestError, match="more than 100000 bytes"):
            unpacked(request, bomb, 100_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


PAD = b'"pad":"%s"' % (b"x" * 300_000)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "JSON"),
        (b"<html>", "JSON"),
        (b"null", "object"),
        (b"{}", "version"),
        (b'{"version":3}', "Terraform"),
        (b'{"deployment":{}}', "version"),
        (b'{"version":0,"deployment":{}}', "version"),
        (b'{"version":"3","deployment":{}}', "version"),
        (b'{"version":3,"deployment":[]}', "deployment"),
        (b'{"version":3,"deployment":"%s"}' % (b"x" * 300_000), "deployment"),
        (b'{"version":3,"checkpoint":{"stack":"dev","latest":{}}}', "asset-ledger state import"),
        (b'{"version":3,"checkpoint":{"latest":{}},%s}' % PAD, "asset-ledger state import"),
        (b'{"stack":"dev","latest":{}}', "asset-ledger state import"),
        (state(), "Terraform"),
        (b'{"version":3,"deployment":{%s},}' % PAD, "JSON"),
        (b'{"version":3,"deployment":{%s' % PAD, "JSON"),
        (b'{"version":3,"deployment":{"manifest":{]},%s}}' % PAD, "JSON"),
        (b'{"version":3,"deployment":' + b"[" * 100_000, "nested|JSON|recursion"),
    ],
)
def test_what_is_no_exported_stack_is_refused_and_told_why(site: Site, body: bytes, why: str) -> None:
    answer = imported(site, body)
    assert (answer.status, answer.json["code"]) == (400, "NO_STATE_DOCUMENT"), answer.body
    assert any(word in answer.json["message"] for word in why.split("|")), answer.json
    assert site.rows("SELECT * FROM iac.state_heads") == []


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("more", "kind", "flags"),
    [
        ({}, "pulumi", ["unlocked_write"]),
        ({"version": 1}, "pulumi", ["unlocked_write"]),
        ({"version": 4, "features": []}, "pulumi", ["unlocked_write"]),
        ({"version": 4, "features": ["of tomorrow"]}, "pulumi-unread", ["unlocked_write", "opaque"]),
        ({"version": 5}, "pulumi-unread", ["unlocked_write", "opaque"]),
    ],
)
def test_what_a_stack_is_is_known_however_large_it_is(
    site: Site, more: dict[str, Any], kind: str, flags: list[str], large: bool
) -> None:
    body = export(resource("a", {"pad": "x" * 300_000 if large else ""}), **more)
    assert imported(site, body).status == 200
    (kept,) = versions(site)
    assert (kept["kind"], kept["flags"], kept["tool_version"]) == (kind, flags, "v3.142.0")
    assert site.ask("GET", f"{AT}/export").body == body


@pytest.mark.parametrize(
    "document",
    [
        {"version": 3, "checkpoint": {"stack": "dev", "config": {"a": 1}, "latest": deployment(resource("a"))}},
        {"version": 2, "checkpoint": {"stack": "dev", "latest": deployment(resource("a"))}},
        {"version": 4, "features": ["x"], "checkpoint": {"stack": "dev", "latest": deployment(resource("a"))}},
        {"version": 3, "checkpoint": {"stack": "dev"}},
        {"stack": "dev", "latest": deployment(resource("a"))},
        {"stack": "dev", "latest": None},
    ],
)
def test_a_checkpoint_that_a_person_kept_is_exported_as_a_stack(site: Site, document: dict[str, Any]) -> None:
    body = json.dumps(document, indent=1).encode()
    with connect(site.database_url) as connection, as_tenant(connection, site.tenants["acme"]):
        add_file(connection, site.tenants["acme"], Name("pulumi", "shop", "dev"), body, site.ring, "ann")
    found = site.ask("GET", f"{AT}/export")
    checkpoint = document.get("checkpoint", document)
    expected = {"version": document.get("version", 1), "deployment": checkpoint.get("latest")}
    assert found.json == expected | ({"features": ["x"]} if "features" in document else {})
    if checkpoint.get("latest"):
        start = body.index(b"{", body.index(b'"latest"'))
        assert found.body.partition(b'"deployment":')[2][:-1] in body[start:], "not a byte of it is another"
    assert imported(site, found.body).status == 200, "what is exported can be imported"


def test_locks_are_those_of_terraform(site: Site) -> None:
    will = site.token("will", "writer")
    for _ in range(2):
        assert site.ask("POST", f"{AT}/lock", A).status == 200
    for answer in (
        site.ask("POST", f"{AT}/lock", B, token=will),
        site.ask("POST", f"{AT}/import", export(), token=will),
        site.ask("POST", f"{AT}/import?ID=lock-a", export(), token=will),
        imported(site, export()),
    ):
        assert (answer.status, answer.body) == (423, A)
    assert versions(site) == []
    assert site.ask("DELETE", f"{AT}/lock", B, token=will).status == 409
    assert site.ask("DELETE", f"{AT}/lock", A, token=will).status == 403, "the id alone is nobody's"
    assert site.ask("DELETE", f"{AT}/lock", token=will).status == 403
    assert imported(site, export(), "lock-a").status == 200
    for _ in range(2):
        assert site.ask("DELETE", f"{AT}/lock", A).status == 200
    (kept,) = versions(site)
    assert (kept["run_id"], kept["operation"], kept["flags"]) == ("lock-a", "OperationTypeApply", [])
    assert site.ask("POST", f"{AT}/lock", B, token=will).status == 200
    assert site.ask("DELETE", f"{AT}/lock").status == 200, "an administrator forces it open"
    assert imported(site, export(resource("a")), "never-taken").status == 409


@pytest.mark.parametrize("body", [b"x", b"{}", b'{"ID":7}', b'{"ID":"a\\u0000"}'])
def test_a_body_that_describes_no_lock_is_refused(site: Site, body: bytes) -> None:
    assert site.ask("POST", f"{AT}/lock", body).status == 400
    assert site.ask("DELETE", f"{AT}/lock", body).status == 400
    assert site.rows("SELECT * FROM iac.state_locks") == []


def test_a_stack_and_a_state_of_one_name_are_two(site: Site) -> None:
    assert imported(site, export(resource("a"))).status == 200
    assert site.ask("GET", "/terraform/state/shop/dev").status == 404
    assert site.ask("POST", "/terraform/state/shop/dev", state()).status == 200
    assert site.ask("POST", "/terraform/state/shop/dev", export()).status == 400
    assert site.ask("GET", f"{AT}/export").json["version"] == 3
    assert {row["tool"] for row in site.ask("GET", "/api/v1/states").json} == {"pulumi", "terraform"}


ROUTES = [
    ("GET", "export", None),
    ("GET", "export/1", None),
    ("POST", "import", export(resource("b"))),
    ("GET", "update/1", None),
    ("POST", "lock", B),
    ("DELETE", "lock", A),
    ("DELETE", "lock", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_of_another_tenants_stacks_nothing_is_said_or_done(
    site: Site, method: str, path: str, body: bytes | None
) -> None:
    rival = site.token("rita", tenant="rival")
    imported(site, export(resource("a")))
    site.ask("POST", f"{AT}/lock", A)
    before = site.rows("SELECT * FROM iac.state_heads"), site.rows("SELECT * FROM iac.state_locks")
    answers = [site.ask(method, f"/api/stacks/{org}/shop/dev/{path}", body, token=rival) for org in ("acme", "nobody")]
    assert {each.status for each in answers} == {404}
    assert answers[0].body == answers[1].body, "whether there is one or not"
    assert before == (site.rows("SELECT * FROM iac.state_heads"), site.rows("SELECT * FROM iac.state_locks"))
    assert site.audited()[-1][0] == "rival/rita"
    assert site.audited()[-1][2] == "refused"


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_whoever_has_no_token_is_refused_before_anything_is_said(
    site: Site, method: str, path: str, body: bytes | None
) -> None:
    assert site.ask(method, f"{AT}/{path}", body, token="").status == 401
    assert site.ask(method, f"{AT}/{path}", body, headers={"Authorization": "token al_wrong"}).status == 401


def test_the_token_is_taken_as_pulumi_sends_it_and_readers_only_read(site: Site) -> None:
    reader = {"Authorization": f"token {site.token('rea', 'reader')}", "Accept": "application/vnd.pulumi+8"}
    imported(site, export(resource("a")))
    assert site.ask("GET", f"{AT}/export", headers=reader).status == 200
    for method, path, body in ROUTES:
        if method != "GET":
            answer = site.ask(method, f"{AT}/{path}", body, headers=reader)
            assert (answer.status, answer.json["code"]) == (403, "ROLE_MISSING"), path


def test_each_request_is_told_once_and_no_body_with_it(site: Site) -> None:
    imported(site, export(resource("a", {"password": SECRET})))
    for method, path, body in ROUTES:
        site.ask(method, f"{AT}/{path}", body)
    told = [(what, result) for _, what, result, _ in site.audited()]
    assert told == [
        ("state.write", "success"),
        ("state.read", "success"),
        ("state.read", "success"),
        ("state.write", "success"),
        ("states.read", "success"),
        ("state.lock", "success"),
        ("state.unlock", "refused"),
        ("security.force_unlock", "success"),
    ]
    assert "planted" not in str(site.rows("SELECT details FROM audit.audit_logs"))


@pytest.mark.parametrize("name", ["a%2Fb", "..", "-x", "x" * 101, "a%00", "%F0%9F%98%80", "a%20b"])
def test_a_name_that_is_none_is_refused(site: Site, name: str) -> None:
    for method, path, body in ROUTES:
        for at in (f"/api/stacks/acme/{name}/dev", f"/api/stacks/acme/shop/{name}", f"/api/stacks/{name}/shop/dev"):
            assert site.ask(method, f"{at}/{path}", body).status in (400, 404, 422), (method, at, path)
    assert site.rows("SELECT * FROM iac.state_heads") == []


def test_an_imported_stack_becomes_events_and_its_secrets_are_nowhere_beside_it(site: Site) -> None:
    imported(site, export(resource("a", {"password": SECRET, "size": 1}), resource("b", dependencies=[urn("a")])))
    again = {**SECRET, "ciphertext": "v1:planted-again"}
    imported(site, export(resource("a", {"password": again, "size": 2}), resource("b", dependencies=[urn("a")])))
    with connect(site.database_url) as connection:
        assert [each.said for each in parse_waiting(connection, site.ring)] == [None, None]
        assert len(tenants(connection)) == 1
    events = site.ask("GET", "/api/v1/states/pulumi/shop/dev/events").json
    told = [(each["version"], each["action"], each["addr"].rpartition("::")[2]) for each in events]
    assert told == [(1, "create", "a"), (1, "create", "b"), (2, "update", "a")]
    assert events[2]["patch"] == [{"op": "replace", "path": "/size", "value": 2}]
    (edge,) = site.rows("SELECT kind FROM iac.dependency_edges")
    assert edge["kind"] == "config"
    for table in ("resource_events", "resources_current", "dependency_edges", "state_heads"):
        assert "planted" not in str(site.rows(f"SELECT * FROM iac.{table}")), table
    assert all(b"planted" not in bytes(row["body"]) for row in versions(site)), "the body is encrypted"


def test_the_paths_are_in_the_outline_of_the_api(site: Site) -> None:
    paths = site.ask("GET", "/openapi.json").json["paths"]
    at = "/api/stacks/{org}/{project}/{stack}"
    assert {path[len(at) :]: sorted(paths[path]) for path in paths if path.startswith(at)} == {
        "/export": ["get"],
        "/export/{version}": ["get"],
        "/import": ["post"],
        "/update/{update_id}": ["get"],
        "/lock": ["delete", "post"],
    }
