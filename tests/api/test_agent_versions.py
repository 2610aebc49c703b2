"""Versions of the agent over HTTP: published whole or not at all, offered where they fit, downloaded in pieces or at once."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from asset_ledger.api.service import Limits
from asset_ledger.store.agents import clients
from asset_ledger.store.agents import versions as stored
from asset_ledger.store.agents.clients import Enrolment
from asset_ledger.store.database import connect
from asset_ledger.store.tenancy import as_tenant
from tests.api.site import Answer, Site
from tests.patience import until

AT = "/api/v1/agent-versions"
CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLACE = f"{AT}/1.0.0/binaries/linux-amd64"


@pytest.fixture
def folder(site: Site, tmp_path: Path) -> Path:
    """The service's folder of binaries."""
    assert site.service is not None
    site.service.agent_binaries = tmp_path / "binaries"
    return site.service.agent_binaries


def publish(site: Site, version: str, **said: Any) -> Answer:
    return site.ask(
        "POST", AT, json.dumps({"version": version, **said}).encode(), headers={"Content-Type": "application/json"}
    )


def upload(
    site: Site,
    version: str = "1.0.0",
    content: bytes = CONTENT,
    platform: str = "linux-amd64",
    sha256: str | None = None,
) -> Answer:
    told = sha256 or hashlib.sha256(content).hexdigest()
    return site.ask("PUT", f"{AT}/{version}/binaries/{platform}", content, headers={"X-SHA256": told})


def released(site: Site, version: str, *platforms: str, content: bytes | None = None, **said: Any) -> None:
    """Publish a version with binaries and make it the latest."""
    assert publish(site, version, **said).status == 201
    for platform in platforms or ("linux-amd64",):
        assert upload(site, version, content or version.encode(), platform).status == 201
    assert site.ask("POST", f"{AT}/{version}/latest").status == 200


def latest(site: Site, platform: str = "linux-amd64", token: str | None = None) -> str:
    answer = site.ask("GET", f"{AT}/latest?platform={platform}", token=token)
    return answer.json["version"] if answer.status == 200 else answer.json["code"]


def client_token(site: Site) -> str:
    with connect(site.database_url) as connection, as_tenant(connection, site.tenant("acme")):
        return clients.enroll(connection, site.tenant("acme"), Enrolment(hostname="h"), user_id=None, who="tests").token


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def downloads(site: Site) -> int:
    (version,) = site.ask("GET", AT).json
    return version["download_count"]


def test_a_version_is_published_uploaded_and_offered(site: Site, folder: Path) -> None:
    made = publish(site, "1.0.0", changelog="first", min_server_version="0.1.0")
    assert made.status == 201
    assert made.json["binaries"] == {}
    put = upload(site)
    assert (put.status, put.json) == (
        201,
        {"filename": "agent-linux-amd64-v1.0.0", "size": len(CONTENT), "sha256": SHA256},
    )
    assert latest(site) == "NO_VERSION", "not before somebody says so"
    assert site.ask("POST", f"{AT}/1.0.0/latest").json["is_latest"] is True
    found = site.ask("GET", f"{AT}/latest?platform=linux-amd64").json
    assert (found["version"], found["sha256"], found["size"]) == ("1.0.0", SHA256, len(CONTENT))
    assert "path" not in found
    assert site.ask("GET", found["url"]).body == CONTENT
    (listed,) = site.ask("GET", AT).json
    assert listed["binaries"]["linux-amd64"]["sha256"] == SHA256
    (row,) = site.rows("SELECT binaries FROM agent.agent_versions")
    kept = row["binaries"]["linux-amd64"]
    assert set(kept) == {"filename", "size", "sha256", "path"}
    assert files(folder) == [kept["path"]]
    assert (folder / kept["path"]).read_bytes() == CONTENT


def test_the_same_upload_again_changes_nothing_and_another_is_refused(site: Site, folder: Path) -> None:
    publish(site, "1.0.0")
    assert upload(site).status == 201
    assert upload(site).status == 200
    other = upload(site, content=b"other")
    assert (other.status, other.json["code"]) == (409, "BINARY_THERE")
    assert len(files(folder)) == 1
    assert publish(site, "1.0.0").json["code"] == "VERSION_THERE"


