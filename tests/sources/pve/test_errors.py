"""Every way in which a reading can go wrong on the wire, and the code that it ends with: once each, over real TLS."""

from __future__ import annotations

from typing import Any

import pytest

from asset_ledger.domain.errors import INVENTORY_RELATIONS_EMPTY, ErrorCode, LedgerError, RetryableError
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.pve import errors
from asset_ledger.sources.registry import error_codes
from tests.doubles.pve import VERSIONS, PveDouble, load
from tests.sources.pve.live import WITHOUT_TOKENS, Reading, collector, read

LIST = "GET /cluster/resources"
FAULTS: list[tuple[str, dict[str, Any], ErrorCode]] = [
    # what ends in the middle, or never comes
    (LIST, {"kind": "close"}, errors.NETWORK_ERROR),
    (LIST, {"kind": "reset"}, errors.NETWORK_ERROR),
    (LIST, {"kind": "cut"}, errors.NETWORK_ERROR),
    (LIST, {"kind": "stall_before", "seconds": 5}, errors.NETWORK_ERROR),
    (LIST, {"kind": "stall_inside", "seconds": 5}, errors.NETWORK_ERROR),
    # what is no answer of Proxmox VE: proxmoxer returns these without an exception
    (LIST, {"kind": "truncated_json"}, errors.PARSE_ERROR),
    (LIST, {"kind": "html"}, errors.PARSE_ERROR),
    ("GET /version", {"kind": "html"}, errors.PARSE_ERROR),
    (LIST, {"kind": "json", "body": {"success": 1}}, errors.PARSE_ERROR),
    (LIST, {"kind": "json", "body": [{"data": []}]}, errors.PARSE_ERROR),
    (LIST, {"kind": "json", "body": {"data": None}}, errors.PARSE_ERROR),
    (LIST, {"kind": "json", "body": {"data": {"qemu/100": {}}}}, errors.PARSE_ERROR),
    (LIST, {"kind": "json", "body": {"data": [{"type": "qemu", "node": "n1"}]}}, errors.PARSE_ERROR),
    (LIST, {"kind": "json", "body": {"data": [{"cpu": float("nan")}]}}, errors.PARSE_ERROR),
    ("GET /nodes", {"kind": "json", "body": {"data": "n1"}}, errors.PARSE_ERROR),
    ("GET /nodes", {"kind": "json", "body": {"data": [{"node": "n1"}, {"node": "n1"}]}}, errors.PARSE_ERROR),
    ("GET /nodes", {"kind": "json", "body": {"data": [{"node": "../access"}]}}, errors.PARSE_ERROR),
    ("GET /access/roles", {"kind": "truncated_json"}, errors.PARSE_ERROR),
    (LIST, {"kind": "status", "status": 500, "body": ["no", "object"]}, errors.PARSE_ERROR),
    # what is refused
    (LIST, {"kind": "redirect"}, errors.CONFIG_INVALID),
    (LIST, {"kind": "status", "status": 401, "reason": "No ticket", "body": ""}, errors.AUTH_FAILED),
    (
        LIST,
        {"kind": "status", "status": 403, "reason": "Permission check failed (/, Sys.Audit)"},
        errors.PERMISSION_DENIED,
    ),
    (LIST, {"kind": "status", "status": 400, "reason": "Parameter verification failed."}, errors.CONFIG_INVALID),
    ("GET /version", {"kind": "status", "status": 404, "body": "<html>nginx</html>"}, errors.CONFIG_INVALID),
    ("GET /version", {"kind": "status", "status": 501}, errors.CONFIG_INVALID),
    # what fails inside of the cluster
    (LIST, {"kind": "status", "status": 500, "reason": "ipcc_send_rec[4] failed"}, errors.API_ERROR),
    (LIST, {"kind": "status", "status": 500, "reason": "hostname lookup 'n9' failed"}, errors.NETWORK_ERROR),
    *((LIST, {"kind": "status", "status": status}, errors.NETWORK_ERROR) for status in (502, 504, *range(595, 600))),
    ("GET /cluster/status", {"kind": "status", "status": 596}, errors.NETWORK_ERROR),
    ("GET /access/permissions", {"kind": "status", "status": 595}, errors.NETWORK_ERROR),
    ("GET /cluster/nextid", {"kind": "status", "status": 595}, errors.NETWORK_ERROR),
    # what a proxy in front turns away: T6-E03
    (LIST, {"kind": "status", "status": 429}, errors.RATE_LIMIT),
    (LIST, {"kind": "status", "status": 503, "body": "<html>busy</html>"}, errors.RATE_LIMIT),
    ("GET /nodes/n1/qemu/100/config", {"kind": "status", "status": 429}, errors.RATE_LIMIT),
    # guests, and nowhere for them to run: T6-E04
    (LIST, {"kind": "json", "body": {"data": [{"type": "qemu", "vmid": 100}]}}, INVENTORY_RELATIONS_EMPTY),
    # the login, of which proxmoxer makes a refused password whatever it was
    ("POST /access/ticket", {"kind": "status", "status": 502}, errors.NETWORK_ERROR),
    ("POST /access/ticket", {"kind": "status", "status": 595}, errors.NETWORK_ERROR),
    ("POST /access/ticket", {"kind": "status", "status": 503, "body": "<html>busy</html>"}, errors.NETWORK_ERROR),
    ("POST /access/ticket", {"kind": "close"}, errors.NETWORK_ERROR),
    ("POST /access/ticket", {"kind": "status", "status": 429}, errors.RATE_LIMIT),
    ("POST /access/ticket", {"kind": "html"}, errors.PARSE_ERROR),
    ("POST /access/ticket", {"kind": "json", "body": {"data": None}}, errors.PARSE_ERROR),
    ("POST /access/ticket", {"kind": "json", "body": {"data": {"ticket": "t", "NeedTFA": 1}}}, errors.AUTH_FAILED),
]


