"""The double that tests hold: a vCenter of one release behind one HTTPS endpoint, with its knobs.

In front of the simulator (simulated.py) or of objects that tests describe (rendered.py) it does what both lack: pages,
sessions that end, releases, faults; what hides and changes objects stands in changes.py. How that goes over the wire stands in wire.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from tests.doubles.https.certificates import Kind as CertificateKind
from tests.doubles.https.double import HttpsDouble
from tests.doubles.https.wire import Answer
from tests.doubles.vcenter import schema, soap
from tests.doubles.vcenter.changes import Changes
from tests.doubles.vcenter.faults import Fault, Registry
from tests.doubles.vcenter.log import Request, RequestLog
from tests.doubles.vcenter.releases import RELEASES, Release
from tests.doubles.vcenter.simulated import Simulated
from tests.doubles.vcenter.soap import Call
from tests.doubles.vcenter.vcsim import VcSim
from tests.doubles.vcenter.wire import Connection

_BEFORE_LOGIN = {"RetrieveServiceContent", "Login", "CurrentTime"}
ENDED = "ended"


class Backend(Protocol):
    """Who knows the objects."""

    def answer(self, call: Call) -> Answer: ...

    def objects(self, call: Call) -> list[bytes] | Answer: ...


@dataclass(frozen=True)
class Permission:
    """What a principal may at an entity. Roles: -5 NoAccess, -4 Anonymous, -3 View, -2 ReadOnly, -1 Admin."""

    entity: tuple[str, str]  # type, moid
    principal: str
    role: int
    propagate: bool = True
    group: bool = False


@dataclass
class Session:
    """A login: whether it lives, and the pages that are still to be fetched in it."""

    key: str
    state: Literal["live", "expired", "ended"] = "live"
    pages: dict[str, Page] = field(default_factory=dict)
    tokens: Any = field(default_factory=itertools.count)


@dataclass
class Page:
    """What is left of an answer after a page."""

    objects: list[bytes]
    size: int
    tolerant: bool  # reportMissingObjectsInResults
    paths: frozenset[str]  # what was asked for; nothing: all
    asked: frozenset[str] = frozenset()  # the objects that were asked for by id


class VcenterDouble(HttpsDouble, Changes):
    """One vCenter behind one HTTPS endpoint, for the length of a `with`.

    `release` is one of RELEASES, or None for the simulator as it is, or for its way to write. Without `sim`, `show` says what there is.
    """

    def __init__(
        self,
        sim: VcSim | None = None,
        *,
        release: str | None = "8.0.3",
        esxi: bool = False,
        port: int = 0,
        certificate: CertificateKind = "good",
        username: str = "ledger@vsphere.local",
        password: str = "vcenter-canary-secret",
    ) -> None:
        HttpsDouble.__init__(
            self,
            "vcenter",
            Connection,
            host="vcenter",
            authority="CA, vSphere",
            certificate=certificate,
            port=port,
        )
        Changes.__init__(self)
        # the simulator calls itself a 6.5
        self.release: Release | None = RELEASES[release] if release else None if sim else RELEASES["6.5"]
        self.spelling: soap.Spelling = "vpxd" if release else "vcsim"
        self.username = sim.username if sim else username
        self.password = sim.password if sim else password
        self.requests = RequestLog()
        self.faults = Registry()
        self.compression = False
        self.idle_timeout = 30.0
        self.page_limit: int | None = None  # the most objects of a page, whatever was asked for
        self.capacity_in_bytes = True
        self.invalid_property: Literal["fault", "missing"] = "fault"
        self.unknown_paths: set[str] = set()  # paths that this server does not know, whatever its release
        self.without_managers: set[str] = set()  # fields of ServiceContent that are not there
        self.refused_privileges: set[str] = set()  # what HasPrivilegeOnEntities denies everywhere
        self.refused_on: set[str] = set()  # the objects on which it denies everything
        self.permissions: list[Permission] | None = None  # in the place of the backend's
        self._sessions: dict[str, Session] = {}
        self._backend: Backend = Simulated(self, sim) if sim else _rendered(self, esxi)

    # -- what tests say ---------------------------------------------------------------------------------------------

    def show(self, **objects: Any) -> None:
        """Say what there is: `hosts=`, `clusters=`, `vms=`, `folders=`, `pools=`, `datastores=`, `datacenters=`."""
        shower: Any = self._backend
        shower.show(**objects)

    def forget(self) -> None:
        """Forget every fault, motion, hidden object and changed property; sessions live on."""
        Changes.forget(self)
        self.faults.clear()
        self.permissions = None
        self.refused_privileges.clear()
        self.refused_on.clear()
        self.without_managers.clear()
        self.unknown_paths.clear()

    def expire_sessions(self) -> None:
        """End every session: later calls of it are answered NotAuthenticated."""
        with self.lock:
            for session in self._sessions.values():
                session.state = "expired"
                session.pages.clear()

    def live_sessions(self) -> int:
        """Return how many logins have not been logged out and have not ended."""
        with self.lock:
            return sum(session.state == "live" for session in self._sessions.values())

    # -- one request ------------------------------------------------------------------------------------------------

    def exchange(self, call: Call, request: Request) -> tuple[Answer, Fault | None]:
        """Return the answer to a request, and the fault that is due; motions have happened then."""
        with self.lock:
            session = self._sessions.get(call.cookie)
            request.kinds = _kinds(call, session)
            request.paths = tuple(call.texts("specSet", "propSet", "pathSet")) if call.element is not None else ()
            size = call.text("options", "maxObjects") if call.element is not None else None
            request.max_objects = int(size) if size else None
        fault = self.faults.fault_for(request)
        answer = self._told(call, session, fault)
        self.faults.move(request, self, self.lock)
        return answer, fault

    def _told(self, call: Call, session: Session | None, fault: Fault | None) -> Answer:
        match fault.kind if fault else None:
            case "soap" if fault:
                return soap.fault(fault.fault, self.spelling, fault.fields, fault.message)
            case "status" | "html" | "redirect" | "reset" | "close" | "garbled":
                return Answer(200, b"")  # vCenter itself has not heard of the request
            case "replace" if fault:
                body = fault.body or b""
                return Answer(fault.status or 200, body if isinstance(body, bytes) else body.encode(), fault.headers)
            case "expire" | "end_silently" if session is not None:
                session.state = "expired" if fault and fault.kind == "expire" else "ended"
                session.pages.clear()
        if call.element is None:
            return self._document(call)
        if session is not None and session.state == "expired" and not _open_to_all(call):
            return self._not_authenticated(call)
        match call.name:
            case "RetrievePropertiesEx" | "RetrieveProperties":
                return self._retrieve(call, session, fault)
            case "ContinueRetrievePropertiesEx":
                return self._continue(call, session, fault)
            case "CancelRetrievePropertiesEx":
                if session is not None:
                    session.pages.pop(call.text("token") or "", None)
                return soap.response(call.name, b"", self.spelling)
            case "HasPrivilegeOnEntities" if (self.refused_privileges or self.refused_on) and session is not None:
                return self._privileges(call)
            case "Fetch" if session is not None and call.this[1] in self.silent_about:
                return soap.response(call.name, b"", self.spelling)
            case "Fetch" if session is not None and (alone := self.fault_of(call.this[1])):
                return soap.fault(alone[0], self.spelling, alone[1])
            case "RetrieveAllPermissions" | "RetrieveEntityPermissions" if self.permissions is not None and session:
                return self._permissions(call, self.permissions)
            case "Fetch" if session is not None and session.state == ENDED and call.this[0] == "ContainerView":
                return soap.fault("ManagedObjectNotFound", self.spelling, soap.ref("obj", *call.this))
        answer = self._backend.answer(call)
        if answer.status == 200:
            self._note(call, answer)
            if call.name == "Fetch":
                return Answer(200, self.listed(answer.body, view=call.this[0] == "ContainerView"), answer.headers)
        return answer

    def _note(self, call: Call, answer: Answer) -> None:
        """Keep book of the sessions."""
        if call.name == "Login":
            cookie = answer.headers.get("Set-Cookie", "").split(";")[0].partition("=")[2].strip('"')
            with self.lock:
                self._sessions[cookie] = Session(cookie)
        elif call.name == "Logout":
            with self.lock:
                self._sessions.pop(call.cookie, None)

    def _document(self, call: Call) -> Answer:
        if call.path.partition("?")[0] == "/sdk/vimServiceVersions.xml":
            return Answer(200, self.release.versions_xml()) if self.release else self._backend.answer(call)
        return Answer(404, b"<html><body>Not Found</body></html>", {"Content-Type": "text/html"})

    def _not_authenticated(self, call: Call) -> Answer:
        fields = soap.ref("object", *call.this) + "<privilegeId>System.View</privilegeId>"
        return soap.fault("NotAuthenticated", self.spelling, fields)

    # -- properties -------------------------------------------------------------------------------------------------

    def _retrieve(self, call: Call, session: Session | None, fault: Fault | None) -> Answer:
        unknown = self._unknown(call)
        if unknown and self.invalid_property == "fault":
            return soap.fault("InvalidProperty", self.spelling, f"<name>{unknown[0]}</name>")
        if session is not None and session.state == ENDED:
            return soap.objects_response(call.name, [], None, self.spelling)
        found = self._backend.objects(call)
        if isinstance(found, Answer):
            return found
        for path in unknown:
            inside = f"<name>{path}</name>"
            found = [soap.with_missing(one, path, "InvalidProperty", inside) for one in found]
        asked = int(call.text("options", "maxObjects") or 0) or len(found)
        size = min(asked, self.page_limit or asked)
        if call.name == "RetrieveProperties":
            size = len(found)
        tolerant = call.text("specSet", "reportMissingObjectsInResults") == "true"
        paths = frozenset(call.texts("specSet", "propSet", "pathSet"))
        starts = call.element.iterfind(f"{soap.VIM}specSet/{soap.VIM}objectSet")
        asked = frozenset(
            one.findtext(soap.VIM + "obj") or "" for one in starts if one.findtext(soap.VIM + "skip") != "true"
        )
        return self._page(call.name, Page(found, size, tolerant, paths, asked), session, fault)

    def _continue(self, call: Call, session: Session | None, fault: Fault | None) -> Answer:
        if session is not None and session.state == ENDED:
            return soap.objects_response(call.name, [], None, self.spelling)
        page = None if session is None else session.pages.pop(call.text("token") or "", None)
        if session is None:
            return self._not_authenticated(call)
        if page is None:
            return soap.fault("InvalidArgument", self.spelling, "<invalidProperty>token</invalidProperty>")
        return self._page(call.name, page, session, fault)

    def _page(self, name: str, page: Page, session: Session | None, fault: Fault | None) -> Answer:
        """Tell so many objects as a page has room for, and keep the others under a new token."""
        with self.lock:
            kind = fault.kind if fault else None
            here, left = page.objects[: page.size], page.objects[page.size :]
            lost = self.gone(here)
            if lost and not page.tolerant:
                return soap.fault("ManagedObjectNotFound", self.spelling, soap.ref("obj", *lost))
            if kind == "drop_token" and fault is not None and fault.keep is not None:
                here = here[: fault.keep]
            told = self.shown(here, page.paths, page.asked)
            if kind == "no_objects":
                told, left = [], []
            elif kind == "repeat" and told:
                told.append(told[-1])
            token = None
            if left and session is not None and kind != "drop_token":
                token = str(next(session.tokens))
                session.pages[token] = replace(page, objects=left)
            return soap.objects_response(name, told, token, self.spelling)

    def _unknown(self, call: Call) -> list[str]:
        """Return the paths of a request that the release does not know."""
        said = []
        for spec in call.element.iterfind(f"{soap.VIM}specSet/{soap.VIM}propSet"):
            kind = spec.findtext(soap.VIM + "type") or ""
            for path in (element.text or "" for element in spec.iterfind(soap.VIM + "pathSet")):
                known = self.release is None or schema.knows(self.release, kind, path)
                if path in self.unknown_paths or not known:
                    said.append(path)
        return said

    # -- rights -----------------------------------------------------------------------------------------------------

    def _privileges(self, call: Call) -> Answer:
        rows = []
        for entity in call.element.iterfind(soap.VIM + "entity"):
            held = "".join(
                f"<privAvailability><privId>{name}</privId>"
                f"<isGranted>{str(self._granted(name, entity.text)).lower()}</isGranted></privAvailability>"
                for name in call.texts("privId")
            )
            rows.append(f"<returnval>{soap.ref('entity', entity.get('type'), entity.text)}{held}</returnval>")
        return soap.response(call.name, "".join(rows), self.spelling)

    def _granted(self, privilege: str, moid: str) -> bool:
        return privilege not in self.refused_privileges and moid not in self.refused_on and not self.hidden(moid)

    def _permissions(self, call: Call, permissions: Iterable[Permission]) -> Answer:
        of = call.text("entity")
        return soap.response(
            call.name,
            "".join(
                f"<returnval>{soap.ref('entity', *one.entity)}<principal>{soap.escape(one.principal)}</principal>"
                f"<group>{str(one.group).lower()}</group><roleId>{one.role}</roleId>"
                f"<propagate>{str(one.propagate).lower()}</propagate></returnval>"
                for one in permissions
                # of what an account may not see it is not told who may
                if (of is None or one.entity[1] == of) and not self.hidden(one.entity[1])
            ),
            self.spelling,
        )


def _kinds(call: Call, session: Session | None) -> frozenset[str]:
    """Return the types that a request is about."""
    if call.element is None:
        return frozenset()
    if call.name == "ContinueRetrievePropertiesEx" and session is not None:
        page = session.pages.get(call.text("token") or "")
        return frozenset() if page is None or not page.objects else frozenset({soap.moid_of(page.objects[0])[0]})
    return frozenset({*call.texts("specSet", "propSet", "type"), *call.texts("type"), call.this[0]} - {""})


def _open_to_all(call: Call) -> bool:
    return call.name in _BEFORE_LOGIN or (call.name == "Fetch" and call.this[0] == "ServiceInstance")


def _rendered(double: VcenterDouble, esxi: bool) -> Backend:
    from tests.doubles.vcenter.rendered import Rendered

    return Rendered(double, esxi=esxi)
