"""Clients of `heartbeats`, in a process of their own: `python -m benchmarks.heartbeat_client PORT FIRST COUNT RATE`.

COUNT beats, one of each client from FIRST on. With RATE 0 as fast as they are answered, over 64 kept connections; else
that many a second, each over a connection of its own, as agents come whose last beat was a minute ago.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from asset_ledger.api.presence import HEARTBEAT

INVENTORY = "0b" * 32
_KEPT = 64


def token(number: int) -> str:
    """Return the token of a client of the benchmark."""
    return f"ac_{number:043d}"


def _request(number: int) -> bytes:
    body = json.dumps({"inventory": INVENTORY}).encode()
    head = (
        f"POST {HEARTBEAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token(number)}\r\n"
        f"User-Agent: asset-ledger-agent\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _opened(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=60)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _ask(line: socket.socket, number: int) -> None:
    line.sendall(_request(number))
    _demand(line)


def _demand(line: socket.socket) -> None:
    """Read an answer to its end, a small object of JSON, and demand that it is the usual one."""
    answer = b""
    while not answer.endswith(b"}"):
        got = line.recv(4096)
        if not got:
            break
        answer += got
    if not answer.startswith(b"HTTP/1.1 200") or b'"send_inventory":false' not in answer:
        raise RuntimeError(repr(answer[:300]))


def as_fast(port: int, first: int, count: int) -> None:
    """Send one request on every connection, then read every answer: the server is never without work."""
    lines = [_opened(port) for _ in range(_KEPT)]
    for start in range(first, first + count, _KEPT):
        numbers = range(start, min(start + _KEPT, first + count))
        for line, number in zip(lines, numbers, strict=False):
            line.sendall(_request(number))
        for line, _ in zip(lines, numbers, strict=False):
            _demand(line)


def at_rate(port: int, first: int, count: int, rate: float) -> float:
    """Send so many a second; return how late the latest of 99 in 100 was answered, in seconds."""
    began = time.monotonic()

    def one(number: int) -> float:
        due = began + (number - first) / rate
        time.sleep(max(0.0, due - time.monotonic()))
        with _opened(port) as line:
            _ask(line, number)
        return time.monotonic() - due

    with ThreadPoolExecutor(32) as threads:
        late = sorted(threads.map(one, range(first, first + count)))
    return late[int(len(late) * 0.99)]


if __name__ == "__main__":
    port, first, count = map(int, sys.argv[1:4])
    rate = float(sys.argv[4])
    began = time.monotonic()
    late_s = at_rate(port, first, count, rate) if rate else 0.0
    if not rate:
        as_fast(port, first, count)
    print(json.dumps({"wall_s": time.monotonic() - began, "late_s": late_s}))
