"""What changed between two documents: nothing invented, nothing missed. And the counts every outcome has."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.errors import IDENTITY_CONFLICT, SOURCE_BUSY
from asset_ledger.domain.inventory import Caution, RejectedCell, RejectedRow, TargetFailure
from asset_ledger.domain.outcome import SHOWN_CHANGES, Change, Conflict, Outcome, document_changes

texts = st.text(st.characters(codec="utf-8", exclude_characters=".\x00"), min_size=1, max_size=5)
values = st.integers(1, 5) | texts | st.lists(texts, max_size=2)
GROUPS = {
    "identity": ("hostname", "mgmt_ip"),
    "hardware": ("cpu_count", "memory_bytes"),
    "network": ("ip_addresses", "mac_addresses", "interfaces"),
}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A document in which every field is known, or absent with a reason."""
    document: dict[str, Any] = {"schema": "normalized-v1", "kind": "machine", "unknown": {}, "identifiers": []}
    for group, fields in GROUPS.items():
        known = {field: draw(values) for field in fields if draw(st.booleans())}
        if known or draw(st.booleans()):
            document[group] = known
        document["unknown"] |= {f"{group}.{field}": "NOT_REPORTED" for field in fields if field not in known}
    custom = draw(st.dictionaries(texts, st.integers(1, 3), max_size=2))
    if custom:
        document["custom_fields"] = custom
    if draw(st.booleans()):
        document["tags"] = draw(st.lists(texts, min_size=1, max_size=2, unique=True))
    else:
        document["unknown"]["tags"] = "NOT_REPORTED"
    return document


def leaves(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for group, inner in document.items():
        if group not in ("schema", "unknown", "identifiers"):
            found |= (
                {f"{group}.{key}": value for key, value in inner.items()} if isinstance(inner, dict) else {group: inner}
            )
    return found


def whole(**groups: Any) -> dict[str, Any]:
    return {"schema": "normalized-v1", "kind": "machine", "identity": {"hostname": "a"}, "unknown": {}, **groups}


@given(documents())
def test_a_document_does_not_differ_from_itself(document: dict[str, Any]) -> None:
    assert list(document_changes(document, document)) == []


@given(documents(), documents())
def test_a_difference_is_told_exactly_where_the_leaves_differ(before: dict[str, Any], after: dict[str, Any]) -> None:
    was, now = (
        {path: value for path, value in leaves(d).items() if (path, value) != ("runtime.power_state", "unknown")}
        for d in (before, after)
    )
    told = {path: (old, new) for path, old, new in document_changes(before, after)}
    expected = {
        path: (was.get(path), now.get(path))
        for path in was.keys() | now.keys()
        if was.get(path) != now.get(path)
        and (
            path in now
            or (path.startswith("custom_fields.") and "custom_fields" in after and path not in after["unknown"])
        )
    }
    assert told == expected
    # no field of the schema's ever seems to have gone: who did not see it says why
    assert {path for path, (_, new) in told.items() if new is None} <= {
        p for p in was if p.startswith("custom_fields.")
    }


@given(documents(), documents())
def test_changes_come_in_the_order_of_their_paths(before: dict[str, Any], after: dict[str, Any]) -> None:
    paths = [path for path, _, _ in document_changes(before, after)]
    assert paths == sorted(set(paths))


def test_what_only_became_unknown_did_not_change() -> None:
    before = whole(hardware={"cpu_count": 8, "memory_bytes": 1024})
    after = whole(hardware={"memory_bytes": 1024}) | {"unknown": {"hardware.cpu_count": "SSH_SECTION_FAILED"}}
    assert list(document_changes(before, after)) == []


def test_a_group_that_could_not_be_read_takes_none_of_its_fields_away() -> None:
    before = whole(network={"ip_addresses": ["192.0.2.1"], "mac_addresses": ["52:54:00:12:34:56"], "interfaces": []})
    after = whole() | {"unknown": {"network.ip_addresses": "SSH_SECTION_FAILED: ip rc 127"}}
    assert list(document_changes(before, after)) == []


def test_what_was_seen_to_go_is_a_change() -> None:
    before = whole(custom_fields={"owner": "a", "rack": "7"})
    after = whole(custom_fields={"rack": "7"})
    assert list(document_changes(before, after)) == [("custom_fields.owner", "a", None)]


def test_what_became_known_is_told_with_nothing_before_it() -> None:
    assert list(document_changes(whole(), whole(hardware={"cpu_count": 8}))) == [("hardware.cpu_count", None, 8)]


def outcome(**given_: Any) -> Outcome:
    nothing: dict[str, Any] = dict.fromkeys(("conflicts", "changes", "rejected", "failures", "cautions"), ())
    zeros = dict.fromkeys(
        ("created", "attached", "updated", "unchanged", "instances_new", "instances_changed"), 0
    ) | dict.fromkeys(("instances_unchanged", "specs_rows", "ip_rows"), 0)
    return Outcome(**{**nothing, **zeros, **given_})


def test_counts_have_the_same_keys_whatever_happened() -> None:
    cell = RejectedCell(3, "cpu_cores", IDENTITY_CONFLICT, "no number", "eight")
    full = outcome(
        created=1,
        updated=2,
        conflicts=(Conflict("192.0.2.1", "row 2", ("a", "b")),),
        rejected=(RejectedRow(3, (cell, cell)),),
        failures=(TargetFailure("machine", "192.0.2.9", "192.0.2.9", SOURCE_BUSY, "busy"),),
        cautions=(Caution(SOURCE_BUSY, "look", "row 1"),),
    )
    assert full.counts.keys() == outcome().counts.keys()
    assert full.counts["records"] == 4
    assert (full.counts["rejected_rows"], full.counts["rejected_cells"]) == (1, 2)
    assert full.report()["counts"] == full.counts
    assert full.report()["rejected"][0] == {
        "row": 3,
        "column": "cpu_cores",
        "code": "IDENTITY_CONFLICT",
        "reason": "no number",
        "value": "eight",
    }


def test_a_report_cuts_its_lists_and_never_its_counts() -> None:
    cells = tuple(RejectedRow(n, (RejectedCell(n, None, SOURCE_BUSY, "", None),)) for n in range(SHOWN_CHANGES + 5))
    changes = tuple(Change(str(n), None, "f", 1, 2) for n in range(SHOWN_CHANGES + 5))
    report = outcome(rejected=cells, changes=changes).report()
    assert len(report["rejected"]) == len(report["changes"]) == SHOWN_CHANGES
    assert report["counts"]["rejected_rows"] == SHOWN_CHANGES + 5
