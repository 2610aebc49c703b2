"""What comes in and goes out around the routes that are asked most: wrong verbs, what nobody foresaw, whole answers."""

from __future__ import annotations

import asyncio
from asyncio import Transport
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asset_ledger.api.answers import Recording
from asset_ledger.api.app import Plain
from asset_ledger.api.serving import OnePiece
from tests.api.site import Site

LONG = b"x" * 10_000


@pytest.mark.parametrize(("path", "allowed"), [
    ("/terraform/state/shop/app", "DELETE, GET, HEAD, LOCK, POST, PUT, UNLOCK"),
    ("/api/v1/agents/heartbeat", "POST"),
])  # fmt: skip
def test_a_wrong_verb_is_told_the_right_ones_and_recorded(site: Site, path: str, allowed: str) -> None:
    answer = site.ask("PATCH", path)
    assert (answer.status, answer.json["code"], answer.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", allowed)
    assert site.audited() == [("nobody", "request", "refused", f"PATCH {path}")]


@pytest.mark.parametrize("path", ["/broken", "/broken/by/anything"])
def test_what_nobody_foresaw_is_answered_recorded_and_raised(site: Site, path: str) -> None:
    sent: list[Any] = []

    async def broken(_: Request) -> Response:
        raise ZeroDivisionError

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    assert site.service is not None
    plain = Plain([Route("/broken", broken), Route("/broken/by/{what}", broken)], FastAPI())
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [],
        "client": None,
        "query_string": b"",
    }
    with pytest.raises(ZeroDivisionError):
        asyncio.run(Recording(plain, site.service)(scope, receive, send))
    assert [each.get("status") for each in sent] == [500, None]
    assert site.audited() == [("nobody", "request", "failed", f"GET {path}")]


class Line(Transport):
    """What a transport is asked to do, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes | str] = []

    def write(self, data: Any) -> None:
        self.sent.append(data)

    def writelines(self, list_of_data: Any) -> None:
        self.sent.append(b"".join(list_of_data))

    def close(self) -> None:
        self.sent.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.sent


@pytest.mark.parametrize(("steps", "sent"), [
    ([b"head", LONG], [b"head" + LONG]),
    ([b"head", b""], [b"head"]),
    ([b"head", None, b"later", None], [b"head", b"later"]),
    ([b"head", None, LONG], [b"head", LONG]),
    ([LONG, b"end", LONG, b"end"], [LONG, b"end" + LONG, b"end"]),
    ([b"head", "close"], [b"head", "closed"]),
    ([b"", "close"], [b"", "closed"]),
])  # fmt: skip
def test_an_answers_head_leaves_with_its_body_or_at_the_loops_next_turn(steps: list[Any], sent: list[Any]) -> None:
    line = Line()

    async def answering() -> None:
        transport = OnePiece(line, asyncio.get_running_loop())
        for step in steps:
            if step is None:
                await asyncio.sleep(0)
            elif step == "close":
                transport.close()
                assert transport.is_closing()
            else:
                transport.write(step)
        await asyncio.sleep(0)

    asyncio.run(answering())
    assert line.sent == sent
