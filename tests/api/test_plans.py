"""Plans over HTTP: sent, kept once, listed with what came of them; and what a plan holds is in no answer and no row."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from typing import Any
from uuid import UUID, uuid4

import pytest

from asset_ledger.api.service import Limits
from asset_ledger.pipeline.plans import CaughtUp, catch_up
from asset_ledger.pipeline.states import parse_waiting
from asset_ledger.store.database import connect
from tests.api.site import Site, lock_info, md5, serving, state
from tests.api.test_keeping import dumped, resource

AT = "/terraform/plans/shop/app"
STATE = "/terraform/state/shop/app"


def plan(*changes: dict[str, Any], **more: Any) -> bytes:
    told = {"format_version": "1.2", "terraform_version": "1.15.5", "planned_values": {}, "errored": False}
    return json.dumps({**told, "resource_changes": changes, **more}, indent=1).encode()


def change(actions: list[str], name: str, before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "address": f"terraform_data.{name}", "mode": "managed", "type": "terraform_data", "name": name,
        "provider_name": "terraform.io/builtin/terraform", **more,
        "change": {"actions": actions, "before": before, "after": after, "after_unknown": {"id": True}},
    }  # fmt: skip


def read(site: Site) -> CaughtUp:
    with connect(site.database_url) as connection:
        parse_waiting(connection, site.ring)
        return catch_up(connection, site.ring)


def sent(site: Site, body: bytes, **more: Any) -> str:
    answer = site.ask("POST", AT, body, **more)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


CREATE = plan(change(["create"], "a", after={"input": "one"}), change(["create"], "b", after={"input": "two"}))


def test_a_plan_is_sent_before_its_first_apply_and_told_after_it(site: Site) -> None:
    answer = site.ask("POST", AT, CREATE, headers={"Content-MD5": md5(CREATE), "Content-Type": "application/json"})
    assert answer.status == 201
    made = answer.json
    assert made == {"id": str(UUID(made["id"])), "base_version": 0, "again": False}
    assert site.ask("GET", STATE).status == 404, "no state was made by it"
    (waiting,) = site.ask("GET", "/api/v1/states/terraform/shop/app/plans").json
    assert (waiting["parsed_at"], waiting["errored"], waiting["predicted"]) == (None, None, 0)

    site.ask("LOCK", STATE, lock_info("run"))
    site.ask("POST", f"{STATE}?ID=run", state(resources=[resource("a", input="one"), resource("c", password="x")]))
    read(site)
    (told,) = site.ask("GET", "/api/v1/states/terraform/shop/app/plans").json
    assert told["run_is_open"] is True
    site.ask("UNLOCK", STATE, lock_info("run"))
    whole = site.ask("GET", f"/api/v1/plans/{made['id']}").json
    assert {**told, "run_is_open": False} == {
        k: v for k, v in whole.items() if k not in ("events", "unpredicted", "more")
    }
    assert (whole["followed_by"], whole["followed_run"], whole["errored"]) == (1, "run", False)
    assert (whole["predicted"], whole["as_predicted"], whole["not_done"], whole["actor"]) == (2, 1, 1, "ann")
    first, second = whole["events"]
    assert (first["addr"], first["outcome"], first["event_version"], first["event_sequence"]) == ("terraform_data.a", "as_predicted", 1, 1)  # fmt: skip
    assert (second["addr"], second["outcome"], second["event_version"]) == ("terraform_data.b", "not_done", None)
    assert [(e["action"], e["addr"]) for e in whole["unpredicted"]] == [("create", "terraform_data.c")]
    assert site.ask("GET", f"/api/v1/plans/{made['id']}?above=1").json["events"] == [second]
    assert site.ask("GET", f"/api/v1/plans/{made['id']}?limit=1").json["events"] == [first]


def test_what_a_plan_predicted_and_what_it_did_not_are_both_told_piece_by_piece_to_their_ends(site: Site) -> None:
    made = sent(site, CREATE)
    site.ask("LOCK", STATE, lock_info("run"))
    for serial, names in ((1, "acd"), (2, "acdefg")):
        found = [resource(name, input="one") for name in names]
        assert site.ask("POST", f"{STATE}?ID=run", state(serial, resources=found)).status == 200
    read(site)
    whole = site.ask("GET", f"/api/v1/plans/{made}").json
    assert [(each["version"], each["addr"][-1]) for each in whole["unpredicted"]] == [
        (1, "c"),
        (1, "d"),
        (2, "e"),
        (2, "f"),
        (2, "g"),
    ]
    assert whole["more"] is False
    assert site.ask("GET", f"/api/v1/plans/{made}?limit=5").json == whole
    for limit in (1, 2, 4):
        events: list[Any] = []
        others: list[Any] = []
        above = (0, 0, 0)
        more = True
        while more:
            query = "above={}&above_version={}&above_sequence={}".format(*above)
            piece = site.ask("GET", f"/api/v1/plans/{made}?{query}&limit={limit}").json
            events += piece["events"]
            others += piece["unpredicted"]
            above = (events[-1]["sequence"], others[-1]["version"], others[-1]["sequence"])
            more = piece["more"]
        assert (events, others) == (whole["events"], whole["unpredicted"])
    for wrong in ("above_version=-1", "above_sequence=x", f"above_version={1 << 63}", f"above_sequence={1 << 31}"):
        assert site.ask("GET", f"/api/v1/plans/{made}?{wrong}").status == 422


def test_the_same_plan_again_is_the_same_and_its_version_may_be_told(site: Site) -> None:
    for serial in (1, 2, 3):
        site.ask("POST", STATE, state(serial))
    body = plan()
    assert site.ask("POST", AT, body, headers={"X-State-Version": "2"}).json["base_version"] == 2
    again = site.ask("POST", AT, body)
    assert (again.status, again.json["again"], again.json["base_version"]) == (200, True, 2)
    assert site.ask("POST", AT, plan(timestamp="later")).json["base_version"] == 3
    elsewhere = site.ask("POST", "/terraform/plans/shop/other", body)
    assert (elsewhere.status, elsewhere.json["base_version"]) == (201, 0)
    assert [row["details"] for row in site.rows("SELECT details FROM audit.audit_logs WHERE event_type = 'plan.write' ORDER BY id LIMIT 2")] == [
        {"plan": again.json["id"], "base_version": 2, "again": False},
        {"plan": again.json["id"], "base_version": 2, "again": True},
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["4", "-1", "x", str(1 << 63), ""])
def test_a_version_that_is_none_is_refused(site: Site, version: str) -> None:
    site.ask("POST", STATE, state())
    answer = site.ask("POST", AT, plan(), headers={"X-State-Version": version})
    assert answer.status in (400, 422)
    assert site.rows("SELECT * FROM iac.plans") == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 5000, "nested deeper"),
        (b'{"format_version":"1.2","planned_values":' + b"[" * 300 + b"]" * 300 + b"}", "nested deeper"),
        (b'{"format_version": "1.2", "n": %s}' % (b"9" * 5000), "not JSON"),
        (b'{"format_version": "1.2", "values": {}}', "of a state"),
        (b'{"format_version": "2.0", "planned_values": {}}', "plans of format 1"),
        (b'{"format_version": "1.2"}', "neither planned_values nor"),
        (state(), "format_version"),
    ],
)
def test_what_is_no_plan_is_refused_with_why(site: Site, body: bytes, why: str) -> None:
    answer = site.ask("POST", AT, body)
    assert answer.status == 400
    assert answer.json["code"] == "NO_PLAN_DOCUMENT"
    assert why in answer.json["message"]
    assert site.rows("SELECT * FROM iac.state_heads") == []
    assert site.audited()[-1][1:3] == ("plan.write", "refused")


def test_a_packed_plan_is_the_same_plan_and_a_damaged_one_is_refused(site: Site) -> None:
    packed = gzip.compress(CREATE)
    made = sent(site, packed, headers={"Content-Encoding": "gzip", "Content-MD5": md5(packed)})
    assert site.ask("POST", AT, CREATE).json["id"] == made
    assert site.ask("POST", AT, CREATE, headers={"Content-MD5": md5(b"x")}).status == 400
    assert site.ask("POST", AT, packed[:-5], headers={"Content-Encoding": "gzip"}).status == 400
    with serving(site.database_url, limits=Limits(body_bytes=3000)) as small:
        assert small.ask("POST", AT, plan(pad="x" * 3000), token=site.token()).status == 413
        bomb = gzip.compress(plan(pad="x" * 3_000_000))
        assert (
            small.ask("POST", AT, bomb[:3000], headers={"Content-Encoding": "gzip"}, token=site.token()).status == 413
        )
    assert site.ask("POST", AT, plan(pad="x" * 200_000)).status == 201, "more than other routes take"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", AT),
        ("GET", "/api/v1/states/terraform/shop/app/plans"),
        ("GET", "/api/v1/plans/00000000-0000-4000-8000-000000000007"),
    ],
)
def test_without_a_login_nothing_is_said(site: Site, method: str, path: str) -> None:
    assert site.ask(method, path, plan() if method == "POST" else None, token="").status == 401


def test_a_reader_reads_and_sends_none(site: Site) -> None:
    made = sent(site, CREATE)
    reader = site.token("rita", "reader")
    assert site.ask("POST", AT, plan(), token=reader).status == 403
    assert site.ask("GET", f"/api/v1/plans/{made}", token=reader).status == 200
    assert site.ask("GET", "/api/v1/states/terraform/shop/none/plans", token=reader).status == 404
    assert site.ask("GET", f"/api/v1/plans/{uuid4()}", token=reader).status == 404
    assert site.ask("GET", "/api/v1/plans/none", token=reader).status == 422
    assert site.ask("POST", "/terraform/plans/shop/a%20b", plan(), token=site.token()).status == 422
    writer = site.token("will", "writer")
    assert site.ask("POST", AT, plan(), token=writer).status == 201


def test_a_plan_is_its_tenants_alone(site: Site) -> None:
    rival = site.token("rob", tenant="rival")
    made = sent(site, CREATE)
    site.ask("POST", STATE, state(resources=[resource("a", input="one")]))
    read(site)
    assert site.ask("GET", f"/api/v1/plans/{made}", token=rival).status == 404
    assert site.ask("GET", "/api/v1/states/terraform/shop/app/plans", token=rival).status == 404
    theirs = site.ask("POST", AT, CREATE, token=rival)
    assert (theirs.status, theirs.json["again"]) == (201, False), "that acme has the same is not betrayed"
    assert theirs.json["id"] != made
    for table in ("plans", "plan_events"):
        with connect(site.database_url) as connection, connection.transaction():
            connection.execute("SET LOCAL ROLE asset_ledger_service")
            assert connection.execute(f"SELECT count(*) FROM iac.{table}").fetchone() == (0,)
            connection.execute("SELECT set_config('app.tenant', %s, true)", [str(site.tenants["rival"])])
            seen = connection.execute(f"SELECT DISTINCT tenant_id FROM iac.{table}").fetchall()
            assert set(seen) <= {(site.tenants["rival"],)}


SECRETS = ["hunter2-planted", "ghp_plantedplantedplantedplantedplanted2", "planted-sensitive-value", "planted-in-output",
           "planted-variable", "-----BEGIN RSA PRIVATE KEY-----\nMIIplanted2\n"]  # fmt: skip


def test_what_is_secret_in_a_plan_is_in_no_answer_no_log_and_no_row(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    held = {"password": SECRETS[0], "deep": [{"x": SECRETS[1]}], "input": {"p": SECRETS[2]}, "note": SECRETS[5]}
    other = {"password": SECRETS[0] + "2", "input": {"p": SECRETS[2] + "2"}, "output": {"p": SECRETS[2] + "3"}}
    marked = change(["update"], "a", {**held, "output": {"p": SECRETS[2]}}, {**held, **other})
    marks = {"input": {"p": True}}
    marked["change"] |= {"before_sensitive": marks, "after_sensitive": marks}
    gone = change(["delete"], f'd["{SECRETS[1]}"]', held, None)
    body = plan(
        marked,
        gone,
        change([SECRETS[0]], "odd"),
        resource_drift=[marked],
        output_changes={"o": {"actions": ["create"], "after": SECRETS[3], "after_sensitive": True}},
        variables={"v": {"value": SECRETS[4]}},
        prior_state={"values": {"outputs": {"o": {"value": SECRETS[3]}}}},
    )
    made = sent(site, body)
    site.ask("POST", AT, body[:-4])
    stands = resource("a", **{**held, "input": {"value": {"p": SECRETS[2]}, "type": ["object", {"p": "string"}]}})
    path = [{"type": "get_attr", "value": "input"}, {"type": "get_attr", "value": "p"}]
    stands["instances"][0]["sensitive_attributes"] = [path]
    site.ask("POST", STATE, state(resources=[stands]))
    found = read(site)
    answers = site.ask("GET", f"/api/v1/plans/{made}").body + site.ask("GET", "/api/v1/audit?limit=1000").body
    dump = dumped(site)
    assert b"plan_events" in dump
    assert answers.count(b"redacted:") > 3
    for text in [*SECRETS, "planted"]:
        for way in (text, json.dumps(text)[1:-1], base64.b64encode(text.encode()).decode()[:-4]):
            for form in (way.encode(), way.encode().hex().encode()):
                assert form not in dump, text
            assert way.encode() not in answers
            assert way not in caplog.text
            assert way not in repr(found)


@pytest.fixture
def followed(site: Site) -> str:
    made = sent(site, CREATE)
    site.ask("POST", STATE, state(resources=[resource("a", input="one")]))
    read(site)
    return made


def test_the_outline_of_the_api_tells_of_plans(site: Site, followed: str) -> None:
    told = site.ask("GET", "/openapi.json").json["paths"]
    kept = told["/terraform/plans/{project}/{stack}"]["post"]
    assert kept["requestBody"]["required"] is True
    assert {"200", "201"} <= kept["responses"].keys()
    names = told["/api/v1/plans/{plan_id}"]["get"]
    assert [each["name"] for each in names["parameters"]] == [
        "plan_id",
        "above",
        "above_version",
        "above_sequence",
        "limit",
    ]
    assert site.ask("GET", f"/api/v1/plans/{followed}").json["as_predicted"] == 1
