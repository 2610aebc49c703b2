"""What the benchmarks of the HTTP service share: a service in a process of its own, a tenant, a token, and states."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from asset_ledger.domain.sealing import KeyRing
from asset_ledger.store.access.people import add_tenant, set_user
from asset_ledger.store.access.tokens import add_token
from asset_ledger.store.database import connect

RING = KeyRing({"bench": b"b" * 32})
LOCK_ID = "8a1c2f5e-0000-4000-8000-00000000be9c"


@dataclass(frozen=True)
class Service:
    """A service that runs, and who may ask it."""

    database_url: str
    port: int
    pid: int
    tenant_id: UUID
    user_id: UUID
    token: str

    def client(self) -> Client:
        return Client(self.port, "Basic " + base64.b64encode(f"acme/ann:{self.token}".encode()).decode())


class Client:
    """One kept connection, as Terraform keeps one; it sends its login with every request.

    A request goes out in one piece, as Go's client sends it, and an answer is read no further than its length: what is
    measured is the service, not Python's `http.client`.
    """

    def __init__(self, port: int, login: str) -> None:
        self._port, self.login = port, login
        self._socket: socket.socket | None = None

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the body of an answer that must be 200."""
        data = body or b""
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {self.login}\r\n"
            f"Content-Length: {len(data)}\r\nUser-Agent: bench\r\n\r\n"
        )
        try:
            status, told = self._exchanged(head.encode() + data)
        except ConnectionError:
            self._socket = None  # nothing was asked for long enough that the service let go of it
            status, told = self._exchanged(head.encode() + data)
        if status != 200:
            raise RuntimeError(f"{method} {path}: {status} {told[:300]!r}")
        return told

    def _exchanged(self, request: bytes) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=120)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        answer = bytearray()
        end = -1
        while end < 0:
            answer += self._received()
            end = answer.find(b"\r\n\r\n")
        status, headers = int(answer[9:12]), bytes(answer[:end]).lower()
        length = int(headers.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        while len(answer) < end + 4 + length:
            answer += self._received()
        return status, bytes(answer[end + 4 :])

    def _received(self) -> bytes:
        assert self._socket is not None
        got = self._socket.recv(1 << 17)
        if not got:
            raise ConnectionResetError("the service closed the connection")
        return got


@contextmanager
def service(database_url: str, home: Path) -> Iterator[Service]:
    """Run `asset-ledger serve` over a migrated database."""
    with connect(database_url) as connection:
        tenant = add_tenant(connection, "acme", RING)
        user = set_user(connection, tenant, "ann", "admin", password_hash=None, email=None)
        token = add_token(connection, tenant, user, "bench", "admin", expires_at=None)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSET_LEDGER_")}
    environment |= {
        "ASSET_LEDGER_DATABASE_URL": database_url,
        "ASSET_LEDGER_HOME": str(home),
        "ASSET_LEDGER_STATE_KEYS": f"bench:{base64.b64encode(RING.keys['bench']).decode()}",
    }
    command = [sys.executable, "-m", "asset_ledger.cli.main", "serve", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=home, start_new_session=True)  # as `up` starts it
    try:
        _wait(process, port)
        yield Service(database_url, port, process.pid, tenant, user, token)
    finally:
        process.terminate()
        process.wait(60)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    while process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the service ended with {process.returncode}")


def lock_info(lock_id: str = LOCK_ID) -> bytes:
    """Return what Terraform sends to lock."""
    told = {"ID": lock_id, "Operation": "OperationTypeApply", "Info": "", "Who": "ann@bench", "Version": "1.15.5",
            "Created": "2026-01-02T03:04:05.123456789Z", "Path": ""}  # fmt: skip
    return json.dumps(told).encode()


def aws_state(instances: int, serial: int, changed: int = 0, bytes_each: int = 2_200) -> bytes:
    """Return a state of so many AWS-shaped objects; the attributes of `changed` of them depend on the serial.

    A VPC, a subnet for 100 machines, machines and a volume of every fourth, as one would find them.
    """
    provider = 'provider["registry.terraform.io/hashicorp/aws"]'
    subnets = max(1, instances // 100)
    machines = instances - subnets - 1
    every = machines // changed if changed else 0

    def one(kind: str, name: str, index: int | None, needs: list[str], **more: Any) -> dict[str, Any]:
        told: dict[str, Any] = {
            "schema_version": 1,
            "attributes": {
                "arn": f"arn:aws:ec2:eu-central-1:123456789012:{kind}/{name}-{index}",
                "id": f"{kind[:4]}-{name}-{index}",
                "tags": {"Name": f"{name}-{index}", "Team": "platform", "Stage": "production"},
                **more,
            },
            "sensitive_attributes": [],
            "private": "eyJzY2hlbWFfdmVyc2lvbiI6IjEifQ==",
            "dependencies": needs,
        }
        return told if index is None else {"index_key": index, **told}

    def block(kind: str, name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
        return {"mode": "managed", "type": kind, "name": name, "provider": provider, "instances": found}

    filler = {f"setting_{n:02}": f"value of setting {n} " * 2 for n in range((bytes_each - 900) // 70)}
    resources = [
        block("aws_vpc", "main", [one("vpc", "main", None, [], cidr_block="10.0.0.0/8")]),
        block(
            "aws_subnet",
            "net",
            [one("subnet", "net", n, ["aws_vpc.main"], vpc_id="vpc-main-None") for n in range(subnets)],
        ),
        block(
            "aws_instance",
            "web",
            [
                one(
                    "instance", "web", n, ["aws_subnet.net", "aws_vpc.main"],
                    subnet_id=f"subn-net-{n % subnets}", instance_type="m5.large",
                    private_ip=f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}",
                    ebs_block_device=[{"device_name": "/dev/sdb", "volume_size": 100, "encrypted": True}],
                    note=f"as of {serial}" if every and n % every == 0 and n // every < changed else "",
                    metadata_options=filler,
                )
                for n in range(machines)
            ],
        ),
    ]  # fmt: skip
    told = {"version": 4, "terraform_version": "1.15.5", "serial": serial, "lineage": "bench", "outputs": {},
            "resources": resources, "check_results": None}  # fmt: skip
    return json.dumps(told, indent=2).encode()
