"""Values of documents as people read them: a relation by kind and far end, an interface by name and addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from asset_ledger.cli.screen import show, size

FEW = 5
"""How many entries of a long list are named before the rest is counted."""
Naming = Callable[[str, str], str | None]
"""Returns the name that an end of a relation has in the ledger, by external kind and id."""


def value_in_words(field: str, value: Any, name: Naming = lambda *_: None) -> str:
    """Return a value of a field or path as a cell shows it: sizes in units, relations and interfaces short."""
    if isinstance(value, int) and field.endswith("_bytes"):
        return size(value)
    if isinstance(value, list) and field in ("relations", "network.interfaces"):
        return "; ".join(value_in_words(field, each, name) for each in value) or show(None)
    if isinstance(value, dict) and "external_id" in value:
        end = value.get("name") or name(value["external_kind"], value["external_id"]) or value["external_id"]
        return f"{value['kind']} {end}" if "kind" in value else str(end)
    if isinstance(value, dict) and "ip_addresses" in value:
        return " ".join(filter(None, (value["name"], value.get("mac_address"), *value["ip_addresses"])))
    return show(value)


def difference_in_words(
    path: str, before: Any, after: Any, name: Naming = lambda *_: None
) -> list[tuple[str, str, str]]:
    """Return one changed field as lines of field, before, after: a list of relations or interfaces has one for each."""
    from asset_ledger.domain.history import list_differences

    pieces = list_differences(path, before, after) or [(path, before, after)]
    told = [(field, value_in_words(field, was, name), value_in_words(field, now, name)) for field, was, now in pieces]
    # sizes that differ by less than is shown
    return [
        (field, show(was), show(now)) if before == after else (field, before, after)
        for (field, before, after), (_, was, now) in zip(told, pieces, strict=True)
    ]


def ends_of(changes: Sequence[tuple[str, Any, Any]]) -> set[tuple[str, str]]:
    """Return the far ends of the relations that some changed fields name, as external kind and id."""
    return {
        (each["external_kind"], each["external_id"])
        for path, before, after in changes
        if path == "relations"
        for each in (*(before or ()), *(after or ()))
    }


def proof_in_words(proof: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a reading's proof of completeness counted, and what stands against it, line by line."""
    if not proof:
        return
    against = proof.get("missing") or ()
    yield "proven complete" if proof.get("complete") else "not proven complete"
    yield from (f"  against it: {each}" for each in against[:FEW])
    if len(against) > FEW:
        yield f"  against it: {len(against) - FEW} more; --json has them all"
    for part in proof.get("counts", ()):
        single = {name: value for name, value in part.items() if not isinstance(value, dict)}
        for name, value in part.items():
            if isinstance(value, dict):
                yield f"  {name}: {_counted(value)}"
        if single:
            yield f"  {_counted(single)}"


def _counted(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_few(value)}" for name, value in counts.items())


def _few(value: Any) -> str:
    if not isinstance(value, list):
        return show(value)
    more = f" and {len(value) - FEW} more" if len(value) > FEW else ""
    return (" ".join(show(each) for each in value[:FEW]) or "none") + more
