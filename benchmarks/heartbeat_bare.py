"""The yardstick of `heartbeats`: a Starlette app whose one route reads a beat and pipelines one Redis command.

`python -m benchmarks.heartbeat_bare each|batch REDIS_URL PORT`: the command goes out with each request, or those of
half a second go out together, as the service sends its own. It knows no logins, keeps no record and counts nothing.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import redis.asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FLUSH_S = 0.5


def app(how: str, redis_url: str) -> Starlette:
    """Return the app."""
    store = redis.asyncio.Redis.from_url(redis_url, protocol=2)
    waiting: dict[str, float] = {}

    async def beat(request: Request) -> Response:
        said = orjson.loads(await request.body())
        member = request.headers["authorization"][7:]
        if how == "batch":
            waiting[member] = time.time()
        else:
            pipeline = store.pipeline(transaction=False)
            pipeline.zadd("bare:heartbeats", {member: time.time()})
            await pipeline.execute()
        answer = {"send_inventory": said["inventory"] == "", "heartbeat_s": 60, "latest_agent": None}
        return Response(orjson.dumps(answer), media_type="application/json")

    async def flush() -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            if waiting:
                several = dict(waiting)
                waiting.clear()
                await store.zadd("bare:heartbeats", several)

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        flushing = asyncio.create_task(flush())
        yield
        flushing.cancel()

    return Starlette(routes=[Route("/api/v1/agents/heartbeat", beat, methods=["POST"])], lifespan=running)


if __name__ == "__main__":
    how, url, port = sys.argv[1:]
    uvicorn.run(app(how, url), host="127.0.0.1", port=int(port), access_log=False, log_level="warning", ws="none")
