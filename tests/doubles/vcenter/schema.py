"""Which property paths a release knows, as the published API tells it (pyvmomi carries it). Only server.py asks."""

from __future__ import annotations

import functools

from tests.doubles.vcenter.releases import Release


@functools.cache
def since(kind: str, path: str) -> str | None:
    """Return the API version with which a path came ("" for ever), or None where no release has it."""
    from pyVmomi import VmomiSupport, vim  # noqa: F401 - the import of vim makes the types known

    versions = VmomiSupport.versionIdMap
    try:
        at = VmomiSupport.GetWsdlType("urn:vim25", kind)
    except KeyError:
        return None
    newest = ""
    for step in path.split("."):
        try:
            info = at._GetPropertyInfo(step)
        except AttributeError:
            return None
        api = versions.get(info.version, "")
        newest = api if _rank(api) > _rank(newest) else newest
        at = info.type
    return newest


def _rank(api: str) -> tuple[int, ...]:
    return tuple(int(part) for part in api.replace("u", ".").split(".") if part.isdigit()) if api else ()


def knows(release: Release, kind: str, path: str) -> bool:
    """Say whether a release has a property."""
    api = since(kind, path)
    return api is not None and (api in {"", "2.0"} or release.knows(api))
