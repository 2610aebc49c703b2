"""iac.yaml: read, validated as a whole, every problem named with its path. docs/iac-yaml.md describes it.

What it means is `domain.iac.rules`; `Ledger.iac_rules` hands it out, and says what it is where there is no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from asset_ledger.domain.errors import CONFIG_INVALID, PermanentError
from asset_ledger.domain.iac.machines import ATTRIBUTES
from asset_ledger.domain.iac.rules import (
    AGENT_ATTRIBUTES,
    AGENT_KINDS,
    EVERY_KIND,
    FAMILIES,
    FROM_WITHIN,
    AnyKind,
    Hook,
    Ignored,
    Mapped,
    Rules,
    matches,
)
from asset_ledger.domain.iac.snapshot import Tool
from asset_ledger.domain.secrecy import holds_secret, names_secret
from asset_ledger.sources.yaml_files import read_yaml, refused


def _hook_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if not host or any(sign.isspace() or not sign.isprintable() for sign in url) or "#" in url:
        raise ValueError("must look like https://HOST/PATH")
    if "@" in parts.netloc:
        raise ValueError("a user or password does not belong here; the signature proves who sends")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        raise ValueError("must begin with https://; http:// only to this machine")
    return url


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _reference(told: str) -> str:
    kind, _, name = told.partition(":")
    if kind not in ("env", "file", "vault") or not name or holds_secret(told):
        raise ValueError("must be env:NAME, file:NAME or vault:PATH; the secret itself does not belong here")
    return told


_Glob = Annotated[str, Field(min_length=1)]
_Tenant = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Mapping(_Entry):
    tenant: _Tenant
    source: str
    states: Annotated[tuple[_Glob, ...], Field(min_length=1)] = ("*/*",)
    tool: Tool | None = None
    provider: Annotated[str, Field(min_length=1)] | None = None
    alias: str | None = None
    orphans: bool | None = None


class _Ignored(_Entry):
    kind: AnyKind | None = None
    source: _Glob | None = None
    state: _Glob | None = None
    address: _Glob | None = None
    type: _Glob | None = None
    name: _Glob | None = None
    external_id: _Glob | None = None
    attribute: _Glob | None = None
    keep: bool = False
    reason: str | None = None
    until: date | None = None


class _Hook(_Entry):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    url: Annotated[str, AfterValidator(_hook_url)]
    credential_ref: Annotated[str, AfterValidator(_reference)]
    tenant: _Tenant | None = None
    kinds: Annotated[tuple[AnyKind, ...], Field(min_length=1)] = EVERY_KIND
    ca_file: Path | None = None


_SECTIONS: Mapping[str, type[_Entry]] = {"mappings": _Mapping, "ignore": _Ignored, "webhooks": _Hook}
_OF_STATES = ("state", "address", "type")
_KEYS = ("kind", "source", *_OF_STATES, "name", "external_id", "attribute")
"""What a rule may ask for; those of states no orphan has, and nothing that agents say."""


def load(path: Path, sources: Mapping[str, str]) -> Rules:
    """Return what the file says. `sources` are every source's name and its platform.

    A relative `ca_file` begins at the file's folder. Raises PermanentError(CONFIG_INVALID) with every problem at once.
    """
    data = read_yaml(path)
    if data is None:  # a file of comments alone
        return Rules()
    found: dict[str, list[tuple[int, Any]]] = {section: [] for section in _SECTIONS}
    problems = list(_entries(data, found))
    mappings, ignored, hooks = found["mappings"], found["ignore"], found["webhooks"]
    problems += _problems_of_mappings(mappings, sources)
    problems += [f"ignore[{number}]{wrong}" for number, rule in ignored for wrong in _problems_of_rule(rule, sources)]
    problems += _twice(hooks)
    if problems:
        raise refused(path, problems)
    orphans = {one.source: one.orphans for _, one in mappings if one.orphans is not None}
    return Rules(
        tuple(
            Mapped(
                one.tenant,
                one.source,
                one.states,
                one.tool,
                None if one.provider is None else one.provider.lower(),
                one.alias,
                orphans.get(one.source, True),
                FAMILIES.get(sources[one.source], ()),
            )
            for _, one in mappings
        ),
        tuple(Ignored(**one.model_dump()) for _, one in ignored),
        tuple(
            Hook(one.name, one.url, one.credential_ref, one.tenant, one.kinds, _anchored(one.ca_file, path, number))
            for number, one in hooks
        ),
    )


def _entries(data: Any, found: dict[str, list[tuple[int, Any]]]) -> Iterator[str]:
    """Collect the entries that are valid in themselves, with their numbers, and yield what is wrong with the others."""
    if not isinstance(data, Mapping):
        yield f"the file: must be a mapping with {', '.join(f'`{name}`' for name in _SECTIONS)}"
        return
    # not by its name: it may be a secret that slipped
    unknown = sum(key not in _SECTIONS for key in data)
    if unknown:
        yield f"the file: {unknown} unknown key(s); there are {', '.join(f'`{name}`' for name in _SECTIONS)}"
    for section, model in _SECTIONS.items():
        told = data.get(section)
        if told is not None and not isinstance(told, list):
            yield f"{section}: must be a list"
            continue
        for number, entry in enumerate(told or ()):
            at = f"{section}[{number}]"
            if not isinstance(entry, Mapping):
                yield f"{at}: must be a mapping of keys"
                continue
            try:
                found[section].append((number, model.model_validate({str(key): value for key, value in entry.items()})))
            except ValidationError as error:
                # no message may quote the value: it may be a secret in the wrong place
                for detail in error.errors(include_input=False, include_url=False):
                    yield f"{at}.{'.'.join(map(str, detail['loc']))}: {_said(detail)}"


def _said(detail: Any) -> str:
    if detail["type"] != "extra_forbidden":
        return str(detail["msg"]).removeprefix("Value error, ")
    if names_secret(str(detail["loc"][-1])):
        return "a secret does not belong here; store it and name it by `credential_ref`"
    return "unknown field"


def _problems_of_mappings(mappings: list[tuple[int, _Mapping]], sources: Mapping[str, str]) -> Iterator[str]:
    owner: dict[str, tuple[int, str]] = {}
    orphans: dict[str, tuple[int, bool]] = {}
    for number, one in mappings:
        at = f"mappings[{number}]"
        if one.source not in sources:
            there = ", ".join(sorted(sources)) or "none"
            yield f"{at}.source: no source of sources.yaml has this name; there are: {there}"
            continue
        platform = sources[one.source]
        if platform not in FAMILIES and platform not in FROM_WITHIN:
            yield (
                f"{at}.source: {one.source} is a source of platform {platform}, and no provider's resources are"
                f" compared with this platform yet; there are {', '.join(FAMILIES)}"
            )
        if platform in FROM_WITHIN and one.provider is None:
            yield (
                f"{at}.provider: {one.source} is a source of platform {platform}, which may see machines of every"
                " provider; name the one whose machines these are"
            )
        first, tenant = owner.setdefault(one.source, (number, one.tenant))
        if tenant != one.tenant:
            yield (
                f"{at}.tenant: the source {one.source} is {one.tenant}'s here and {tenant}'s in mappings[{first}];"
                " a source belongs to one tenant"
            )
        if one.orphans is not None and orphans.setdefault(one.source, (number, one.orphans))[1] != one.orphans:
            yield f"{at}.orphans: mappings[{orphans[one.source][0]}] says otherwise of the source {one.source}"


def _problems_of_rule(rule: _Ignored, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield why a rule would do everything or nothing, neither of which anybody means."""
    asked = {key: told for key in _KEYS if (told := getattr(rule, key)) is not None}
    if not asked:
        yield f": names nothing, so that it is about everything; give one of {', '.join(_KEYS)}"
    if rule.source is not None and not any(matches(rule.source, name) for name in sources):
        yield ".source: no source of sources.yaml has such a name"
    names = AGENT_ATTRIBUTES if rule.kind == "agent_differs" else ATTRIBUTES
    every = names if rule.kind is not None else dict.fromkeys((*ATTRIBUTES, *AGENT_ATTRIBUTES))
    if rule.attribute is not None and not any(matches(rule.attribute, name) for name in every):
        yield f".attribute: no attribute is called so; there are {', '.join(every)}"
    if rule.attribute is not None and rule.kind not in (None, "drift", "agent_differs"):
        yield f".attribute: only drift has one, and the rule is about `{rule.kind}`"
    if rule.kind in ("orphan", *AGENT_KINDS):
        one = "orphan" if rule.kind == "orphan" else "finding of an agent"
        yield from (f".{key}: no {one} has one, it stands in no state" for key in _OF_STATES if key in asked)


def _twice(hooks: list[tuple[int, _Hook]]) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, one in hooks:
        if first.setdefault(one.name, number) != number:
            yield f"webhooks[{number}].name: webhooks[{first[one.name]}] is called so too; what was sent hangs on it"


def _anchored(ca_file: Path | None, path: Path, number: int) -> Path | None:
    if ca_file is None:
        return None
    try:
        return path.absolute().parent / ca_file.expanduser()
    except RuntimeError as error:  # a user that does not exist
        why = f"webhooks[{number}].ca_file: {str(error).rstrip('.')}"
        raise PermanentError(CONFIG_INVALID, why, target=str(path)) from None
