"""One process of the service in which minutes are seconds: `python -m tests.agents_live.quick_service` URL REDIS PORT."""

from __future__ import annotations

import sys

import uvicorn

from asset_ledger.api.app import create_app
from asset_ledger.api.service import Limits, Service
from asset_ledger.api.serving import connections
from asset_ledger.store.agents.presence import Timing
from tests.api.site import RING

TTL_S = 12.0
TIMING = Timing(ttl_s=TTL_S, flush_s=0.1, table_s=0.3, sweep_s=0.5, retry_s=0.3, note_s=20.0)

if __name__ == "__main__":
    database_url, redis_url, port = sys.argv[1:]
    service = Service(database_url, RING, Limits(), redis_url=redis_url or None, timing=TIMING)
    uvicorn.run(
        create_app(service), host="127.0.0.1", port=int(port), log_level="warning", access_log=False, **connections()
    )
