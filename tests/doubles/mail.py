"""A mail server: SMTP with STARTTLS and a login over a real socket, as RFC 5321, 3207 and 4954 say. It keeps every mail.

`refuse` maps a verb (CONNECT, AUTH, RCPT, DATA) to the line it is answered with.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
import tempfile
import threading
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Self

from cryptography import x509

from tests.doubles.https.certificates import make_certificates


@dataclass
class Mail:
    """One mail as it came."""

    sender: str
    recipients: list[str]
    data: bytes

    @property
    def message(self) -> Message:
        return message_from_bytes(self.data)

    @property
    def text(self) -> str:
        """The parts that are text, decoded."""
        parts = [part for part in self.message.walk() if part.get_content_maintype() == "text"]
        return "\n".join((part.get_payload(decode=True) or b"").decode() for part in parts)  # type: ignore[union-attr]


@dataclass
class MailServer:
    """A mail server at 127.0.0.1, for the length of a `with`. Without TLS nobody may log in."""

    user: str = "ledger"
    password: str = "pa55-of-the-mailbox"
    taken: list[Mail] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    logins: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="mail-")
        folder = Path(self._folder.name)
        made = make_certificates(folder, "mail", authority="Mail's Authority")
        self.ca_file = made.ca_file
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        (folder / "mail.pem").write_bytes(made.authority.sign("mail.example.test", names, "good")[0])
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "mail.pem")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """The address as apprise takes it."""
        return (
            f"mailtos://{self.user}:{self.password}@127.0.0.1:{self.port}/?smtp=127.0.0.1&mode=starttls"
            "&from=ledger@example.test&to=ops@example.test"
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _Session(self, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()


class _Session:
    def __init__(self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.secure = self.known = False
        self.sender, self.recipients = "", list[str]()

    async def say(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self.writer.drain()

    async def run(self) -> None:
        if refused := self.server.refuse.get("CONNECT"):
            await self.say(refused)
            return
        await self.say("220 mail.example.test ESMTP")
        while line := (await self.reader.readline()).decode().rstrip("\r\n"):
            verb = line.split(" ", 1)[0].upper()
            if verb == "QUIT":
                await self.say("221 bye")
                return
            if refused := self.server.refuse.get(verb):
                await self.say(refused)
            elif verb == "EHLO":
                offers = ["AUTH PLAIN LOGIN"] if self.secure else ["STARTTLS"]
                await self.say("250-mail.example.test", *(f"250 {one}" for one in offers))
            elif verb == "STARTTLS":
                await self.say("220 go ahead")
                await self.writer.start_tls(self.server._tls)
                self.secure = True
            elif verb == "AUTH":
                await self.login(line)
            else:
                await self.mail(verb, line)

    async def login(self, line: str) -> None:
        parts = line.split(" ")
        if not self.secure:
            await self.say("538 encryption is asked for")
            return
        if parts[1].upper() == "PLAIN":
            _, user, password = base64.b64decode(parts[2]).decode().split("\0")
        else:
            first = parts[2] if len(parts) > 2 else await self.ask("VXNlcm5hbWU6")
            user = base64.b64decode(first).decode()
            password = base64.b64decode(await self.ask("UGFzc3dvcmQ6")).decode()
        self.server.logins.append(user)
        self.known = (user, password) == (self.server.user, self.server.password)
        await self.say("235 welcome" if self.known else f"535 5.7.8 no such login: {password}")

    async def ask(self, challenge: str) -> str:
        await self.say(f"334 {challenge}")
        return (await self.reader.readline()).decode().strip()

    async def mail(self, verb: str, line: str) -> None:
        if verb in ("RSET", "NOOP"):
            await self.say("250 ok")
        elif not self.known:
            await self.say("530 5.7.0 log in first")
        elif verb == "MAIL":
            self.sender, self.recipients = line, []
            await self.say("250 ok")
        elif verb == "RCPT":
            self.recipients.append(line.partition("<")[2].partition(">")[0])
            await self.say("250 ok")
        elif verb == "DATA":
            await self.say("354 go on")
            data = b""
            while (piece := await self.reader.readline()) != b".\r\n":
                data += piece.removeprefix(b".")
            self.server.taken.append(Mail(self.sender, self.recipients, data))
            await self.say("250 taken")
        else:
            await self.say("502 what?")