@pytest.mark.parametrize(
    ("content", "sha256", "status"),
    [(CONTENT, "0" * 64, 422), (b"", hashlib.sha256(b"").hexdigest(), 422), (b"x" * 200_001, None, 413)],
)
def test_what_is_damaged_empty_or_too_large_leaves_nothing(
    site: Site, folder: Path, content: bytes, sha256: str | None, status: int
) -> None:
    assert site.service is not None
    publish(site, "1.0.0")
    if status == 413:
        site.service.limits = replace(Limits(), binary_bytes=200_000)
    try:
        assert upload(site, content=content, sha256=sha256).status == status
    finally:
        site.service.limits = Limits()
    assert files(folder) == []
    assert site.rows("SELECT binaries FROM agent.agent_versions") == [{"binaries": {}}]


def test_a_body_that_says_no_length_is_counted_as_it_comes(site: Site, folder: Path) -> None:
    assert site.service is not None
    publish(site, "1.0.0")
    site.service.limits = replace(Limits(), binary_bytes=200_000)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    try:
        headers = {"Authorization": f"Bearer {site.token()}", "X-SHA256": "0" * 64}
        pieces = iter([b"x" * 100_000] * 3)
        connection.request("PUT", PLACE, pieces, headers, encode_chunked=True)
        assert connection.getresponse().status == 413
    finally:
        connection.close()
        site.service.limits = Limits()
    assert files(folder) == []


