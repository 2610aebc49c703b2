"""How long a request may look for its server: names with several addresses, real sockets that never answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from asset_ledger.domain.errors import RetryableError
from asset_ledger.sources.https_session import Codes, HttpsSession
from asset_ledger.sources.vcenter import errors
from tests.doubles.vcenter import VcenterDouble
from tests.patience import soon
from tests.sources.vcenter.live import config_of

SILENT = ("127.1.0.1", "127.1.0.2", "127.1.0.3")
PATH = "/sdk/vimServiceVersions.xml"


@pytest.fixture
def vc() -> Iterator[VcenterDouble]:
    with VcenterDouble() as double:
        yield double


@pytest.fixture
def silent(vc: VcenterDouble) -> Iterator[None]:
    """Addresses at the double's port whose queue of connections is full: whoever connects waits."""
    with ExitStack() as opened:
        for address in SILENT:
            listening = opened.enter_context(socket.socket())
            listening.bind((address, vc.port))
            listening.listen(0)
            for _ in range(3):
                waiting = opened.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((address, vc.port))
        yield


def session(vc: VcenterDouble, monkeypatch: pytest.MonkeyPatch, *addresses: str, **said: Any) -> HttpsSession:
    """Return a session to a name that has these addresses."""
    name = "vcenter.example.test"

    def resolved(host: str, port: int, *_: object, **__: object) -> list[Any]:
        asked = addresses if host == name else (host,)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in asked]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    trust: dict[str, Any] = {"fingerprint": vc.fingerprint}
    config = config_of(vc, endpoint=f"https://{name}:{vc.port}", **trust, **said)
    return HttpsSession(config, Codes(errors.CONFIG_INVALID, errors.NETWORK_ERROR, errors.TLS_ERROR))


def test_a_request_ends_in_its_time_however_many_addresses_its_server_has(
    vc: VcenterDouble, silent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = session(vc, monkeypatch, *SILENT * 40, timeout_ms=900)
    with soon(), pytest.raises(RetryableError, match=r"no whole answer within 0\.9 s") as caught:
        asking.send("GET", PATH)
    assert caught.value.code is errors.NETWORK_ERROR


def test_an_address_that_is_silent_leaves_time_for_the_next(
    vc: VcenterDouble, silent: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = session(vc, monkeypatch, SILENT[0], "127.0.0.1", timeout_ms=2000)
    assert asking.send("GET", PATH).status_code == 200
    asking.stop()


def test_a_name_without_an_address_that_is_open_says_so(vc: VcenterDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    for addresses, words in (((), "no address"), (("127.1.0.9", "127.1.0.8"), "refused")):
        with pytest.raises(RetryableError, match=words):
            session(vc, monkeypatch, *addresses).send("GET", PATH)
