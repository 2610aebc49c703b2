"""What a Celery worker is configured with: the worker.yaml that `worker.py` names, read when the worker starts.

dagster_celery.app imports a module of this name. `dagster-celery worker start` writes one, with the broker's password
in it, into a new folder of DAGSTER_HOME at every start, and leaves it there for everybody to read. This one has none:
passwords come from the environment and stay in the process.
"""

from __future__ import annotations

import os

from dagster_celery.cli import get_validated_config

CONFIG_VARIABLE = "ASSET_LEDGER_CELERY_WORKER_CONFIG"

_told = get_validated_config(os.environ[CONFIG_VARIABLE])
broker_url = _told["broker"]
result_backend = _told["backend"]
# each of Celery's own settings is a name of this module
globals().update(_told.get("config_source") or {})
