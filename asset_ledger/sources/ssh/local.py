"""The same probe on this very machine: a child `sh`, the same script, deadline and cap; no SSH, no paramiko."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from contextlib import suppress

from asset_ledger.domain.errors import TargetError
from asset_ledger.sources.https_session import AbandonedError
from asset_ledger.sources.ssh import errors
from asset_ledger.sources.ssh.client import Trace
from asset_ledger.sources.ssh.config import SshConfig


def run(config: SshConfig, nonce: str, script: bytes, trace: Trace, stop: threading.Event) -> None:
    """Run the script here; its output is in `trace`.

    Raises TargetError (SSH_LOCAL_FAILED, SSH_DEADLINE, SSH_OUTPUT_CAP), or AbandonedError when the run was stopped.
    """
    end = time.monotonic() + config.deadline_s
    trace.attempts = 1
    with trace.step("exec"):
        try:
            child = subprocess.Popen(  # noqa: S603  the words are constant but for the hexadecimal nonce
                ["/bin/sh", "-s", nonce],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise TargetError(errors.LOCAL_FAILED, f"/bin/sh: {error.strerror}", target="local") from error
        try:
            _converse(child, script, config, trace=trace, end=end, stop=stop)
        finally:
            if child.poll() is None:  # a command of the script hangs: it goes with its shell
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()


def _converse(
    child: subprocess.Popen[bytes], script: bytes, config: SshConfig, *, trace: Trace, end: float, stop: threading.Event
) -> None:
    if child.stdin is None or child.stdout is None:
        raise TargetError(errors.LOCAL_FAILED, "/bin/sh has no pipes", target="local")
    with suppress(BrokenPipeError):
        child.stdin.write(script)  # a few kB: fits the pipe, so this does not block
        child.stdin.close()
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        while True:
            if stop.is_set():
                raise AbandonedError
            if time.monotonic() > end:
                raise TargetError(errors.DEADLINE, f"not done after {config.deadline_s:g} s", target="local")
            if not ready.select(min(0.25, max(0.0, end - time.monotonic()))):
                continue
            data = os.read(child.stdout.fileno(), 65536)
            if not data:
                break
            trace.output += data
            if len(trace.output) > config.output_cap_bytes:
                del trace.output[config.output_cap_bytes :]
                raise TargetError(errors.OUTPUT_CAP, f"more than {config.output_cap_bytes} bytes", target="local")
    with suppress(subprocess.TimeoutExpired):
        trace.exit_status = child.wait(timeout=max(0.1, end - time.monotonic()))
