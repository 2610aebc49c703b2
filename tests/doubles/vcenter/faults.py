"""What can go wrong in what vCenter says, besides what goes wrong on any wire. Done by server.py.

A match is a request's name as a glob: "RetrievePropertiesEx", "Login", "GET /sdk/*", "*".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from tests.doubles.https import faults
from tests.doubles.https.faults import WireKind
from tests.doubles.vcenter.log import Request

Kind = Literal[
    WireKind,
    "truncated_xml",  # half of the body, with a Content-Length that fits the half
    "soap",  # the SOAP fault `fault` with `fields` and `message`
    "expire",  # the session is over: NotAuthenticated, now and for every later call of it; views and tokens die
    "end_silently",  # the session is over, and reading answers 200 with no objects from now on
    "drop_token",  # the page is told as the last one, and what would follow is lost
    "no_objects",  # 200 with no objects
    "repeat",  # the last object of a page is told twice
    "replace",  # `body` in place of the answer, whatever it is, with 200
]


@dataclass(kw_only=True)
class Fault(faults.Fault):
    """One fault."""

    fault: str = "SystemError"
    fields: str = ""
    message: str = ""
    keep: int | None = None  # with drop_token: no more objects than these either
    kinds: frozenset[str] = frozenset()  # only where the call is about one of these types ("VirtualMachine")


@dataclass(kw_only=True)
class Motion(faults.Motion):
    """Something that happens to what is shown once a request has been answered."""

    kinds: frozenset[str] = frozenset()


class Registry(faults.Registry[Fault, Motion, Request]):
    """The faults and motions of one vCenter."""

    fault, motion, kinds = Fault, Motion, frozenset(get_args(Kind))

    def concerns(self, said: Fault | Motion, request: Request) -> bool:
        return not said.kinds or bool(said.kinds & request.kinds)
