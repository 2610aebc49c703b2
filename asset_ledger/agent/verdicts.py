"""What an answer of the server means for the agent: taken, not now, not this, not from you, or not so old.

Pure: `talk` asks and acts upon it; what a person started is told by `demanded`.
"""

from __future__ import annotations

from typing import Any

from asset_ledger.agent.client import Answer
from asset_ledger.domain.errors import AGENT_REFUSED, AGENT_SERVER_UNAVAILABLE, PermanentError, RetryableError

_NOT_NOW = frozenset({404, 405, 408, 421, 425, 429})
"""404 and 405: a server that knows no agents stands there, a proxy in its place, or one that is being rolled out."""


_ON_ITS_WAY = frozenset({"BODY_DAMAGED", "BODY_CUT_SHORT"})
"""Refusals of what arrived, not of what was sent."""


class NotNowError(Exception):
    """It may be taken later, as it is."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class NotThisError(Exception):
    """This is never taken, whoever sends it; something else may be."""


class NotYouError(Exception):
    """The token holds no more, or does not allow it."""


class TooOldError(Exception):
    """The server takes nothing of an agent as old as this."""


def taken(answer: Answer, token: str) -> dict[str, Any]:
    """Return what was answered where the server took what was sent. Raises one of the errors above.

    No message has the token in it, should the server say it back.
    """
    words = answer.words.replace(token, "…")
    status = answer.status
    if 200 <= status <= 299:
        found = answer.document
        if found is None:
            raise NotNowError(f"answered {status} with what is no JSON object: something else answers in its place")
        return found
    if 300 <= status <= 399:
        raise NotNowError(f"answered with a redirect ({status}), which is not followed; enrol with the URL it leads to")
    if status in (401, 403):
        raise NotYouError(words)
    if status == 426:
        raise TooOldError(words)
    if status in _NOT_NOW or not 400 <= status <= 499:
        raise NotNowError(words, answer.retry_after_s)
    said = answer.document
    if said is not None and said.get("code") in _ON_ITS_WAY:
        raise NotNowError(words)
    if said is None:
        raise NotNowError(f"{words} with what is no JSON object: something else answers in its place")
    raise NotThisError(words)


def demanded(server: str, answer: Answer, token: str) -> dict[str, Any]:
    """Return what was answered. Raises PermanentError(AGENT_REFUSED) or RetryableError(AGENT_SERVER_UNAVAILABLE)."""
    try:
        return taken(answer, token)
    except NotNowError as error:
        raise RetryableError(AGENT_SERVER_UNAVAILABLE, str(error), target=server) from None
    except (NotThisError, NotYouError, TooOldError) as error:
        raise PermanentError(AGENT_REFUSED, str(error), target=server) from None
