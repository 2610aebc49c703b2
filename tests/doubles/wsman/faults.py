"""What can go wrong in what a host says, besides what goes wrong on any wire.

A match is "connect" (a new connection), "POST" (every request), an operation ("Pull", "Receive", "Identify"), or an
operation and its class as a glob ("Enumerate Win32_Processor", "Enumerate *Disk*"). `address` narrows it to one host.
What is answered with "wsman" or "expire" has not been done; with every other kind it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tests.doubles.https import faults
from tests.doubles.https.faults import WireKind
from tests.doubles.wsman.log import Request

Kind = Literal[
    WireKind,
    "mute",  # with "connect": the connection is accepted and never hears a word; otherwise no answer comes
    "wsman",  # WSManFault `code` with `text` (our own words in `locale` unless said), of `shape`
    "truncated_xml",  # half of the envelope, sealed and counted as if it were the whole
    "replace",  # `body` in place of the envelope, sealed where the request was, with `status` (200)
    "oversized",  # the envelope is `size` bytes longer
    "endless",  # the listing never ends: with `rows` the same rows again, without them no rows
    "same_context",  # the context that is handed out is the same every time, whoever asks
    "no_end",  # the last page has neither EndOfSequence nor a context
    "relates_to",  # RelatesTo is another message's
    "plain",  # the answer is not sealed though the request was
    "tampered",  # a bit of the sealed answer is turned
    "expire",  # 401, and the connection is nobody's any more
    "drop",  # the answer is whole, then the connection closes without having said so
]


@dataclass(kw_only=True)
class Fault(faults.Fault):
    """One fault."""

    address: str | None = None
    code: int = 5
    text: str | None = None
    locale: str | None = None  # None is the host's own
    shape: Literal["wsman", "wmi"] | None = None  # None is what the host's release usually says
    size: int = 1_000_000
    rows: bool = True


@dataclass(kw_only=True)
class Motion(faults.Motion):
    """Something that happens to what is shown once a request has been answered; it is given the double."""

    address: str | None = None


class Registry(faults.Registry[Fault, Motion, Request]):
    """The faults and motions of all hosts of a double."""

    fault, motion, kinds = Fault, Motion, frozenset(get_args(Kind))

    def concerns(self, said: Fault | Motion, request: Request) -> bool:
        return said.address is None or said.address == request.address
