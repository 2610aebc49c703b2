"""The double that tests hold: a cluster in one release behind one HTTPS endpoint, with its knobs.

What is answered is decided in routes.py, and how it goes over the wire in wire.py.
"""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.doubles.pve.certificates import Kind as CertificateKind
from tests.doubles.pve.certificates import make_certificates
from tests.doubles.pve.faults import Motion, Registry
from tests.doubles.pve.log import RequestLog
from tests.doubles.pve.releases import release_of
from tests.doubles.pve.routes import Answer, Api
from tests.doubles.pve.scenario import Scenario
from tests.doubles.pve.state import Cluster
from tests.doubles.pve.wire import Server


class PveDouble:
    """One Proxmox VE cluster behind one HTTPS endpoint, for the length of a `with`."""

    def __init__(
        self,
        scenario: Scenario,
        version: str = "8.4",
        *,
        port: int = 0,
        features: Mapping[str, Any] | None = None,
        certificate: CertificateKind = "good",
    ) -> None:
        self.release = release_of(version, features)
        self.cluster = Cluster(scenario, self.release)
        self.requests = RequestLog()
        self.faults = Registry()
        self.latency = 0.0  # seconds added to every answer
        self.compression = True
        self.keep_alive = 100  # answers a connection, then it closes
        self.idle_timeout = 5.0  # seconds that a silent connection stays open
        self.stopping = threading.Event()
        self._api = Api(self.cluster)
        self._folder = tempfile.TemporaryDirectory(prefix="pve-double-")
        made = make_certificates(Path(self._folder.name), self.cluster.local_node, certificate)
        self.ca_file, self.wrong_ca_file, self.fingerprint = made.ca_file, made.wrong_ca_file, made.fingerprint
        self.cluster.nodes[self.cluster.local_node].spec.fingerprint = made.fingerprint
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(made.chain_file)
        self._server = Server(self, port)
        self.port: int = self._server.server_address[1]
        self.endpoint = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> PveDouble:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close every connection and the port; requests that stall end at once."""
        self.stopping.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut_everything()
        self._folder.cleanup()

    def on(self, match: str, action: Callable[[Cluster], object], *, times: int | None = 1, after: int = 0) -> Motion:
        """Run an action on the cluster once a matching request is answered, before its client can read the answer."""
        return self.faults.on(match, action, times=times, after=after)

    @property
    def auth_delay(self) -> float:
        """Seconds by which every 401 is late: 3, as in every release; tests may want less."""
        return self._api.auth_delay

    @auth_delay.setter
    def auth_delay(self, seconds: float) -> None:
        self._api.auth_delay = seconds

    @property
    def agent_delay(self) -> float:
        """Seconds until an agent that does not run is given up (really 3; a silent one takes 5/3 of it)."""
        return self._api.agent_delay

    @agent_delay.setter
    def agent_delay(self, seconds: float) -> None:
        self._api.agent_delay = seconds

    @property
    def ticket_lifetime(self) -> float:
        return self._api.gate.lifetime

    @ticket_lifetime.setter
    def ticket_lifetime(self, seconds: float) -> None:
        self._api.gate.lifetime = seconds

    def ticket_for(self, user: str) -> tuple[str, str]:
        """Return a ticket and its CSRF token without a login."""
        return self._api.gate.make_ticket(user), self._api.gate.make_csrf(user)

    def answer(
        self, method: str, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[Answer, str | None]:
        return self._api.answer(method, path, parameters, headers)
