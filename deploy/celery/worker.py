"""A Celery worker as one process that a service manager may stop.

Started by `asset-ledger dagster -- python deploy/celery/worker.py -n NAME`. `dagster-celery worker start` starts
Celery as a child and passes no signal on: SIGTERM would end it alone, and what it left would be killed with the runs at
work. This makes the same configuration and becomes Celery, which at SIGTERM takes nothing new and ends what it is at.
What stands after `--` is Celery's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

SHIPPED = Path(__file__).with_name("worker.yaml")


def main(arguments: list[str]) -> None:
    """Become `celery worker` with what worker.yaml says; returns only by an error."""
    from dagster_celery.cli import get_config_dir, get_worker_name

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--name", help="what the worker is called on this machine")
    parser.add_argument(
        "-y", "--config-yaml", default=str(SHIPPED), help="another worker.yaml than the one beside this"
    )
    parser.add_argument("-q", "--queue", action="append", default=[], help="a queue to take from; up to four")
    parser.add_argument("celery", nargs="*", help="Celery's own options, after --")
    told = parser.parse_args(arguments)
    folders = [os.environ.get("PYTHONPATH"), get_config_dir(told.config_yaml)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
    program = str(Path(sys.executable).with_name("celery"))
    command = [program, "-A", "dagster_celery.app", "worker", "--prefetch-multiplier=1", "--loglevel", "INFO"]
    for queue in told.queue:
        command += ["-Q", queue]
    command += ["-n", get_worker_name(told.name), *told.celery]
    os.execve(program, command, environment)  # noqa: S606 - it stands beside this Python


if __name__ == "__main__":
    main(sys.argv[1:])
