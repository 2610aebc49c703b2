"""What must not leave the encrypted body of a state, and what stands in its place.

Nothing a state tells of what is secret is enough: clients before 1.9 mark little, schemas are not in it, and start-up
scripts are never marked. So five layers, each enough by itself: what the document marks, what providers' schemas mark,
names, values, and Terraform's own `private` (which `snapshot` does not have at all).

A secret becomes `redacted:` and twelve digits of a keyed hash: that it changed still shows, what it is does not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from asset_ledger.domain.iac.exact_json import canonical, is_deep, loads, storable, storable_number
from asset_ledger.domain.iac.secret_texts import (
    called_secret,
    hides,
    named_in_pair,
    scanned,
    shows_secret,
    valued_in_pair,
)
from asset_ledger.domain.iac.snapshot import Path, Resource, Snapshot

MARK = "redacted:"

_Marks = tuple[Mapping[Any, Any], ...]
"""Paths from where one stands on, as trees of steps."""
_ENDS = None
"""Stands in such a tree where a path ends."""

_TOKEN = re.compile(re.escape(MARK) + r"[0-9a-f]{12}")
_QUOTED_KEY = re.compile(r'\["((?:(?>[^"\\]|\\.))*+)"\]')
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]{16,}+={0,2}\s*")
MOST_SCANNED = 1_000_000
"""Characters: a longer text that is neither JSON nor free of words for secrets is hidden whole."""
_HASHES = ("content_md5", "content_sha1", "content_sha256", "content_sha512", "content_base64sha256",
           "content_base64sha512", "id")  # fmt: skip

SCHEMA_PATHS: Mapping[str, tuple[Path, ...]] = {
    "aws_s3_object": (("content",), ("content_base64",), ("etag",)),
    "aws_ssm_parameter": (("value",),),
    "azurerm_key_vault_secret": (("value",),),
    "cloudinit_config": (("part", "*", "content"), ("rendered",)),
    "github_actions_secret": (("plaintext_value",), ("encrypted_value",)),
    "google_storage_bucket_object": (("content",), ("md5hash",), ("crc32c",), ("detect_md5hash",)),
    "helm_release": (("set_sensitive", "*", "value"),),
    "kubectl_manifest": (("yaml_body",), ("yaml_incluster",), ("live_manifest_incluster",)),
    "kubernetes_secret": (("data",), ("binary_data",)),
    "kubernetes_secret_v1": (("data",), ("binary_data",)),
    # hashes without a key of what is in it: who guesses that sees that it is so
    "local_file": (("sensitive_content",), *((name,) for name in _HASHES)),
    "local_sensitive_file": (("content",), ("content_base64",), *((name,) for name in _HASHES)),
    "random_password": (("result",), ("bcrypt_hash",)),
    "random_string": (("result",), ("id",)),
    "template_cloudinit_config": (("part", "*", "content"), ("rendered",)),
    "vault_generic_secret": (("data_json",), ("data",)),
    "vault_kv_secret_v2": (("data_json",), ("data",)),
    "vsphere_host": (("password",),),
    "vsphere_virtual_machine": (
        ("clone", "*", "customize", "*", "windows_options", "*", "admin_password"),
        ("clone", "*", "customize", "*", "windows_options", "*", "domain_admin_password"),
        ("clone", "*", "customize", "*", "windows_options", "*", "product_key"),
        ("clone", "*", "customize", "*", "windows_sysprep_text"),
    ),
}
"""What a provider's schema marks and neither name nor value shows. `*` is any step."""


def redacted(resource: Resource, key: bytes) -> dict[str, Any]:
    """Return a resource's attributes without what is secret, fit to be stored as JSONB. `key` is the tenant's."""
    return redacted_attributes(resource.attributes, resource.type, resource.sensitive, key)


def redacted_attributes(
    attributes: Mapping[str, Any], resource_type: str, marked: Iterable[Path], key: bytes
) -> dict[str, Any]:
    """Return attributes of a resource of that type without what is secret; `marked` are the paths the tool marks."""
    paths = (*marked, *SCHEMA_PATHS.get(resource_type, ()))
    if resource_type == "terraform_data":  # it gives back what was put in, and marks nothing of that
        paths = (*paths, *(("output", *path[1:]) for path in paths if path[:1] == ("input",)))
    if () in paths:  # all of it is secret; which attributes there are is not
        paths = (*paths, ("*",))
    return _mapping(attributes, _marks(path for path in paths if path), key)


def token(value: Any, key: bytes) -> str:
    """Return what stands in the place of a secret."""
    return MARK + hmac.new(key, canonical(value), hashlib.sha256).hexdigest()[:12]


def shown(snapshot: Snapshot, key: bytes) -> Snapshot:
    """Return a snapshot whose addresses hold no secret: instance keys are values that people chose."""
    return replace(
        snapshot,
        resources=tuple(
            each if '["' not in each.address else each._replace(place=(address_shown(each.address, key), each.deposed))
            for each in snapshot.resources
        ),
        skipped=tuple(address_shown(each, key) for each in snapshot.skipped),
    )


def address_shown(address: str, key: bytes) -> str:
    """Return an address, or a text that has some, without secrets in instance keys."""

    def without(found: re.Match[str]) -> str:
        said = _text(found[1], key)
        return found[0] if said == found[1] else f'["{token(found[1], key)}"]'

    return _QUOTED_KEY.sub(without, address)


