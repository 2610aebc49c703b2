"""Who is believed to be the host: certificates by address and by name, channel bindings, one context for a source."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from typing import Any

import pytest
import requests_ntlm

from asset_ledger.domain.errors import TargetError
from asset_ledger.sources.wsman.client import Login, WsmanClient, context_of
from asset_ledger.sources.wsman.enumeration import rows
from tests.doubles.wsman import WsmanDouble
from tests.sources.wsman.live import ADDRESS, CODES, PASSWORD, USER, add, client, config

SYSTEM = "SELECT * FROM Win32_ComputerSystem"


def refused(double: WsmanDouble, **said: Any) -> TargetError:
    with client(double, **said) as asking, pytest.raises(TargetError) as caught:
        asking.enumerate(SYSTEM)
    assert caught.value.code is CODES.tls
    assert double.requests.names() == [], "nothing was sent to a host that is not known"
    return caught.value


def test_a_certificate_may_name_the_address_or_the_known_name(secure: WsmanDouble) -> None:
    with client(secure) as asking:
        assert asking.identify()
    with client(secure, address="localhost", names=("app01.example.test",)) as asking, pytest.raises(TargetError):
        asking.identify()  # 127.0.0.1, where nobody lives
    add(secure, "127.0.0.1", name="LOCAL")
    with client(secure, address="localhost", names=("no name", "local.example.test")) as asking:
        assert asking.identify()


def test_a_certificate_for_somebody_else_is_refused_whatever_ca_signed_it(secure: WsmanDouble) -> None:
    add(secure, certificate="other_name")
    error = refused(secure, names=("app01.example.test",))
    assert "elsewhere.example.test" in error.message
    assert f"{ADDRESS} or app01.example.test" in error.message
    add(secure, "127.0.0.1")
    assert "not for localhost" in refused(secure, address="localhost").message


def test_a_certificate_of_another_ca_and_one_that_has_expired_are_refused(secure: WsmanDouble) -> None:
    assert re.search("issuer|self-signed", refused(secure, ca_file=secure.wrong_ca_file).message)
    add(secure, certificate="expired")
    assert "expired" in refused(secure).message


def test_without_the_check_anybody_is_read_and_the_certificate_is_noted(secure: WsmanDouble) -> None:
    add(secure, certificate="other_name")
    with client(secure, tls_verify=False) as asking:
        assert rows(asking.enumerate(SYSTEM))
        assert len(asking.trace.certificate_sha256 or "") == 64


@pytest.mark.parametrize(
    ("says", "words"), [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"), (b"", "TLS 1.1")]
)
def test_a_port_that_speaks_no_tls_or_none_that_is_sound_says_so(plain: WsmanDouble, says: bytes, words: str) -> None:
    with socket.create_server((ADDRESS, 0)) as listening:

        def answer() -> None:
            other, _ = listening.accept()
            with other:
                other.recv(9999)
                other.sendall(says)

        answering = threading.Thread(target=answer)
        answering.start()
        port = listening.getsockname()[1]
        with client(plain, port=port, https=True) as asking, pytest.raises(TargetError, match=words) as caught:
            asking.identify()
        assert caught.value.code is (CODES.tls if says else CODES.lost)
        answering.join()


def test_ntlm_over_https_is_bound_to_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    with WsmanDouble(channel_binding="strict") as double:
        add(double)
        with client(double) as asking:
            assert rows(asking.enumerate(SYSTEM))
        # the host really looks: without the binding it refuses
        monkeypatch.setattr(requests_ntlm.HttpNtlmAuth, "_get_server_cert", lambda *_: None)
        with client(double) as asking, pytest.raises(TargetError) as caught:
            asking.enumerate(SYSTEM)
        assert caught.value.code is CODES.auth


def test_one_context_serves_all_hosts_of_a_source_at_once(secure: WsmanDouble) -> None:
    addresses = [f"127.0.4.{number}" for number in range(1, 9)]
    for number, address in enumerate(addresses):
        add(secure, address, name=f"HOST{number}")
    settings = config(secure)
    context = context_of(settings, CODES)
    assert isinstance(context, ssl.SSLContext)
    found: dict[str, Any] = {}

    def read(address: str) -> None:
        login = Login(USER, PASSWORD)
        with WsmanClient(
            settings,
            CODES,
            login,
            address=address,
            port=secure.port,
            names=(),
            stop=threading.Event(),
            context=context,
        ) as asking:
            found[address] = rows(asking.enumerate(SYSTEM))

    threads = [threading.Thread(target=read, args=(address,)) for address in addresses]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert sorted(found) == addresses


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"authentication": "basic", "https": False}, "needs https: true"),
        ({"ca_file": "/ca.pem", "tls_verify": False}, "drop one"),
        ({"default_port": 0}, "greater than or equal to 1"),
    ],
)
def test_a_source_that_contradicts_itself_is_refused(plain: WsmanDouble, said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        config(plain, **{"https": True, **said})


def test_the_port_follows_from_the_transport(plain: WsmanDouble) -> None:
    assert (config(plain).port, config(plain, https=True).port, config(plain, default_port=99).port) == (5985, 5986, 99)
