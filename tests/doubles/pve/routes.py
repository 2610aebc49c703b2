"""From a request to an answer: who asks, which route, with which right, on which node. No sockets.

The order of the checks is Proxmox VE's: authentication, existence, permission, the way to the node, parameters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tests.doubles.https.wire import Answer
from tests.doubles.pve import access, guests, listings
from tests.doubles.pve.calls import Call, RefusalError, Route, bad_parameters, forbidden
from tests.doubles.pve.roles import privileges_of
from tests.doubles.pve.state import Cluster
from tests.doubles.pve.tickets import Gate, UnauthorizedError

PREFIX = "/api2/json"
JSON_TYPE = "application/json;charset=UTF-8"
ROUTES: tuple[Route, ...] = (*access.ROUTES, *listings.ROUTES, *guests.ROUTES)


class Api:
    """The API of one cluster in one release."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.gate = Gate(cluster)
        self.auth_delay = 3.0
        self.agent_delay = 0.0
        self.routes = [route for route in ROUTES if route.in_release(cluster.release)]
        self._privileges = privileges_of(cluster.release)

    # -- the steps ----------------------------------------------------------------------------------------------

    def _authenticate(self, method: str, headers: Mapping[str, str]) -> str:
        authorization = headers.get("authorization", "")
        if self.cluster.release.tokens and authorization.startswith(("PVEAPIToken=", "PVEAPIToken ")):
            return self.gate.by_token(authorization[len("PVEAPIToken=") :])
        cookie = re.search(r"(?:^|\s)PVEAuthCookie=([^;]*)", headers.get("cookie", ""))
        if not cookie:
            raise self.gate.nobody()
        user = self.gate.by_ticket(unquote(cookie[1]))
        if method != "GET":
            self.gate.check_csrf(user, headers.get("csrfpreventiontoken"))
        return user

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        for route in self.routes:
            place = route.place(method, path)
            if place is not None:
                return route, place
        return None

    def _allow(self, route: Route, place: dict[str, str], subject: str | None) -> None:
        if route.right is None or subject is None:
            return
        where = route.right[0].format_map(place)
        if not self.cluster.access.holds_any(subject, where, *route.right[1]):
            raise forbidden(f"{where}, {'|'.join(route.right[1])}")

    def _reach(self, place: dict[str, str]) -> None:
        name = place.get("node")
        if name is None or name in {"localhost", self.cluster.local_node}:
            return
        if name not in self.cluster.nodes:
            text = f"failed to get address info for: {name}: Name or service not known"
            raise RefusalError(500, f"hostname lookup '{name}' failed - {text}")
        node = self.cluster.nodes[name]
        if not node.online:
            status, reason, delay = node.answer
            raise RefusalError(status, reason, empty=True, delay=delay)

    def _read(self, route: Route, place: dict[str, str], said: Mapping[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        errors: dict[str, str] = {}
        if "vmid" in place and not re.fullmatch(r"[1-9][0-9]{2,8}", place["vmid"]):
            errors["vmid"] = "invalid format - value does not look like a valid VM ID\n"
        for name, value in said.items():
            if name in place and name != "kind":
                errors[name] = "duplicate parameter (already defined in URI)"
            elif name not in route.parameters:
                text = "property is not defined in schema and the schema does not allow additional properties"
                errors[name] = text
            else:
                try:
                    values[name] = route.parameters[name].read(value, self._privileges)
                except ValueError as refusal:
                    errors[name] = str(refusal)
        for name, parameter in route.parameters.items():
            if not parameter.optional and name not in said:
                errors[name] = "property is missing and it is not optional"
        if errors:
            raise bad_parameters(**errors)
        return values

    # -- the answer ---------------------------------------------------------------------------------------------

    def answer(
        self, method: str, path: str, parameters: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[Answer, str | None]:
        """Return the answer to a path with its prefix, and who asked."""
        subject: str | None = None
        if "transfer-encoding" in headers:
            return self._refusal(RefusalError(501, "chunked transfer encoding not supported", empty=True)), None
        if path != PREFIX and not path.startswith(PREFIX + "/"):
            status = self.cluster.release.missing_file_status
            return self._refusal(RefusalError(status, f"no such file '{path}'", empty=True)), None
        path = path.removeprefix(PREFIX) or "/"
        with self.cluster.lock:
            try:
                found = self._find(method, path)
                if not (found and found[0].world):
                    subject = self._authenticate(method, headers)
                if found is None:
                    raise RefusalError(501, f"Method '{method} {path}' not implemented")
                route, place = found
                place.setdefault("kind", "")
                by_token = self.cluster.release.tokens and headers.get("authorization", "").startswith("PVEAPIToken")
                if by_token and not route.token_may:
                    raise forbidden(f"URI '{path}' not available with API token, need proper ticket.\n")
                self._allow(route, place, subject)
                self._reach(place)
                values = self._read(route, place, parameters)
                call = Call(self.cluster, self.gate, subject, place, values, self.agent_delay)
                try:
                    data = route.answer(call)
                except RefusalError as refused:
                    return self._refusal(refused, call.delay), subject
            except UnauthorizedError as nobody:
                return Answer(401, reason=str(nobody), delay=self.auth_delay), subject
            except RefusalError as refused:
                return self._refusal(refused, refused.delay), subject
            if method == "POST" and path == "/access/ticket":
                subject = values["username"]
            body = json.dumps({"data": data}, separators=(",", ":")).encode()
        return Answer(200, body, {"Content-Type": JSON_TYPE}, delay=call.delay), subject

    def _refusal(self, refused: RefusalError, delay: float = 0.0) -> Answer:
        if refused.status == 401:
            delay = self.auth_delay
        if refused.empty:
            return Answer(refused.status, reason=refused.reason, delay=delay)
        said: dict[str, Any] = {"data": None}
        if refused.errors:
            said["errors"] = dict(refused.errors)
        if self.cluster.release.message_in_body:
            said["message"] = refused.reason + "\n"
        body = json.dumps(said, separators=(",", ":")).encode()
        return Answer(refused.status, body, {"Content-Type": JSON_TYPE}, refused.reason, delay)
