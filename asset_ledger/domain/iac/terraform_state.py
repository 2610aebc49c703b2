"""A Terraform state, format 3 or 4, as a snapshot. Pure; the body was checked by `documents` before.

What cannot be understood of one resource is said in `skipped` and costs no other. Shapes and traps:
docs/platforms/terraform.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from asset_ledger.domain.iac.addresses import Address, Key, Module, bracketed, module_path
from asset_ledger.domain.iac.exact_json import canonical, storable
from asset_ledger.domain.iac.snapshot import Path, Resource, Snapshot, one_a_place

_CURRENT = re.compile(r'(?:module\.\S+\.)?provider\["(?P<source>[^"]+)"\](?:\.(?P<alias>[\w-]+))?')
_LEGACY = re.compile(r"(?:module\.\S+\.)?provider\.(?P<name>[\w-]+?)(?:\.(?P<alias>[\w-]+))?")
_INDEX = re.compile(r"\.(\*|[0-9]+)$")
_DEEPEST_FLAT = 40
BUILT_IN = "hashicorp"
"""The namespace of providers that a state names by type alone, or with `-`."""
_WRONG = (AttributeError, KeyError, TypeError, ValueError)
"""What comes of reading a value that is not of the kind that Terraform writes there."""


def read(document: Mapping[str, Any]) -> Snapshot:
    """Return the resources of a parsed state. Raises ValueError for a format that is not 3 or 4."""
    skipped: list[str] = []
    version = document.get("version")
    if version == 4:
        found = _current(document, skipped)
    elif version == 3:
        found = _format_3(document, skipped)
    else:
        raise ValueError(f"a state of format {version!r}; 3 and 4 are read")
    resources = one_a_place(found, skipped)
    return Snapshot(
        tool="terraform",
        serial=_whole(document.get("serial")),
        lineage=_text(document.get("lineage")),
        tool_version=_text(document.get("terraform_version")),
        resources=resources,
        skipped=tuple(map(storable, skipped)),
    )


@lru_cache(maxsize=4096)
def provider_of(text: str) -> tuple[str, str]:
    """Return (namespace/type, alias) of what a state says of a resource's provider; ("", "") where it is neither form.

    The host is left out: the same provider is fetched from another one by another tool.
    """
    if found := _CURRENT.fullmatch(text):
        parts = storable(found["source"]).lower().split("/")
        namespace = parts[-2] if len(parts) > 1 else BUILT_IN
        return f"{BUILT_IN if namespace == '-' else namespace}/{parts[-1]}", found["alias"] or ""
    if found := _LEGACY.fullmatch(text):
        return f"{BUILT_IN}/{found['name'].lower()}", found["alias"] or ""
    return "", ""


def _current(document: Mapping[str, Any], skipped: list[str]) -> Iterator[Resource]:
    for number, told in enumerate(_list(document, "resources", skipped)):
        try:
            block = _Block(told)
            instances = told["instances"]
            if not isinstance(instances, list):
                raise TypeError("`instances` is no list")
        except _WRONG as error:
            skipped.append(f"resources[{number}] {_not_as_written(error)}")
            continue
        for place, instance in enumerate(instances):
            try:
                yield block.instance(instance)
            except _WRONG as error:
                skipped.append(f"resources[{number}].instances[{place}] {_not_as_written(error)}")


class _Block:
    """What all instances of one resource share: read once."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        module = told.get("module")
        at = Address(
            module_path(module) if module else (), _mode(told["mode"]), _name(told["type"]), _name(told["name"])
        )
        self._modules, self._type, self._managed = at.modules, storable(at.type), at.mode == "managed"
        self._text, self._config = storable(str(at)), storable(at.config)
        self._provider, self._alias = provider_of(told.get("provider") or "")
        self._needed: tuple[Any, tuple[str, ...]] = (None, ())

    def instance(self, told: Mapping[str, Any]) -> Resource:
        """Return one instance. Raises what `_WRONG` names."""
        key = told.get("index_key")
        attributes = told.get("attributes")
        if attributes is None:
            attributes = _nested(told.get("attributes_flat") or {})
        if not isinstance(attributes, dict):
            raise TypeError("`attributes` is no object")
        marked = told.get("sensitive_attributes")
        deposed = told.get("deposed")
        address = self._text if key is None else self._text + bracketed(_key(key))
        return Resource(
            (address, _name(deposed) if deposed else ""),
            self._config,
            self._provider,
            self._alias,
            self._type,
            self._managed,
            attributes,
            _paths(marked) if marked else (),
            self._dependencies(told),
            told.get("status") == "tainted",
            self._modules,
        )

    def _dependencies(self, told: Mapping[str, Any]) -> tuple[str, ...]:
        found = told.get("dependencies")
        if found:
            if found != self._needed[0]:  # what is true of one instance is mostly true of the next
                self._needed = (found, tuple(map(_name, found)))
            return self._needed[1]
        # until 0.12: as the configuration has them, so of this module
        return _near(told.get("depends_on"), self._modules) if told.get("depends_on") else ()


