"""An independent client for the tests of the double: pyvmomi's own connection and property collector, nothing of ours."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.doubles.vcenter.server import VcenterDouble


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that trusts one authority, and checks names."""
    return ssl.create_default_context(cafile=str(ca_file))


@contextlib.contextmanager
def connected(vc: VcenterDouble, **said: Any) -> Iterator[Any]:
    """Log in as pyvmomi does it by itself, and out again."""
    from pyVim.connect import Disconnect, SmartConnect

    given = {"user": vc.username, "pwd": vc.password, "sslContext": trusting(vc.ca_file), "httpConnectionTimeout": 5}
    service = SmartConnect(host="127.0.0.1", port=vc.port, **(given | said))
    try:
        yield service
    finally:
        with contextlib.suppress(Exception):
            Disconnect(service)


def view_of(content: Any, kind: Any) -> Any:
    return content.viewManager.CreateContainerView(content.rootFolder, [kind], True)


def filter_of(view: Any, kind: Any, paths: list[str], *, tolerant: bool = True) -> Any:
    from pyVmomi import vim, vmodl

    collector = vmodl.query.PropertyCollector
    hop = collector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    return collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[hop])],
        propSet=[collector.PropertySpec(type=kind, pathSet=paths, all=False)],
        reportMissingObjectsInResults=tolerant,
    )


def first_page(content: Any, kind: Any, paths: list[str], *, size: int = 4, tolerant: bool = True) -> Any:
    from pyVmomi import vmodl

    options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=size)
    wanted = filter_of(view_of(content, kind), kind, paths, tolerant=tolerant)
    return content.propertyCollector.RetrievePropertiesEx([wanted], options)


def read(content: Any, kind: Any, paths: list[str], *, size: int = 4, tolerant: bool = True) -> list[Any]:
    """Read all pages; return the ObjectContents in order."""
    page = first_page(content, kind, paths, size=size, tolerant=tolerant)
    found = []
    while page is not None:
        found += page.objects
        if not page.token:
            break
        page = content.propertyCollector.ContinueRetrievePropertiesEx(page.token)
    return found


def values(found: list[Any]) -> dict[str, dict[str, Any]]:
    """Return properties by object and path."""
    return {one.obj._moId: {prop.name: prop.val for prop in one.propSet} for one in found}


def told_bytes(vc: VcenterDouble, service: Any, kind: Any, paths: list[str]) -> bytes:
    """Read all objects in one page, and return the answer's body as it came."""
    from pyVmomi import vmodl

    collector, stub = service.content.propertyCollector, service._stub
    wanted = filter_of(view_of(service.content, kind), kind, paths)
    arguments = ([wanted], vmodl.query.PropertyCollector.RetrieveOptions())
    body = stub.SerializeRequest(collector, type(collector)._GetMethodInfo("RetrievePropertiesEx"), arguments)
    wire = http.client.HTTPSConnection("127.0.0.1", vc.port, context=trusting(vc.ca_file), timeout=10)
    try:
        wire.request("POST", "/sdk", body, {"Cookie": stub.cookie, "SOAPAction": stub.versionId})
        return wire.getresponse().read()
    finally:
        wire.close()
