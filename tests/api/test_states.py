"""The backend, request by request: every row of the table of docs/platforms/terraform.md, over plain HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asset_ledger.api.answers import RefusedRequestError
from asset_ledger.api.bodies import LOCK_BYTES, export_of, state_of, told_length
from asset_ledger.api.plans import plan_of
from asset_ledger.api.service import Limits
from asset_ledger.domain.iac.documents import recognised
from asset_ledger.store.access.tokens import add_token
from asset_ledger.store.database import connect
from asset_ledger.store.iac.states import NewBody
from tests.api.site import Site, lock_info, md5, serving, state

AT = "/terraform/state/shop/app"
LOCK = "/terraform/lock/shop/app"
UNLOCK = "/terraform/unlock/shop/app"
A, B = lock_info("lock-a"), lock_info("lock-b")


def flags(site: Site) -> list[list[str]]:
    return [row["flags"] for row in site.versions()]


def test_what_was_written_is_read_byte_for_byte(site: Site) -> None:
    body = b' {"version":4,"serial":1,"lineage":"x","b":1,"a":1e400,"a":123456789012345678901234567890,"t":"\\u0000\\ud800"}\n'
    assert site.ask("POST", AT, body, headers={"Content-MD5": md5(body)}).status == 200
    found = site.ask("GET", AT)
    assert (found.status, found.body) == (200, body)
    assert found.headers["content-md5"] == md5(body)
    assert found.headers["content-type"] == "application/json"
    head = site.ask("HEAD", AT)
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(body)))


def test_a_state_that_nobody_wrote_is_not_found_and_reading_does_not_make_it(site: Site) -> None:
    assert site.ask("GET", AT).status == 404
    assert site.rows("SELECT * FROM iac.state_heads") == []
    assert site.ask("LOCK", AT, A).status == 200
    assert site.ask("GET", AT).status == 404


def test_a_free_lock_is_taken_and_the_same_id_may_ask_again(site: Site) -> None:
    for _ in range(2):
        answer = site.ask("LOCK", AT, A)
        assert (answer.status, answer.body) == (200, b"")
    (held,) = site.rows("SELECT lock_id, info, operation, who, actor FROM iac.state_locks")
    assert held == {"lock_id": "lock-a", "info": A, "operation": "OperationTypeApply", "who": "li@host", "actor": "ann"}


def test_who_comes_second_is_shown_what_the_holder_sent_byte_for_byte(site: Site) -> None:
    odd = b'{ "ID" : "lock-a",  "Who":"\\u00e9\\u0000", "more": 1 }'
    assert site.ask("LOCK", AT, odd).status == 200
    for path, method in ((AT, "LOCK"), (LOCK, "LOCK"), (LOCK, "POST"), (LOCK, "PUT")):
        answer = site.ask(method, path, B)
        assert (answer.status, answer.body) == (423, odd), (path, method)
    refused = site.ask("POST", f"{AT}?ID=lock-b", state())
    assert (refused.status, refused.body) == (423, odd)
    assert site.ask("POST", AT, state()).status == 423
    assert site.versions() == []


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"null", b"[]", b"{}", b'{"ID":""}', b'{"ID":7}', b'{"ID":"a\\u0000"}', b'{"ID":"\\ud800"}', b'{"ID":"' + b"x" * 301 + b'"}', b"[" * 50_000],
)  # fmt: skip
def test_a_body_that_describes_no_lock_is_refused(site: Site, body: bytes) -> None:
    assert site.ask("LOCK", AT, body).status == 400
    if body:
        assert site.ask("UNLOCK", AT, body).status == 400
    assert site.rows("SELECT * FROM iac.state_locks") == []


def test_the_holder_writes_and_versions_of_one_lock_are_one_run(site: Site) -> None:
    site.ask("LOCK", AT, A)
    for serial in (1, 2):
        answer = site.ask("POST", f"{AT}?ID=lock-a", state(serial))
        assert (answer.status, answer.body, answer.headers["x-state-version"]) == (200, b"", str(serial))
    found = [(v["version"], v["run_id"], v["operation"], v["flags"], v["actor"]) for v in site.versions()]
    assert found == [(n, "lock-a", "OperationTypeApply", [], "ann") for n in (1, 2)]


def test_the_same_bytes_again_are_no_new_version(site: Site) -> None:
    site.ask("LOCK", AT, A)
    for method in ("POST", "POST", "PUT"):
        assert site.ask(method, f"{AT}?ID=lock-a", state()).status == 200
    assert len(site.versions()) == 1


def test_a_write_without_a_lock_is_taken_and_flagged(site: Site) -> None:
    assert site.ask("POST", AT, state()).status == 200
    assert flags(site) == [["unlocked_write"]]


def test_what_was_done_under_a_lock_that_was_forced_open_is_kept_if_it_follows_the_head(site: Site) -> None:
    site.ask("POST", AT, state(5))
    site.ask("LOCK", AT, A)
    assert site.ask("UNLOCK", AT).status == 200
    for serial in (6, 7):
        assert site.ask("POST", f"{AT}?ID=lock-a", state(serial)).status == 200
    for other in (state(7, more=1), state(4), state(8, lineage="another")):
        answer = site.ask("POST", f"{AT}?ID=lock-a", other)
        assert answer.status == 409
        assert "terraform state push" in answer.json["message"]
    assert flags(site) == [["unlocked_write"], ["lock_lost"], ["lock_lost"]]


@pytest.mark.parametrize("began", ["with nothing", "with a version", "and wrote"])
@pytest.mark.parametrize("readable", [True, False])
def test_what_another_wrote_since_a_lock_was_forced_open_is_not_overwritten(
    site: Site, began: str, readable: bool
) -> None:
    def body(serial: int) -> bytes:
        return state(serial) if readable else b'{"encrypted_data":"%d","encryption_version":"v0"}' % serial

    if began == "with a version":
        site.ask("POST", AT, body(1))
    site.ask("LOCK", AT, A)
    if began == "and wrote":
        site.ask("POST", f"{AT}?ID=lock-a", body(1))
    site.ask("UNLOCK", AT)
    will = site.token("will", "writer")
    assert site.ask("LOCK", AT, B, token=will).status == 200
    assert site.ask("POST", f"{AT}?ID=lock-b", body(2), token=will).status == 200
    assert site.ask("POST", f"{AT}?ID=lock-a", body(3)).status == 423
    assert site.ask("UNLOCK", AT, B, token=will).status == 200
    for serial in (2, 3, 4) if readable else (3, 4):
        expected = 200 if serial == 2 else 409  # the very same bytes are there already
        assert site.ask("POST", f"{AT}?ID=lock-a", body(serial)).status == expected
    assert site.ask("GET", AT).body == body(2)


def test_a_lock_that_was_given_back_or_never_taken_writes_nothing_over_what_others_wrote(site: Site) -> None:
    site.ask("POST", AT, state(1))
    site.ask("LOCK", AT, A)
    site.ask("UNLOCK", AT, A)
    for lock_id in ("lock-a", "never"):
        assert site.ask("POST", f"{AT}?ID={lock_id}", state(2)).status == 409
    assert len(site.versions()) == 1


def test_a_lock_is_its_users_and_whoever_knows_its_id_may_nothing_with_it(site: Site) -> None:
    ann, will = site.token("ann", "admin"), site.token("will", "writer")
    assert site.ask("LOCK", AT, A, token=ann).status == 200
    shown = site.ask("LOCK", AT, B, token=will).body
    assert shown == A
    assert site.ask("LOCK", AT, shown, token=will).status == 423
    assert site.ask("POST", f"{AT}?ID=lock-a", state(), token=will).status == 423
    assert site.ask("UNLOCK", AT, shown, token=will).status == 403
    assert len(site.rows("SELECT * FROM iac.state_locks")) == 1
    assert site.versions() == []
    assert site.audited()[-1][:3] == ("acme/will", "security.force_unlock", "refused")
    # another token of the same user is the same holder
    with connect(site.database_url) as connection:
        (row,) = site.rows("SELECT id FROM agent.users WHERE username = 'ann'")
        other = add_token(connection, site.tenants["acme"], row["id"], "ci", "writer", expires_at=None)
    assert site.ask("LOCK", AT, A, token=other).status == 200
    assert site.ask("POST", f"{AT}?ID=lock-a", state(), token=other).status == 200
    assert site.ask("UNLOCK", AT, A, token=other).status == 200
    assert site.audited()[-1][:3] == ("acme/ann", "state.unlock", "success")


def test_an_administrator_who_gives_anothers_lock_back_forces_it_open_and_it_is_told(site: Site) -> None:
    site.ask("LOCK", AT, A, token=site.token("will", "writer"))
    assert site.ask("POST", f"{AT}?ID=lock-a", state()).status == 423, "first it is forced open"
    assert site.ask("UNLOCK", AT, A).status == 200
    assert site.rows("SELECT * FROM iac.state_locks") == []
    (told,) = site.rows("SELECT actor, details FROM audit.audit_logs WHERE event_type = 'security.force_unlock'")
    assert (told["actor"], told["details"]["holder"], told["details"]["lock_id"]) == ("acme/ann", "will", "lock-a")


def test_readers_are_not_shown_the_ids_of_locks(site: Site) -> None:
    site.ask("LOCK", AT, A)
    told = {role: site.ask("GET", "/api/v1/locks", token=site.token(role, role)).json for role in ("reader", "writer")}  # type: ignore[arg-type]
    assert [each["lock_id"] for (each,) in told.values()] == [None, "lock-a"]


def test_an_unlock_that_lost_its_body_forces_nothing_open(site: Site) -> None:
    site.ask("LOCK", AT, A)
    assert site.ask("UNLOCK", AT, headers={"Content-MD5": md5(A)}).status == 400
    assert len(site.rows("SELECT * FROM iac.state_locks")) == 1
    assert site.ask("UNLOCK", AT, headers={"Content-MD5": md5(b"")}).status == 200
    assert site.rows("SELECT * FROM iac.state_locks") == []


def test_what_terraform_was_forced_to_send_is_kept_and_flagged(site: Site) -> None:
    site.ask("LOCK", AT, A)
    for body in (state(5), state(3), state(3, more=1), state(9, lineage="another")):
        assert site.ask("POST", f"{AT}?ID=lock-a", body).status == 200
    assert flags(site) == [[], ["serial_back"], ["serial_again"], ["lineage_changed"]]


def test_a_lock_is_given_back_by_its_id_alone_and_may_be_given_back_twice(site: Site) -> None:
    site.ask("LOCK", AT, A)
    refused = site.ask("UNLOCK", AT, B)
    assert refused.status == 409
    assert "lock-a" in refused.json["message"]
    for path, method in ((AT, "UNLOCK"), (UNLOCK, "POST"), (UNLOCK, "DELETE"), (LOCK, "DELETE"), (LOCK, "UNLOCK")):
        site.ask("LOCK", AT, A)
        for _ in range(2):
            assert site.ask(method, path, A).status == 200, (path, method)
        assert site.rows("SELECT * FROM iac.state_locks") == [], (path, method)


def test_an_empty_unlock_is_an_administrators_and_says_whose_lock_it_took(site: Site) -> None:
    site.ask("LOCK", AT, A, token=site.token("will", "writer"))
    assert site.ask("UNLOCK", AT, token=site.token("will", "writer")).status == 403
    assert len(site.rows("SELECT * FROM iac.state_locks")) == 1
    empty = {"Transfer-Encoding": "chunked", "Content-MD5": md5(b"")}
    assert site.ask("UNLOCK", AT, b"0\r\n\r\n", headers=empty).status == 200
    assert site.rows("SELECT * FROM iac.state_locks") == []
    told = site.rows(
        "SELECT actor, event_result, details FROM audit.audit_logs WHERE event_type = 'security.force_unlock' ORDER BY id"
    )
    assert [(row["actor"], row["event_result"]) for row in told] == [("acme/will", "refused"), ("acme/ann", "success")]
    assert told[1]["details"] == {
        "lock_id": "lock-a",
        "who": "li@host",
        "operation": "OperationTypeApply",
        "holder": "will",
        "version": 0,
    }


PLAN = b'{"format_version":"1.2","planned_values":{},'
DEEP = b'{"version":4,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
LARGE = b'{"version":4,"pad":"' + b"x" * 300_000 + b'"%s}'


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"{}", b"[]", b"7", b'"x"', b"<html>", b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b'{"version":5}', b'{"version":0}',
        b'{"version":true}', b'{"version":"4"}', b'{"version":4.0}', b'{"version":4', b'{"version":4}x', b'{"version":4,}',
        b'{"version":4,"x":NaN}', b'{"version":4,"x":Infinity}', b'{"version":4,"x":1e99999999999999999999}', DEEP, b'{"version":4,"x":"\x00"}', b'{"version":3,"deployment":{}}',
        b'{"format_version":"1.0","values":{}}', LARGE % b",", LARGE % b',"x":[1', LARGE % b',"x":nan', LARGE % b'}', LARGE % b',"version":5',
        LARGE % b',"deployment":{"manifest":{}}', LARGE % b',x:1', LARGE % b',"x" 1', LARGE % b',"x":[1 2]', LARGE % b',"x":{"a":1 "b":2}',
        LARGE % (b',"x":' + b"[" * 100_000), b'{"version":4,"x":' + b"1" * 5000 + b"}", LARGE % (b',"x":' + b"1" * 5000),
    ],
    ids=lambda body: repr(body[:12] + b"~" + body[-12:]),
)  # fmt: skip
def test_what_is_no_state_is_refused_and_never_an_error_of_ours(site: Site, body: bytes) -> None:
    answer = site.ask("POST", AT, body)
    assert answer.status == 400, answer.body
    assert answer.json["code"] == "NO_STATE_DOCUMENT"
    assert site.rows("SELECT * FROM iac.state_heads") == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"version":1}', "terraform-old"),
        (b'{"version":4,"x":' + b"1" * 4000 + b"}", "terraform"),
        (b'{"version":3,"serial":1,"modules":[]}', "terraform"),
        (b'{"version":4,"lineage":"a\\u0000\\ud800","terraform_version":"\\u0000","serial":1}', "terraform"),
        (b'{"version":4,"serial":99999999999999999999999}', "terraform"),
        (b'{"version":4,"serial":-1,"resources":7}', "terraform"),
        (b'{"meta":{},"encrypted_data":"AAAA","encryption_version":"v0"}', "opentofu-encrypted"),
        (LARGE % b',"encryption_version":"v0"', "opentofu-encrypted"),
        (LARGE % b',"serial":7,"resources":[{"instances":[{"a":[1.5,{"b":null}]}, {}]} , 1]', "terraform"),
    ],
    ids=lambda value: repr(value[-20:]),
)
def test_what_a_client_may_send_is_kept_and_served_whatever_is_known_of_it(site: Site, body: bytes, kind: str) -> None:
    assert site.ask("POST", AT, body).status == 200
    assert site.ask("GET", AT).body == body
    (kept,) = site.versions()
    assert kept["kind"] == kind
    if b'"serial":7' in body:
        assert kept["serial"] == 7


def test_a_body_that_is_not_what_its_digest_was_made_of_is_refused(site: Site) -> None:
    assert site.ask("POST", AT, state(), headers={"Content-MD5": md5(b"x")}).status == 400
    assert site.ask("LOCK", AT, A, headers={"Content-MD5": md5(b"x")}).status == 400
    assert site.rows("SELECT * FROM iac.state_heads") == []


def test_no_state_is_deleted(site: Site) -> None:
    site.ask("POST", AT, state())
    answer = site.ask("DELETE", AT)
    assert answer.status == 405
    assert "history stays" in answer.json["message"]
    assert site.ask("GET", AT).status == 200


@pytest.mark.parametrize("name", ["a%2Fb", "..", "-x", "x" * 101, "a%00", "%F0%9F%98%80", "a%20b", "a;b"])
def test_a_name_that_is_none_is_refused(site: Site, name: str) -> None:
    for method, body in (("GET", None), ("POST", state()), ("LOCK", A), ("UNLOCK", A), ("UNLOCK", None)):
        assert site.ask(method, f"/terraform/state/{name}/app", body).status in (400, 404), method
        assert site.ask(method, f"/terraform/state/shop/{name}", body).status in (400, 404), method
    assert site.rows("SELECT * FROM iac.state_heads") == []


def test_nothing_ever_redirects(site: Site) -> None:
    paths = [AT, LOCK, UNLOCK, "/terraform", "/terraform/state", "/terraform/state/shop", "/api/v1/states", "/api/v1/login", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "//terraform//state", "/"]  # fmt: skip
    for path in paths:
        for end in ("", "/", "?ID=x", "/?ID=x", "//"):
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "LOCK", "UNLOCK"):
                answer = site.ask(method, path + end, b"{}" if method in ("POST", "PUT", "LOCK") else None)
                assert not 300 <= answer.status < 400, (method, path, end)
                assert answer.status < 500, (method, path, end, answer.body)


@pytest.fixture
def small(database_url: str) -> Iterator[Site]:
    with serving(database_url, limits=Limits(body_bytes=10_000)) as made:
        yield made


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(small: Site) -> None:
    fits, too_large = state(pad="x" * 9000), state(pad="x" * 12_000)
    assert small.ask("POST", AT, fits).status == 200
    assert small.ask("POST", AT, too_large).status == 413
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(too_large), too_large)
    assert small.ask("POST", AT, chunked, headers={"Transfer-Encoding": "chunked"}).status == 413
    assert small.ask("LOCK", AT, json.dumps({"ID": "x", "Info": "x" * 70_000}).encode()).status == 413
    assert [row[2:] for row in small.audited()] == [("success", f"POST {AT}"), ("refused", f"POST {AT}")] + [
        ("refused", f"{method} {AT}") for method in ("POST", "LOCK")
    ]


def begun(site: Site, path: str, length: str, token: str | None = None) -> int:
    """Return what is answered to a request of which nothing but the head was sent."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    connection.putrequest("POST", path)
    if token:
        connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_length_beyond_all_measure_is_refused_before_it_is_read(small: Site) -> None:
    for length in (str(10**15), "9" * 18, "9" * 19, "0" * 30 + str(10**15)):
        assert begun(small, AT, length, small.token()) == 413, length


