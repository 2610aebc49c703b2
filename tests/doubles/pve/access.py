"""The endpoints below /access: login, permissions, entries, roles."""

from __future__ import annotations

import re
from typing import Any

from tests.doubles.pve.calls import Call, Parameter, RefusalError, Route, bad_parameters, forbidden
from tests.doubles.pve.shapes import Row
from tests.doubles.pve.tickets import UnauthorizedError


def _normal(path: str) -> str | None:
    path = re.sub(r"/+", "/", path)
    path = path.removesuffix("/") or "/"
    path = path if path.startswith("/") else "/" + path
    return path if re.fullmatch(r"[A-Za-z0-9.\-_/]+", path) else None


def log_in(call: Call) -> Row:
    """Answer POST /access/ticket: a login, a renewal, a second factor wanted, or a check of rights."""
    said = call.parameters
    userid = said["username"] + (f"@{said['realm']}" if said.get("realm") else "")
    path, privileges = said.get("path"), said.get("privs")
    for name, other in (("path", "privs"), ("privs", "path")):
        if said.get(name) and not said.get(other):
            raise bad_parameters(**{name: f"missing property - '{other}' requires this property"})
    try:
        user = call.gate.log_in(userid, said["password"])
        access = call.cluster.access
        if path and privileges:
            normal = _normal(path)
            if user.tfa or normal is None or not access.holds(userid, normal, *re.split(r"[\s,;]+", privileges)):
                raise UnauthorizedError
            answer: Row = {"username": userid}
        else:
            answer = {"username": userid, "CSRFPreventionToken": call.gate.make_csrf(userid)}
            if user.tfa and not call.release.second_factor_answer:
                raise UnauthorizedError
            if user.tfa:
                return answer | {"ticket": call.gate.make_challenge(userid), "NeedTFA": 1}
            answer["ticket"] = call.gate.make_ticket(userid)
    except UnauthorizedError:
        raise RefusalError(401, "authentication failure") from None
    answer["cap"] = access.cap(userid)
    if call.cluster.name and access.holds(userid, "/", "Sys.Audit"):
        answer["clustername"] = call.cluster.name
    return answer


def permissions(call: Call) -> dict[str, dict[str, int]]:
    """Answer GET /access/permissions, of oneself or, with Sys.Audit on /access, of another."""
    subject = call.parameters.get("userid") or call.who
    if subject != call.who and not call.holds("/access", "Sys.Audit"):
        raise forbidden("/access, Sys.Audit")
    access = call.cluster.access
    if path := call.parameters.get("path"):
        return {path: dict(access.privileges(subject, _normal(path) or path))}
    return access.dump(subject)


def entries(call: Call) -> list[Row]:
    """Answer GET /access/acl, silently cut to what the caller may change."""
    access = call.cluster.access
    audit = call.holds("/access", "Sys.Audit")
    return [
        {
            "path": entry.path,
            "type": entry.kind,
            "ugid": entry.ugid,
            "roleid": entry.role,
            "propagate": int(entry.propagate),
        }
        for entry in call.cluster.acl
        if audit or access.may_change(call.who, entry.path)
    ]


def roles(call: Call) -> list[Row]:
    rows: list[Row] = []
    for name, privileges in call.cluster.roles.items():
        row: Row = {"roleid": name, "privs": ",".join(sorted(privileges))}
        if call.release.number >= (5, 2):
            row["special"] = int(name in call.cluster.built_in)
        rows.append(row)
    return rows


def nothing(call: Call) -> Any:
    return None


TICKET = {
    "username": Parameter(optional=False, longest=64),
    "realm": Parameter(longest=32),
    "password": Parameter(optional=False),
    "otp": Parameter(),
    "path": Parameter(longest=64),
    "privs": Parameter(longest=64, privileges=True),
}
ROUTES = (
    Route("GET", "/access/ticket", nothing, world=True, token_may=False),
    Route("POST", "/access/ticket", log_in, TICKET, world=True, token_may=False),
    Route(
        "GET",
        "/access/permissions",
        permissions,
        {"path": Parameter(), "userid": Parameter()},
        in_release=lambda release: release.permissions_call,
    ),
    Route("GET", "/access/acl", entries),
    Route("GET", "/access/roles", roles),
)
