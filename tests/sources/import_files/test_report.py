"""What people get back: every bad cell, nothing a spreadsheet would run, nothing secret."""

from __future__ import annotations

import csv
import io

import openpyxl
from python_calamine import CalamineWorkbook

from asset_ledger.sources.import_files import report
from tests.sources.import_files.conftest import csv_bytes, drop_bytes, xlsx_bytes, xlsx_of

HEADER = ["mgmt_ip", "hostname", "credential_ref", "port"]


def lines(body: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig"))))


def test_the_report_has_every_cell_and_every_caution():
    outcome = drop_bytes(csv_bytes([[*HEADER, "foo"], ["192.0.2.x", "a b", "hunter2", "0", ""]]))
    body = report.report_csv(outcome.rejected, outcome.cautions)
    assert body.startswith(b"\xef\xbb\xbf")
    found = lines(body)
    assert found[0] == ["row", "column", "code", "reason", "value"]
    assert {(line[0], line[1], line[4]) for line in found[1:5]} == {
        ("2", "mgmt_ip", "192.0.2.x"),
        ("2", "hostname", "a b"),
        ("2", "credential_ref", "[redacted]"),
        ("2", "port", "0"),
    }
    assert found[5][2] == "IMPORT_UNKNOWN_COLUMN"
    assert b"hunter2" not in body


def test_nothing_in_a_report_runs_as_a_formula():
    evil = "=HYPERLINK(1)"
    outcome = drop_bytes(csv_bytes([[*HEADER, "@unknown"], [evil, "+a b", "", "-1", ""]]))
    cells = [cell for line in lines(report.report_csv(outcome.rejected, outcome.cautions)) for cell in line]
    assert f"'{evil}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_a_dropped_workbook_comes_back_with_its_bad_cells_red_and_explained():
    def build(workbook, sheet):
        sheet.write_row(0, 0, HEADER, workbook.add_format({"bold": True}))
        sheet.write_row(1, 0, ["192.0.2.1", "a", "hunter2", 22])
        sheet.write_row(2, 0, ["192.0.2.2", "a b", "", 0])
        sheet.write_row(3, 0, ["192.0.2.3", "c"])
        sheet.merge_range(4, 1, 5, 1, "m")
        sheet.write(4, 0, "192.0.2.5")
        sheet.write(5, 0, "192.0.2.6")

    body = xlsx_bytes(build)
    marked = report.marked_workbook(body, "hosts.xlsx", drop_bytes(body, "hosts.xlsx").rejected)
    sheet = openpyxl.load_workbook(io.BytesIO(marked)).active
    red = {cell.coordinate for row in sheet for cell in row if cell.fill.start_color.rgb == "00FFC7CE"}
    assert red == {"C2", "B3", "D3", "B5"}  # B6 lies under the merged B5
    assert "IMPORT_NUMBER_INVALID" in sheet["D3"].comment.text
    assert sheet["A1"].font.bold
    assert sheet["C2"].value == "[redacted]"
    assert sheet["A4"].value == "192.0.2.3"


def test_a_large_or_old_workbook_gives_the_bad_rows_alone(monkeypatch, fixtures):
    body = xlsx_of([HEADER, ["192.0.2.1", "a"], ["192.0.2.2", "=a b", "hunter2", 0], ["192.0.2.3", "c"]])
    monkeypatch.setattr(report, "_MARKED_CELLS", 5)
    marked = report.marked_workbook(body, "hosts.xlsx", drop_bytes(body, "hosts.xlsx").rejected)
    rows = CalamineWorkbook.from_object(io.BytesIO(marked)).get_sheet_by_index(0).to_python()
    assert rows[0] == ["row", *HEADER, "reason"]
    assert rows[1][:5] == [3.0, "192.0.2.2", "=a b", "[redacted]", "0"]
    assert "IMPORT_HOSTNAME_INVALID" in rows[1][5]
    assert len(rows) == 2
    old = (fixtures / "import" / "hosts_faults.xls").read_bytes()
    marked = report.marked_workbook(old, "hosts_faults.xls", drop_bytes(old, "hosts_faults.xls").rejected)
    rows = CalamineWorkbook.from_object(io.BytesIO(marked)).get_sheet_by_index(0).to_python()
    assert [row[0] for row in rows[1:]] == [5.0, 6.0, 7.0, 8.0, 9.0, 10.0]


def test_a_secret_in_another_sheet_does_not_come_back():
    def build(workbook, sheet):
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, ["192.0.2.1", "a b"])
        workbook.add_worksheet("s").write_row(0, 0, ["password", "hunter2"])

    body = xlsx_bytes(build)
    marked = report.marked_workbook(body, "hosts.xlsx", drop_bytes(body, "hosts.xlsx").rejected)
    assert CalamineWorkbook.from_object(io.BytesIO(marked)).sheet_names == ["rejected rows"]


def test_what_lies_beside_the_file_follows_from_what_was_kept():
    bad = ["192.0.2.1", "a b", "", ""]
    workbook = drop_bytes(xlsx_of([HEADER, bad]), "hosts.xlsx")
    secret = drop_bytes(xlsx_of([HEADER, bad, ["192.0.2.2", "b", "hunter2", ""]]), "hosts.xlsx")
    text = drop_bytes(csv_bytes([HEADER, bad]))
    clean = drop_bytes(csv_bytes([HEADER, ["192.0.2.1", "a", "", ""]]))
    assert [
        [suffix for suffix, _ in report.reports(each.raw, each.rejected)] for each in (workbook, secret, text, clean)
    ] == [
        [".report.csv", ".marked.xlsx"],
        [".report.csv", ".marked.xlsx"],
        [".report.csv"],
        [],
    ]
    marked = dict(report.reports(secret.raw, secret.rejected))[".marked.xlsx"]
    rows = CalamineWorkbook.from_object(io.BytesIO(marked)).get_sheet_by_index(0).to_python()
    assert [row[:4] for row in rows[1:]] == [[2.0, "192.0.2.1", "a b", ""], [3.0, "192.0.2.2", "b", "[redacted]"]]


def test_csv_and_clean_workbooks_have_no_marked_workbook():
    bad = csv_bytes([HEADER, ["x", "a"]])
    assert report.marked_workbook(bad, "hosts.csv", drop_bytes(bad).rejected) is None
    assert report.marked_workbook(xlsx_of([HEADER, ["192.0.2.1", "a"]]), "hosts.xlsx", []) is None
