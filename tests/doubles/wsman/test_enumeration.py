"""Queries, pages and contexts, and the shapes in which rows are told."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from winrm.exceptions import WSManFaultError

from tests.doubles.wsman import Table
from tests.doubles.wsman.refusals import RefusalError
from tests.doubles.wsman.talking import ADDRESS, ENUMERATION, WMI, Talk, context_of, has, host, one, rows
from tests.doubles.wsman.wql import run

WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
ROWS: list[dict[str, Any]] = [
    {
        "Name": "a",
        "Size": 10,
        "On": True,
        "Tags": ["x", "y"],
        "Since": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    },
    {"Name": "b's", "Size": 20, "On": False, "Tags": None, "Since": None},
    {"Name": "C:\\d", "Size": None, "On": True, "Tags": ["z"], "Since": None},
]


def names(query: str) -> list[str]:
    return re.findall(r"<Name>(.*?)</Name>", "".join(run(query, {"Thing": ROWS}, "root/cimv2")))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("On=TRUE", ["a", "C:\\d"]),
        ("on = false", ["b's"]),
        ("Size=20", ["b's"]),
        ("Size>=10 AND Size<20", ["a"]),
        ("Size<>10", ["b's", "C:\\d"]),
        ("Name='A'", ["a"]),
        ('Name="b\'s"', ["b's"]),
        (r"Name='b\'s'", ["b's"]),
        (r"Name='C:\\d'", ["C:\\d"]),
        ("Size IS NULL", ["C:\\d"]),
        ("Size IS NOT NULL and On=TRUE", ["a"]),
        ("Name LIKE '%d'", ["C:\\d"]),
    ],
)
def test_conditions_are_those_of_wql(where: str, found: list[str]) -> None:
    assert names(f"SELECT Name FROM Thing WHERE {where}") == found


@pytest.mark.parametrize(
    "query",
    [
        "SELECT Nope FROM Thing",
        "SELECT * FROM Thing WHERE Nope=1",
        "SELECT * FROM Nothing",
        "SELECT FROM Thing",
        "SELECT * FROM Thing WHERE",
        "SELECT * FROM Thing WHERE Size=",
        "SELECT * FROM Thing WHERE Size=10 AND",
        "SELECT * FROM Thing WHERE Size=10 OR Size=20",
        "SELECT * FROM Thing WHERE Name='b's'",
        "SELECT Name,* FROM Thing",
        "DELETE FROM Thing",
    ],
)
def test_what_wmi_cannot_run_is_refused(query: str) -> None:
    with pytest.raises(RefusalError) as raised:
        run(query, {"Thing": ROWS}, "root/cimv2")
    assert (raised.value.code, raised.value.provider) == (2150858778, True)


def test_a_class_without_rows_knows_the_properties_that_it_is_given() -> None:
    assert run("SELECT Name FROM Thing", {"Thing": Table((), ("Name",))}, "root/cimv2") == []
    assert run("SELECT Anything FROM Thing", {"Thing": []}, "root/cimv2") == []
    with pytest.raises(RefusalError):
        run("SELECT Nope FROM Thing", {"Thing": Table((), ("Name",))}, "root/cimv2")


def test_a_star_tells_arrays_and_types_and_a_list_tells_neither() -> None:
    with one(wmi={"root\\cimv2": {"Thing": ROWS[:1]}}) as double:
        talk = Talk(double)
        assert talk.ask("select * from thing") == [
            {
                "Name": ["a"],
                "On": ["true"],
                "Since": ["2026-01-02T00:00:00+00:00"],
                "Size": ["10"],
                "Tags": ["x", "y"],
            }
        ]
        answer = talk.enumerate("SELECT * FROM Thing")
        (instance,) = [one for one in answer.iter() if one.tag == f"{{{WMI}/root/cimv2/Thing}}Thing"]
        assert instance.get("{http://www.w3.org/2001/XMLSchema-instance}type") == "p:Thing_Type"
        answer = talk.enumerate("SELECT Tags,Size,Name,On FROM Thing")
        assert rows(answer) == [{"Size": ["10"], "Name": ["a"], "On": ["true"]}]
        assert has(answer, "XmlFragment") == [f"{{{WSMAN}}}XmlFragment"]
        assert has(answer, "Name") == ["Name"]


def test_null_is_told_in_both_shapes() -> None:
    with one(wmi={"root/cimv2": {"Thing": ROWS}}) as double:
        talk = Talk(double)
        assert talk.ask("SELECT Size FROM Thing WHERE Size IS NULL") == [{"Size": [None]}]
        assert talk.ask("SELECT * FROM Thing WHERE Size=20")[0]["Tags"] == [None]


def test_an_enumerate_and_a_pull_say_their_items_in_different_namespaces() -> None:
    with one(page=1) as double:
        talk = Talk(double)
        first = talk.enumerate("SELECT DeviceID FROM Win32_LogicalDisk")
        assert (has(first, "Items"), has(first, "EndOfSequence")) == ([f"{{{WSMAN}}}Items"], [])
        last = talk.pull(context_of(first))
        assert has(last, "Items") == [f"{{{ENUMERATION}}}Items"]
        assert has(last, "EndOfSequence") == [f"{{{ENUMERATION}}}EndOfSequence"]
        assert context_of(last) == ""
        assert double.requests.names()[-1] == "Pull Win32_LogicalDisk"


def test_answers_are_split_by_rows_by_elements_and_by_bytes() -> None:
    many = {"root/cimv2": {"Thing": [{"Name": f"{number:04}", "Text": "ä" * 1000} for number in range(200)]}}
    with one(wmi=many) as double:
        talk = Talk(double)
        assert [row["Name"] for row in talk.ask("SELECT Name,Text FROM Thing")] == [[f"{n:04}"] for n in range(200)]
        assert double.requests.count("Pull") == 2  # of 153,600 bytes each
        assert max(request.sent for request in double.requests) < 154_000
        assert len(rows(talk.enumerate("SELECT Name FROM Thing", elements=3))) == 3
    with one(wmi=many, page=90) as double:
        answer = Talk(double).enumerate("SELECT Name FROM Thing")
        assert (len(rows(answer)), double.contexts(ADDRESS)) == (90, [context_of(answer)])


def test_without_optimize_the_first_answer_has_no_rows() -> None:
    with one() as double:
        talk = Talk(double)
        answer = talk.send("Enumerate", {}, cls="Win32_LogicalDisk")  # a class, no query
        assert (has(answer, "Items"), len(double.contexts(ADDRESS))) == ([], 1)
        assert len(rows(talk.pull(context_of(answer)))) == 2
        assert double.requests.queries(ADDRESS) == ["SELECT * FROM Win32_LogicalDisk"]


def test_a_context_is_fresh_good_for_one_use_and_its_owners() -> None:
    with one(page=1) as double:
        talk, other = Talk(double), Talk(double, user="ledger")
        contexts = {context_of(talk.enumerate("SELECT * FROM Win32_LogicalDisk")) for _ in range(3)}
        assert len(contexts) == 3
        used = contexts.pop()
        talk.pull(used)
        for speaker, context in ((talk, used), (other, contexts.pop()), (talk, "uuid:none")):
            with pytest.raises(WSManFaultError) as raised:
                speaker.pull(context)
            assert raised.value.wsman_fault_code == 2150858779
        context = contexts.pop()
        talk.send("Release", {"n:EnumerationContext": context})
        with pytest.raises(WSManFaultError):
            talk.pull(context)
        assert double.contexts(ADDRESS) == []


def test_each_namespace_has_its_own_classes() -> None:
    machines = {"root\\virtualization\\v2": {"Msvm_ComputerSystem": [{"Name": "HV01"}]}, "root/cimv2": {}}
    with one(wmi=machines, fault_shape="wsman") as double:
        talk = Talk(double)
        query = "SELECT Name FROM Msvm_ComputerSystem"
        assert talk.ask(query, "root/virtualization/v2") == [{"Name": ["HV01"]}]
        for namespace in ("root/cimv2", "root/nowhere"):
            with pytest.raises(WSManFaultError) as raised:
                talk.ask(query, namespace)
            assert raised.value.wsman_fault_code == 2150858778
        assert double.requests.all("Enumerate")[0].namespace == "root/virtualization/v2"


@pytest.mark.parametrize(("release", "shape"), [("2008r2", "wsman"), ("2019", "wmi")])
def test_a_fault_of_wmi_is_told_as_the_release_does(release: str, shape: str) -> None:
    with one(release=release) as double:
        with pytest.raises(WSManFaultError) as raised:
            Talk(double).ask("SELECT Nope FROM Win32_BIOS")
        said = raised.value
        expected = (2150858778, None) if shape == "wsman" else (None, 2150858778)
        assert (said.wsman_fault_code, said.wmierror_code) == expected
        assert ("ProviderFault" in said.response) is (shape == "wsman")
        assert double.requests.all("Enumerate Win32_BIOS")[0].fault == 2150858778


def test_a_host_that_is_changed_tells_its_new_rows() -> None:
    with one(wmi={"root/cimv2": {"Thing": ROWS[:1]}}) as double:
        talk = Talk(double)
        assert len(talk.ask("SELECT Name FROM Thing")) == 1
        double.add(host(wmi={"root/cimv2": {"Thing": ROWS}}))
        assert len(talk.ask("SELECT Name FROM Thing")) == 3
