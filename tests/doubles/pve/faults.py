"""What can go wrong at Proxmox VE besides what goes wrong on any wire. What a match is stands in log.py."""

from __future__ import annotations

from typing import Literal, get_args

from tests.doubles.https import faults
from tests.doubles.https.faults import Fault, Motion, WireKind
from tests.doubles.pve.log import Request

Kind = Literal[
    WireKind,
    "truncated_json",  # half of the body, with a Content-Length that fits the half
    "json",  # 200 with `body` as JSON, whatever its shape
    "no_reason",  # the true answer, the text in the status line left out, as HTTP/2 in front does
    "error_in_200",  # 200 whose result is an agent's error
]


class Registry(faults.Registry[Fault, Motion, Request]):
    """The faults and motions of one cluster."""

    kinds = frozenset(get_args(Kind))
