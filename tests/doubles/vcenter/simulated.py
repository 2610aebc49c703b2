"""The simulator behind the double: requests are forwarded to it, and its answers made to look like a release's."""

from __future__ import annotations

import http.client
import re
import threading
from typing import TYPE_CHECKING

from tests.doubles.https.wire import Answer
from tests.doubles.vcenter import soap
from tests.doubles.vcenter.soap import Call

if TYPE_CHECKING:
    from tests.doubles.vcenter.server import VcenterDouble
    from tests.doubles.vcenter.vcsim import VcSim

_ABOUT = re.compile(rb"<about>.*?</about>", re.DOTALL)
_INSTANCE = re.compile(rb"<instanceUuid>([^<]*)</instanceUuid>")
_DISK = re.compile(rb"<capacityInKB>(\d+)</capacityInKB>(?!<capacityInBytes>)")
_SYSTEM = re.compile(rb'("HostSystemInfo">(?:(?!</val>).)*?<uuid>([^<]*)</uuid>(?:(?!</val>).)*)(</val>)', re.DOTALL)


class Simulated:
    """Answers calls with what the simulator says."""

    def __init__(self, double: VcenterDouble, sim: VcSim) -> None:
        self._double = double
        self._port = sim.port
        self._local = threading.local()

    def answer(self, call: Call) -> Answer:
        return self._dressed(self._forward(call))

    def objects(self, call: Call) -> list[bytes] | Answer:
        """Return the objects that a RetrieveProperties[Ex] finds, all of them, or the answer that is none."""
        told = self._forward(call)
        if told.status != 200:
            return self._dressed(told)
        body = self._dressed(told).body
        if call.name == "RetrieveProperties":
            inside = re.findall(rb"<returnval>(.*?)</returnval>", body, re.DOTALL)
            return [b"<objects>" + one + b"</objects>" for one in inside]
        return soap.objects_of(body)

    def _forward(self, call: Call) -> Answer:
        """Send a request on; each of the double's threads has a connection of its own."""
        for fresh in (False, True):
            wire = getattr(self._local, "wire", None)
            if wire is None or fresh:
                wire = self._local.wire = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
            passed = {
                key: value for key, value in call.headers.items() if key in {"cookie", "content-type", "user-agent"}
            }
            if call.cookie:  # as it was given, without the attributes that a client may send back
                passed["cookie"] = f"vmware_soap_session={call.cookie}"
            if "soapaction" in call.headers:
                passed["soapaction"] = '"urn:vim25/6.5"'  # the only one it knows
            method = "POST" if call.element is not None else call.name.split()[0]
            try:
                wire.request(method, call.path, call.body, passed)
                said = wire.getresponse()
                kept = {name: value for name, value in said.getheaders() if name in {"Content-Type", "Set-Cookie"}}
                return Answer(said.status, said.read(), kept, said.reason)
            except (http.client.HTTPException, OSError):
                if fresh:
                    raise
        raise AssertionError

    def _dressed(self, answer: Answer) -> Answer:
        """Return an answer as the release would give it: its names, its spelling, the fields that it has."""
        double, body = self._double, answer.body
        release = double.release
        if double.capacity_in_bytes and b"<capacityInKB>" in body:
            body = _DISK.sub(lambda kb: kb[0] + b"<capacityInBytes>%d</capacityInBytes>" % (int(kb[1]) * 1024), body)
        if release is not None:
            if b"<about>" in body:
                body = _ABOUT.sub(self._about, body)
            if b"build-5969303" in body:
                body = body.replace(b"6.5.0 build-5969303", f"{release.version} build-{release.host_build}".encode())
                body = body.replace(
                    b"<version>6.5.0</version><build>5969303</build>",
                    f"<version>{release.version}</version><build>{release.host_build}</build>".encode(),
                )
            if release.knows("6.7") and b'"HostSystemInfo">' in body:
                body = _SYSTEM.sub(rb"\1<serialNumber>SN-\2</serialNumber>\3", body)
        if double.spelling == "vpxd":
            body = soap.respelled(body)
        return Answer(answer.status, body, answer.headers, answer.reason)

    def _about(self, found: re.Match[bytes]) -> bytes:
        release = self._double.release
        assert release is not None
        uuid = _INSTANCE.search(found[0])
        fields = release.about(uuid[1].decode() if uuid else "", esxi=b"HostAgent" in found[0])
        return b"<about>" + "".join(f"<{name}>{value}</{name}>" for name, value in fields).encode() + b"</about>"
