"""A vCenter, or one ESXi host, without the simulator: the calls that readers make, answered from an Inventory.

Sessions, views and rights are its own; pages, faults and what hides objects are server.py's.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.doubles.https.wire import Answer
from tests.doubles.vcenter import soap
from tests.doubles.vcenter.inventory import Inventory, is_a
from tests.doubles.vcenter.releases import RELEASES
from tests.doubles.vcenter.soap import VIM, Call
from tests.doubles.vcenter.values import Array, Data, Ref, Stamp, Value, typed
from tests.doubles.vcenter.values import field as element

if TYPE_CHECKING:
    from tests.doubles.vcenter.server import VcenterDouble

INSTANCE = "3c0b8f0e-6a57-4c3e-9a44-2f1f0b7ad001"
READ = ("System.Anonymous", "System.Read", "System.View")
ROLES = (
    (-5, "NoAccess", "No access", ()),
    (-4, "Anonymous", "Anonymous", ("System.Anonymous",)),
    (-3, "View", "View", ("System.Anonymous", "System.View")),
    (-2, "ReadOnly", "Read-only", READ),
    (-1, "Admin", "Administrator", (*READ, "VirtualMachine.Inventory.Create", "Host.Config.Settings")),
)


@dataclass
class Login:
    """What one session has: who it is, and the views it made."""

    key: str
    since: str
    agent: str
    views: dict[str, tuple[str, tuple[str, ...], bool]] = field(default_factory=dict)
    calls: int = 0


class Rendered:
    """Answers calls about objects that a test describes."""

    def __init__(self, double: VcenterDouble, *, esxi: bool) -> None:
        self._double = double
        self._esxi = esxi
        self.instance_uuid = INSTANCE
        self.roles: list[tuple[int, str, str, tuple[str, ...]]] = list(ROLES)
        self.inventory = Inventory(double.release or RELEASES["8.0.3"], esxi=esxi)
        self._logins: dict[str, Login] = {}
        prefix = "ha-" if esxi else ""
        self._ids = {
            "PropertyCollector": "ha-property-collector" if esxi else "propertyCollector",
            "ViewManager": "ViewManager",
            "SessionManager": f"{prefix}sessionmgr" if esxi else "SessionManager",
            "AuthorizationManager": f"{prefix}authmgr" if esxi else "AuthorizationManager",
        }

    def show(self, *, instance_uuid: str | None = None, **objects: Any) -> None:
        """Let there be these objects from now on; in a vCenter that was built anew where it has another uuid."""
        with self._double.lock:
            self.instance_uuid = instance_uuid or self.instance_uuid
            self.inventory.show(**objects)

    # -- calls ------------------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Answer:
        with self._double.lock:
            return self._answer(call)

    def _answer(self, call: Call) -> Answer:
        if call.name == "RetrieveServiceContent":
            return self._said(call, element("returnval", self._content(), self._spelling))
        if call.name == "Login":
            return self._login(call)
        if call.name == "CurrentTime":
            return self._said(call, f"<returnval>{self._now()}</returnval>")
        if call.name == "Fetch" and call.this[0] == "ServiceInstance":
            return self._said(call, typed("returnval", self._content(), self._spelling))
        login = self._logins.get(call.cookie)
        if login is None:
            return self._fault(
                "NotAuthenticated", soap.ref("object", *call.this) + "<privilegeId>System.View</privilegeId>"
            )
        login.calls += 1
        return self._known(call, login)

    def _known(self, call: Call, login: Login) -> Answer:
        match call.name:
            case "Logout":
                del self._logins[call.cookie]
                return self._said(call)
            case "CreateContainerView":
                return self._new_view(call, login)
            case "DestroyView":
                if login.views.pop(call.this[1], None) is None:
                    return self._not_found(call.this)
                return self._said(call)
            case "Fetch":
                return self._fetch(call, login)
            case "HasPrivilegeOnEntities" | "HasPrivilegeOnEntity":
                return self._privileges(call)
            case "FetchUserPrivilegeOnEntities":
                return self._user_privileges(call)
            case "RetrieveAllPermissions" | "RetrieveEntityPermissions":
                return self._permissions(call)
            case "RetrieveRolePermissions":
                return self._permissions(call, int(call.text("roleId") or 0))
        return self._fault("MethodNotFound", f"{soap.ref('receiver', *call.this)}<method>{call.name}</method>")

    def objects(self, call: Call) -> list[bytes] | Answer:
        """Return every object that the filters select, or the fault."""
        with self._double.lock:
            login = self._logins.get(call.cookie)
            if login is None:
                fields = soap.ref("object", *call.this) + "<privilegeId>System.View</privilegeId>"
                return self._fault("NotAuthenticated", fields)
            login.calls += 1
            found: dict[str, bytes] = {}
            for spec in call.element.iterfind(VIM + "specSet"):
                if isinstance(fault := self._filter(spec, login, found), Answer):
                    return fault
            return list(found.values())

    def _now(self) -> str:
        return _stamp(self._double.clock_skew_s)

    @property
    def _spelling(self) -> soap.Spelling:
        return self._double.spelling

    def _said(self, call: Call, inside: str = "", **headers: str) -> Answer:
        return soap.response(call.name, inside, self._spelling, **headers)

    def _fault(self, kind: str, fields: str = "") -> Answer:
        return soap.fault(kind, self._spelling, fields)

    def _not_found(self, ref: tuple[str, str]) -> Answer:
        return self._fault("ManagedObjectNotFound", soap.ref("obj", *ref))

    # -- who asks ---------------------------------------------------------------------------------------------------

    def _login(self, call: Call) -> Answer:
        if (call.text("userName"), call.text("password")) != (self._double.username, self._double.password):
            return self._fault("InvalidLogin")
        key = str(uuid.uuid4())
        login = self._logins[key] = Login(key, self._now(), call.headers.get("user-agent", ""))
        cookie = f'vmware_soap_session="{key}"; Path=/; HttpOnly; Secure;'
        return self._said(call, element("returnval", self._session(login), self._spelling), **{"Set-Cookie": cookie})

    @property
    def account(self) -> str:
        """The user as vCenter names him: user@vsphere.local is VSPHERE.LOCAL\\user."""
        name, at_, domain = self._double.username.partition("@")
        return f"{domain.upper()}\\{name}" if at_ else name

    def _session(self, login: Login) -> Data:
        return Data(
            "UserSession",
            {
                "key": login.key,
                "userName": self.account,
                "fullName": self.account,
                "loginTime": Stamp(login.since),
                "lastActiveTime": Stamp(self._now()),
                "locale": "en",
                "messageLocale": "en",
                "extensionSession": False,
                "ipAddress": "127.0.0.1",
                "userAgent": login.agent,
                "callCount": login.calls,
            },
        )

    def _content(self) -> Data:
        release = self._double.release or RELEASES["8.0.3"]
        about = Data("AboutInfo", dict(release.about(self.instance_uuid, esxi=self._esxi)))
        managers: dict[str, Value | None] = {
            name: Ref(kind, self._ids[kind])
            for name, kind in (
                ("propertyCollector", "PropertyCollector"),
                ("viewManager", "ViewManager"),
            )
        }
        content: dict[str, Value | None] = {
            "rootFolder": self.inventory.root,
            **managers,
            "about": about,
            "sessionManager": Ref("SessionManager", self._ids["SessionManager"]),
            "authorizationManager": Ref("AuthorizationManager", self._ids["AuthorizationManager"]),
        }
        shown = {name: one for name, one in content.items() if name not in self._double.without_managers}
        return Data("ServiceContent", shown)

    def _privileges(self, call: Call) -> Answer:
        rows = []
        for entity in call.element.iterfind(VIM + "entity"):
            held = "".join(
                f"<privAvailability><privId>{name}</privId><isGranted>{str(name in READ).lower()}</isGranted></privAvailability>"
                for name in call.texts("privId")
            )
            rows.append(f"<returnval>{soap.ref('entity', entity.get('type'), entity.text)}{held}</returnval>")
        return self._said(call, "".join(rows))

    def _user_privileges(self, call: Call) -> Answer:
        held = "".join(f"<privileges>{name}</privileges>" for name in READ)
        rows = [
            f"<returnval>{soap.ref('entity', entity.get('type'), entity.text)}{held}</returnval>"
            for entity in call.element.iterfind(VIM + "entities")
        ]
        return self._said(call, "".join(rows))

    def _permissions(self, call: Call, role: int = -2) -> Answer:
        """Tell of one permission: this account reads the root and all below. Others are said on the double."""
        root = self.inventory.root
        if (entity := call.text("entity")) not in {None, root.moid} or role != -2:
            return (
                self._said(call)
                if entity is None or entity in self.inventory.nodes
                else self._not_found(("Folder", entity))
            )
        row = (
            f"<returnval>{soap.ref('entity', root.type, root.moid)}<principal>{soap.escape(self.account)}</principal>"
            "<group>false</group><roleId>-2</roleId><propagate>true</propagate></returnval>"
        )
        return self._said(call, row)

    # -- views and properties ---------------------------------------------------------------------------------------

    def _new_view(self, call: Call, login: Login) -> Answer:
        container = call.text("container") or ""
        if container not in self.inventory.nodes:
            return self._not_found(("Folder", container))
        view = f"session[{login.key}]{uuid.uuid4()}"
        login.views[view] = (container, tuple(call.texts("type")), call.text("recursive") == "true")
        return self._said(call, soap.ref("returnval", "ContainerView", view))

    def _seen(self, view: str, login: Login) -> list[Ref] | None:
        if view not in login.views:
            return None
        container, kinds, recursive = login.views[view]
        return self.inventory.view(container, kinds, recursive=recursive)

    def _fetch(self, call: Call, login: Login) -> Answer:
        path = call.text("prop") or ""
        value: Value | None
        match call.this[0]:
            case "ContainerView":
                seen = self._seen(call.this[1], login)
                if seen is None:
                    return self._not_found(call.this)
                value = Array("ManagedObjectReference", seen) if path == "view" else None
            case "SessionManager":
                value = self._session(login) if path == "currentSession" else None
            case "AuthorizationManager":
                value = self._roles() if path == "roleList" else None
            case _:
                node = self.inventory.nodes.get(call.this[1])
                if node is None:
                    return self._not_found(call.this)
                value = self.inventory.value(node, path)
        return self._said(call, typed("returnval", value, self._spelling) if value is not None else "")

    def _roles(self) -> Array:
        return Array(
            "AuthorizationRole",
            [
                Data(
                    "AuthorizationRole",
                    {
                        "roleId": number,
                        "system": number < 0,
                        "name": name,
                        "info": Data("Description", {"label": label, "summary": label}, typed=True),
                        "privilege": Array("string", list(privileges)),
                    },
                )
                for number, name, label, privileges in self.roles
            ],
        )

    def _filter(self, spec: Any, login: Login, found: dict[str, bytes]) -> Answer | None:
        """Add what one PropertyFilterSpec selects, in its order; return a fault where it selects what is not there."""
        wanted = {
            row.findtext(VIM + "type"): (
                row.findtext(VIM + "all") == "true",
                [path.text for path in row.iterfind(VIM + "pathSet")],
            )
            for row in spec.iterfind(VIM + "propSet")
        }
        tolerant = spec.findtext(VIM + "reportMissingObjectsInResults") == "true"
        for start in spec.iterfind(VIM + "objectSet"):
            obj = start.find(VIM + "obj")
            ref = Ref(obj.get("type"), obj.text)
            steps = {
                row.findtext(VIM + "name"): row
                for row in start.iterfind(VIM + "selectSet")
                if row.find(VIM + "path") is not None
            }
            if not self._exists(ref, login):
                if tolerant:
                    if ref.type != "ContainerView" and start.findtext(VIM + "skip") != "true":
                        paths = wanted.get(ref.type, (False, []))[1]
                        gone = soap.ref("obj", ref.type, ref.moid)
                        found[ref.moid] = soap.refused(ref.type, ref.moid, paths, "ManagedObjectNotFound", gone)
                    continue
                return self._not_found((ref.type, ref.moid))
            hops = list(start.iterfind(VIM + "selectSet"))
            self._visit(ref, hops, steps, start.findtext(VIM + "skip") != "true", wanted, login, found)
        return None

    def _exists(self, ref: Ref, login: Login) -> bool:
        return ref.moid in (login.views if ref.type == "ContainerView" else self.inventory.nodes) or ref.moid in {
            "ServiceInstance",
            *self._ids.values(),
        }

    def _visit(
        self,
        ref: Ref,
        hops: list[Any],
        named: dict[str | None, Any],
        told: bool,
        wanted: dict[Any, tuple[bool, list[Any]]],
        login: Login,
        found: dict[str, bytes],
    ) -> None:
        if told and ref.moid not in found:
            kinds = sorted((kind for kind in wanted if is_a(ref.type, kind)), key=lambda kind: kind != ref.type)
            if kinds and (one := self._object(ref, *wanted[kinds[0]], login)):
                found[ref.moid] = one
        for hop in hops:
            step = hop if hop.find(VIM + "path") is not None else named.get(hop.findtext(VIM + "name"))
            if step is None or not is_a(ref.type, step.findtext(VIM + "type")):
                continue
            for target in self._targets(ref, step.findtext(VIM + "path"), login):
                onward = list(step.iterfind(VIM + "selectSet"))
                self._visit(target, onward, named, step.findtext(VIM + "skip") != "true", wanted, login, found)

    def _targets(self, ref: Ref, path: str, login: Login) -> Iterable[Ref]:
        if ref.type == "ContainerView":
            return self._seen(ref.moid, login) or []
        node = self.inventory.nodes.get(ref.moid)
        value = self.inventory.value(node, path) if node else None
        if isinstance(value, Ref):
            return [value]
        return [one for one in value.items if isinstance(one, Ref)] if isinstance(value, Array) else []

    def _object(self, ref: Ref, every: bool, paths: list[str], login: Login) -> bytes | None:
        node = self.inventory.nodes.get(ref.moid)
        rows: Iterable[tuple[str, str]]
        if node is not None:
            asked = list(self.inventory.tree(node).fields) if every else paths
            rows = self.inventory.told(node, sorted(asked) if self._spelling == "vpxd" else asked, self._spelling)
        else:
            own = self._manager(ref, login)
            rows = [
                (path, typed("val", value, self._spelling))
                for path in (own if every else paths)
                if (value := own.get(path)) is not None
            ]
        said = "".join(f"<propSet><name>{path}</name>{text}</propSet>" for path, text in rows)
        return f"<objects>{soap.ref('obj', ref.type, ref.moid)}{said}</objects>".encode()

    def _manager(self, ref: Ref, login: Login) -> dict[str, Value | None]:
        match ref.type:
            case "ContainerView":
                return {"view": Array("ManagedObjectReference", self._seen(ref.moid, login) or [])}
            case "SessionManager":
                return {"currentSession": self._session(login)}
            case "AuthorizationManager":
                return {"roleList": self._roles()}
            case "ServiceInstance":
                return {"content": self._content()}
        return {}


def _stamp(skew_s: int) -> str:
    now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=skew_s)
    return now.isoformat(timespec="microseconds").replace("+00:00", "Z")
