"""The base of every double that tests hold: certificates, endpoint, knobs of the wire, start and stop.

What is answered stands in each double's own folder.
"""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.doubles.https.certificates import Kind as CertificateKind
from tests.doubles.https.certificates import make_certificates
from tests.doubles.https.faults import Motion, Registry
from tests.doubles.https.log import RequestLog
from tests.doubles.https.wire import Connection, Server


class HttpsDouble:
    """Endpoints at 127.0.0.1, for the length of a `with`."""

    requests: RequestLog[Any]
    faults: Registry[Any, Any, Any]

    def __init__(
        self,
        name: str,
        connection: type[Connection],
        *,
        host: str,
        authority: str,
        certificate: CertificateKind = "good",
        port: int = 0,
        tls: bool = True,
        bind: str = "127.0.0.1",
    ) -> None:
        """Bind the port; `host`.example.test and `authority` are the names in the certificates."""
        self.bind = bind
        self.latency = 0.0  # seconds added to every answer
        self.compression = True
        self.chunked = False  # Transfer-Encoding in place of Content-Length, for bodies of some size
        self.keep_alive: int | None = None  # answers a connection, then it closes
        self.idle_timeout = 15.0  # seconds that a silent connection stays open
        self.clock_skew_s = 0.0  # how far the server's clock is ahead
        self.mute = False  # accept connections and never say a word
        self.stopping = threading.Event()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{name}-double-")
        made = make_certificates(Path(self._folder.name), host, certificate, authority=authority)
        self.ca_file, self.wrong_ca_file, self.fingerprint = made.ca_file, made.wrong_ca_file, made.fingerprint
        self.authority = made.authority
        self.tls: ssl.SSLContext | None = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(made.chain_file)
        self._serving: list[tuple[Server, threading.Thread]] = []
        self._server = self.listen(connection, port, self.tls)
        self.port: int = self._server.server_address[1]
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def listen(self, connection: type[Connection], port: int = 0, tls: ssl.SSLContext | None = None) -> Server:
        """Bind one more port, which is served together with the others."""
        server = Server(self, port, connection, tls)
        self._serving.append((server, threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)))
        return server

    def __enter__(self) -> Self:
        for _, thread in self._serving:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close every connection and the ports; requests that stall end at once."""
        self.stopping.set()
        ending = [threading.Thread(target=server.shutdown) for server, thread in self._serving if thread.is_alive()]
        for thread in ending:  # each waits for its server's next look around
            thread.start()
        for thread in ending:
            thread.join()
        for server, _ in self._serving:
            server.server_close()
            server.cut_everything()
        self._folder.cleanup()

    def on(self, match: str, action: Callable[[Any], object], **said: Any) -> Motion:
        """Do something once a matching request is answered, before its client can read the answer: times=1, after=0."""
        motion: Motion = self.faults.on(match, action, **said)
        return motion
