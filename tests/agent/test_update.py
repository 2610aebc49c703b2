"""A newer agent: downloaded with resuming, and nothing trusted but a whole file with the digest that was promised."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from asset_ledger.agent import update
from asset_ledger.agent.client import Client
from asset_ledger.agent.update import Fetched, UnfinishedError, fetch, is_newer, put
from asset_ledger.domain.errors import PermanentError, RetryableError
from tests.agent.server import TOKEN, Reported

CONTENT = os.urandom(1 << 20)
BINARY = "GET /api/v1/agent-versions/9.0.0/binaries/*"


@pytest.fixture
def client(server: Reported) -> Iterator[Client]:
    made = Client(server.endpoint, str(server.ca_file))
    yield made
    made.close()


def files(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "updates").iterdir())


def test_a_newer_agent_is_fetched_once_and_lies_beside(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT)
    found = fetch(client, TOKEN, home)
    assert found is not None
    assert found.path == home / "updates" / f"asset-ledger-agent-9.0.0-{update.here()}"
    assert found.path.read_bytes() == CONTENT
    assert fetch(client, TOKEN, home) == found
    assert server.requests.count(BINARY) == 1


@pytest.mark.parametrize("version", ["0.0.1", "0.1.0", "0.1.0-rc.1"])
def test_an_older_agent_is_never_fetched(client: Client, server: Reported, home: Path, version: str) -> None:
    server.publish(version, CONTENT)
    assert fetch(client, TOKEN, home) is None
    server.published = None
    assert fetch(client, TOKEN, home) is None


@pytest.mark.parametrize("kind", ["cut", "close", "reset", "status"])
def test_a_download_that_breaks_off_goes_on_where_it_was(
    client: Client, server: Reported, home: Path, kind: str
) -> None:
    server.publish("9.0.0", CONTENT)
    server.faults.add(BINARY, "cut")
    with pytest.raises(RetryableError):
        fetch(client, TOKEN, home)
    (part,) = (home / "updates").glob("*.part")
    had = part.stat().st_size
    assert 0 < had < len(CONTENT)
    if kind != "cut":
        server.faults.add(BINARY, kind, times=2)
        with pytest.raises(RetryableError):
            fetch(client, TOKEN, home)
        server.faults.clear()
    found = fetch(client, TOKEN, home)
    assert found is not None
    assert found.path.read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={had}-"
    assert len(files(home)) == 1


def test_a_download_that_takes_too_long_goes_on_later(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT)
    with pytest.raises(UnfinishedError):
        fetch(client, TOKEN, home, within_s=0)
    had = next((home / "updates").glob("*.part")).stat().st_size
    found = fetch(client, TOKEN, home)
    assert found is not None
    assert found.path.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={had}-"]


def test_what_was_tampered_with_is_thrown_away(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT)
    server.faults.add(BINARY, "garbled", body=CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with pytest.raises(PermanentError, match=r"AGENT_BINARY_DAMAGED.*another SHA-256"):
        fetch(client, TOKEN, home)
    assert files(home) == []
    assert fetch(client, TOKEN, home) is not None


def test_a_part_that_was_tampered_with_here_is_thrown_away(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT)
    server.faults.add(BINARY, "cut")
    with pytest.raises(RetryableError):
        fetch(client, TOKEN, home)
    (part,) = (home / "updates").glob("*.part")
    with part.open("r+b") as file:
        file.write(b"#!/bin/sh\n")
    with pytest.raises(PermanentError, match="AGENT_BINARY_DAMAGED"):
        fetch(client, TOKEN, home)
    assert files(home) == []


def test_another_file_than_was_begun_is_taken_whole(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT)
    server.faults.add(BINARY, "cut")
    with pytest.raises(RetryableError):
        fetch(client, TOKEN, home)
    other = CONTENT[::-1]
    server.publish("9.0.1", other)
    found = fetch(client, TOKEN, home)
    assert found is not None
    assert found.path.read_bytes() == other
    assert server.ranges == []
    assert len(files(home)) == 1


def test_a_server_that_knows_no_ranges_sends_it_anew(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT)
    server.faults.add(BINARY, "cut")
    with pytest.raises(RetryableError):
        fetch(client, TOKEN, home)
    server.faults.add(BINARY, "garbled", body=CONTENT)
    found = fetch(client, TOKEN, home)
    assert found is not None
    assert found.path.read_bytes() == CONTENT


def test_more_than_was_promised_is_not_written(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT, size=1000)
    with pytest.raises(PermanentError, match="AGENT_BINARY_DAMAGED"):
        fetch(client, TOKEN, home)
    assert files(home) == []


def test_less_than_was_promised_is_not_trusted(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT, size=len(CONTENT) + 1)
    with pytest.raises(RetryableError, match=rf"broke off after {len(CONTENT)} of {len(CONTENT) + 1} bytes"):
        fetch(client, TOKEN, home)
    assert [name.rpartition(".")[2] for name in files(home)] == ["part"]


@pytest.mark.parametrize(
    "told",
    [
        b"{}",
        b'{"version": "latest", "size": 1, "sha256": "%s"}',
        b'{"version": "9.0.0/../..", "size": 1, "sha256": "%s"}',
        b'{"version": "9.0.0", "size": -1, "sha256": "%s"}',
        b'{"version": "9.0.0", "size": 99999999999, "sha256": "%s"}',
        b'{"version": "9.0.0", "size": "1", "sha256": "%s"}',
        b'{"version": "9.0.0", "size": 1, "sha256": "../../../etc/passwd"}',
        b'{"version": "9.0.0", "size": 1, "sha256": null}',
    ],
)
def test_what_a_server_says_of_a_file_is_not_believed(
    client: Client, server: Reported, home: Path, told: bytes
) -> None:
    digest = hashlib.sha256(b"x").hexdigest().encode()
    server.faults.add("*latest*", "garbled", body=told.replace(b"%s", digest))
    with pytest.raises(RetryableError, match="does not say which agent"):
        fetch(client, TOKEN, home)
    assert not (home / "updates").exists()


def test_a_version_that_was_withdrawn_meanwhile_is_told_in_words(client: Client, server: Reported, home: Path) -> None:
    server.publish("9.0.0", CONTENT)
    server.faults.add(BINARY, "status", status=410, body=b'{"message": "9.0.0 was withdrawn"}')
    with pytest.raises(PermanentError, match=r"9\.0\.0 was withdrawn"):
        fetch(client, TOKEN, home)


def test_a_program_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    new, place = tmp_path / "new", tmp_path / "program"
    new.write_bytes(CONTENT)
    place.write_bytes(b"old")
    with pytest.raises(PermanentError, match="changed since it was fetched"):
        put(Fetched("9.0.0", hashlib.sha256(b"other").hexdigest(), new), place)
    assert place.read_bytes() == b"old"
    put(Fetched("9.0.0", hashlib.sha256(CONTENT).hexdigest(), new), place)
    assert place.read_bytes() == CONTENT
    assert place.stat().st_mode & 0o777 == 0o755
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "program"]


def test_only_a_version_above_is_newer() -> None:
    assert is_newer("1.10.0", "1.9.0")
    assert not is_newer("1.9.0", "1.9.0")
    assert not is_newer("1.9.0-rc.1", "1.9.0")
    assert not is_newer("newest", "1.9.0")
    assert not is_newer("2.0.0", "1.9.0.dev3")