def _marks(paths: Iterable[Path]) -> _Marks:
    """Return paths as a tree: thousands of them are not looked through at each of thousands of names."""
    tree: dict[Any, Any] = {}
    for path in paths:
        node = tree
        for step in path:
            node = node.setdefault(step, {})
        node[_ENDS] = True
    return (tree,) if tree else ()


def _walked(value: Any, marked: _Marks, key: bytes) -> Any:
    """Return a value without what is secret. `marked` are the paths that are, from here on."""
    if marked and any(_ENDS in node for node in marked):
        return _hidden(value, key)
    if isinstance(value, str):
        return _text(value, key)
    if isinstance(value, dict):
        return _mapping(value, marked, key)
    if isinstance(value, list):
        walked = [_walked(inner, _below(marked, place) if marked else (), key) for place, inner in enumerate(value)]
        for place, flag in enumerate(value[:-1]):
            # ["--password", "…"]: a command and its arguments
            if isinstance(flag, str) and flag.startswith("-") and called_secret(flag.lstrip("-")) and "=" not in flag:
                following = value[place + 1]
                if isinstance(following, str) and not following.startswith("-"):
                    walked[place + 1] = _hidden(following, key)
        return walked
    return value if value is None or isinstance(value, bool) else storable_number(value)


def _mapping(value: Mapping[str, Any], marked: _Marks, key: bytes) -> dict[str, Any]:
    # {name: DB_PASSWORD, value: …}: what containers and applications are given
    pair = len(value) <= 64 and any(
        isinstance(told, str) and named_in_pair(name) and called_secret(told) for name, told in value.items()
    )
    manifest = value.get("kind") == "Secret"
    if marked and value.keys() == {"value", "type"}:
        # a value of any type stands in a state beside its type, and the mark names the way through the value alone
        inner_ways = ({step: node[step] for step in node.keys() - {"value", "type", _ENDS}} for node in marked)
        marked = (*marked, *({"value": ways} for ways in inner_ways if ways))
    return {
        (token(name, key) if _secret_name(name, key) else storable(name)): (
            _hidden(inner, key)
            if hides(name, inner)
            or (pair and valued_in_pair(name))
            or (manifest and name in ("data", "stringData", "binaryData"))
            else _walked(inner, _below(marked, name) if marked else (), key)
        )
        for name, inner in value.items()
    }


def _secret_name(name: str, key: bytes) -> bool:
    """Say whether a name is a secret itself: what people may choose freely, they choose so too."""
    if len(name) < 5 or _TOKEN.fullmatch(name):
        return False
    return shows_secret(name) or (("=" in name or ":" in name or " " in name) and _text(name, key) != storable(name))


def _below(marked: _Marks, step: str | int) -> _Marks:
    # some clients write a place in a list as text
    return tuple(node[each] for each in {step, "*", str(step)} for node in marked if each in node)


def _text(value: str, key: bytes) -> str:
    """Return a text without what is secret; of JSON in a text only what is secret in it goes."""
    if len(value) < 5:  # shorter than any secret that shows by itself
        return storable(value)
    if value.lstrip()[:1] in ("{", "["):
        try:
            inner = loads(storable(value).encode())
            walked = None if is_deep(inner) else _walked(inner, (), key)
        except RecursionError:
            walked = None
        except ValueError:
            return _plain_text(value, key)
        if walked is None:
            return token(value, key)
        if canonical(walked) != canonical(inner):
            value = canonical(walked).decode()
        return token(value, key) if shows_secret(value) else storable(value)
    return _plain_text(value, key)


def _plain_text(value: str, key: bytes) -> str:
    if len(value) <= _SHORT and _is_harmless(value):
        return value
    if shows_secret(value):
        return token(value, key)
    said = scanned(value, lambda part: _hidden(part, key)) if len(value) <= MOST_SCANNED else None
    if said is None or (said != value and scanned(said, lambda part: _hidden(part, key)) != said):
        return token(value, key)
    if said == value and _hides_another(value, key):
        return token(value, key)
    return storable(said)


@lru_cache(maxsize=16_384)
def _is_harmless(value: str) -> bool:
    """Say whether a text stays as it is, whatever the key: a state says the same few things of many objects."""
    return (
        not shows_secret(value)
        and scanned(value, lambda part: _hidden(part, b"")) == value
        and not _hides_another(value, b"")
        and storable(value) == value
    )


def _hides_another(value: str, key: bytes) -> bool:
    """Say whether a text is one with a secret in it, in base64."""
    if len(value) < 16 or _BASE64.fullmatch(value) is None:
        return False
    packed = "".join(value.split()).translate(_URL_SAFE)
    try:
        inner = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return _text(inner, key) != storable(inner)


_SHORT = 256
_URL_SAFE = str.maketrans("-_", "+/")


def _hidden(value: Any, key: bytes) -> Any:
    """Return what stands for a value that is secret. Yes, no and nothing at all are not."""
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return value
    # already a token: a document that was redacted is not redacted to something else
    if isinstance(value, str) and _TOKEN.fullmatch(value):
        return value
    return token(value, key)
