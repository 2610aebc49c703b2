"""What a test takes away from the objects that are told, or changes in them: hidden, gone, denied, without a property.

`VcenterDouble` is one of these; its server.py asks here before an answer goes out. Thread-safe.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection

from tests.doubles.vcenter import soap

_LISTED = re.compile(rb'<ManagedObjectReference type="\w+">([^<]*)</ManagedObjectReference>')


class Changes:
    """What is shown otherwise than it is. `references` are the ids in lists of other objects, as HostSystem.vm."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._hidden: set[str] = set()
        self._unlisted: set[str] = set()
        self._gone: set[str] = set()
        self._swallowed: set[str] = set()
        self._repeated: set[str] = set()
        self._absent: dict[str, set[str]] = {}
        self._values: dict[str, dict[str, str]] = {}
        self._denied: dict[str, dict[str, tuple[str, str]]] = {}
        self.silent_about: set[str] = set()  # ids that nothing at all is answered of, where they are asked for

    # -- what tests say ---------------------------------------------------------------------------------------------

    def hide(self, *moids: str, references: bool = True) -> None:
        """Take objects out of all that is told, silently, as a missing right does; or leave the references to them."""
        with self.lock:
            (self._hidden if references else self._unlisted).update(moids)

    def swallow(self, *moids: str) -> None:
        """Leave objects out where their properties are read, while views and lists still show them."""
        with self.lock:
            self._swallowed.update(moids)

    def repeat(self, *moids: str) -> None:
        """Tell objects twice where their properties are read, as pages of a list that moves on do."""
        with self.lock:
            self._repeated.update(moids)

    def unhide(self, *moids: str) -> None:
        """Show objects again that were hidden, swallowed or deleted."""
        with self.lock:
            for kept in (self._hidden, self._unlisted, self._gone, self._swallowed):
                kept.difference_update(moids)

    def delete(self, *moids: str) -> None:
        """Let objects be gone: a page that still had them to tell leaves them out, or fails where it was not told to."""
        with self.lock:
            self._gone.update(moids)

    def deny(self, moid: str, path: str, fault: str = "NoPermission", fields: str | None = None) -> None:
        """Put a path of an object into its missingSet, wherever it is asked for."""
        usual = f"{soap.ref('object', 'Folder', 'group-d1')}<privilegeId>System.Read</privilegeId>"
        said = fields if fields is not None else usual if fault == "NoPermission" else ""
        with self.lock:
            self._denied.setdefault(moid, {})[path] = (fault, said)

    def leave_out(self, moid: str, *paths: str) -> None:
        """Let properties of an object be unset: "guest.net", or "config.*" for all under one."""
        with self.lock:
            self._absent.setdefault(moid, set()).update(paths)

    def put(self, moid: str, path: str, kind: str, inside: str) -> None:
        """Give a property of an object another value: `kind` is its xsi:type, `inside` its XML."""
        with self.lock:
            self._values.setdefault(moid, {})[path] = f'<val xsi:type="{kind}">{inside}</val>'

    def move(self, moid: str, host: str) -> None:
        """Let a machine run on another host."""
        value = f'<val type="HostSystem" xsi:type="ManagedObjectReference">{host}</val>'
        with self.lock:
            self._values.setdefault(moid, {})["runtime.host"] = value

    def connection(self, moid: str, state: str) -> None:
        """Let a machine be inaccessible, orphaned, invalid or disconnected: its configuration is not known then."""
        self.leave_out(moid, "config.*", "guest.*", "summary.config.guestFullName", "summary.config.guestId")
        self.put(moid, "runtime.connectionState", "VirtualMachineConnectionState", state)

    def agent_machine(self, moid: str) -> None:
        """Let a machine be one that vSphere Cluster Services run for themselves."""
        said = "<extensionKey>VirtualCenter</extensionKey><type>cluster-agent</type>"
        self.put(moid, "config.managedBy", "ManagedByInfo", said)

    def forget(self) -> None:
        """Show everything as it is again."""
        with self.lock:
            hidden = (self._hidden, self._unlisted, self._gone, self._swallowed, self._repeated)
            for kept in (*hidden, self._absent, self._values, self._denied, self.silent_about):
                kept.clear()

    def hidden(self, moid: str) -> bool:
        """Say whether the account may not see an object."""
        with self.lock:
            return moid in self._hidden | self._unlisted

    # -- what server.py asks ----------------------------------------------------------------------------------------

    def gone(self, objects: list[bytes]) -> tuple[str, str] | None:
        """Return type and id of the first of these objects that is there no more."""
        if not self._gone:
            return None
        return next((ref for ref in map(soap.moid_of, objects) if ref[1] in self._gone), None)

    def shown(self, objects: list[bytes], paths: Collection[str], asked: Collection[str] = ()) -> list[bytes]:
        """Return these objects as they are to be told to who asked for these paths (none: for all of them).

        `asked` are the ids that were asked for as such: of one that is hidden or gone it is said that it is.
        """
        with self.lock:
            out = self._hidden | self._gone | self._unlisted | self._swallowed
            named = [(*soap.moid_of(one), one) for one in objects]
            told = []
            for kind, moid, one in named:
                if moid in asked and moid in self.silent_about:
                    continue
                if moid in asked and (fault := self.fault_of(moid)):
                    told.append(soap.refused(kind, moid, sorted(paths), *fault))
                elif moid not in out:
                    told.append(self._edited(kind, moid, one, paths))
            if self._repeated:
                told += [one for one in told if soap.moid_of(one)[1] in self._repeated]
            return told

    def fault_of(self, moid: str) -> tuple[str, str] | None:
        """Return the fault, and its fields, that is answered of an object by itself, None where it is shown."""
        with self.lock:
            if moid in self._gone:
                return "ManagedObjectNotFound", soap.ref("obj", "ManagedEntity", moid)
            if self.hidden(moid):
                said = f"{soap.ref('object', 'ManagedEntity', moid)}<privilegeId>System.Read</privilegeId>"
                return "NoPermission", said
        return None

    def listed(self, body: bytes, *, view: bool) -> bytes:
        """Take hidden objects out of the lists of references in a body; `view`: the list is a view's."""
        with self.lock:
            out = self._hidden | self._gone | (self._unlisted if view else set())
        if not out:
            return body
        return _LISTED.sub(lambda found: b"" if found[1].decode() in out else found[0], body)

    def _edited(self, kind: str, moid: str, one: bytes, paths: Collection[str]) -> bytes:
        one = self.listed(one, view=kind == "ContainerView")
        if absent := self._absent.get(moid):
            one = soap.without(one, absent)
        for path, value in self._values.get(moid, {}).items():
            if not paths or path in paths:
                one = soap.with_property(one, path, value)
        for path, (fault, fields) in self._denied.get(moid, {}).items():
            if not paths or path in paths:
                one = soap.with_missing(one, path, fault, fields)
        return one
