"""Windows hosts of every release read over both listeners, many at once, and what is left behind: nothing."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest

from asset_ledger.domain.shards import Shard
from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.winrm.collector import WinrmCollector
from asset_ledger.sources.winrm.queries import QUERIES
from asset_ledger.sources.wsman import lockout
from tests.doubles.wsman import Account, WsmanDouble
from tests.doubles.wsman.windows import windows
from tests.patience import FOREVER_S, Hanging, soon, until
from tests.sources.winrm.live import (
    LOCAL_PASSWORD,
    PASSWORD,
    USER,
    Reading,
    add,
    collector,
    config_of,
    fields_of,
    probe,
    target,
)
from tests.sources.winrm.test_errors import dropping
from tests.sshd import free_port

AT = "127.0.31.1"
GIB = 1 << 30
RELEASES = ("2003", "2008r2", "2012r2", "2016", "2019", "2022", "2025")


@pytest.mark.parametrize("way", ["ntlm over http", "ntlm over https", "basic over https"])
def test_every_release_is_read_over_every_way(http: WsmanDouble, https: WsmanDouble, way: str) -> None:
    double = http if way.endswith("http") else https
    hosts = {f"127.0.31.{number}": release for number, release in enumerate(RELEASES, 1)}
    for address, release in hosts.items():
        add(double, address, release=release, ips=[address.replace("127.0", "10.20")], disks=(50 * GIB, 100 * GIB))
    found = probe(double, *hosts, authentication=way.partition(" ")[0])
    assert found.codes == dict.fromkeys(hosts)
    assert set(found.documents()) == set(hosts)
    for address, release in hosts.items():
        document = found.documents()[address]
        assert document["identity"]["mgmt_ip"] == address
        assert document["identity"]["hostname"].lower().startswith("win-31-")
        assert document["hardware"]["cpu_count"] == 4, release
        assert 7.9 * GIB < document["hardware"]["memory_bytes"] <= 8 * GIB
        assert 149 * GIB < document["hardware"]["disk_total_bytes"] < 150 * GIB
        assert address.replace("127.0", "10.20") in document["network"]["ip_addresses"]
        assert document["identity"]["machine_uuid"]
        told = found.by_target[address].document
        assert told["transport"] == way.rpartition(" ")[2]
        assert told["trace"]["authentication"] == way.partition(" ")[0]
        assert told["trace"]["connections"] == 1
        assert told["trace"]["leaks"] == []
        assert all(step["ms"] >= 0 for step in told["trace"]["steps"])
        assert double.contexts(address) == []
    assert len(double.requests.of(AT, "Enumerate")) >= len(QUERIES)
    assert double.shells(AT) == []


def test_a_class_is_asked_in_the_words_that_the_release_knows(http: WsmanDouble) -> None:
    hosts = {"127.0.31.1": "2003", "127.0.31.2": "2008r2", "127.0.31.3": "2019"}
    for address, release in hosts.items():
        add(http, address, release=release)
    found = probe(http, *hosts)
    asked = {release: http.requests.queries(address) for address, release in hosts.items()}
    assert len(asked["2019"]) == len(QUERIES)
    assert asked["2019"] == [query.wql for query in QUERIES]
    assert len(asked["2008r2"]) == len(QUERIES) + 1
    assert len(asked["2003"]) == len(QUERIES) + 3
    # what was answered is what is kept
    for raw in found.records:
        kept = [entry["wql"] for entry in json.loads(raw.body)]
        assert set(kept) <= set(asked[hosts[raw.target]])
        assert kept[0] == asked[hosts[raw.target]][{"2003": 2, "2008r2": 1, "2019": 0}[hosts[raw.target]]]


def test_rows_that_come_one_by_one_are_the_same_host(http: WsmanDouble) -> None:
    for address, page in ((AT, None), ("127.0.31.2", 1)):
        add(http, address, name="SAME", page=page, disks=(50 * GIB, 60 * GIB, 70 * GIB), ips=["10.0.0.1", "10.0.0.2"])
    documents = probe(http, AT, "127.0.31.2").documents()
    one, other = (documents[address] for address in (AT, "127.0.31.2"))
    assert http.requests.of("127.0.31.2", "Pull") != []
    del one["identity"]["mgmt_ip"], other["identity"]["mgmt_ip"]
    one["identifiers"], other["identifiers"] = [], []
    assert {**one, "access": None} == {**other, "access": None}


def test_chinese_names_come_as_they_are(http: WsmanDouble, https: WsmanDouble) -> None:
    for double in (http, https):
        add(double, AT, wmi=windows(name="财务部-主机", locale="zh"), locale="zh")
        document = probe(double, target(AT, name="财务 主机")).documents()[AT]
        assert document["identity"]["hostname"].startswith("财务部-主机")
        assert "标准版" in document["os"]["name"]


def test_the_certificate_may_name_the_host_that_the_ledger_knows(https: WsmanDouble) -> None:
    add(https, AT, name="APP01", certificate="other_name")
    assert probe(https, target(AT, name="app01.example.test")).codes == {AT: "WINRM_TLS_ERROR"}
    assert probe(https, target(AT, name="elsewhere.example.test")).codes == {AT: None}
    assert probe(https, target(AT, name="no name at all")).codes == {AT: "WINRM_TLS_ERROR"}


def test_one_address_never_sees_two_connections_at_once(http: WsmanDouble) -> None:
    add(http, AT)
    found = probe(http, *[AT] * 4, parallel=8)
    assert [raw.document["error"] for raw in found.records] == [None] * 4
    assert http.requests.peak() == 1


# --- many hosts ---------------------------------------------------------------------------------------------------


def test_forty_hosts_are_read_while_others_are_dead_slow_or_evil(http: WsmanDouble) -> None:
    good = [f"127.0.32.{number}" for number in range(1, 41)]
    for number, address in enumerate(good):
        add(http, address, release=RELEASES[number % len(RELEASES)])
    bad = {
        "stalls": ("WINRM_DEADLINE", "stall_inside", {"seconds": FOREVER_S}),
        "trickles": ("WINRM_DEADLINE", "trickle", {"seconds": FOREVER_S}),
        "mute": ("WINRM_DEADLINE", "mute", {}),
        "floods": ("WINRM_PROTOCOL_ERROR", "oversized", {"size": 20 << 20}),
        "lies": ("WINRM_PROTOCOL_ERROR", "truncated_xml", {}),
        "tampers": ("WINRM_PROTOCOL_ERROR", "tampered", {}),
        "resets": ("WINRM_CONNECTION_LOST", "reset", {}),
        "another": ("WINRM_NO_LISTENER", "status", {"status": 404}),
    }
    expected: dict[str, str | None] = dict.fromkeys(good)
    for number, (code, kind, said) in enumerate(bad.values(), 1):
        address = f"127.0.33.{number}"
        add(http, address)
        http.faults.add("Enumerate Win32_ComputerSystem", kind, address=address, times=None, **said)
        expected[address] = code
    denied = {
        "127.0.34.1": ("WINRM_AUTH_FAILED", Account("another password")),
        "127.0.34.2": ("WINRM_PERMISSION_DENIED", Account(PASSWORD, read=False)),
        "127.0.34.3": ("WINRM_NAMESPACE_DENIED", Account(PASSWORD, denied=("*",))),
    }
    for address, (code, account) in denied.items():
        add(http, address, account=account)
        expected[address] = code
    with ExitStack() as stack:
        graves = [target(f"127.0.35.{n}", stack.enter_context(dropping(f"127.0.35.{n}"))) for n in range(1, 5)]
        graves += [target("127.0.35.9", free_port()), target(None, name="nowhere.invalid")]
        expected |= {f"127.0.35.{n}": "WINRM_TIMEOUT" for n in range(1, 5)}
        expected |= {"127.0.35.9": "WINRM_REFUSED", "nowhere.invalid": "WINRM_DNS"}
        order = [
            *graves,
            *(target(address) for address in expected if address.startswith("127.0.3") and address < "127.0.35"),
        ]
        with soon():
            found = probe(http, *order, parallel=12, deadline_s=8, connect_timeout_s=1)
    assert found.codes == expected
    assert len(found.documents()) == 40
    ended = [raw.target for raw in found.records]
    assert len(ended) == len(set(ended)) == len(expected)
    # the slow ones cost their own slot: every good host came before the last of them was given up
    assert not set(ended[-3:]) & set(good)


def refused_at(double: WsmanDouble) -> Counter[str]:
    """Return how often a login was refused, by address."""
    return Counter(request.address for request in double.requests.all("authenticate"))


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_a_wrong_password_of_a_domain_is_shown_to_three_hosts_and_not_to_all(
    http: WsmanDouble, https: WsmanDouble, tls: bool
) -> None:
    double = https if tls else http
    addresses = [f"127.0.36.{number}" for number in range(1, 31)]
    for address in addresses:
        add(double, address)
    found = probe(double, *addresses, fields={"username": USER, "password": "canary-wrong"})
    assert Counter(found.codes.values()) == {"WINRM_AUTH_FAILED": 3, "WINRM_NOT_TRIED": 27}
    tried = refused_at(double)
    assert len(tried) == sum(tried.values()) == 3
    untried = next(address for address in addresses if address not in tried)
    assert "3 hosts of this run refused the account and none took it" in found.failures[untried].message
    assert double.requests.of(untried, "negotiate") == []


def test_a_shard_shows_a_wrong_password_to_one_host_of_its_own(http: WsmanDouble) -> None:
    addresses = [f"127.0.36.{number}" for number in range(1, 31)]
    for address in addresses:
        add(http, address)
    order = ReadOrder(targets=tuple(map(target, addresses)), shard=Shard(2, 4))
    found = Reading.of(collector(http, {"username": USER, "password": "canary-wrong"}), order)
    assert Counter(found.codes.values()) == {"WINRM_AUTH_FAILED": 1, "WINRM_NOT_TRIED": 29}
    assert sum(refused_at(http).values()) == 1


@pytest.mark.parametrize("match", ["negotiate", "authenticate"])
def test_silent_hosts_do_not_let_a_wrong_password_through_to_all(
    http: WsmanDouble, monkeypatch: pytest.MonkeyPatch, match: str
) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", 0.4)
    addresses = [f"127.0.36.{number}" for number in range(1, 44)]
    for address in addresses:
        add(http, address)
    for address in addresses[::10][:3]:  # those that are asked first
        http.faults.add(match, "mute", address=address, times=None)
    wrong = {"username": USER, "password": "canary-wrong"}
    found = probe(http, *addresses, fields=wrong, deadline_s=1.5, parallel=43)
    told = Counter(found.codes.values())
    assert set(told) == {"WINRM_DEADLINE", "WINRM_AUTH_FAILED", "WINRM_NOT_TRIED"}
    assert told["WINRM_NOT_TRIED"] >= 43 - 3 - 3
    assert sum(refused_at(http).values()) <= lockout.MOST_SHOWN  # those that never said so too


def test_one_account_under_many_references_and_spellings_is_one_account(http: WsmanDouble) -> None:
    addresses = [f"127.0.36.{number}" for number in range(1, 31)]
    for address in addresses:
        add(http, address)

    class Spelled:
        def resolve(self, reference: str) -> dict[str, str]:
            number = int(reference[-1])
            return {"username": ("LAB\\ledger", "lab\\Ledger")[number % 2], "password": f"canary-wrong-{number}"}

    targets = tuple(target(address, reference=f"env:W{number % 5}") for number, address in enumerate(addresses))
    found = Reading.of(WinrmCollector(config_of(http), Spelled()), ReadOrder(targets=targets))
    assert Counter(found.codes.values()) == {"WINRM_AUTH_FAILED": 3, "WINRM_NOT_TRIED": 27}
    assert sum(refused_at(http).values()) == 3


@pytest.mark.parametrize(("username", "refusals"), [("probe", 3), (".\\probe", 7)])
def test_a_bare_name_may_be_a_domains_and_one_that_is_local_is_shown_to_each_host_once(
    http: WsmanDouble, username: str, refusals: int
) -> None:
    addresses = [f"127.0.36.{number}" for number in range(1, 8)]
    for address in addresses:
        add(http, address)
    found = probe(http, *addresses, fields={"username": username, "password": "canary-wrong"})
    assert list(found.codes.values()).count("WINRM_AUTH_FAILED") == refusals
    assert list(refused_at(http).values()) == [1] * refusals


def test_a_local_account_in_so_many_words_reads(http: WsmanDouble) -> None:
    add(http, AT)
    assert probe(http, AT, fields={"username": ".\\probe", "password": LOCAL_PASSWORD}).codes == {AT: None}


def test_hosts_that_refuse_an_account_keep_nobody_from_it_that_takes_it(http: WsmanDouble) -> None:
    addresses = [f"127.0.36.{number}" for number in range(1, 41)]
    for number, address in enumerate(addresses):
        # ten neighbours that do not know the domain come first
        add(http, address, account=Account("another" if number < 10 else PASSWORD))
    found = probe(http, *addresses)
    assert list(found.codes.values()).count(None) == 30
    assert refused_at(http) == dict.fromkeys(addresses[:10], 1)


def test_hosts_that_say_nothing_while_an_account_is_tried_hold_up_the_others_for_a_while_only(
    http: WsmanDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lockout, "PATIENCE_S", 0.4)
    addresses = [f"127.0.36.{number}" for number in range(1, 13)]
    for address in addresses:
        add(http, address)
    for address in addresses[::3]:  # those that are asked first
        http.faults.add("negotiate", "mute", address=address, times=None)
    found = probe(http, *addresses, deadline_s=8, parallel=12)
    # none of the others was held up until a silent one was given up
    assert list(found.codes.values()) == [None] * 8 + ["WINRM_DEADLINE"] * 4


def test_leaving_early_leaves_nothing_behind(http: WsmanDouble) -> None:
    addresses = [f"127.0.37.{number}" for number in range(1, 31)]
    for address in addresses:
        add(http, address, page=1, ips=["10.0.0.1", "10.0.0.2"])
        if address != addresses[0]:
            http.faults.add("Pull *", "stall_before", address=address, seconds=FOREVER_S)
    http.stopping = hanging = Hanging()
    before = set(threading.enumerate())
    stream = collector(http, parallel=6, deadline_s=FOREVER_S).collect(
        ReadOrder(targets=tuple(target(address) for address in addresses))
    )
    assert next(stream).target == addresses[0]
    while len({request.address for request in http.requests.all("Pull")}) < 6:
        time.sleep(0.01)  # until each of the others waits in the middle of an enumeration
    with soon():
        stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("probe-") and thread not in before]
    hanging.over.set()
    until(lambda: not any(http.connections(address) for address in addresses))
    assert {address: http.contexts(address) for address in addresses if http.contexts(address)} == {}
    read = {request.address for request in http.requests}
    assert len(read) <= 8  # nobody else was dialled


def test_a_probe_that_is_over_leaves_no_connection(https: WsmanDouble) -> None:
    addresses = [f"127.0.38.{number}" for number in range(1, 6)]
    for address in addresses:
        add(https, address)
    https.faults.add("Enumerate Win32_Processor", "truncated_xml", address=addresses[0])
    probe(https, *addresses)
    until(lambda: not any(https.connections(address) for address in addresses))


# --- secrets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authentication", ["ntlm", "basic"])
def test_no_secret_is_in_raw_items_logs_or_errors(
    https: WsmanDouble, http: WsmanDouble, caplog: pytest.LogCaptureFixture, authentication: str
) -> None:
    caplog.set_level(logging.DEBUG)
    double = https if authentication == "basic" else http
    add(double, AT)
    add(double, "127.0.31.2", account=Account("another"), accounts={"probe": "another", USER: "another"})
    add(double, "127.0.31.3")
    double.faults.add(
        "Enumerate Win32_BIOS", "replace", address="127.0.31.3", body=f"<x>{PASSWORD}{LOCAL_PASSWORD}</x>"
    )
    add(double, "127.0.31.4", serial="hvs.CAESICANARYTOKENCANARYTOKEN")
    found = probe(double, AT, "127.0.31.2", "127.0.31.3", "127.0.31.4", authentication=authentication)
    assert found.codes["127.0.31.2"] == "WINRM_AUTH_FAILED"
    everything = found.bytes.decode() + repr(found.items) + caplog.text + repr(collector(double))
    for secret in (PASSWORD, LOCAL_PASSWORD, "CANARYTOKEN", "cHJvYmU6"):
        assert secret not in everything
    assert found.by_target["127.0.31.4"].redacted


def test_a_source_knows_no_proxy_and_no_authority_of_its_environment(
    https: WsmanDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {AT} login other password other\n")
    netrc.chmod(0o600)
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name, value in (
        ("HTTPS_PROXY", nowhere), ("HTTP_PROXY", nowhere), ("ALL_PROXY", nowhere), ("NETRC", str(netrc)),
        ("REQUESTS_CA_BUNDLE", "/nowhere"), ("CURL_CA_BUNDLE", "/nowhere"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    add(https, AT)
    assert probe(https, AT).codes == {AT: None}


# --- healthcheck and detect: nobody is dialled --------------------------------------------------------------------


class Vault:
    """Holds one credential, and nothing else."""

    def resolve(self, reference: str) -> dict[str, str]:
        from asset_ledger.domain.errors import CREDENTIAL_NOT_FOUND, PermanentError

        if reference != "env:WIN":
            raise PermanentError(CREDENTIAL_NOT_FOUND, "there is no such entry")
        return fields_of()


def test_a_check_says_what_would_be_read_and_dials_nobody(https: WsmanDouble) -> None:
    add(https, AT)
    health = collector(https).healthcheck(ReadOrder(targets=(target(AT), target("127.0.31.2", 5986))))
    assert health.ok, health.problems
    assert health.checks == {
        "targets": "2",
        "authentication": "ntlm",
        "tls": "2 over HTTPS, ca_file",
        "env:WIN": "usable",
    }
    assert len(https.requests) == 0


def test_a_check_names_every_problem_at_once(https: WsmanDouble, tmp_path: Any) -> None:
    config = config_of(https, ca_file=tmp_path / "none.pem")
    targets = (target(AT, 5985), target("127.0.31.2", reference="env:GONE"), target("127.0.31.3", reference=None))
    health = WinrmCollector(config, Vault()).healthcheck(ReadOrder(targets=targets))
    assert not health.ok
    said = "\n".join(health.problems)
    assert len(health.problems) == 4
    for part in (
        f"WINRM_CONFIG_INVALID: {config.name}: ca_file {tmp_path / 'none.pem'} cannot be used: No such file",
        "port 5985 is the listener without TLS, and this source says https: true",
        "CREDENTIAL_NOT_FOUND: env:GONE",
        "WINRM_CREDENTIAL_INVALID: neither the target nor the source names a credential",
    ):
        assert part in said, said


def test_a_domain_account_for_basic_is_said_by_the_check_and_sent_to_nobody(https: WsmanDouble) -> None:
    add(https, AT)
    for username in ("LAB\\ledger", "ledger@lab.example"):
        fields = {"username": username, "password": "canary-1"}
        health = collector(https, fields, authentication="basic").healthcheck(ReadOrder(targets=(target(AT),)))
        assert health.checks["env:WIN"] == "WINRM_CREDENTIAL_INVALID"
        assert "Basic knows local accounts only" in health.problems[0]
        found = probe(https, AT, fields=fields, authentication="basic")
        assert found.codes == {AT: "WINRM_CREDENTIAL_INVALID"}
        assert found.records[0].document["trace"]["connections"] == 0
        assert b"canary-1" not in found.bytes
    assert len(https.requests) == 0


@pytest.mark.parametrize("port", [65536, 70000, -1, 0])
def test_a_port_that_is_none_is_said_of_its_target_alone(http: WsmanDouble, port: int) -> None:
    add(http, AT)
    found = probe(http, AT, target("127.0.31.2", port))
    assert found.codes == {AT: None, "127.0.31.2": "WINRM_CONFIG_INVALID"}
    assert f"{port} is no port" in found.failures["127.0.31.2"].message
    health = collector(http).healthcheck(ReadOrder(targets=(target("127.0.31.2", port),)))
    assert f"{port} is no port" in health.problems[0]


def test_kerberos_asks_for_no_credential(https: WsmanDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def resolve(self, reference: str) -> dict[str, str]:
            raise AssertionError(reference)

    monkeypatch.setattr("asset_ledger.sources.winrm.collector.kerberos_installed", lambda: True)
    kerberos = WinrmCollector(config_of(https, authentication="kerberos"), Nothing())
    targets = (target(AT, reference=None), target("127.0.31.2", reference="env:WIN"))
    health = kerberos.healthcheck(ReadOrder(targets=targets))
    assert health.ok, health.problems
    assert health.checks["kerberos"] == "installed; the ticket is that of the account the ledger runs as"


def test_a_source_without_a_target_is_a_problem(https: WsmanDouble) -> None:
    health = collector(https).healthcheck(ReadOrder())
    assert health.problems == ("no target: no ledger asset has protocol winrm, an address and a credential",)
    assert probe(https).records == []


def test_kerberos_that_is_not_installed_is_a_problem_before_anybody_is_asked(
    https: WsmanDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "winrm.vendor.requests_kerberos", None)
    health = collector(https, authentication="kerberos").healthcheck(ReadOrder(targets=(target(AT),)))
    assert health.checks["kerberos"] == "WINRM_KERBEROS_MISSING"
    assert "WINRM_KERBEROS_MISSING" in health.problems[0]


def test_detecting_says_which_listeners_and_what_is_not_proven(http: WsmanDouble, https: WsmanDouble) -> None:
    order = ReadOrder(targets=(target(AT), target("127.0.31.2", 5986), target("127.0.31.3", 5985)))
    mixed = collector(http).detect(order)
    assert mixed.driver.startswith("pywinrm 0.5")
    assert mixed.capabilities["https_targets"] == 1
    assert mixed.capabilities["http_targets"] == 2
    assert "https: true" in mixed.advice
    assert collector(https).detect(ReadOrder(targets=(target(AT),))).advice == ""
    assert "tls_verify: true" in collector(https, tls_verify=False).detect(order).advice
    assert len(http.requests) == 0


def test_a_target_whose_own_port_is_5986_is_read_over_https_where_the_source_says_http(http: WsmanDouble) -> None:
    raw = probe(http, target("127.0.31.77", 5986), connect_timeout_s=0.5).records[0]
    assert raw.document["transport"] == "https"
    assert raw.document["error"]["code"] == "WINRM_REFUSED"
    assert raw.document["cautions"] == []
