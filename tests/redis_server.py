"""A real redis-server on a port of its own, which keeps nothing, and may be killed and started again in a test."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.sshd import free_port


class RedisServer:
    """One server. `password`, if there is one, is asked of everybody."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.port, self._folder, self._password = free_port(), folder, password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{f':{self._password}@' if self._password else ''}127.0.0.1:{self.port}/0"

    @property
    def runs(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start it, empty unless it was told to `remember`."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        if self._password:
            command += ["--requirepass", self._password]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < end
            time.sleep(0.02)

    def remember(self) -> None:
        """Write down what it knows: that is what it starts with from now on."""
        with self.client() as client:
            client.save()

    def kill(self) -> None:
        """End it without a word, with all it knows."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> redis.Redis[Any] | Any:
        """Return a plain client, that of somebody who looks."""
        return redis.Redis.from_url(self.url, decode_responses=True, protocol=2)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that runs; tests that use it are marked `needs("redis-server")`."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
