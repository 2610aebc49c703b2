"""Enumerate, Pull, Release: queries, pages, and contexts that are good for one use."""

from __future__ import annotations

from collections.abc import Sequence

from tests.doubles.wsman.accounts import Principal
from tests.doubles.wsman.envelope import ENUMERATION, NS, Envelope, written
from tests.doubles.wsman.faults import Fault
from tests.doubles.wsman.hosts import Enumeration, Host, fresh_context
from tests.doubles.wsman.log import Request
from tests.doubles.wsman.refusals import BAD_CONTEXT, BAD_XML, NO_FILTER, NO_RESOURCE, RefusalError

WMI = "http://schemas.microsoft.com/wbem/wsman/1/wmi/"
DIALECT = "http://schemas.microsoft.com/wbem/wsman/1/WQL"
SAME_CONTEXT = "uuid:00000000-0000-0000-0000-00000000C0DE"
_AROUND = 2_000  # bytes of an answer that are no rows


def describe(said: Envelope, host: Host, request: Request) -> None:
    """Put the namespace, query and class of a request into the log, and its class into its name."""
    if said.operation == "Enumerate":
        request.namespace, request.query = _query(said)
        words = request.query.split()
        lower = [word.lower() for word in words]
        if "from" in lower[:-1]:
            request.name = f"Enumerate {words[lower.index('from') + 1]}"
    elif said.operation in {"Pull", "Release"}:
        with host.lock:
            known = host.contexts.get(_context(said))
        if known is not None and known.cls:
            request.name = f"{said.operation} {known.cls}"


def enumerate_(said: Envelope, host: Host, user: Principal, request: Request, fault: Fault | None) -> bytes:
    """Answer an Enumerate: the context, and the first rows where OptimizeEnumeration asks for them."""
    host.may(user, "read")
    element = said.body.find("n:Enumerate", NS)
    if element is None:
        raise RefusalError(BAD_XML)
    if not said.resource.startswith(WMI):
        raise RefusalError(NO_RESOURCE)
    if not request.query:
        raise RefusalError(NO_FILTER)
    dialect = element.find("w:Filter", NS)
    if dialect is not None and dialect.get("Dialect") != DIALECT:
        raise RefusalError(BAD_XML)
    rows = host.rows(request.namespace, request.query, user)
    host.operation(user)
    cls = request.name.partition(" ")[2]
    items, rest, ends = "", rows, False
    if element.find("w:OptimizeEnumeration", NS) is not None:
        now, rest = _split(rows, said, host, element.findtext("w:MaxElements", "1", NS))
        items, ends = f"<w:Items>{''.join(now)}</w:Items>", not rest
    context, ended = _next(host, Enumeration(user.name, rest, rows, cls), fault, ends=ends)
    end = "<w:EndOfSequence/>" if ended else ""
    inner = f"<n:EnumerateResponse>{_context_xml(context)}{items}{end}</n:EnumerateResponse>"
    return written(f"{ENUMERATION}/EnumerateResponse", said.message_id, inner)


def pull(said: Envelope, host: Host, user: Principal, fault: Fault | None) -> bytes:
    """Answer a Pull with the next rows; its context is used up."""
    host.may(user, "read")
    known = _used(said, host, user)
    element = said.body.find("n:Pull", NS)
    asked = "1" if element is None else element.findtext("n:MaxElements", "1", NS)
    now, rest = _split(known.rows, said, host, asked)
    if fault is not None and fault.kind == "endless":
        now, rest = (list(known.all_rows) if fault.rows else []), []
    context, ended = _next(host, Enumeration(user.name, rest, known.all_rows, known.cls), fault, ends=not rest)
    end = "<n:EndOfSequence/>" if ended else ""
    inner = f"<n:PullResponse>{_context_xml(context)}<n:Items>{''.join(now)}</n:Items>{end}</n:PullResponse>"
    return written(f"{ENUMERATION}/PullResponse", said.message_id, inner)


def release(said: Envelope, host: Host, user: Principal) -> bytes:
    """Take a context back."""
    _used(said, host, user)
    return written(f"{ENUMERATION}/ReleaseResponse", said.message_id, "")


def _query(said: Envelope) -> tuple[str, str]:
    """Return the namespace and the query that are asked; a class as the resource is all of its instances."""
    path = said.resource.removeprefix(WMI).strip("/")
    namespace, _, cls = path.rpartition("/")
    query = (said.body.findtext("n:Enumerate/w:Filter", "", NS) or "").strip()
    return namespace, query or ("" if cls == "*" else f"SELECT * FROM {cls}")


def _context(said: Envelope) -> str:
    path = f"n:{said.operation}/n:EnumerationContext"
    return (said.body.findtext(path, "", NS) or "").strip()


def _context_xml(context: str) -> str:
    return f"<n:EnumerationContext>{context}</n:EnumerationContext>" if context else "<n:EnumerationContext/>"


def _used(said: Envelope, host: Host, user: Principal) -> Enumeration:
    with host.lock:
        known = host.contexts.pop(_context(said), None)
    if known is None or known.user != user.name:
        raise RefusalError(BAD_CONTEXT)
    return known


def _next(host: Host, rest: Enumeration, fault: Fault | None, *, ends: bool) -> tuple[str, bool]:
    """Remember what is left; return its context and whether the answer says that it is the last."""
    kind = fault.kind if fault is not None else None
    if kind == "no_end" and ends:
        return "", False
    if ends and kind not in {"endless", "same_context"}:
        return "", True
    context = SAME_CONTEXT if kind == "same_context" else fresh_context()
    with host.lock:
        host.contexts[context] = rest
    return context, False


def _split(rows: Sequence[str], said: Envelope, host: Host, asked: str | None) -> tuple[list[str], list[str]]:
    """Return the rows of one answer, and the rest."""
    most = max(1, int(asked or 1))
    if host.spec.page is not None:
        most = min(most, host.spec.page)
    room = min(said.max_size, host.spec.max_envelope) - _AROUND
    count = size = 0
    for row in rows[:most]:
        size += len(row.encode())
        if size > room and count:
            break
        count += 1
    return list(rows[:count]), list(rows[count:])
