"""From an accepted file to items: documents, digests, duplicates, and that nothing is lost or invented."""

from __future__ import annotations

import contextlib
import json
import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asset_ledger.domain.errors import PermanentError
from asset_ledger.domain.inventory import AssetRecord, Caution, RejectedRow, UnchangedRecord
from asset_ledger.sources.import_files import PLATFORM
from asset_ledger.sources.import_files.accept import accept_bytes
from tests.sources.import_files.conftest import CAME_AT, csv_bytes, drop_bytes, xlsx_of

HEADER = ["mgmt_ip", "hostname", "port", "cpu_cores", "custom.owner"]


def machines(count: int) -> list[list[str]]:
    return [[f"10.0.{i >> 8}.{i & 255}", f"host-{i}", "22", str(1 + i % 8), f"人{i % 7}"] for i in range(1, count + 1)]


def test_the_documents_of_a_full_file_are_as_recorded(fixtures):
    body = (fixtures / "import" / "hosts_full.csv").read_bytes()
    found = [record.document for record in drop_bytes(body).records]
    golden = fixtures / "import" / "hosts_full.normalized.json"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        golden.write_text(json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    assert found == json.loads(golden.read_text(encoding="utf-8"))


def test_a_thousand_rows_with_37_faults_give_exactly_37_reports_and_take_every_good_row():
    rows = machines(1000)
    faults = [
        (0, "10.0.0.05"), (0, "127.0.0.1"), (0, ""), (0, "10.0.0.0/8"), (0, "x"), (0, "10.0.0.1,10.0.0.2"),
        (1, ""), (1, "a b"), (1, "h" * 254), (1, "a\x00b"), (1, "1.0E+15"),
        (2, "0"), (2, "70000"), (2, "ssh"), (2, "2 2"), (2, "-1"), (2, "22,5"),
        (3, "0"), (3, "8核"), (3, "1e3"), (3, "4.5"), (3, "100001"), (3, "1,000"),
        (4, "x" * 5000), (4, "\x07"), (4, "ghp_" + "a" * 30),
    ]  # fmt: skip
    seeded = set()
    chosen = random.Random(37).sample(range(1, 1000), 32)
    for at, (position, text) in zip(chosen, faults, strict=False):
        rows[at][position] = text
        seeded.add((at + 2, HEADER[position]))
    for at in chosen[26:30]:  # the first row's address again
        rows[at][0] = rows[0][0]
        seeded.add((at + 2, "mgmt_ip"))
    for at in chosen[30:32]:  # three and four faults in one row
        rows[at][1], rows[at][2], rows[at][3] = "a b", "0", "0"
        seeded |= {(at + 2, "hostname"), (at + 2, "port"), (at + 2, "cpu_cores")}
    rows[chosen[31]].append("one cell too many")
    seeded.add((chosen[31] + 2, None))
    assert len(seeded) == 37
    outcome = drop_bytes(csv_bytes([HEADER, *rows]))
    assert len(outcome.faults) == 37
    assert {(row, column) for row, column, _ in outcome.faults} == seeded
    assert len(outcome.records) == 1000 - 32
    assert len(outcome.rejected) == 32


def test_a_second_row_of_one_machine_is_refused_and_names_the_first():
    rows = [HEADER, *machines(3)]
    rows += [rows[1], ["１０．０．０．２", "other", "", "", ""], ["10.0.0.2", "a b", "", "", ""]]
    outcome = drop_bytes(csv_bytes(rows))
    assert outcome.faults == [
        (5, "mgmt_ip", "IMPORT_DUPLICATE_ROW"),
        (6, "mgmt_ip", "IMPORT_DUPLICATE_ROW"),
        (7, "hostname", "IMPORT_HOSTNAME_INVALID"),
        (7, "mgmt_ip", "IMPORT_DUPLICATE_ROW"),
    ]
    assert "row 2" in outcome.rejected[0].cells[0].reason
    again = drop_bytes(csv_bytes(rows), known=outcome.digests)
    assert again.faults == outcome.faults
    assert [item.locator for item in again.unchanged] == ["row 2", "row 3", "row 4"]


def test_the_same_file_again_has_nothing_to_parse():
    body = csv_bytes([HEADER, *machines(50)])
    first = drop_bytes(body)
    again = drop_bytes(body, known=first.digests)
    assert not again.records
    assert [item.external_id for item in again.unchanged] == [record.external_id for record in first.records]
    assert [item.record_digest for item in again.unchanged] == [record.record_digest for record in first.records]


def test_one_changed_cell_is_one_new_record():
    rows = machines(5)
    known = drop_bytes(csv_bytes([HEADER, *rows])).digests
    rows[2][3] = "64"
    outcome = drop_bytes(csv_bytes([HEADER, *rows]), known=known)
    assert [record.external_id for record in outcome.records] == [rows[2][0]]
    assert len(outcome.unchanged) == 4


def test_a_cell_in_another_column_is_another_record():
    one = drop_bytes(csv_bytes([["mgmt_ip", "hostname", "vendor", "model"], ["192.0.2.1", "a", "x", ""]]))
    two = drop_bytes(csv_bytes([["mgmt_ip", "hostname", "vendor", "model"], ["192.0.2.1", "a", "", "x"]]))
    assert one.digests.keys() != two.digests.keys()


def test_unknown_and_blank_cells_are_no_part_of_the_digest():
    one = drop_bytes(csv_bytes([["mgmt_ip", "hostname"], ["192.0.2.1", "a"]]))
    two = drop_bytes(csv_bytes([["whatever", " 主机名", "MGMT IP", "port"], ["x", "a ", " 192.0.2.1", " "]]))
    assert one.digests == two.digests


def test_a_row_that_forges_the_marks_of_a_digest_is_not_taken_for_a_known_one():
    known = drop_bytes(csv_bytes([["hostname", "mgmt_ip", "port"], ["a", "192.0.2.1", "22"]])).digests
    forged = drop_bytes(csv_bytes([["hostname", "mgmt_ip"], ["a", "192.0.2.1\x1fport\x1f22"]]), known=known)
    assert forged.faults == [(2, "mgmt_ip", "IMPORT_CONTROL_CHARACTER")]


def test_instances_have_a_stable_key_and_their_own_rules():
    rows = [
        ["name", "host", "port", "db_type", "custom.owner"],
        ["orders", "192.0.2.1", "5432", "PostgreSQL", "张三"],
        ["orders", "DB-02", "", "", ""],
        ["six", "2001:db8::0:1", "3306", "mysql", ""],
        ["orders", "db-02", "", "oracle", ""],
        ["", "db-03", "0", "", ""],
        ["x", "db-03:5432", "", "", ""],
    ]
    outcome = drop_bytes(csv_bytes(rows), "instances_2026-11-03.csv")
    assert [(record.instance_key, record.db_type, record.locator) for record in outcome.instances] == [
        ("192.0.2.1:5432:orders", "postgresql", "row 2"),
        ("db-02::orders", None, "row 3"),
        ("[2001:db8::1]:3306:six", "mysql", "row 4"),
    ]
    assert outcome.instances[0].custom_fields == {"owner": "张三"}
    assert set(outcome.faults) == {
        (5, "name", "IMPORT_DUPLICATE_ROW"),
        (6, "port", "IMPORT_NUMBER_INVALID"),
        (6, "name", "IMPORT_REQUIRED"),
        (7, "host", "IMPORT_HOSTNAME_INVALID"),
    }


# --- properties ---

cell = st.one_of(
    st.sampled_from(["", " ", "192.0.2.1", "192.0.2.2", "10.0.0.05", "22", "0", "vm", "a", "[redacted]", "=1+1"]),
    st.text(max_size=12),
)
header = st.lists(
    st.sampled_from(
        ["port", "asset_type", "tags", "custom.a", "custom.b", "custom_fields", "unknown", "memory_gb", ""]
    ),
    unique=True,
    max_size=5,
).map(lambda names: ["mgmt_ip", "hostname", *names])
table = header.flatmap(
    lambda names: st.lists(
        st.lists(cell, min_size=len(names), max_size=len(names)), max_size=8
    ).map(lambda rows: [names, *rows])
)  # fmt: skip
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(table)
def test_every_row_of_any_table_is_taken_or_refused_and_a_second_time_gives_the_same(rows):
    body = _encode(rows)
    outcome = drop_bytes(body)
    filled = [row for row in rows[1:] if any(text.strip() for text in row)]
    assert len(outcome.records) + len(outcome.rejected) == len(filled)
    again = drop_bytes(body, known=outcome.digests)
    ids = [item.external_id for item in outcome.items if isinstance(item, AssetRecord | UnchangedRecord)]
    assert ids == [item.external_id for item in again.items if isinstance(item, AssetRecord | UnchangedRecord)]
    assert again.faults == outcome.faults
    assert not again.records


def _encode(rows: list[list[str]]) -> bytes:
    return csv_bytes([[text.encode("utf-8", "ignore").decode() for text in row] for row in rows])


@quick
@given(table, st.randoms())
def test_the_order_of_columns_and_rows_does_not_change_a_digest(rows, rng):
    order = list(range(len(rows[0])))
    rng.shuffle(order)
    below = list(rows[1:])
    rng.shuffle(below)
    shuffled = [[row[i] for i in order] for row in [rows[0], *below]]
    one, two = drop_bytes(_encode(rows)), drop_bytes(_encode(shuffled))
    assert set(one.digests.values()) == set(two.digests.values())
    if not any(code == "IMPORT_DUPLICATE_ROW" for _, _, code in one.faults):  # else another row came first
        assert one.digests == two.digests


plain_text = st.text(st.characters(min_codepoint=33, max_codepoint=0x9FFF, exclude_categories=("C", "Z")), max_size=10)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(plain_text, plain_text), max_size=6))
def test_a_workbook_and_a_csv_of_any_text_have_the_same_digests(pairs):
    rows = [["mgmt_ip", "hostname", "custom.a"]]
    rows += [[f"192.0.2.{i}", first, second] for i, (first, second) in enumerate(pairs, 1)]
    from_csv, from_workbook = drop_bytes(csv_bytes(rows)), drop_bytes(xlsx_of(rows), "hosts.xlsx")
    assert from_csv.digests == from_workbook.digests
    assert from_csv.faults == from_workbook.faults


@quick
@given(st.binary(max_size=300), st.sampled_from(["hosts.csv", "hosts.xlsx", "hosts.xls", "instances.csv"]))
def test_any_bytes_are_taken_or_refused_with_a_code(body, name):
    for given_body in (body, b"mgmt_ip,hostname\n" + body, b"PK\x03\x04" + body):
        with contextlib.suppress(PermanentError):
            raw = accept_bytes(given_body, name, CAME_AT)
            for item in PLATFORM.parse(raw, {}):
                assert isinstance(item, AssetRecord | RejectedRow | Caution)


@pytest.mark.parametrize("name", ["hosts.csv", "hosts.xlsx"])
def test_a_blank_row_is_nothing(name):
    rows = [HEADER, machines(1)[0], ["", " ", "", "", ""]]
    outcome = drop_bytes(csv_bytes(rows) if name.endswith("csv") else xlsx_of(rows), name)
    assert len(outcome.items) == 1
