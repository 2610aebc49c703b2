"""What went wrong with a connection, in the platform's own codes: errors of sockets, TLS, urllib3, requests, spnego.

Every one is exactly one field of `terms.Codes`; no text of an error that may quote a password is taken over. Pure; used
by `dial` and `http_client`.
"""

from __future__ import annotations

import ssl

from asset_ledger.domain.errors import ErrorCode, TargetError
from asset_ledger.sources.https_session import quotable
from asset_ledger.sources.wsman.terms import Codes

MOST_ANSWER_BYTES = 8 << 20
"""The most that one exchange may bring: Windows sends at most what MaxEnvelopeSize asks for."""


class TooMuchError(Exception):
    """More than one exchange may bring."""


class WrongAnswerError(Exception):
    """An answer that HTTP or the encryption of messages does not allow. Its text is ours."""


def failure_of(
    error: BaseException, what: str, codes: Codes, *, target: str, deadline_s: float, logged_in: bool
) -> TargetError:
    """Return the error of a target that an error of a library is. `what` is the step that failed."""
    cause = _cause(error)
    if isinstance(cause, TargetError):
        return cause
    code, said = _of_network(cause, what, codes, deadline_s) or _of_answer(cause, what, codes, logged_in=logged_in)
    return TargetError(code, said, target=target)


def _of_network(cause: BaseException, what: str, codes: Codes, deadline_s: float) -> tuple[ErrorCode, str] | None:
    if isinstance(cause, TimeoutError):
        return codes.deadline, f"{what}: no whole answer within {deadline_s:g} s in all"
    ended = isinstance(cause, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError)
    if ended or type(cause).__name__ == "IncompleteRead":
        return codes.lost, f"{what}: the connection was closed before the answer was whole"
    if isinstance(cause, ssl.SSLError):
        return codes.tls, f"{what}: {_tls_words(cause)}"
    if isinstance(cause, OSError) and cause.errno is not None:
        return codes.lost, f"{what}: {cause.strerror}"
    return None


def _of_answer(cause: BaseException, what: str, codes: Codes, *, logged_in: bool) -> tuple[ErrorCode, str]:
    from spnego.exceptions import SpnegoError

    kind = type(cause).__name__
    code, said = codes.protocol, f"the answer to {what} cannot be read ({kind})"
    if isinstance(cause, TooMuchError):
        said = f"{what} brought more than {MOST_ANSWER_BYTES >> 20} MiB"
    elif isinstance(cause, WrongAnswerError):
        said = f"the answer to {what} {cause}"
    elif isinstance(cause, PermissionError):  # of requests_ntlm, without a number
        code, said = codes.auth, f"{what}: the host answers the first step of NTLM with none of its own"
    elif kind == "KerberosExchangeError":  # of the library itself: no ticket, no such host in the realm, no KDC
        code, said = codes.kerberos_missing, f"{what}: {quotable(str(cause), (), 300)}"
    elif kind == "MutualAuthenticationError":
        code, said = codes.auth, f"{what}: {quotable(str(cause), (), 200)}"
    elif kind in ("LocationParseError", "InvalidURL"):
        code, said = codes.dns, "neither an address nor a name that can be looked up"
    elif kind == "OperationNotAvailableError":  # the first step left it out: an old host, or somebody in between
        code, said = codes.unencrypted, f"{what}: the host did not agree to encrypt messages"
    elif isinstance(cause, SpnegoError) and not logged_in:
        code, said = codes.auth, f"{what}: logging in failed ({kind})"
    return code, said


def _cause(error: BaseException) -> BaseException:
    """Return what lies at the bottom of the errors that libraries wrap into each other."""
    found = error
    for _ in range(10):
        within = next((one for one in found.args if isinstance(one, Exception)), None) or found.__cause__
        if within is None:
            break
        found = within
    return found


def _tls_words(error: ssl.SSLError) -> str:
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "the port does not speak TLS; WinRM's port for HTTPS is 5986"
    said = getattr(error, "verify_message", "") or error.reason or str(error)
    return quotable(str(said), (), 200).rstrip(".")
