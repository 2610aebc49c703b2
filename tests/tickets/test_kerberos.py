"""Windows hosts read with a ticket, from a KDC to the document: over both listeners, and every way that goes wrong."""

from __future__ import annotations

import pytest

from asset_ledger.sources.platform import ReadOrder
from asset_ledger.sources.winrm.collector import WinrmCollector
from tests.doubles.wsman import WsmanDouble
from tests.sources.winrm.live import Reading, add, config_of, target
from tests.tickets.conftest import ACCOUNT, NAME, Realm

AT = "127.0.41.1"


class NoCredentials:
    """A credential store that must not be asked: a ticket is nobody's password."""

    def resolve(self, reference: str) -> dict[str, str]:
        raise AssertionError(reference)


def read(double: WsmanDouble, name: str | None = NAME, account: str = ACCOUNT) -> Reading:
    add(double, AT, name="WIN1", accounts={account: "never asked for"})
    collector = WinrmCollector(config_of(double, authentication="kerberos"), NoCredentials())
    order = ReadOrder(targets=(target(AT, name=name, reference="env:OF_ANOTHER"),))
    assert collector.healthcheck(order).ok
    return Reading.of(collector, order)


def failure(found: Reading) -> str:
    assert found.codes[AT] is not None
    return f"{found.failures[AT].code.code}: {found.failures[AT].message}"


def test_a_host_is_read_with_the_ticket_of_whoever_runs_the_ledger(windows_hosts: WsmanDouble) -> None:
    found = read(windows_hosts)
    assert found.codes == {AT: None}
    assert found.documents()[AT]["hardware"]["cpu_count"] == 4
    assert found.cautions == []
    asked = windows_hosts.requests.of(AT, "Enumerate")
    assert len(asked) == 8
    assert {request.authentication for request in windows_hosts.requests.of(AT, "authenticate")} <= {"kerberos"}
    assert all(request.sealed for request in asked) == (windows_hosts.tls is None)
    assert windows_hosts.contexts(AT) == []


def test_without_a_ticket_it_says_so_and_asks_nobody(windows_hosts: WsmanDouble, realm: Realm) -> None:
    realm.drop_tickets()
    said = failure(read(windows_hosts))
    assert said.startswith("WINRM_KERBEROS_MISSING: ")
    assert "No Kerberos credentials available" in said
    assert windows_hosts.requests.of(AT) == []


@pytest.mark.parametrize("name", ["unknown.lab.example.test", None])
def test_a_name_that_the_realm_does_not_know_is_said(windows_hosts: WsmanDouble, name: str | None) -> None:
    said = failure(read(windows_hosts, name))
    assert said.startswith("WINRM_KERBEROS_MISSING: ")
    assert windows_hosts.requests.of(AT) == []


def test_an_account_that_the_host_does_not_know_is_refused_once(windows_hosts: WsmanDouble) -> None:
    said = failure(read(windows_hosts, account=f"somebody@{ACCOUNT.partition('@')[2]}"))
    assert said == ("WINRM_AUTH_FAILED: the host refused the ticket of the account that the ledger runs as (kerberos)")
    assert windows_hosts.requests.of(AT, "Enumerate") == []


@pytest.mark.parametrize("kind", ["tampered", "plain"])
def test_an_answer_that_is_not_sealed_by_the_host_is_not_taken(realm: Realm, kind: str) -> None:
    with WsmanDouble(tls=False, authentication=("kerberos",), keytab=realm.keytab) as double:
        double.faults.add("Enumerate Win32_OperatingSystem", kind)  # type: ignore[arg-type]
        assert failure(read(double)).split(":")[0] in ("WINRM_UNENCRYPTED", "WINRM_PROTOCOL_ERROR")
