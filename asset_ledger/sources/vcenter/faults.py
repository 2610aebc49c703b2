"""What a refusal of the vSphere API says, read from its SOAP fault, and which error it is. Pure; `client` raises by it.

Faults are not read by pyvmomi: of a type that it does not know, or with an enum value that it does not know, it makes
another error with a misleading name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from asset_ledger.domain.errors import ErrorCode
from asset_ledger.sources.vcenter import errors

_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
_LOGIN = frozenset({"InvalidLogin", "PasswordExpired", "NoClientCertificate", "AdminDisabled", "RestrictedByAdmin"})
NO_SESSION = "NotAuthenticated"
_GONE = frozenset({"ManagedObjectNotFound"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its type's name (`NoPermission`), what the server says, and its plain fields.

    `where` are references among the fields (`object`: `Folder:group-d1`).
    """

    name: str
    said: str
    fields: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> ErrorCode:
        """The error that it is; one that names no cause of its own is the server's, and may pass."""
        if self.name == NO_SESSION or self.name in _GONE:
            return errors.SESSION_EXPIRED
        if self.name == "InvalidArgument" and self.fields.get("invalidProperty") == "token":
            return errors.SESSION_EXPIRED
        if self.name in _LOGIN:
            return errors.AUTH_FAILED
        if self.name == "NoPermission":
            return errors.PERMISSION_DENIED
        if self.name in ("InvalidProperty", "InvalidArgument", "InvalidRequest", "InvalidType", "MethodNotFound"):
            return errors.PARSE_ERROR
        return errors.NETWORK_ERROR

    def __str__(self) -> str:
        told = [f"{name} {value}" for name, value in (*self.where.items(), *self.fields.items())]
        about = f" ({', '.join(told)})" if told else ""
        return f"{self.name}{about}: {self.said}" if self.said else f"{self.name}{about}"


def fault_of(body: bytes) -> Fault | None:
    """Return the fault that an answer holds, None where it holds none that can be read."""
    from lxml import etree

    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    except (etree.XMLSyntaxError, ValueError):
        return None
    found = next((one for one in root.iter("{*}Fault") if isinstance(one.tag, str)), None)
    if found is None:
        return None
    said = " ".join((found.findtext("faultstring") or "").split())
    detail = found.find("detail")
    inner = next((one for one in detail if isinstance(one.tag, str)), None) if detail is not None else None
    if inner is None:
        return Fault("RuntimeFault", said)
    name = (inner.get(_TYPE) or etree.QName(inner).localname.removesuffix("Fault")).rpartition(":")[2]
    fields, where = {}, {}
    for one in inner:
        if isinstance(one.tag, str) and not len(one) and one.text:
            key = etree.QName(one).localname
            if kind := one.get("type"):
                where[key] = f"{kind}:{one.text}"
            else:
                fields[key] = one.text
    return Fault(name, said, fields, where)