def _not_as_written(error: Exception) -> str:
    return f"is not as Terraform writes it: {type(error).__name__} {error}"


def _list(document: Mapping[str, Any], name: str, skipped: list[str]) -> list[Any]:
    told = document.get(name)
    if isinstance(told, list):
        return told
    if told is not None:
        skipped.append(f"`{name}` is no list")
    return []


def _mode(told: Any) -> Literal["managed", "data"]:
    if told == "managed":
        return "managed"
    if told == "data":
        return "data"
    raise ValueError("a mode that is neither managed nor data")


def _name(told: Any) -> str:
    if not isinstance(told, str):
        raise TypeError("a name that is no text")
    return storable(told)


def _key(told: Any) -> Key:
    if (isinstance(told, int) and not isinstance(told, bool)) or isinstance(told, str):
        return told
    raise TypeError("an index_key that is neither a number nor a text")


def _near(told: Any, modules: tuple[Module, ...]) -> tuple[str, ...]:
    """Return what a resource says it depends on within its own module, as addresses in the configuration.

    A whole module may be named too; which of its resources are meant is not told.
    """
    head = "".join(f"module.{module.name}." for module in modules)
    return tuple(head + _INDEX.sub("", each) for each in map(_name, told) if not each.startswith("module."))


def _paths(told: Any) -> tuple[Path, ...]:
    """Return the marked paths in one order: Terraform writes them in any."""
    found: set[Path] = set()
    for steps in told:
        path: list[str | int] = []
        for step in steps:
            value = step.get("value")
            # an index is given with its type; a set's element by a value that names no place
            value = value.get("value") if isinstance(value, Mapping) else value
            if isinstance(value, bool) or not isinstance(value, str | int):
                break
            path.append(value)
        found.add(tuple(path))
    return tuple(sorted(found, key=canonical))


def _format_3(document: Mapping[str, Any], skipped: list[str]) -> Iterator[Resource]:
    for number, module in enumerate(_list(document, "modules", skipped)):
        try:
            modules = tuple(Module(_name(step)) for step in module.get("path") or () if step != "root")
            blocks = list((module.get("resources") or {}).items())
        except _WRONG as error:
            skipped.append(f"modules[{number}] {_not_as_written(error)}")
            continue
        for key, block in blocks:
            try:
                yield from _old_resource(modules, key, block)
            except _WRONG as error:
                skipped.append(f"modules[{number}].resources.{key} {_not_as_written(error)}")


def _old_resource(modules: tuple[Module, ...], key: str, block: Mapping[str, Any]) -> Iterator[Resource]:
    # data.type.name.0 and type.name.0: the last part is the place in a list. A name may begin with a digit here
    parts = storable(key).split(".")
    data = parts[0] == "data" and len(parts) > 2
    kind, name, *place = parts[1:] if data else parts
    if len(place) > 1:
        raise ValueError("more parts than type, name and number")
    at = Address(modules, "data" if data else "managed", kind, name, int(place[0]) if place else None)
    provider, alias = provider_of(block.get("provider") or f"provider.{kind.partition('_')[0]}")
    dependencies = _near(block.get("depends_on") or (), modules)
    for deposed, told in [("", block.get("primary")), *_left_behind(block)]:
        if told is None:
            continue
        attributes = told.get("attributes") or {}
        if not isinstance(attributes, dict):
            raise TypeError("`attributes` is no object")
        if "id" not in attributes and isinstance(told.get("id"), str):
            attributes = {**attributes, "id": told["id"]}
        attributes = _nested(attributes)
        yield Resource(
            place=(str(at), deposed),
            config=at.config,
            provider=provider,
            alias=alias,
            type=kind,
            managed=not data,
            attributes=attributes,
            dependencies=dependencies,
            tainted=told.get("tainted") is True,
            modules=modules,
        )


def _nested(flat: Any) -> Any:
    """Return what clients before 0.12 wrote as `env.0.name` the way they write it since: lists and objects."""
    if not isinstance(flat, dict) or not any("." in name for name in flat):
        return flat
    return _level(flat, 1)


def _level(flat: Mapping[str, Any], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    below: dict[str, dict[str, Any]] = {}
    for name, inner in flat.items():
        head, dot, rest = name.partition(".")
        if dot and head and rest and head not in flat and depth < _DEEPEST_FLAT:
            below.setdefault(head, {})[rest] = inner
        else:
            found[name] = inner
    for head, inside in below.items():
        counted = inside.pop("#", None) is not None
        if inside.pop("%", None) is not None:  # a map's names may have dots
            found[head] = inside
            continue
        inner = _level(inside, depth + 1)
        numbered = (counted or bool(inner)) and all(name.isdecimal() and len(name) < 20 for name in inner)
        found[head] = [inner[name] for name in sorted(inner, key=int)] if numbered else inner
    return found


def _left_behind(block: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(f"{number:08x}", told) for number, told in enumerate(block.get("deposed") or (), 1)]


def _whole(told: Any) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) else None


def _text(told: Any) -> str | None:
    return storable(told) if isinstance(told, str) and told else None