def test_an_upload_that_is_cut_leaves_nothing(site: Site, folder: Path) -> None:
    publish(site, "1.0.0")
    token = site.token()
    with socket.create_connection(("127.0.0.1", site.port)) as wire:
        head = f"PUT {PLACE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nX-SHA256: {SHA256}\r\n"
        wire.sendall(f"{head}Content-Length: {len(CONTENT)}\r\n\r\n".encode() + CONTENT[: len(CONTENT) // 2])
        until(lambda: files(folder) and (folder / files(folder)[0]).stat().st_size)
    until(lambda: files(folder) == [])
    assert site.rows("SELECT binaries FROM agent.agent_versions") == [{"binaries": {}}]


def test_what_a_killed_service_left_is_swept_and_what_comes_in_now_is_not(site: Site, folder: Path) -> None:
    publish(site, "1.0.0")
    coming = folder / "incoming"
    coming.mkdir(parents=True)
    (coming / "old").write_bytes(b"half")
    (coming / "new").write_bytes(b"half")
    os.utime(coming / "old", (0, 0))
    (version_id,) = (row["id"] for row in site.rows("SELECT id FROM agent.agent_versions"))
    left = folder / str(site.tenants["acme"]) / str(version_id)
    left.mkdir(parents=True)
    (left / f"linux-amd64-{'0' * 64}").write_bytes(b"of an upload whose commit failed")
    assert upload(site).status == 201
    assert files(folder) == sorted(["incoming/new", f"{site.tenants['acme']}/{version_id}/linux-amd64-{SHA256}"])


def test_a_disk_that_is_full_is_told_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    assert site.service is not None
    (tmp_path / "file").write_text("no folder")
    publish(site, "1.0.0")
    site.service.agent_binaries = tmp_path / "file"
    answer = upload(site)
    assert (answer.status, answer.json["code"]) == (503, "BINARY_NOT_KEPT")
    site.service.agent_binaries = None
    assert upload(site).json["code"] == "NO_FOLDER"


def test_no_other_platforms_are_taken(site: Site, folder: Path) -> None:
    publish(site, "1.0.0")
    for platform in ("linux-vax", "..", "linux-amd64%2f.."):
        assert upload(site, platform=platform).status in (404, 405, 422), platform
    assert files(folder) == []


def test_no_other_versions_are_taken(site: Site) -> None:
    for version in ("1.0", "v1.0.0", "1.0.0+build", "01.0.0", "1.0.0-01", "latest", "1.0.0\n", ""):
        assert publish(site, version).status == 422, version


def test_publishing_is_for_administrators_and_reading_for_all_of_the_tenant(site: Site, folder: Path) -> None:
    released(site, "1.0.0", content=CONTENT)
    writer, agent = site.token("wes", "writer"), client_token(site)
    for token in (writer, agent):
        assert latest(site, token=token) == "1.0.0"
        assert site.ask("GET", AT, token=token).status == 200
        assert site.ask("GET", PLACE, token=token).body == CONTENT
        for method, path in (
            ("POST", AT),
            ("PUT", PLACE),
            ("POST", f"{AT}/1.0.0/latest"),
            ("POST", f"{AT}/1.0.0/withdraw"),
        ):
            headers = {"X-SHA256": SHA256, "Content-Type": "application/json"}
            refused = site.ask(method, path, b'{"version": "1.0.1"}', token=token, headers=headers)
            assert refused.status == (403 if token == writer else 401), (method, path)
    stranger = site.token("rob", "admin", tenant="rival")
    assert site.ask("GET", AT, token=stranger).json == []
    assert site.ask("GET", PLACE, token=stranger).status == 404
    assert site.ask("GET", PLACE, token="").status == 401
    assert ("agent_version.download", "success") in {(row[1], row[2]) for row in site.audited()}


def test_what_is_offered_fits_the_platform_and_the_server(site: Site, folder: Path) -> None:
    released(site, "1.0.0", "linux-amd64", "windows-amd64")
    released(site, "1.1.0", "linux-amd64")
    released(site, "1.2.0", "linux-amd64", "linux-arm64", min_server_version="99.0.0")
    publish(site, "1.3.0")
    upload(site, "1.3.0", platform="darwin-arm64")
    assert latest(site) == "1.1.0", "this server is too old for the latest"
    assert latest(site, "windows-amd64") == "1.0.0", "the newest that there is one of"
    assert latest(site, "linux-arm64") == "NO_VERSION"
    assert latest(site, "darwin-arm64") == "NO_VERSION", "it is not released yet"
    assert [each["version"] for each in site.ask("GET", AT).json] == ["1.3.0", "1.2.0", "1.1.0", "1.0.0"]
    assert [each["is_latest"] for each in site.ask("GET", AT).json] == [False, True, False, False]


def test_versions_are_ordered_as_numbers_and_a_preliminary_one_is_no_fallback(site: Site, folder: Path) -> None:
    released(site, "1.9.0")
    released(site, "1.10.0-rc.1")
    assert latest(site) == "1.10.0-rc.1", "somebody said so"
    released(site, "1.10.0", "linux-arm64")
    assert latest(site) == "1.9.0"
    assert latest(site, "linux-arm64") == "1.10.0"


def test_a_withdrawn_version_is_offered_to_nobody(site: Site, folder: Path) -> None:
    released(site, "1.0.0")
    released(site, "1.1.0", content=CONTENT)
    assert site.ask("POST", f"{AT}/1.1.0/withdraw").json["withdrawn_at"]
    assert latest(site) == "NO_VERSION", "nobody said which one it is now"
    assert site.ask("GET", f"{AT}/1.1.0/binaries/linux-amd64").status == 410
    assert site.ask("POST", f"{AT}/1.1.0/latest").json["code"] == "VERSION_WITHDRAWN"
    assert upload(site, "1.1.0", platform="linux-arm64").status == 410
    site.ask("POST", f"{AT}/1.0.0/latest")
    assert latest(site) == "1.0.0"


def test_what_heartbeats_tell_of_is_the_newest_that_works_with_this_server(site: Site, folder: Path) -> None:
    def told() -> str | None:
        with connect(site.database_url) as connection, as_tenant(connection, site.tenants["acme"]):
            return stored.latest(connection, site.tenants["acme"])

    released(site, "1.0.0")
    assert told() == "1.0.0"
    released(site, "1.1.0", min_server_version="99.0.0")
    assert told() == latest(site) == "1.0.0"


def test_a_version_without_a_binary_is_not_the_latest(site: Site, folder: Path) -> None:
    publish(site, "1.0.0")
    assert site.ask("POST", f"{AT}/1.0.0/latest").json["code"] == "NO_BINARY"
    assert site.ask("POST", f"{AT}/2.0.0/latest").status == 404


def test_a_download_says_what_it_is(site: Site, folder: Path) -> None:
    released(site, "1.0.0", content=CONTENT)
    got, head = site.ask("GET", PLACE), site.ask("HEAD", PLACE)
    digest = base64.b64encode(bytes.fromhex(SHA256)).decode()
    for answer in (got, head):
        assert answer.status == 200
        assert answer.headers["etag"] == f'"{SHA256}"'
        assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
        assert answer.headers["digest"] == f"SHA-256={digest}"
        assert answer.headers["content-length"] == str(len(CONTENT))
        assert answer.headers["accept-ranges"] == "bytes"
        assert answer.headers["content-type"] == "application/octet-stream"
    assert got.body == CONTENT
    assert head.body == b""
    assert site.ask("GET", PLACE, headers={"If-None-Match": f'"{SHA256}"'}).status == 304


PARTS = [
    ("bytes=0-", 0, len(CONTENT)),
    ("bytes=0-0", 0, 1),
    ("bytes=10-19", 10, 20),
    ("bytes=1000000-", 1_000_000, len(CONTENT)),
    ("bytes=-5", len(CONTENT) - 5, len(CONTENT)),
    (f"bytes=-{len(CONTENT) * 2}", 0, len(CONTENT)),
    (f"bytes={len(CONTENT) - 1}-99999999999", len(CONTENT) - 1, len(CONTENT)),
]
NO_PARTS = ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=-0", "bytes=", "bytes=" + "9" * 30 + "-"]


def test_a_part_is_sent_where_one_is_asked_for_and_all_where_the_range_is_none(site: Site, folder: Path) -> None:
    released(site, "1.0.0", content=CONTENT)
    for asked, begin, end in PARTS:
        answer = site.ask("GET", PLACE, headers={"Range": asked})
        assert answer.status == 206, asked
        assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(CONTENT)}"
        assert answer.body == CONTENT[begin:end]
    for asked in NO_PARTS:
        answer = site.ask("GET", PLACE, headers={"Range": asked})
        assert answer.status == 200, asked
        assert answer.body == CONTENT


def test_a_part_behind_the_end_is_refused_and_one_of_another_file_is_the_whole(site: Site, folder: Path) -> None:
    released(site, "1.0.0", content=CONTENT)
    behind = site.ask("GET", PLACE, headers={"Range": f"bytes={len(CONTENT)}-"})
    assert (behind.status, behind.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    of_this = site.ask("GET", PLACE, headers={"Range": "bytes=7-", "If-Range": f'"{SHA256}"'})
    assert (of_this.status, of_this.body) == (206, CONTENT[7:])
    for tag in ('"another"', f'W/"{SHA256}"', "Wed, 03 Mar 2027 08:00:00 GMT"):
        assert site.ask("GET", PLACE, headers={"Range": "bytes=7-", "If-Range": tag}).body == CONTENT


def test_a_download_is_counted_once_however_many_pieces_it_came_in(site: Site, folder: Path) -> None:
    released(site, "1.0.0", content=CONTENT)
    site.ask("HEAD", PLACE)
    for begin in range(0, len(CONTENT) - 1_000_000, 1_000_000):
        site.ask("GET", PLACE, headers={"Range": f"bytes={begin}-{begin + 999_999}"})
    assert downloads(site) == 0
    site.ask("GET", PLACE, headers={"Range": "bytes=2000000-"})
    until(lambda: downloads(site) == 1)
    site.ask("GET", PLACE)
    until(lambda: downloads(site) == 2)


def test_a_download_that_breaks_off_is_not_counted(site: Site, folder: Path) -> None:
    large = os.urandom(1 << 20) * 24
    released(site, "1.0.0", content=large)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", site.port)) as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.sendall(f"GET {PLACE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token()}\r\n\r\n".encode())
            assert wire.recv(1000).startswith(b"HTTP/1.1 200")
    assert site.ask("GET", PLACE).body == large
    until(lambda: downloads(site) == 1)


def test_a_file_that_went_missing_or_was_cut_is_not_served(site: Site, folder: Path) -> None:
    released(site, "1.0.0", content=CONTENT)
    (kept,) = files(folder)
    (folder / kept).write_bytes(CONTENT[:-1])
    assert site.ask("GET", PLACE).json["code"] == "BINARY_AWAY"
    (folder / kept).unlink()
    assert site.ask("GET", PLACE).status == 503


def test_an_administrator_of_another_tenant_touches_nothing(site: Site, folder: Path) -> None:
    released(site, "1.0.0", content=CONTENT)
    stranger = site.token("rob", "admin", tenant="rival")
    asks: list[Callable[[], Answer]] = [
        lambda: site.ask("POST", f"{AT}/1.0.0/withdraw", token=stranger),
        lambda: site.ask("POST", f"{AT}/1.0.0/latest", token=stranger),
        lambda: site.ask("PUT", PLACE, CONTENT, token=stranger, headers={"X-SHA256": SHA256}),
    ]
    assert [ask().status for ask in asks] == [404, 404, 404]
    assert latest(site) == "1.0.0"
    assert not (folder / str(uuid4())).exists()
