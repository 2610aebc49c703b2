"""The files the import benchmark reads: a team's spreadsheet of machines, and the same saved again by somebody else.

Everything is made from the row's number, so that two runs of the benchmark read the same bytes.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

HEADER = (
    "mgmt_ip",
    "hostname",
    "asset_type",
    "cpu_cores",
    "memory_gb",
    "disk_total_gb",
    "os_family",
    "os_version",
    "ip_addresses",
    "tags",
    "custom.owner",
    "custom.cost_center",
)
_SYSTEMS = (("debian", "12"), ("rhel", "9.4"), ("ubuntu", "24.04"), ("windows", "2022"), ("openeuler", "22.03"))
_ROLES = ("web", "db", "batch")
_OWNERS = ("platform", "payments", "平台组", "search", "数据组", "risk", "storefront", "网络组")


def rows(count: int) -> Iterator[list[str]]:
    """Yield machines as rows under HEADER: a third has a second address, a tenth leaves cells blank."""
    for n in range(count):
        address = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
        family, version = _SYSTEMS[n % 5]
        yield [
            address,
            f"{family[:3]}-{_ROLES[n % 3]}-{n:06}.dc{n % 4}.example.com",
            "physical" if n % 7 == 0 else "vm",
            str(2 << n % 5),
            "" if n % 10 == 3 else str(4 << n % 6),
            "" if n % 10 == 7 else str(50 * (1 + n % 40)),
            family,
            version,
            f"{address};172.{16 + (n >> 16 & 15)}.{n >> 8 & 255}.{n & 255}" if n % 3 == 0 else "",
            ("prod;web", "prod", "test;batch;nightly", "")[n % 4],
            _OWNERS[n % 8],
            f"CC-{1000 + n % 240}",
        ]


def write_csv(path: Path, count: int) -> None:
    """Write the machines as UTF-8 with commas."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(rows(count))


def write_saved_again(path: Path, count: int) -> None:
    """Write the same machines as another program would: GB18030, semicolons, every cell quoted, CRLF.

    Rows and columns are in another order, and one machine has got more memory.
    """
    dice = random.Random(20261101)
    columns = list(range(len(HEADER)))
    dice.shuffle(columns)
    machines = list(rows(count))
    machines[count // 2][HEADER.index("memory_gb")] = "999"
    dice.shuffle(machines)
    with path.open("w", encoding="gb18030", newline="") as file:
        writer = csv.writer(file, delimiter=";", quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        writer.writerow([HEADER[i] for i in columns])
        writer.writerows([machine[i] for i in columns] for machine in machines)


def write_xlsx(path: Path, count: int) -> None:
    """Write the machines as an Excel workbook, numbers as numbers."""
    import xlsxwriter

    with xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_numbers": False}) as workbook:
        sheet = workbook.add_worksheet("machines")
        sheet.write_row(0, 0, HEADER)
        for number, row in enumerate(rows(count), 1):
            _write_row(sheet, number, row)


def _write_row(sheet: object, number: int, row: Sequence[str]) -> None:
    for column, text in enumerate(row):
        if text and HEADER[column] in ("cpu_cores", "memory_gb", "disk_total_gb"):
            sheet.write_number(number, column, int(text))  # type: ignore[attr-defined]
        elif text:
            sheet.write_string(number, column, text)  # type: ignore[attr-defined]
