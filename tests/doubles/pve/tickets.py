"""Who is asking: tickets, CSRF tokens and API tokens, with the texts of each refusal.

Knows nothing of HTTP but the header's values. A refusal is an `UnauthorizedError` with the reason of its release.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

from tests.doubles.pve.scenario import UserSpec
from tests.doubles.pve.state import Cluster

_TOKEN = re.compile(r"^([^\s:/!]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+)=(.*)$")


class UnauthorizedError(Exception):
    """The caller is nobody: 401."""


class Gate:
    """Makes and checks what a caller shows."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.lifetime = 7200.0  # seconds that a ticket lives
        self._key = secrets.token_bytes(32)

    def _refuse(self, text: str) -> UnauthorizedError:
        return UnauthorizedError("Authentication failed!" if self.cluster.release.one_text_for_401 else text)

    def _sign(self, text: str, size: int) -> str:
        out = b""
        while len(out) < size:
            out += hmac.digest(self._key, text.encode() + out, hashlib.sha256)
        return base64.b64encode(out[:size]).decode()

    # -- tickets ------------------------------------------------------------------------------------------------

    def make_ticket(self, user: str) -> str:
        plain = f"PVE:{user}:{int(self.cluster.now):08X}"
        return f"{plain}::{self._sign(plain, 256)}"

    def make_challenge(self, user: str) -> str:
        """Return the half ticket of a login that still lacks its second factor."""
        return self.make_ticket(f"!tfa!{user}")

    def make_csrf(self, user: str) -> str:
        moment = f"{int(self.cluster.now):08X}"
        return f"{moment}:{self._sign(f'csrf:{moment}:{user}', 32)}"

    def _fresh(self, moment: str) -> bool:
        return -300 < self.cluster.now - int(moment, 16) < self.lifetime

    def ticket_user(self, ticket: str) -> str | None:
        """Return whose valid ticket this is; None for anything else. A challenge's user begins with !tfa!."""
        plain, _, signature = ticket.rpartition("::")
        match = re.fullmatch(r"PVE:(.+):([0-9A-F]{8})", plain)
        if not match or not hmac.compare_digest(signature.encode(), self._sign(plain, 256).encode()):
            return None
        return match[1] if self._fresh(match[2]) else None

    def by_ticket(self, ticket: str) -> str:
        """Return the user of a ticket from the cookie."""
        user = self.ticket_user(ticket)
        if user is None:
            raise self._refuse("permission denied - invalid PVE ticket")
        if user.startswith("!tfa!"):
            raise self._refuse("No ticket")
        return user

    def check_csrf(self, user: str, token: str | None) -> None:
        moment, _, signature = (token or "").partition(":")
        if not re.fullmatch(r"[0-9A-F]{8}", moment) or not self._fresh(moment):
            raise self._refuse("Permission denied - invalid csrf token")
        if not hmac.compare_digest(signature.encode(), self._sign(f"csrf:{moment}:{user}", 32).encode()):
            raise self._refuse("Permission denied - invalid csrf token")

    def nobody(self) -> UnauthorizedError:
        return self._refuse("No ticket")

    # -- tokens -------------------------------------------------------------------------------------------------

    def by_token(self, value: str) -> str:
        """Return the token id of PVEAPIToken=USER@REALM!NAME=SECRET, the prefix taken off."""
        match = _TOKEN.match(value)
        if not match:
            raise self._refuse(
                "no tokenid specified"
                if "=" not in value
                else f"value '{value.split('=', maxsplit=1)[0]}' does not look like a valid token ID"
            )
        tokenid, secret = match[1], match[2]
        owner, _, name = tokenid.partition("!")
        self._usable(owner)
        token = self.cluster.tokens.get(tokenid)
        if token is None:
            raise self._refuse(f"no such token '{name}' for user '{owner}'")
        if token.expired:
            raise self._refuse(f"token '{name}' access expired")
        if not hmac.compare_digest(secret.encode(), token.secret.encode()):
            raise self._refuse("invalid token value!")
        return tokenid

    # -- passwords ----------------------------------------------------------------------------------------------

    def _usable(self, userid: str) -> UserSpec:
        user = self.cluster.users.get(userid)
        if user is None:
            raise self._refuse(f"no such user ('{userid}')")
        if not user.enabled:
            raise self._refuse(f"user '{userid}' is disabled")
        if user.expired:
            raise self._refuse(f"user '{userid}' access expired")
        return user

    def log_in(self, userid: str, password: str, otp: str | None = None) -> UserSpec:
        """Return the user of a password, or of a valid ticket in its place."""
        user = self._usable(userid)
        holder = self.ticket_user(password)
        if holder in {userid, "root@pam"}:
            return user.model_copy(update={"tfa": False})
        if user.password is None or not hmac.compare_digest(password.encode(), user.password.encode()):
            raise self._refuse("authentication failure")
        return user
