"""One vCenter or ESXi host spoken to: which version, logging in and out, calls, and answers as they stream in.

The types and requests are pyvmomi's, the connection is `sources.https_session`'s: every call, the probe of the version
among them, is checked, counted and ends in time. What a refusal means, `faults` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from asset_ledger.domain.errors import ErrorCode, LedgerError, error_of
from asset_ledger.sources.https_session import AbandonedError, Answer, Codes, HttpsSession, quotable
from asset_ledger.sources.vcenter import errors
from asset_ledger.sources.vcenter.account import Account
from asset_ledger.sources.vcenter.config import VcenterConfig
from asset_ledger.sources.vcenter.faults import Fault, fault_of

PATH = "/sdk"
VERSIONS_PATH = "/sdk/vimServiceVersions.xml"
GOODBYE_S = 5.0
"""The most that a session is given to be ended in: it ends by itself, too."""
_MOST_FAULT_BYTES = 1 << 20
_MOST_SAID = 1000
_PASSING = (408, 429, 502, 503, 504)
_Found = TypeVar("_Found")


class FaultError(Exception):
    """A call was answered with a fault. `error` is what it means where nobody expected it."""

    def __init__(self, fault: Fault, error: LedgerError) -> None:
        super().__init__(fault.name)
        self.fault, self.error = fault, error


class VcenterClient:
    """One endpoint under one account, for one run. Nothing is opened before `connect`."""

    def __init__(self, config: VcenterConfig, fields: Mapping[str, str]) -> None:
        self.account = Account(config, fields)
        self._config = config
        self._session = HttpsSession(config, Codes(errors.CONFIG_INVALID, errors.NETWORK_ERROR, errors.TLS_ERROR))
        self._limit = time.monotonic() + config.reading_timeout_s
        self._cookies: dict[str, str] = {}
        self._views: list[Any] = []
        self._stub: Any = None
        self._logged_in = False
        self.content: Any = None
        self.session_key = ""
        self.user = ""
        self.version = ""
        self.requests = 0
        self.logins = 0
        self.bytes_received = 0

    def __repr__(self) -> str:
        return f"VcenterClient({self.account.name} at {self.target})"

    @property
    def target(self) -> str:
        """The server, for messages."""
        return self._config.server

    @property
    def who(self) -> str:
        """The account and the server, for messages."""
        return f"{self.account.name} at {self.target}"

    @property
    def about(self) -> dict[str, str]:
        """What the server says of itself, as far as the ledger wants it."""
        told = self.content.about
        wanted = ("fullName", "version", "build", "apiVersion", "apiType", "instanceUuid")
        return {name: str(value) for name in wanted if (value := getattr(told, name, None))}

    def connect(self) -> None:
        """Find out the newest version that both sides speak, ask what is there, and log in.

        Raises the error of whatever stands against it.
        """
        from pyVmomi import vim

        from asset_ledger.sources.vcenter.stub import Stub

        name, self.version = self._negotiated()
        self._stub = Stub(name, self._post)
        service = vim.ServiceInstance("ServiceInstance", self._stub)
        self.content = self.call(service.RetrieveContent)
        needed = ("about", "rootFolder", "sessionManager", "viewManager", "propertyCollector")
        if self.content is None or any(getattr(self.content, name) is None for name in needed):
            raise self.failure(errors.PARSE_ERROR, "RetrieveServiceContent: it says nothing of itself")
        self.login()

    def login(self) -> None:
        """Log in, anew where a session ended: views and pages of an earlier one are gone with it."""
        self._cookies.clear()
        self._views.clear()
        manager = self.content.sessionManager
        found = self.call(lambda: manager.Login(self.account.name, self.account.password, None))
        if found is None or not self._cookies:
            raise self.failure(errors.PARSE_ERROR, "Login: it was answered without a session")
        self._logged_in, self.logins = True, self.logins + 1
        self.session_key, self.user = found.key, found.userName

    def call(self, what: Callable[[], _Found]) -> _Found:
        """Return what a call of pyvmomi's gives. Raises the LedgerError that a fault or a failure is."""
        try:
            return self.attempt(what)
        except FaultError as refused:
            raise refused.error from None

    def attempt(self, what: Callable[[], _Found]) -> _Found:
        """Return what a call of pyvmomi's gives. Raises FaultError for a fault, a LedgerError for any other failure."""
        from pyVmomi import vmodl

        from asset_ledger.sources.vcenter.stub import UnreadableError

        try:
            return what()
        except UnreadableError as error:
            raise self.failure(errors.PARSE_ERROR, str(error)) from None
        except vmodl.MethodFault as old:  # pyvmomi's own word: the version that was agreed on has no such call
            fault = Fault(type(old).__name__.rpartition(".")[2], "this release has no such call")
            raise self.refused(fault, str(getattr(old, "method", "") or "a call")) from None

    @contextmanager
    def stream(self, on: Any, method: str, arguments: Sequence[Any]) -> Iterator[Iterator[bytes]]:
        """Call a method and give its answer's body as it comes. Raises what `attempt` raises."""
        with self._sent(method, self._stub.request(on, method, arguments)) as answer:
            yield self._counted(answer)

    def view(self, *kinds: str) -> Any:
        """Return a new view of everything of these types below the root. It ends with the session, or on `close`."""
        from pyVmomi import vim

        manager, root = self.content.viewManager, self.content.rootFolder
        found = self.call(lambda: manager.CreateContainerView(root, [getattr(vim, kind) for kind in kinds], True))
        if found is None:
            raise self.failure(errors.PARSE_ERROR, "CreateContainerView: it was answered without a view")
        self._views.append(found)
        return found

    def object_of(self, kind: str, moid: str) -> Any:
        """Return the object of a type with this id, which nobody has asked for yet."""
        from pyVmomi import vim

        return getattr(vim, kind)(moid, self._stub)

    def close(self) -> None:
        """Give up the views and log out, where that goes quickly, and let go of every connection."""
        if self._logged_in and not self._session.stopped.is_set():
            self._limit = time.monotonic() + GOODBYE_S
            with suppress(LedgerError, FaultError, AbandonedError):
                for view in self._views:
                    self.attempt(view.DestroyView)
            with suppress(LedgerError, FaultError, AbandonedError):
                self.attempt(self.content.sessionManager.Logout)
        self._logged_in = False
        self._session.stop()

    def failure(self, code: ErrorCode, message: str) -> LedgerError:
        """Return an error of this server."""
        return error_of(code, self._quotable(message), self.target)

    def refused(self, fault: Fault, method: str) -> FaultError:
        """Return the error of a fault, and what it says."""
        code, said = fault.code, f"{method}: {fault}"
        if code is errors.AUTH_FAILED:
            said = f"{self.account.name}: {fault}"
        elif code is errors.PERMISSION_DENIED:
            about = fault.where.get("object", "an object that is not named")
            said = f"{method}: {self.account.name} lacks {fault.fields.get('privilegeId', 'a privilege')} on {about}"
        return FaultError(fault, self.failure(code, said))

    def _negotiated(self) -> tuple[str, str]:
        """Return pyvmomi's name of the newest version of the API that the server offers, and the version."""
        from lxml import etree
        from pyVmomi.VmomiSupport import GetServiceVersions, versionIdMap

        with self._open("GET", VERSIONS_PATH, None, {}) as answer:
            body = self._whole(answer)
        what = f"GET {VERSIONS_PATH}"
        if answer.status_code != 200:
            raise self._no_answer(answer, what)
        try:
            root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
        except (etree.XMLSyntaxError, ValueError):
            root = None
        if root is None or root.tag != "namespaces":
            said = f"{what}: {len(body)} bytes of {_kind(answer)}, which are no list of versions"
            raise self.failure(errors.PARSE_ERROR, said)
        offered = {
            (one.text or "").strip()
            for space in root.iterfind("namespace")
            if space.findtext("name") == "urn:vim25"
            for one in (*space.iterfind("version"), *space.iterfind("priorVersions/version"))
        }
        for version in GetServiceVersions("vim25"):
            if versionIdMap[version] in offered:
                return version, versionIdMap[version]
        newest = ", ".join(sorted(offered)[-3:]) or "none"
        raise self.failure(errors.PARSE_ERROR, f"{what}: it offers no version that is known ({newest})")

    def _post(self, method: str, body: bytes) -> bytes:
        with self._sent(method, body) as answer:
            return self._whole(answer)

    @contextmanager
    def _sent(self, method: str, body: bytes) -> Iterator[Answer]:
        headers = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": self._stub.versionId}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        try:
            with self._open("POST", PATH, body, headers, method) as answer:
                self._keep_cookies(answer)
                if answer.status_code != 200:
                    raise self._refusal(answer, method)
                yield answer
        except LedgerError as error:
            if error.code is errors.NETWORK_ERROR and time.monotonic() >= self._limit:
                raise self._too_long(method) from None
            raise

    def _open(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], what: str = "") -> Answer:
        left = self._limit - time.monotonic()
        if left <= 0:
            raise self._too_long(what or path)
        self.requests += 1
        return self._session.stream(method, path, body, headers, within_s=left, what=what)

    def _too_long(self, what: str) -> LedgerError:
        said = f"the reading took longer than reading_timeout_s, {self._config.reading_timeout_s} s ({what})"
        return self.failure(errors.NETWORK_ERROR, said)

    def _refusal(self, answer: Answer, method: str) -> Exception:
        if answer.status_code != 500:
            return self._no_answer(answer, method)
        body = self._whole(answer, _MOST_FAULT_BYTES)
        fault = fault_of(body)
        if fault is None:
            said = f"{method}: 500 with {len(body)} bytes of {_kind(answer)}, which are no fault of the API"
            return self.failure(errors.NETWORK_ERROR, said)
        return self.refused(fault, method)

    def _no_answer(self, answer: Answer, what: str) -> LedgerError:
        said = f"{what}: {answer.status_code} {answer.reason}".rstrip()
        if answer.status_code in _PASSING or answer.status_code >= 500:
            return self.failure(errors.NETWORK_ERROR, said)
        return self.failure(errors.PARSE_ERROR, f"{said}, which no vCenter and no ESXi host answers")

    def _whole(self, answer: Answer, most_bytes: int = 64 << 20) -> bytes:
        body = answer.whole(most_bytes).body
        self.bytes_received += len(body)
        return body

    def _counted(self, answer: Answer) -> Iterator[bytes]:
        for chunk in answer:
            self.bytes_received += len(chunk)
            yield chunk

    def _keep_cookies(self, answer: Answer) -> None:
        # only name and value: what else is said is about paths and hosts, and there is one of each
        for said in answer.all_of("Set-Cookie"):
            name, equals, value = said.partition(";")[0].strip().partition("=")
            if equals and name and name.isprintable() and value.isprintable():
                self._cookies[name] = value

    def _quotable(self, text: str) -> str:
        cookies = self._cookies.values()
        secrets = (self.account.password, self.session_key, *cookies, *(one.strip('"') for one in cookies))
        return quotable(text, secrets, _MOST_SAID)


def _kind(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "no content type")