def ended(found: Reading, code: ErrorCode) -> LedgerError:
    assert found.error is not None
    assert found.error.code is code, found.error
    assert isinstance(found.error, RetryableError) is code.retryable
    assert found.error.message
    assert found.error.code in error_codes()
    return found.error


@pytest.mark.parametrize(("match", "fault", "code"), FAULTS, ids=lambda each: str(getattr(each, "code", each))[:60])
def test_what_goes_wrong_ends_the_reading_with_its_code(match: str, fault: dict[str, Any], code: ErrorCode) -> None:
    with PveDouble(load("cluster")) as pve:
        pve.faults.add(match, **{"times": None, **fault})
        error = ended(read(pve, timeout_ms=500), code)
        assert pve.endpoint.removeprefix("https://") in str(error)
        attempts = pve.requests.count(match)
        if code.retryable and match != "POST /access/ticket" and fault.get("status") != 500:
            assert attempts == 2
        if code is errors.CONFIG_INVALID:
            assert attempts == 1
            assert pve.requests.count("GET /") == 0  # where a redirect leads


@pytest.mark.parametrize("kind", ["close", "reset", "cut"])
@pytest.mark.parametrize("match", [LIST, "GET /nodes/n2/qemu/101/config", "POST /access/ticket", "GET /version"])
def test_what_goes_wrong_once_ends_nothing(kind: str, match: str) -> None:
    with PveDouble(load("cluster")) as pve:
        pve.faults.add(match, kind)
        found = read(pve)
        assert found.error is None, found.error
        assert found.proof.complete
        assert "hardware" in found.kind("vm")["qemu/101"]


def test_a_reading_that_fails_keeps_what_was_answered_until_then() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.faults.add("GET /cluster/resources?type=vm", "status", status=595, times=None)
        found = read(pve)
        ended(found, errors.NETWORK_ERROR)
        assert [raw.target for raw in found.records][-1] == "cluster"
        assert len(found.records) == 4
        assert found.cluster["error"]["code"] == "PVE_NETWORK_ERROR"
        assert not found.proof.complete


@pytest.mark.parametrize("version", VERSIONS)
def test_t6_e01_a_wrong_secret_fails_the_check(version: str) -> None:
    account = "ledger@pve" if version in WITHOUT_TOKENS else "ledger@pve!asset"
    secret = "wrong-password" if version in WITHOUT_TOKENS else "99999999-9999-4999-8999-999999999999"
    with PveDouble(load("standalone"), version=version) as pve:
        with pytest.raises(LedgerError) as caught:
            collector(pve, account, secret).healthcheck(ReadOrder())
        assert caught.value.code is errors.AUTH_FAILED
        assert not caught.value.code.retryable
        assert secret not in str(caught.value)
        assert pve.requests.count("GET /nodes") == 0


def test_a_missing_right_is_named_with_its_path() -> None:
    with PveDouble(load("cluster")) as pve:
        pve.faults.add(LIST, "status", status=403, reason="Permission check failed (/vms, VM.Audit)", times=None)
        assert "Permission check failed (/vms, VM.Audit)" in ended(read(pve), errors.PERMISSION_DENIED).message


def test_a_host_that_has_no_address_is_a_network_error() -> None:
    with PveDouble(load("one_guest")) as pve:
        error = ended(read(pve, endpoint="https://pve.invalid:8006"), errors.NETWORK_ERROR)
        assert "HTTPSConnection" not in error.message


PROOF_PATHS = [
    "GET /version",
    "GET /cluster/status",
    "GET /nodes",
    "GET /cluster/resources",
    "GET /access/permissions",
    "GET /access/acl",
    "GET /access/roles",
    "GET /cluster/nextid",
    "GET /nodes/*/status",
    "GET /nodes/*/network",
    "GET /nodes/*/qemu",
    "GET /nodes/*/config",
    "GET /nodes/*/interfaces",
    "GET /nodes/*/network-get-interfaces",
]
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10**400,
    1e308,
    "",
    "\x00\ud800\u202e",
    [],
    [None],
    [[]],
    {},
    {"": None},
    [{"type": "qemu", "vmid": "100", "node": 7}],
    [{"node": None, "type": "node", "name": []}],
    [{"type": "cluster", "name": {}, "quorate": "yes"}],
    {"/vms": None, "/access": []},
    {"result": {"error": None}},
]


@pytest.mark.parametrize("path", PROOF_PATHS)
def test_no_answer_however_odd_ends_in_an_error_nobody_knows_or_in_a_shorter_list(path: str) -> None:
    with PveDouble(load("standalone")) as pve:
        whole = set(read(pve, "root@pam").kind("vm"))
        assert len(whole) == 3
        for odd in ODD:
            pve.faults.clear()
            pve.faults.add(path, "json", body={"data": odd}, times=None)
            found = read(pve, "root@pam")
            if found.error is not None:
                assert found.error.code in error_codes(), odd
            else:
                assert set(found.kind("vm")) == whole, odd
                assert found.proof.complete
