"""One message to one receiver of notices, by apprise, in a process of its own (`notify.speaking`).

Of its own, since an apprise URL is a secret that apprise writes into its logs and errors: nothing of what that process
says is kept but a few words of ours. The process has the variables it needs and no other, and ends in its time.
A way out by HTTPS_PROXY and an authority of REQUESTS_CA_BUNDLE or SSL_CERT_FILE are taken. When and how often is
`pipeline.notices`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asset_ledger.domain.errors import CREDENTIAL_UNREADABLE, NOTICE_RECEIVER_INVALID, PermanentError
from asset_ledger.domain.notices.text import Message
from asset_ledger.notify.webhooks import Answered

TIMEOUT_S = 40.0
FIELD = "url"
_PASSED_ON = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "SYSTEMROOT",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_PARENT = Path(__file__).resolve().parents[2]


def url_of(fields: Mapping[str, str], reference: str) -> str:
    """Return the apprise URL of a credential. Raises PermanentError(CREDENTIAL_UNREADABLE) where it has none."""
    url = fields.get(FIELD, "").strip()
    if not url:
        raise PermanentError(CREDENTIAL_UNREADABLE, f"it has no field {FIELD}, with an apprise URL", target=reference)
    return url


def send(
    url: str,
    message: Message,
    *,
    receiver: str,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answered:
    """Send a message, and say what came of it. Raises PermanentError(NOTICE_RECEIVER_INVALID) for a URL that cannot be
    used; of the URL nothing is in the message."""
    told = _asked(
        {"url": url, "title": message.title, "body": message.body, "severity": message.severity}, environ, timeout_s
    )
    if told is None:
        return Answered(None, f"no answer within {timeout_s:g} s", away=True)
    if unusable := told.get("unusable"):
        raise PermanentError(NOTICE_RECEIVER_INVALID, str(unusable), target=f"receiver {receiver}")
    return Answered(told["status"], told["why"], away=told["why"] is not None, retry_after_s=told["retry_after_s"])


def _asked(document: Mapping[str, str], environ: Mapping[str, str] | None, timeout_s: float) -> dict[str, Any] | None:
    """Return what the process said; None where it did not end in its time, and it is ended."""
    environment = os.environ if environ is None else environ
    passed = {name: environment[name] for name in _PASSED_ON if name in environment}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "asset_ledger.notify.speaking"],
            input=json.dumps(document).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # requests would look for a login of the host in the user's file
            env={**passed, "PYTHONPATH": str(_PARENT), "NETRC": os.devnull, "PYTHONSAFEPATH": "1"},
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        # its input has the URL, and the exception hangs on to it
        late.cmd, late.output = [], None
        return None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        return {"status": None, "why": f"the process that sends ended with {done.returncode}", "retry_after_s": 0}
    return answer
