"""The double prints what the script prints: the same names in the same places, and nothing for another script."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from asset_ledger.sources.hyperv.script import ASKS, answer_in, body, script
from asset_ledger.sources.wsman.messages import BOOTSTRAP
from tests.doubles.hyperv import ClusterSpec, HostSpec, HypervDouble, VmSpec
from tests.doubles.hyperv.double import SWITCHES
from tests.doubles.hyperv.specs import DiskSpec
from tests.doubles.wsman import Invocation

NONCE = "0123456789abcdef" * 2


def run(hyperv: HypervDouble, text: str, **said: Any) -> tuple[bytes, int]:
    asked: dict[str, Any] = {
        "command": "powershell.exe",
        "arguments": (*SWITCHES, "BOOTSTRAP"),
        "script": BOOTSTRAP,
        "stdin": base64.b64encode(text.encode()) + b"\r\n",
        "user": "LAB\\ledger",
        "codepage": 65001,
        "noprofile": True,
        "skip_cmd_shell": False,
        **said,
    }
    result = hyperv._run("HV1", Invocation(**asked))
    assert isinstance(result.stdout, bytes)
    return result.stdout, result.exit_status


@pytest.fixture
def hyperv() -> HypervDouble:
    machine = VmSpec("web", clustered=True, disks=(DiskSpec(), DiskSpec(error="in use")))
    return HypervDouble(HostSpec("HV1", vms=[machine]), clusters=[ClusterSpec("HVC", ["HV1"])], tls=False)


def told(hyperv: HypervDouble, ask: Any) -> dict[str, Any]:
    stdout, _ = run(hyperv, script(NONCE, ask))
    found: dict[str, Any] = json.loads(answer_in(stdout, NONCE, "HV1"))
    return found


def named(variable: str) -> set[str]:
    """Return the names that the script gives a value of one of its tables."""
    assigned = set(re.findall(rf"\${variable}(?:\.|\[')(\w+)(?:'\])? = ", body()))
    return assigned | {
        name
        for table in re.findall(rf"\${variable} = @\{{(.*?)\}}$", body(), re.DOTALL | re.MULTILINE)
        for name in re.findall(r"(?:^|[;{\n])\s*(\w+) = ", table)
    }


def test_every_name_that_the_script_prints_is_printed_and_no_other(hyperv: HypervDouble) -> None:
    whole = told(hyperv, "whole")
    [item] = whole["items"]
    assert set(whole) == named("out")
    assert set(whole["host"]) == named("about")
    assert set(item) == named("item")
    assert set(item["disks"][0]) == named("disk")
    assert set(whole["cluster"]) == named("group")
    assert set(whole["second"]) == named("second")


def test_less_is_printed_where_less_is_asked(hyperv: HypervDouble) -> None:
    whole, own, lists, names = (told(hyperv, ask) for ask in ("whole", "own", "lists", "names"))
    assert [one["cluster"]["vms"] is None for one in (whole, own, lists, names)] == [False, True, False, True]
    assert [bool(one["items"][0]["disks"]) for one in (whole, own, lists, names)] == [True, True, False, False]
    assert [one["ask"] for one in (whole, own, lists, names)] == list(ASKS)


@pytest.mark.parametrize(
    "said",
    [
        {"command": "cmd.exe"},
        {"arguments": ("-EncodedCommand", "x")},
        {"codepage": 437},
        {"noprofile": False},
        {"stdin": None},
        {"stdin": base64.b64encode(script(NONCE, "own").encode() + b"Stop-VM *")},
        {"stdin": base64.b64encode(script(NONCE, "own").replace("'own'", "'all'").encode())},
        {"script": None},
        {"script": script(NONCE, "own")},
    ],
)
def test_another_script_or_another_way_to_start_it_is_refused(hyperv: HypervDouble, said: dict[str, Any]) -> None:
    assert run(hyperv, script(NONCE, "own"))[1] == 0
    assert run(hyperv, script(NONCE, "own"), **said) == (b"", 1)
    assert len(hyperv.runs) == 1
