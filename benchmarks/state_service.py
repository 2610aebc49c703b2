"""What the benchmarks of the state service share: a service in a process of its own, a tenant, a token, and states."""

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
    tenant_id: UUID
    user_id: UUID
    token: str

    def client(self) -> Client:
        return Client(self.port, self.token)


class Client:
    """One kept connection, as Terraform keeps one; it sends the token with every request."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = {"Authorization": "Basic " + base64.b64encode(f"acme/ann:{token}".encode()).decode()}

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return the body of an answer that must be 200."""
        try:
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            self._connection.close()  # nothing was asked for long enough that the service let go of it
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {told[:300]!r}")
        return told


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
    process = subprocess.Popen(command, env=environment, cwd=home)
    try:
        _wait(process, port)
        yield Service(database_url, port, tenant, user, token)
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
