"""The script: that it can only read, that it fits, that it says what it promises, and its answer found in the output."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import tree_sitter
import tree_sitter_powershell
from hypothesis import given
from hypothesis import strategies as st

from asset_ledger.domain.errors import PermanentError
from asset_ledger.sources.hyperv import script as module
from asset_ledger.sources.hyperv.errors import PARSE_ERROR
from asset_ledger.sources.hyperv.script import ASKS, answer_in, body, script
from asset_ledger.sources.wsman.messages import BOOTSTRAP, MOST_SCRIPT_BYTES
from tests.sources.hyperv import kept

NONCE = "0123456789abcdef0123456789abcdef"
MAY_RUN = {
    "ConvertTo-Json",
    "FailoverClusters\\Get-Cluster",
    "FailoverClusters\\Get-ClusterNode",
    "FailoverClusters\\Get-ClusterParameter",
    "FailoverClusters\\Get-ClusterResource",
    "ForEach-Object",
    "Get-Date",
    "Get-ItemProperty",
    "Get-Module",
    "Get-WmiObject",
    "Hyper-V\\Get-VHD",
    "Hyper-V\\Get-VM",
    "Hyper-V\\Get-VMHost",
    "New-Object",
    "Select-Object",
    "Test-Path",
    "Where-Object",
}
MAY_MAKE = {"System.Collections.ArrayList", "Security.Principal.WindowsPrincipal"}
MAY_NAME = {
    *("[string]", "[int]", "[long]", "[bool]", "[datetime]", "[xml]", "[Console]", "[Convert]", "[Environment]"),
    *("[Text.Encoding]", "[Globalization.CultureInfo]"),
    *("[Security.Principal.WindowsIdentity]", "[Security.Principal.WindowsBuiltInRole]"),
}
MAY_CALL = {
    *("Add", "ContainsKey", "GetBytes", "GetCurrent", "GetType", "IsInRole", "SelectSingleNode", "Substring"),
    *("ToBase64String", "ToLowerInvariant", "ToString", "ToUniversalTime", "Trim", "WriteLine"),
}
MAY_BE_GIVEN = {
    *(
        "-Class",
        "-ErrorAction",
        "-Compress",
        "-Depth",
        "-Filter",
        "-First",
        "-InputObject",
        "-ListAvailable",
        "-Name",
        "-Namespace",
    ),
    *("-Path", "-Query"),
}


def parsed(text: str) -> tree_sitter.Tree:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language())).parse(text.encode())


def every(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from every(child)


def texts(text: str, *kinds: str) -> list[str]:
    return [(n.text or b"").decode() for n in every(parsed(text).root_node) if n.type in kinds]


def wrong_in(text: str) -> list[str]:
    """Return everything in a script that is not on a list of what only reads."""
    tree = parsed(text)
    wrong = [
        f"not understood: {(n.text or b'').decode()}"
        for n in every(tree.root_node)
        if n.type == "ERROR" or n.is_missing
    ]
    own = set(texts(text, "function_name"))
    wrong += [f"runs {name}" for name in texts(text, "command_name") if name not in MAY_RUN | own]
    wrong += [f"names {name}" for name in texts(text, "type_literal") if name not in MAY_NAME]
    wrong += [f"is given {name}" for name in texts(text, "command_parameter") if name not in MAY_BE_GIVEN]
    for node in every(tree.root_node):
        told = (node.text or b"").decode()
        if node.type == "invokation_expression":
            called = [(n.text or b"").decode() for n in node.children if n.type == "member_name"]
            wrong += [f"calls {name}" for name in called if name not in MAY_CALL] or (
                [] if called else [f"calls {told}"]
            )
        elif node.type == "command_invokation_operator" or (node.type == "redirection"):
            wrong.append(f"invokes {told}")
        elif node.type == "command" and told.startswith("New-Object "):
            wrong += [f"makes {told}" for _ in (0,) if told.split()[1] not in MAY_MAKE]
    return wrong


def test_the_script_is_understood_and_does_nothing_but_read() -> None:
    assert wrong_in(script(NONCE, "whole")) == []


@pytest.mark.parametrize(
    "line",
    [
        "Stop-VM -Name x",
        "Hyper-V\\Set-VM -Name x",
        "Get-VM",
        "Hyper-V\\Get-VM -ComputerName hv2",
        "Get-WmiObject -Class Win32_Process -ComputerName hv2",
        "& $x",
        ". $x",
        "Invoke-Expression $x",
        "[IO.File]::Delete('x')",
        "$vm.Delete()",
        "$vm.PSBase.InvokeMethod('RequestStateChange', 3)",
        "New-Object Net.WebClient",
        "'x' > C:\\x",
        "if ($a { 1 }",
    ],
)
def test_what_is_more_than_reading_would_be_noticed(line: str) -> None:
    assert wrong_in(f"{script(NONCE, 'whole')}\n{line}\n")


@pytest.mark.parametrize("ask", ASKS)
def test_the_script_is_ascii_and_fits_into_one_message(ask: str) -> None:
    assert len(script(NONCE, ask)) < MOST_SCRIPT_BYTES  # type: ignore[arg-type]
    assert script(NONCE, ask).isascii()  # type: ignore[arg-type]


def test_what_powershell_is_started_with_is_powershell_and_runs_its_standard_input_alone() -> None:
    assert not parsed(BOOTSTRAP).root_node.has_error
    assert "$input" in BOOTSTRAP
    assert "ScriptBlock" in BOOTSTRAP


def test_nothing_stands_before_the_constant_text_but_two_assignments() -> None:
    for ask in ASKS:
        assert script(NONCE, ask) == f"$nonce = '{NONCE}'\n$ask = '{ask}'\n{body()}\n"


@pytest.mark.parametrize("nonce", ["", "'; Stop-VM *; '", NONCE.upper(), NONCE + "0", NONCE + "\n"])
def test_a_nonce_that_could_be_more_than_a_nonce_is_refused(nonce: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        script(nonce, "whole")


def test_an_ask_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="four words"):
        script(NONCE, "whole'; Stop-VM *; '")  # type: ignore[arg-type]


def assigned() -> set[str]:
    """Return the names of everything that the script puts into its answer."""
    keys = {key.strip("'") for key in texts(body(), "key_expression")}
    return keys | set(re.findall(r"\$(?:about|out|item|disk|second|group)(?:\.|\[')(\w+)(?:'\])? = ", body()))


def names_in(told: Any) -> set[str]:
    """Return the names of all fields in an answer."""
    if isinstance(told, dict):
        return set(told).union(*(names_in(value) for value in told.values()))
    return set().union(*(names_in(one) for one in told)) if isinstance(told, list) else set()


def test_what_the_script_tells_what_its_page_promises_and_what_is_parsed_are_the_same_fields() -> None:
    read = names_in(
        json.loads(kept.printed("hv1", [kept.vm(1)], "whole", cluster=kept.cluster({"hv1": 0}, {1: "hv1"})))
    )
    read |= set(kept.ERROR)
    promised = set(re.findall(r"[a-z][a-z0-9_]*", module.__doc__ or ""))
    assert len(assigned()) > 60, "the search itself finds nothing"
    assert sorted(assigned() ^ read) == []
    assert sorted(assigned() - promised) == []


def line(json_text: bytes, nonce: str = NONCE) -> bytes:
    return nonce.encode() + b":" + base64.b64encode(json_text) + b":" + nonce.encode() + b"\r\n"


@given(st.binary(max_size=200), st.binary(max_size=40), st.binary(max_size=40))
def test_an_answer_is_found_whatever_stands_around_it(told: bytes, before: bytes, behind: bytes) -> None:
    assert answer_in(before + b"\r\n" + line(told) + behind, NONCE, "hv1") == told


def test_a_line_that_a_console_broke_is_whole_again() -> None:
    told = json.dumps({"v": 1, "名": "虚拟机" * 50}).encode()
    broken = b"\r\n".join(line(told)[at : at + 80] for at in range(0, len(line(told)), 80))
    assert answer_in(broken, NONCE, "hv1") == told


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_an_answer_cut_anywhere_is_refused_and_never_shorter(part: float) -> None:
    whole = line(json.dumps({"v": 1, "items": ["x"] * 100}).encode()).rstrip()
    with pytest.raises(PermanentError) as refused:
        answer_in(whole[: int(len(whole) * part)], NONCE, "hv1")
    assert refused.value.code is PARSE_ERROR
    assert refused.value.target == "hv1"


@pytest.mark.parametrize(
    ("stdout", "said"),
    [
        (b"", "printed nothing"),
        (b"  \r\n", "printed nothing"),
        ("Der Zugriff wurde verweigert.".encode("cp1252"), "Der Zugriff wurde verweigert"),
        (line(b"{}", "f" * 32), "not in what was printed"),
        (NONCE.encode() + b':{"v":1}:' + NONCE.encode(), "no base64"),
        (NONCE.encode() + b":ab*cd:" + NONCE.encode(), "no base64"),
    ],
)
def test_what_was_printed_instead_of_an_answer_is_said(stdout: bytes, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        answer_in(stdout, NONCE, "hv1")
