"""The double that tests hold: a cluster in one release behind one HTTPS endpoint, with its knobs.

What is answered is decided in routes.py, and how it goes over the wire in wire.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.doubles.https.certificates import Kind as CertificateKind
from tests.doubles.https.double import HttpsDouble
from tests.doubles.https.log import RequestLog
from tests.doubles.https.wire import Answer
from tests.doubles.pve.faults import Registry
from tests.doubles.pve.log import Request
from tests.doubles.pve.releases import release_of
from tests.doubles.pve.routes import Api
from tests.doubles.pve.scenario import Scenario
from tests.doubles.pve.state import Cluster
from tests.doubles.pve.wire import Connection


class PveDouble(HttpsDouble):
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
        super().__init__(
            "pve",
            Connection,
            host=self.cluster.local_node,
            authority="Proxmox Virtual Environment",
            certificate=certificate,
            port=port,
        )
        self.cluster.nodes[self.cluster.local_node].spec.fingerprint = self.fingerprint
        self.requests: RequestLog[Request] = RequestLog()
        self.faults = Registry()
        self.keep_alive = 100
        self.idle_timeout = 5.0
        self._api = Api(self.cluster)

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
