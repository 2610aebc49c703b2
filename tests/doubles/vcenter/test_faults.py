"""Each fault of the double once, as pyvmomi's own connection and a plain HTTP client meet it."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from http.client import IncompleteRead
from typing import Any
from xml.parsers.expat import ExpatError

import pytest
from pyVmomi import vim, vmodl

from tests.doubles.vcenter import Permission, VcenterDouble
from tests.doubles.vcenter.client import connected, first_page, read, trusting, view_of
from tests.doubles.vcenter.estate import estate
from tests.patience import FOREVER_S, soon

VM = vim.VirtualMachine
PAGES = "RetrievePropertiesEx"
NEXT = "ContinueRetrievePropertiesEx"


@pytest.fixture
def vc() -> Iterator[VcenterDouble]:
    with VcenterDouble() as double:
        double.show(**estate(clusters=1, hosts=2, vms=9))
        yield double


def test_a_session_that_expires_between_pages_answers_not_authenticated_to_everything(vc: VcenterDouble) -> None:
    vc.faults.add(NEXT, "expire", after=1)
    with connected(vc) as service:
        with pytest.raises(vim.fault.NotAuthenticated):
            read(service.content, VM, ["name"], size=3)
        with pytest.raises(vim.fault.NotAuthenticated):
            view_of(service.content, VM)
    assert vc.live_sessions() == 0


def test_a_new_login_has_neither_the_views_nor_the_pages_of_the_old_one(vc: VcenterDouble) -> None:
    with connected(vc) as service:
        view = view_of(service.content, VM)
        token = first_page(service.content, VM, ["name"]).token
        vc.expire_sessions()
        service.content.sessionManager.Login(vc.username, vc.password)
        with pytest.raises(vmodl.fault.ManagedObjectNotFound):
            _ = view.view
        with pytest.raises(vmodl.fault.InvalidArgument):
            service.content.propertyCollector.ContinueRetrievePropertiesEx(token)
        assert len(read(service.content, VM, ["name"])) == 9


def test_a_session_that_ended_silently_reads_nothing_with_success(vc: VcenterDouble) -> None:
    vc.faults.add(NEXT, "end_silently")
    with connected(vc) as service:
        page = first_page(service.content, VM, ["name"], size=4)
        assert service.content.propertyCollector.ContinueRetrievePropertiesEx(page.token) is None


def test_a_lost_token_looks_like_success(vc: VcenterDouble) -> None:
    vc.faults.add(PAGES, "drop_token", kinds=frozenset({"VirtualMachine"}))
    vc.faults.add(PAGES, "drop_token", kinds=frozenset({"HostSystem"}), keep=1)
    with connected(vc) as service:
        assert len(read(service.content, VM, ["name"], size=4)) == 4
        assert len(read(service.content, vim.HostSystem, ["name"], size=4)) == 1
        assert len(read(service.content, VM, ["name"], size=4)) == 9


def test_objects_are_told_twice_or_not_at_all(vc: VcenterDouble) -> None:
    vc.faults.add(PAGES, "repeat")
    vc.faults.add(PAGES, "no_objects")
    with connected(vc) as service:
        ids = [one.obj._moId for one in read(service.content, VM, ["name"], size=100)]
        assert (len(ids), len(set(ids))) == (10, 9)
        assert read(service.content, VM, ["name"], size=100) == []


@pytest.mark.parametrize(
    ("fault", "fields", "kind"),
    [
        (
            "NoPermission",
            '<object type="Folder">group-d1</object><privilegeId>System.View</privilegeId>',
            vim.fault.NoPermission,
        ),
        ("NotAuthenticated", "", vim.fault.NotAuthenticated),
        ("ManagedObjectNotFound", '<obj type="ContainerView">gone</obj>', vmodl.fault.ManagedObjectNotFound),
        ("InvalidProperty", "<name>config.uuid</name>", vmodl.query.InvalidProperty),
        ("SystemError", "<reason>vpxd</reason>", vmodl.fault.SystemError),
        ("NotSupported", "", vmodl.fault.NotSupported),
    ],
)
def test_faults_of_vcenter_arrive_as_their_types(
    vc: VcenterDouble, fault: str, fields: str, kind: type[Exception]
) -> None:
    vc.faults.add(PAGES, "soap", fault=fault, fields=fields)
    with connected(vc) as service:
        with pytest.raises(kind):
            first_page(service.content, VM, ["name"])
        assert len(read(service.content, VM, ["name"])) == 9


def test_a_server_that_starts_answers_503_for_a_while(vc: VcenterDouble) -> None:
    vc.faults.add("*", "status", status=503, times=2)
    for _ in range(2):
        with pytest.raises(Exception, match=r"503|not a VIM server|unavailable"), connected(vc):
            pass
    with connected(vc) as service:
        assert len(read(service.content, VM, ["name"])) == 9


def get(vc: VcenterDouble, timeout: float = 5) -> tuple[int, dict[str, str], bytes]:
    """Ask for the versions as a plain client."""
    wire = http.client.HTTPSConnection("127.0.0.1", vc.port, context=trusting(vc.ca_file), timeout=timeout)
    try:
        wire.request("GET", "/sdk/vimServiceVersions.xml")
        said = wire.getresponse()
        return said.status, dict(said.getheaders()), said.read()
    finally:
        wire.close()


VERSIONS = "GET /sdk/vimServiceVersions.xml"


def test_pages_of_others_redirects_and_rubbish_stand_where_an_answer_should(vc: VcenterDouble) -> None:
    vc.faults.add(VERSIONS, "html")
    vc.faults.add(VERSIONS, "redirect")
    vc.faults.add(VERSIONS, "garbled")
    vc.faults.add(VERSIONS, "replace", status=200, body="<other/>")
    status, headers, body = get(vc)
    assert (status, headers["Content-Type"].partition(";")[0], body[:9]) == (200, "text/html", b"<!DOCTYPE")
    status, headers, _ = get(vc)
    assert (status, headers["Location"]) == (302, f"{vc.endpoint}/ui/")
    assert get(vc)[2].startswith(b"\x00\x01")
    assert get(vc)[2] == b"<other/>"
    assert b"8.0.3.0" in get(vc)[2]


def test_bodies_break_off_with_and_without_showing_it(vc: VcenterDouble) -> None:
    whole = get(vc)[2]
    vc.faults.add(VERSIONS, "cut")
    with pytest.raises(IncompleteRead):
        get(vc)
    vc.faults.add(VERSIONS, "truncated_xml")
    assert get(vc)[2] == whole[: len(whole) // 2]
    vc.faults.add(PAGES, "truncated_xml")
    # pyvmomi's parser of a stream sees it
    with connected(vc) as service, pytest.raises(ExpatError):
        first_page(service.content, VM, ["name"])


@pytest.mark.parametrize("kind", ["stall_before", "stall_inside"])
def test_silence_outlasts_a_timeout(vc: VcenterDouble, kind: Any) -> None:
    vc.faults.add(VERSIONS, kind, seconds=FOREVER_S)
    with soon(), pytest.raises(TimeoutError):
        get(vc, timeout=0.3)


def test_a_trickle_never_lets_a_single_read_time_out(vc: VcenterDouble) -> None:
    vc.faults.add(VERSIONS, "trickle", seconds=1)
    began = time.monotonic()
    assert b"8.0.3.0" in get(vc, timeout=0.3)[2]
    assert time.monotonic() - began > 0.8


def test_connections_are_reset_or_close_without_a_word(vc: VcenterDouble) -> None:
    vc.faults.add(VERSIONS, "reset")
    vc.faults.add(VERSIONS, "close")
    for _ in range(2):
        with pytest.raises(OSError, match=r"reset|closed|EOF|end") as caught:
            get(vc)
        assert not isinstance(caught.value, TimeoutError)
    assert vc.requests.all(VERSIONS)[0].status is None


def test_a_port_may_listen_and_never_say_a_word(vc: VcenterDouble) -> None:
    vc.mute = True
    with pytest.raises(TimeoutError):
        get(vc, timeout=0.3)


def by_ids(service: Any, *moids: str) -> dict[str, Any]:
    """Ask for the names of machines by their ids, and return what was said of each."""
    ask = vmodl.query.PropertyCollector
    specs = [ask.ObjectSpec(obj=VM(moid, service._stub), skip=False) for moid in moids]
    what = [ask.PropertySpec(type=VM, pathSet=["name"], all=False)]
    question = ask.FilterSpec(objectSet=specs, propSet=what, reportMissingObjectsInResults=True)
    found = service.content.propertyCollector.RetrievePropertiesEx([question], ask.RetrieveOptions())
    return {
        one.obj._moId: one.missingSet[0].fault if one.missingSet else one.propSet[0].val
        for one in (found.objects if found else ())
    }


def test_by_its_id_a_hidden_object_is_denied_a_deleted_one_is_not_found_and_one_may_be_passed_over(
    vc: VcenterDouble,
) -> None:
    vc.hide("vm-2")
    vc.hide("vm-3", references=False)
    vc.delete("vm-4")
    vc.silent_about = {"vm-5"}
    with connected(vc) as service:
        said = by_ids(service, *(f"vm-{number}" for number in range(1, 6)), "vm-99")
        assert said.pop("vm-1") == "vm-00001"
        assert {moid: type(one).__name__.rpartition(".")[2] for moid, one in said.items()} == {
            "vm-2": "NoPermission",
            "vm-3": "NoPermission",
            "vm-4": "ManagedObjectNotFound",
            "vm-99": "ManagedObjectNotFound",
        }
        for moid, fault in (
            ("vm-2", vmodl.fault.SecurityError),
            ("vm-4", vmodl.fault.ManagedObjectNotFound),
            ("vm-99", vmodl.fault.ManagedObjectNotFound),
        ):
            with pytest.raises(fault):
                _ = VM(moid, service._stub).name
        assert VM("vm-5", service._stub).name is None


def test_who_may_do_what_on_a_hidden_object_is_told_to_nobody(vc: VcenterDouble) -> None:
    vc.permissions = [Permission(("VirtualMachine", moid), "VSPHERE.LOCAL\\ledger", -5) for moid in ("vm-1", "vm-2")]
    vc.hide("vm-1")
    vc.refused_on = {"vm-3"}
    with connected(vc) as service:
        manager = service.content.authorizationManager
        assert [one.entity._moId for one in manager.RetrieveAllPermissions()] == ["vm-2"]
        entities = [VM(moid, service._stub) for moid in ("vm-1", "vm-2", "vm-3")]
        key = service.content.sessionManager.currentSession.key
        held = manager.HasPrivilegeOnEntities(entities, key, ["System.Read"])
        assert [one.privAvailability[0].isGranted for one in held] == [False, True, False]


@pytest.mark.parametrize("certificate", ["expired", "other_name"])
def test_certificates_are_refused_for_what_is_wrong_with_them(certificate: Any) -> None:
    with VcenterDouble(certificate=certificate) as vc, pytest.raises(ssl.SSLCertVerificationError), connected(vc):
        pass


def test_another_authority_is_not_trusted(vc: VcenterDouble) -> None:
    with pytest.raises(ssl.SSLCertVerificationError), connected(vc, sslContext=trusting(vc.wrong_ca_file)):
        pass


def test_answers_come_packed_and_in_chunks_where_they_are_to(vc: VcenterDouble) -> None:
    with connected(vc) as service:
        read(service.content, VM, ["config.hardware.device"], size=100)
        (plain,) = vc.requests.all(PAGES)
        vc.compression = vc.chunked = True
        vc.requests.clear()
        assert len(read(service.content, VM, ["config.hardware.device"], size=100)) == 9
    (packed,) = vc.requests.all(PAGES)
    assert packed.sent < plain.sent / 5


def test_the_log_says_who_asked_for_what_and_no_secret(vc: VcenterDouble) -> None:
    with connected(vc) as service:
        read(service.content, VM, ["name"], size=100)
    assert vc.requests.names()[:3] == [VERSIONS, "RetrieveServiceContent", "Login"]
    assert vc.requests.names()[-1] == "Logout"
    assert vc.requests.sessions() == 1
    (row,) = vc.requests.all(PAGES)
    assert (row.status, row.paths, row.max_objects) == (200, ("name",), 100)
    assert row.sent > 500
    assert vc.password not in repr(list(vc.requests))
    with pytest.raises(ValueError, match="no such fault"):
        vc.faults.add("*", "nonsense")  # type: ignore[arg-type]
