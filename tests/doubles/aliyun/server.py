"""The double that tests hold: one account's cloud behind its endpoints, with its knobs.

What is answered is decided in api.py and metadata.py, and how it goes over the wire in wire.py.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.doubles.aliyun.api import Api
from tests.doubles.aliyun.faults import Registry
from tests.doubles.aliyun.limits import Limits
from tests.doubles.aliyun.log import Request
from tests.doubles.aliyun.metadata import Metadata
from tests.doubles.aliyun.principals import Keyring, Principal
from tests.doubles.aliyun.state import Cloud
from tests.doubles.aliyun.wire import Connection, MetadataConnection, StsConnection
from tests.doubles.https.certificates import Kind as CertificateKind
from tests.doubles.https.double import HttpsDouble
from tests.doubles.https.log import RequestLog

ACCESS_KEY_ID = "LTAI5tDoubleDoubleDouble"
ACCESS_KEY_SECRET = "dOuBleSecret0000000000000000AA"
DOMAIN = "ecs.example.test"


class AliyunDouble(HttpsDouble):
    """One account at ECS, STS and an instance's metadata service, for the length of a `with`."""

    def __init__(
        self,
        cloud: Cloud | None = None,
        *,
        port: int = 0,
        certificate: CertificateKind = "good",
        tls: bool = True,
    ) -> None:
        super().__init__(
            "aliyun",
            Connection,
            host="*.ecs",
            authority="Double Cloud CA",
            certificate=certificate,
            port=port,
            tls=tls,
        )
        self.cloud = cloud or Cloud()
        self.access_key_id, self.access_key_secret = ACCESS_KEY_ID, ACCESS_KEY_SECRET
        self.keyring = Keyring(self.now)
        self.user: Principal = self.keyring.add_user("ledger", ACCESS_KEY_ID, ACCESS_KEY_SECRET)
        self.requests: RequestLog[Request] = RequestLog()
        self.faults = Registry()
        self.limits = Limits()
        self.token_lifetime: float | None = None  # seconds for which a NextToken is taken; None is for ever
        self.token_error = "InvalidParameter.NextToken"
        self.longest_page: int | None = None  # rows that a page by token has at most, whatever is asked for
        self.token_total: int | None = 0  # TotalCount of pages by token: meaningless; None is the true one
        self.session_lifetime: float | None = None  # seconds that an STS session lasts, whatever is asked for
        self.metadata = Metadata(self)
        self.api = Api(self)
        sts, metadata = self.listen(StsConnection, tls=self.tls), self.listen(MetadataConnection)
        scheme = "https" if tls else "http"
        self.host = f"127.0.0.1:{self.port}"
        self.region_path_endpoint = f"{self.endpoint}/{{region}}"
        self.region_host_endpoint = f"{scheme}://{{region}}.{DOMAIN}:{self.port}"  # within `resolving()`
        self.sts_host = f"127.0.0.1:{sts.server_address[1]}"
        self.sts_endpoint = f"{scheme}://{self.sts_host}"
        self.metadata_endpoint = f"http://127.0.0.1:{metadata.server_address[1]}"
        self.region_endpoint = (
            self.host
        )  # what DescribeRegions says; "ecs.{region}.aliyuncs.com" is what it really says

    def now(self) -> float:
        """The service's clock, in seconds since 1970."""
        return time.time() + self.clock_skew_s

    @property
    def credential(self) -> dict[str, str]:
        """The fields of the account's own access key."""
        return {"access_key_id": self.access_key_id, "access_key_secret": self.access_key_secret}

    @contextmanager
    def resolving(self) -> Iterator[None]:
        """Let every name under ecs.example.test be this machine, within this process: what a DNS would say."""
        asked = socket.getaddrinfo

        def answered(host: Any, *rest: Any, **said: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            here = isinstance(name, str) and name.endswith(f".{DOMAIN}")
            return asked("127.0.0.1" if here else host, *rest, **said)

        socket.getaddrinfo = answered
        try:
            yield
        finally:
            socket.getaddrinfo = asked