@pytest.mark.parametrize("zeros", [0, 1, 20, 25])
def test_of_a_stranger_no_large_body_is_waited_for_however_its_length_is_written(site: Site, zeros: int) -> None:
    for path in (AT, LOCK):
        assert begun(site, path, "0" * zeros + str(LOCK_BYTES + 1)) == 401


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ("", None), ("x", None), ("-1", None), ("1.0", None), ("1 ", None), ("\xb2", None), ("\u0661", None), ("0", 0), ("7", 7), ("007", 7),
        ("0" * 4400, 0), ("0" * 4400 + "5", 5), ("9" * 18, 10**18 - 1),
    ],
)  # fmt: skip
def test_a_length_is_told_however_many_digits_it_has(header: str, length: int | None) -> None:
    assert told_length(header) == length


def test_a_length_of_more_digits_than_python_reads_is_more_than_anything() -> None:
    assert (told_length("9" * 5000) or 0) > 10**18


def test_a_length_of_thousands_of_zeros_is_no_error_of_ours(site: Site) -> None:
    for path in (AT, LOCK, "/api/v1/login", "/terraform/plans/shop/app", "/api/stacks/acme/shop/app/import"):
        assert begun(site, path, "0" * 4400, site.token()) < 500, path


@pytest.mark.parametrize(
    "more",
    [
        b'"x":' + b"[" * 300 + b"]" * 300, b'"x":' + b'{"a":' * 300 + b"0" + b"}" * 300, b'"x":' + b"[" * 253 + b"]" * 253,
        b'"x":' + b"[" * 254 + b"]" * 254, b'"x":1e99999999999999999999', b'"x":1e400', b'"x":' + b"1" * 5000, b'"x":"\\ud800"',
        b'"x":[NaN]', b'"serial":5', b'"version":3', b'"version":4.0', b'"deployment":{}', b'"features":[1]', b'"x":[' + b"[]," * 50 + b"0]",
        b'"encrypted_data":"x"', b'"x":"\x01"',
    ],
)  # fmt: skip
def test_what_is_refused_small_is_refused_large_and_what_is_taken_is_taken_alike(more: bytes) -> None:
    def taken(reading: Callable[[bytes], object], body: bytes) -> Any:
        try:
            found = reading(body)
        except RefusedRequestError as error:
            return error.status
        return (found.kind, found.readable, found.serial, found.lineage) if isinstance(found, NewBody) else "a plan"

    for reading, start in (
        (state_of, b'{"version":4,'),
        (export_of, b'{"version":3,"deployment":{},'),
        (plan_of, PLAN),
    ):
        small, large = start + more + b"}", start + b'"pad":"' + b"x" * 300_000 + b'",' + more + b"}"
        assert taken(reading, small) == taken(reading, large)
    # and the reader takes what was taken
    if isinstance(taken(state_of, b'{"version":4,' + more + b"}"), tuple):
        assert recognised(b'{"version":4,' + more + b"}")
