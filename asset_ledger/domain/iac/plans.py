"""A plan as `terraform show -json` prints it: what would happen, and what the tool found changed outside.

A plan holds secrets as a state does, and masks them only by its own trees of marks: everything is redacted here.
Addresses and providers are written as those of states are, so that both can be laid side by side (`outcomes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from asset_ledger.domain.iac.addresses import address
from asset_ledger.domain.iac.exact_json import TooDeepError, is_deep, loads, storable
from asset_ledger.domain.iac.patches import Patch, made
from asset_ledger.domain.iac.redaction import address_shown, redacted_attributes
from asset_ledger.domain.iac.snapshot import Path, Place
from asset_ledger.domain.iac.terraform_state import provider_of

Predicted = Literal["create", "update", "delete", "replace", "forget", "moved", "import", "drift"]

_ACTIONS: Mapping[tuple[str, ...], Predicted | None] = {
    ("no-op",): None,
    ("read",): None,
    ("create",): "create",
    ("update",): "update",
    ("delete",): "delete",
    ("forget",): "forget",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("create", "forget"): "replace",
}
UNKNOWN = "(known after apply)"


@dataclass(frozen=True, slots=True)
class PredictedEvent:
    """What a plan says would happen to one object. `previous_address` is set where it moves.

    `after` is what it would be then, redacted, with UNKNOWN for what only the apply will tell; None where it would go.
    """

    address: str
    deposed: str
    provider: str
    type: str
    action: Predicted
    reason: str | None
    patch: Patch
    previous_address: str | None
    after: Any = field(default=None, repr=False)

    @property
    def place(self) -> Place:
        """Where it would stand."""
        return (self.address, self.deposed)

    @property
    def origin(self) -> Place:
        """Where it stands now."""
        return (self.previous_address or self.address, self.deposed)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan predicts; `errored` where the tool did not get to its end. `skipped` says what could not be read."""

    format_version: str
    tool_version: str | None
    errored: bool
    events: tuple[PredictedEvent, ...]
    skipped: tuple[str, ...] = ()


class NotAPlanError(ValueError):
    """A document that is no plan: what it seems to be, and what to send."""


def demand_plan(document: Any) -> str:
    """Return the format of a plan, of which its outline is enough. Raises NotAPlanError."""
    if not isinstance(document, Mapping):
        raise NotAPlanError("not a JSON object")
    if "values" in document and "planned_values" not in document:
        raise NotAPlanError("`terraform show -json` of a state; save a plan with `-out` and show that")
    told = document.get("format_version")
    if not isinstance(told, str) or not told.startswith("1."):
        raise NotAPlanError("its `format_version` is none; plans of format 1 are read")
    if not any(name in document for name in ("planned_values", "resource_changes", "resource_drift")):
        raise NotAPlanError("it has neither planned_values nor resource_changes")
    return told


def parsed(body: bytes, key: bytes) -> Plan:
    """Return what a plan predicts, as `read` does. Raises ValueError, of which NotAPlanError is one; RecursionError."""
    document = loads(body)
    if is_deep(document):
        raise NotAPlanError(str(TooDeepError()))
    return read(document, key)


def read(document: Any, key: bytes) -> Plan:
    """Return what a parsed plan predicts, redacted with the tenant's key. Raises NotAPlanError."""
    told = demand_plan(document)
    skipped: list[str] = []
    events = [
        *_events(document, "resource_drift", key, skipped),
        *_events(document, "resource_changes", key, skipped),
    ]
    tool = document.get("terraform_version")
    return Plan(
        storable(told),
        storable(tool) if isinstance(tool, str) else None,
        document.get("errored") is True,
        tuple(events),
        tuple(skipped),
    )


def _events(document: Mapping[str, Any], part: str, key: bytes, skipped: list[str]) -> Iterator[PredictedEvent]:
    changes = document.get(part)
    if changes is not None and not isinstance(changes, list):
        skipped.append(f"`{part}` is no list")
        return
    for number, told in enumerate(changes or ()):
        try:
            yield from _event(told, key, drift=part == "resource_drift")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = f"{part}[{number}] is not as Terraform writes it: {type(error).__name__} {error}"
            skipped.append(address_shown(storable(said), key))


def _event(told: Mapping[str, Any], key: bytes, *, drift: bool) -> Iterator[PredictedEvent]:
    change, kind = told["change"], _name(told["type"])
    actions = tuple(change["actions"])
    if actions not in _ACTIONS:
        raise ValueError("actions that are not known here")  # without them: a document may say anything
    action = _ACTIONS[actions]
    previous = told.get("previous_address")
    if drift:
        action = "drift" if action else None
    elif action in (None, "update") and change.get("importing"):  # what it would change of it is in the patch
        action = "import"
    elif action is None and previous:
        action = "moved"
    if action is None or told.get("mode") == "data":
        return
    before, after = _object(change.get("before")), _object(change.get("after"))
    hidden = redacted_attributes(after, kind, _marks(change.get("after_sensitive")), key)
    expected = _with_unknown(hidden, change.get("after_unknown") or {})
    yield PredictedEvent(
        address=_address(told["address"], key),
        deposed=_name(told.get("deposed") or ""),
        provider=provider_of(f'provider["{_name(told.get("provider_name") or "")}"]')[0],
        type=kind,
        action=action,
        reason=_name(told["action_reason"]) if told.get("action_reason") else None,
        patch=made(redacted_attributes(before, kind, _marks(change.get("before_sensitive")), key), expected),
        previous_address=_address(previous, key) if previous else None,
        after=None if change.get("after") is None and action in ("delete", "forget") else expected,
    )


def _address(told: Any, key: bytes) -> str:
    """Return an address as states have it, without secrets in instance keys. Raises AddressError."""
    return address_shown(storable(str(address(_name(told)))), key)


def _name(told: Any) -> str:
    if not isinstance(told, str):
        raise TypeError("a name that is no text")
    return storable(told)


def _object(told: Any) -> dict[str, Any]:
    if told is not None and not isinstance(told, dict):
        raise TypeError("attributes that are no object")
    return told or {}


def _with_unknown(value: Any, unknown: Any) -> Any:
    """Return what stands after, with a word for what only the apply will tell."""
    if unknown is True:
        return UNKNOWN
    if isinstance(unknown, dict) and unknown and (value is None or isinstance(value, dict)):
        known = value or {}
        marked = {name: inner for name, inner in unknown.items() if _any(inner)}
        return {**known, **{storable(name): _with_unknown(known.get(name), inner) for name, inner in marked.items()}}
    if isinstance(unknown, list) and unknown and isinstance(value, list):
        return [
            _with_unknown(each, unknown[place] if place < len(unknown) else None) for place, each in enumerate(value)
        ]
    return value


def _any(unknown: Any) -> bool:
    """Say whether a tree of marks has a mark."""
    if isinstance(unknown, dict | list):
        return any(map(_any, unknown.values() if isinstance(unknown, dict) else unknown))
    return unknown is True


def _marks(tree: Any, path: Path = ()) -> list[Path]:
    """Return the paths that a tree of marks says are secret."""
    if tree is True:
        return [path]
    if isinstance(tree, Mapping):
        return [found for name, inner in tree.items() for found in _marks(inner, (*path, name))]
    if isinstance(tree, list):
        return [found for place, inner in enumerate(tree) for found in _marks(inner, (*path, place))]
    return []
