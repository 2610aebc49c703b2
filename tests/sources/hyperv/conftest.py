"""What the tests of the live half share."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.doubles.hyperv import HypervDouble

Named = Callable[[HypervDouble], None]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Named:
    """Let the hosts of a double be found by their names, as a name server does that knows them and nobody else."""
    real, addresses = socket.getaddrinfo, dict[str, str]()

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(host, str) and host.endswith((".test", ".invalid")) and host.lower() not in addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(addresses.get(str(host).lower(), host), *args, **kwargs)

    def know(hyperv: HypervDouble) -> None:
        for host in hyperv.hosts.values():
            addresses[host.fqdn.lower()] = host.address

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return know
