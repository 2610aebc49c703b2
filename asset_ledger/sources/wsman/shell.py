"""What a winrs shell answers: which shell and command it made, and the output as it comes. Pure; used by `client`."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from asset_ledger.sources.wsman import soap

_DONE = "/CommandState/Done"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a command's output. `exit_status` is None while it runs."""

    stdout: bytes
    stderr: bytes
    exit_status: int | None


def shell_id(root: Any) -> str:
    """Return the id of the shell that was made. Raises ValueError."""
    found = next((one.text for one in soap.named(root, "Selector") if one.get("Name") == "ShellId"), None)
    return _id(found or soap.text_of(root, "ShellId"), "shell")


def command_id(root: Any) -> str:
    """Return the id of the command that was started. Raises ValueError."""
    return _id(soap.text_of(root, "CommandId"), "command")


def piece(root: Any) -> Piece:
    """Return what a Receive was answered with. Raises ValueError."""
    answer = soap.body(root).find("{*}ReceiveResponse")
    if answer is None:
        raise ValueError("the answer is none to Receive")
    streams: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    for stream in answer.findall("{*}Stream"):
        if stream.text and stream.get("Name") in streams:
            try:
                streams[stream.get("Name")].append(base64.b64decode("".join(stream.text.split()), validate=True))
            except (binascii.Error, ValueError):
                raise ValueError("a stream is no base64") from None
    status = None
    state = answer.find("{*}CommandState")
    if state is not None and (state.get("State") or "").endswith(_DONE):
        told = (soap.text_of(state, "ExitCode") or "").strip()
        if not (told.isascii() and told.lstrip("-").isdigit() and len(told) <= 11):
            raise ValueError("the command ended without an exit code")
        status = int(told)
    return Piece(b"".join(streams["stdout"]), b"".join(streams["stderr"]), status)


def _id(text: str | None, what: str) -> str:
    found = (text or "").strip()
    if not found or len(found) > 200 or not found.isprintable():
        raise ValueError(f"the answer names no {what}")
    return found
