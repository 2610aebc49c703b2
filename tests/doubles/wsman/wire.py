"""The connections of the double: which host was dialled, who asks, sealed or not, and which faults are due.

What an operation answers comes from enumeration.py and shells.py.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast
from xml.sax.saxutils import escape

from tests.doubles.https import faults as https_faults
from tests.doubles.https import log, wire
from tests.doubles.https.wire import Answer, Asked
from tests.doubles.wsman import enumeration, shells
from tests.doubles.wsman.accounts import Principal
from tests.doubles.wsman.envelope import Envelope, identity, read
from tests.doubles.wsman.faults import Fault
from tests.doubles.wsman.hosts import Host
from tests.doubles.wsman.log import Request
from tests.doubles.wsman.refusals import BAD_ACTION, BAD_XML, DENIED, RefusalError
from tests.doubles.wsman.refusals import fault as written_fault
from tests.doubles.wsman.signing_in import SEALED_TYPE, Session

if TYPE_CHECKING:
    from tests.doubles.wsman.server import WsmanDouble

SOAP_TYPE = "application/soap+xml;charset=UTF-8"
_NOT_FOUND = b"<!DOCTYPE html><html><head><title>Not Found</title></head><body><h2>Not Found</h2></body></html>"
_SHELL_OPERATIONS = {"Create", "Command", "Send", "Receive", "Signal", "Delete"}


class Connection(wire.Connection):
    double: WsmanDouble
    media_type = SOAP_TYPE
    garbled = b'<s:Envelope xmlns:s="oops \x00\xff'

    # -- a new connection -------------------------------------------------------------------------------------------

    def handle(self) -> None:
        double = cast("WsmanDouble", self.server.double)
        found = double.hosts.get(self.request.getsockname()[0])
        if found is None:  # nobody lives here
            _reset(self.request)
            return
        self.host: Host = found
        self.address = found.spec.address
        with found.lock:
            found.connections += 1
        try:
            super().handle()
        finally:
            with found.lock:
                found.connections -= 1

    def welcome(self) -> bool:
        self._certificate: bytes | None = None
        self._session: Session | None = None
        fault = self.double.faults.fault_for(Request(name="connect", connection=self.number, address=self.address))
        if fault is None:
            return super().welcome()
        if fault.kind == "reset":
            _reset(self.wire)
        elif fault.kind in {"mute", "stall_before"}:
            self.double.stopping.wait(None if fault.kind == "mute" else fault.seconds)
        return fault.kind == "stall_before"

    def tls(self) -> ssl.SSLContext | None:
        if self.server.tls is None:
            return None
        context, self._certificate = self.double.identity_of(self.host)
        return context

    @property
    def session(self) -> Session:
        if self._session is None:
            self._session = Session(self._certificate, self.double.channel_binding)
        return self._session

    # -- one request ------------------------------------------------------------------------------------------------

    def exchange(self, asked: Asked) -> tuple[Request, Answer, https_faults.Fault | None]:
        self._parting = ""
        request = Request(
            name="unauthenticated", connection=self.number, received=len(asked.body), address=self.address
        )
        self.double.requests.append(request)
        fault: Fault | None = None
        if asked.method != "POST":
            answer = Answer(405, _NOT_FOUND, {"Content-Type": "text/html; charset=us-ascii", "Allow": "POST"})
        elif asked.target.partition("?")[0] != "/wsman":
            answer = Answer(404, _NOT_FOUND, {"Content-Type": "text/html; charset=us-ascii"})
        else:
            answer, fault = self._answer(asked, request)
        if self._parting and answer.status != 401:  # SPNEGO's last word to the client
            answer = replace(answer, headers={**answer.headers, "WWW-Authenticate": self._parting})
        self.double.faults.move(request, self.double, self.double.lock)
        if fault is not None and fault.kind == "mute":
            self.double.stopping.wait()
        if fault is not None and fault.kind == "expire":
            self.session.forget()
            answer = self._unauthorized()
        if fault is not None and fault.kind == "drop":
            answer = replace(answer, last=True)
        return request, answer, fault

    def _answer(self, asked: Asked, request: Request) -> tuple[Answer, Fault | None]:
        faults = self.double.faults
        if asked.headers.get("wsmanidentify", "").lower() == "unauthenticated":
            request.name = "Identify"
            stack = self.host.version.rpartition(" ")[2]
            return self._said(200, identity(f"OS: 0.0.0 SP: 0.0 Stack: {stack}"), sealed=False), faults.fault_for(
                request
            )
        user, refused = self._who(asked, request)
        if user is None:
            return refused, faults.fault_for(request)
        if not asked.body:
            request.name = "setup"
            return Answer(200), faults.fault_for(request)
        sealed = asked.headers.get("content-type", "").lower().startswith("multipart/encrypted")
        try:
            body = self.session.unseal(asked.body) if sealed else asked.body
        except ValueError:
            request.name = "unreadable"
            return Answer(400, last=True), faults.fault_for(request)
        request.sealed = sealed
        if not sealed and self._certificate is None and not self.double.allow_unencrypted:
            request.name = "unencrypted"
            return Answer(500), faults.fault_for(request)
        return self._operate(body, user, request, sealed=sealed)

    def _operate(self, body: bytes, user: Principal, request: Request, *, sealed: bool) -> tuple[Answer, Fault | None]:
        """Read the envelope, see which fault is due, and answer."""
        try:
            said = read(body)
        except ValueError:
            request.name = "unreadable"
            return self._refused(RefusalError(BAD_XML), "", request, sealed=sealed), self.double.faults.fault_for(
                request
            )
        request.name = said.operation or "nothing"
        enumeration.describe(said, self.host, request)
        fault = self.double.faults.fault_for(request)
        kind = fault.kind if fault is not None else None
        if kind == "expire":
            return self._unauthorized(), fault
        relates_to = "uuid:00000000-0000-0000-0000-000000000000" if kind == "relates_to" else said.message_id
        said = replace(said, message_id=relates_to)
        try:
            if fault is not None and kind == "wsman":
                raise RefusalError(fault.code, text=fault.text, shape=fault.shape, locale=fault.locale)
            text = self._performed(said, user, request, fault)
        except RefusalError as refusal:
            return self._refused(refusal, said.message_id, request, sealed=sealed, fault=fault), fault
        return self._said(200, text, sealed=sealed, fault=fault), fault

    def _performed(self, said: Envelope, user: Principal, request: Request, fault: Fault | None) -> bytes:
        match said.operation:
            case "Identify":
                if not user.account.read:
                    raise RefusalError(DENIED)
                return identity(self.host.version)
            case "Enumerate":
                return enumeration.enumerate_(said, self.host, user, request, fault)
            case "Pull":
                return enumeration.pull(said, self.host, user, fault)
            case "Release":
                return enumeration.release(said, self.host, user)
            case operation if operation in _SHELL_OPERATIONS:
                return shells.answer(said, self.host, user, request, self.double.stopping)
            case _:
                raise RefusalError(BAD_ACTION)

    # -- who asks ---------------------------------------------------------------------------------------------------

    def _who(self, asked: Asked, request: Request) -> tuple[Principal | None, Answer]:
        """Return who asks, and what is answered to nobody."""
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        allowed = self.host.spec.authentication or self.double.authentication
        user: Principal | None = None
        match scheme.lower():
            case "":
                user = self.session.principal
            case "basic" if "basic" in allowed and (self._certificate is not None or self.double.allow_unencrypted):
                request.name, request.authentication = "authenticate", "basic"
                user = self.session.basic(token.strip(), self.host.accounts)
            case "negotiate" | "ntlm" if "ntlm" in allowed:
                request.authentication = "ntlm"
                step = self.session.ntlm(scheme, token.strip(), self.host.accounts)
                request.name = "negotiate" if step.token and step.principal is None else "authenticate"
                user, self._parting = step.principal, step.token
                if request.name == "negotiate":
                    return None, Answer(401, headers={"WWW-Authenticate": step.token})
            case "negotiate" | "kerberos" if "kerberos" in allowed and self.double.keytab is not None:
                request.name, request.authentication = "authenticate", "kerberos"
                step = self.session.kerberos(scheme, token.strip(), self.host.accounts, self.double.keytab)
                user, self._parting = step.principal, step.token
            case _:
                request.name = "authenticate"
        if user is None:
            return None, self._unauthorized()
        request.user = user.name
        request.authentication = request.authentication or "ntlm"
        return user, Answer(200)

    def _unauthorized(self) -> Answer:
        allowed = self.host.spec.authentication or self.double.authentication
        offers = ["Negotiate"] if {"ntlm", "kerberos"} & set(allowed) else []
        if "basic" in allowed and (self._certificate is not None or self.double.allow_unencrypted):
            offers.append('Basic realm="WSMAN"')
        return Answer(401, headers={"WWW-Authenticate": tuple(offers)})

    # -- what is said -----------------------------------------------------------------------------------------------

    def _refused(
        self, refusal: RefusalError, relates_to: str, request: Request, *, sealed: bool, fault: Fault | None = None
    ) -> Answer:
        request.fault = refusal.code
        usual = self.host.shape if refusal.provider else "wsman"
        text = written_fault(
            refusal,
            relates_to,
            machine=self.host.name,
            locale=self.host.spec.locale,
            shape=usual,
            query=request.query,
        )
        return self._said(500, text, sealed=sealed, fault=fault)

    def _said(self, status: int, text: bytes, *, sealed: bool, fault: Fault | None = None) -> Answer:
        """Return an envelope as an answer: what a fault makes of it, then sealed."""
        kind = fault.kind if fault is not None else None
        if fault is not None and kind == "replace":
            body = fault.body if fault.body is not None else b""
            text, status = body.encode() if isinstance(body, str) else body, fault.status or 200
        elif kind == "truncated_xml":
            text = text[: len(text) // 2]
        elif fault is not None and kind == "oversized":
            filling = f"<!--{escape('x' * fault.size)}-->".encode()
            text = text.replace(b"<s:Body>", b"<s:Body>" + filling, 1)
        if sealed and kind != "plain":
            return Answer(status, self.session.seal(text, tampered=kind == "tampered"), {"Content-Type": SEALED_TYPE})
        return Answer(status, text, {"Content-Type": SOAP_TYPE})

    def headers_for(self, request: log.Request, *, alive: bool) -> Mapping[str, str]:
        return {"Server": "Microsoft-HTTPAPI/2.0"}

    def changed(self, fault: https_faults.Fault, answer: Answer) -> Answer:
        if fault.kind == "truncated_xml":  # done before it was sealed
            return answer
        if fault.kind == "redirect":
            return Answer(302, headers={"Location": self.double.url(self.address) + "/elsewhere", **fault.headers})
        return super().changed(fault, answer)


def _reset(connection: socket.socket) -> None:
    """Close a connection so that its client sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())
