"""Properties of many objects at once, page after page to the last, as bytes: RetrievePropertiesEx over a view.

What comes back is cut, not deserialised: pyvmomi takes a millisecond for a virtual machine. Used by `survey` and
`collector`; what a page may look like is `cutter`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asset_ledger.sources.vcenter.client import FaultError, VcenterClient
from asset_ledger.sources.vcenter.cutter import Cutter
from asset_ledger.sources.vcenter.slices import END, XSI_TYPE, elements

_PAGE = 1000


class Retrieval:
    """One question to the PropertyCollector. Iterating gives slices as they come, with the namespaces they are in.

    `optional` are paths that the server need not know: one that it refuses is left out, and the question asked anew,
    which it can be as long as nothing was answered. `pages` were read, `ended` once the last of them was.
    """

    def __init__(
        self,
        client: VcenterClient,
        objects: Sequence[Any],
        kind: str,
        paths: Sequence[str],
        *,
        optional: Sequence[str] = (),
        page_size: int = _PAGE,
    ) -> None:
        """Take what `over` or `of` give, the type's name and the leaf paths.

        An object that is there no more fails no page; therefore a session or view that ended may be answered with
        nothing at all, and what comes must be counted.
        """
        self._client, self._objects, self._kind = client, objects, kind
        self._paths, self._optional = list(paths), set(optional)
        self._page_size = page_size
        self.dropped: tuple[str, ...] = ()
        self.pages = 0
        self.ended = False

    def __iter__(self) -> Iterator[tuple[list[bytes], Mapping[str, str]]]:
        """Yield slices in the order they come, some at a time. Raises the LedgerError of whatever ends it early."""
        method, arguments = "RetrievePropertiesEx", self._question()
        while True:
            cutter = Cutter(method, self._client.target)
            try:
                with self._client.stream(self._collector, method, arguments) as chunks:
                    for chunk in chunks:
                        if found := cutter.feed(chunk):
                            yield found, cutter.namespaces
                    cutter.end()
            except FaultError as refused:
                unknown = refused.fault.fields.get("name", "")
                if refused.fault.name != "InvalidProperty" or unknown not in self._optional or self.pages:
                    raise refused.error from None
                self._paths.remove(unknown)
                self._optional.remove(unknown)
                self.dropped += (unknown,)
                arguments = self._question()
                continue
            self.pages += 1
            if cutter.token is None:
                self.ended = True
                return
            method, arguments = "ContinueRetrievePropertiesEx", [cutter.token]

    def parsed(self) -> Iterator[Any]:
        """Yield each object as an element of lxml, for questions with small answers."""
        for slices, namespaces in self:
            yield from elements([one.removesuffix(END) for one in slices], namespaces, self._client.target)

    @property
    def _collector(self) -> Any:
        return self._client.content.propertyCollector

    def _question(self) -> list[Any]:
        from pyVmomi import vmodl

        ask = vmodl.query.PropertyCollector
        what = ask.PropertySpec(type=_type(self._kind), pathSet=list(self._paths), all=False)
        where = ask.FilterSpec(objectSet=list(self._objects), propSet=[what], reportMissingObjectsInResults=True)
        return [[where], ask.RetrieveOptions(maxObjects=self._page_size)]


def over(view: Any) -> list[Any]:
    """Return the question's objects for everything in a view."""
    from pyVmomi import vim, vmodl

    ask = vmodl.query.PropertyCollector
    hop = ask.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    return [ask.ObjectSpec(obj=view, skip=True, selectSet=[hop])]


def of(managed: Any) -> list[Any]:
    """Return the question's objects for one object."""
    from pyVmomi import vmodl

    return [vmodl.query.PropertyCollector.ObjectSpec(obj=managed, skip=False)]


def texts(found: Any) -> dict[str, str]:
    """Return the plain properties of an object's element by their paths."""
    return {
        one.findtext("name"): value.text or ""
        for one in found.iterfind("propSet")
        if (value := one.find("val")) is not None and not len(value)
    }


def references(found: Any, path: str) -> tuple[str, ...] | None:
    """Return the ids in a property that is a list of references, None where the object has it not."""
    for one in found.iterfind("propSet"):
        if one.findtext("name") == path and (value := one.find("val")) is not None:
            return tuple(one.text or "" for one in value)
    return None


def reference(found: Any, path: str) -> tuple[str, str]:
    """Return type and id that a property refers to, both "" where the object has it not."""
    for one in found.iterfind("propSet"):
        if one.findtext("name") == path and (value := one.find("val")) is not None:
            return value.get("type") or "", value.text or ""
    return "", ""


def fault_at(found: Any, path: str) -> str:
    """Return the name of the fault that stands in a property's place, "" for none."""
    for one in found.iterfind("missingSet"):
        if one.findtext("path") == path:
            fault = one.find("fault/fault")
            return "" if fault is None else (fault.get(XSI_TYPE) or "").rpartition(":")[2]
    return ""


def _type(name: str) -> Any:
    from pyVmomi import vim

    return vim.view.ContainerView if name == "ContainerView" else getattr(vim, name)
