"""An exported Pulumi stack, or a checkpoint, as a snapshot. Pure; the body was checked by `documents` before.

Secrets stand in it as objects that carry a key of their own; encrypted again they look changed and are not, so each
becomes one mark here, whatever is in it, and `redaction` never sees what it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from asset_ledger.domain.iac.edges import Edge, Edges, Kind
from asset_ledger.domain.iac.exact_json import storable
from asset_ledger.domain.iac.skimming import member
from asset_ledger.domain.iac.snapshot import Path, Place, Resource, Snapshot, one_a_place

SPECIAL = "4dabf18193072939515e22adb298388d"
_REFERENCE = "5cf8f73096256a8f31e491e813e4eb8e"
_KINDS = {
    "d0e6a833031e9bbcd3f4e8bde6ca49a4": "output",
    "803fd3297a5875dc03ca845dda5d2a98": "bytes",
    "c44067f5952c0a294b673a41bacd8c17": "asset",
    "0def7320c3a5731c473e5ecbe6d01bc7": "archive",
}
HIDDEN = "redacted:pulumi"
STACK = "pulumi:pulumi:Stack"
_PROVIDERS = "pulumi:providers:"
_LETTER = re.compile(rb"\\u00[67]")


def read(document: Mapping[str, Any]) -> Snapshot:
    """Return the resources of a parsed export or checkpoint."""
    deployment = deployment_of(document)
    manifest = deployment.get("manifest")
    skipped: list[str] = []
    resources = one_a_place(_resources(deployment, skipped), skipped)
    version = manifest.get("version") if isinstance(manifest, Mapping) else None
    return Snapshot(
        tool="pulumi",
        serial=None,
        lineage=None,
        tool_version=storable(version) if isinstance(version, str) and version else None,
        resources=resources,
        skipped=tuple(map(storable, skipped)),
    )


def deployment_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the deployment of an export, or the latest of a checkpoint; empty where there was none."""
    found = document.get("deployment")
    if not isinstance(found, Mapping):
        checkpoint = document.get("checkpoint")
        found = checkpoint.get("latest") if isinstance(checkpoint, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def exported(body: bytes) -> bytes:
    """Return a kept body as `pulumi stack export` would print it. It was recognised before.

    An export is what it is. Of a checkpoint it is the deployment, its bytes untouched, with version and features.
    """
    # most are seen to be exports at a glance: neither name is anywhere, nor any letter that is written as a number
    if b'"checkpoint"' not in body and b'"latest"' not in body and _LETTER.search(body) is None:
        return body
    if member(body, "deployment") is not None:
        return body
    within = member(body, "checkpoint")
    latest = member(body if within is None else within, "latest")
    version = member(body, "version") or b"1"
    features = member(body, "features")
    told = [b'"version":' + version, b'"deployment":' + (latest or b"null")]
    if features is not None:
        told.insert(1, b'"features":' + features)
    return b"{" + b",".join(told) + b"}"


def edges(document: Mapping[str, Any]) -> Edges:
    """Return the edges that a deployment tells: of each property, of the whole, of its provider, and of its parent."""
    found: set[Edge] = set()
    known = {told.get("urn") for told in _told(deployment_of(document))}

    def add(told: Mapping[str, Any], target: Any, kind: Kind) -> None:
        if isinstance(target, str) and target in known and target != told["urn"]:
            found.add(Edge(_place(told), (storable(target), ""), kind))

    for told in _told(deployment_of(document)):
        by_property = told.get("propertyDependencies")
        named = [
            urn for urns in (by_property.values() if isinstance(by_property, Mapping) else ()) for urn in _list(urns)
        ]
        for urn in named:
            add(told, urn, "property")
        for urn in _list(told.get("dependencies")):
            if urn not in named:
                add(told, urn, "config")
        for name in ("deletedWith", "replaceWith"):
            add(told, told.get(name), "config")
        provider = told.get("provider")
        add(told, provider.rpartition("::")[0] if isinstance(provider, str) else None, "provider")  # urn::id
        add(told, told.get("parent"), "parent")
    return Edges(tuple(sorted(found, key=lambda edge: (edge.source, edge.target, edge.kind))))


def _list(told: Any) -> list[Any]:
    return told if isinstance(told, list) else []


def _told(deployment: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for told in _list(deployment.get("resources")):
        if isinstance(told, Mapping) and isinstance(told.get("urn"), str):
            yield told


def _resources(deployment: Mapping[str, Any], skipped: list[str]) -> Iterator[Resource]:
    resources = deployment.get("resources")
    if resources is not None and not isinstance(resources, list):
        skipped.append("`resources` is no list")
        return
    for number, told in enumerate(resources or ()):
        urn, kind = (told.get("urn"), told.get("type")) if isinstance(told, Mapping) else (None, None)
        if not isinstance(urn, str) or not isinstance(kind, str):
            skipped.append(f"resources[{number}] has no urn or no type")
            continue
        # what groups others, and how a provider is configured, are no resources of anybody's
        if kind == STACK or not told.get("custom") or kind.startswith(_PROVIDERS):
            continue
        outputs = _plain(told.get("outputs"))
        attributes = outputs if isinstance(outputs, dict) else {}
        secret = _repeated(_plain(told.get("inputs")), attributes)
        if isinstance(told.get("id"), str):
            attributes.setdefault("id", told["id"])
        marked = _list(told.get("additionalSecretOutputs"))
        yield Resource(
            place=_place(told),
            config=storable(urn),
            provider=storable(f"pulumi/{kind.partition(':')[0].lower()}"),
            alias=storable(_alias(told.get("provider"))),
            type=storable(kind),
            managed=told.get("external") is not True,
            attributes=attributes,
            sensitive=tuple(sorted(secret.union((name,) for name in marked if isinstance(name, str)))),
            dependencies=tuple(storable(each) for each in _list(told.get("dependencies")) if isinstance(each, str)),
            tainted=told.get("taint") is True,
        )


def _repeated(inputs: Any, outputs: Mapping[str, Any]) -> set[Path]:
    """Return the paths at which plain outputs may tell a secret of the plain inputs: providers need not mark it again.

    Inputs that are a secret as a whole make every output one.
    """
    given = inputs if isinstance(inputs, Mapping) else dict.fromkeys(outputs, inputs)
    return set(_told_again([given], [outputs], ())) if _holds_secret(given) else set()


def _told_again(given: list[Any], held: list[Any], way: Path) -> Iterator[Path]:
    """Yield the paths below `way`, where inputs and outputs stand: several below a list, in no order to rely on."""
    held = [each for each in held if each is not None and each != HIDDEN]
    forms = {_form(each) for each in held}
    # what has another form now, such as JSON in a text, has the secret somewhere in it
    if held and any(_holds_secret(each) for each in given if each == HIDDEN or forms != {_form(each)}):
        yield way
    elif forms == {list}:
        yield from _told_again(_elements(given), _elements(held), (*way, "*"))
    elif forms == {dict}:
        wanted, found = _by_name(given), _by_name(held)
        for name in wanted.keys() & found.keys():
            yield from _told_again(wanted[name], found[name], (*way, name))


def _form(value: Any) -> type | None:
    return next((form for form in (dict, list) if isinstance(value, form)), None)


def _by_name(values: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for value in values:
        for name, inner in value.items() if isinstance(value, dict) else ():
            found.setdefault(name, []).append(inner)
    return found


def _elements(values: list[Any]) -> list[Any]:
    return [each for value in values if isinstance(value, list) for each in value]


def _holds_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_secret, value.values()))
    return any(map(_holds_secret, value)) if isinstance(value, list) else value == HIDDEN


def _place(told: Mapping[str, Any]) -> Place:
    """Return the place of an object: several share a urn while the old ones wait to be deleted."""
    urn, old = storable(told["urn"]), told.get("id")
    return urn, f"delete:{storable(old) if isinstance(old, str) else ''}" if told.get("delete") is True else ""


def _alias(provider: Any) -> str:
    """Return the name of a provider that was configured by hand; empty for the stack's own."""
    name = provider.split("::")[-2] if isinstance(provider, str) and provider.count("::") >= 2 else ""
    return "" if name.startswith("default") else name


def _plain(value: Any) -> Any:
    """Return a value with every special object in a plain form."""
    if isinstance(value, Mapping):
        return _special(value) if SPECIAL in value else {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _special(value: Mapping[str, Any]) -> Any:
    kind = value[SPECIAL]
    if kind == _REFERENCE:
        return _plain(value.get("urn") or value.get("id"))
    if isinstance(kind, str) and kind in _KINDS and value.get("secret") is not True:
        held = next((value[name] for name in ("hash", "value", "path", "uri") if value.get(name)), None)
        return {_KINDS[kind]: _plain(held)}
    # a secret, or a kind that is not known: what it holds may be one
    return HIDDEN
