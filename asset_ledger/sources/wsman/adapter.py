"""requests' adapter over one pool of connections that a function of ours opens: neither dialling nor TLS of urllib3's.

Another function of ours sees every message before it is sent, those of a login too. Used by `http_client`.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import TYPE_CHECKING, Any

from asset_ledger.sources.wsman.causes import WrongAnswerError
from asset_ledger.sources.wsman.dial import Host

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter
    from requests.models import Response


@cache
def adapter_type() -> type[HTTPAdapter]:
    """Return requests' adapter over one pool whose connections are opened by a function of ours."""
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool, Retry
    from urllib3.connection import HTTPConnection

    class Connection(HTTPConnection):
        def __init__(self, *args: Any, opener: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._opener = opener

        def _new_conn(self) -> socket.socket:
            opened: socket.socket = self._opener()
            return opened

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class Adapter(HTTPAdapter):
        def __init__(self, host: Host, opener: Any, before_sending: Any) -> None:
            super().__init__(pool_connections=1, pool_maxsize=1)
            self._before_sending = before_sending
            self.max_retries = Retry(False)  # raises the first error as it is
            self._pool = Pool(host.address, host.port, maxsize=1, opener=opener)

        def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
            return self._pool

        def send(self, request: Any, *args: Any, **kwargs: Any) -> Response:
            self._before_sending(request)
            return super().send(request, *args, **kwargs)

        def cert_verify(self, *_: Any, **__: Any) -> None:
            """Leave out: the connection is checked as it is opened."""

        def build_response(self, req: Any, resp: Any) -> Response:
            if resp.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise WrongAnswerError("is compressed, which nobody asked for")
            return super().build_response(req, resp)

        def close(self) -> None:
            super().close()
            self._pool.close()

    return Adapter
