"""What stands below pyvmomi's types in place of its own transport: requests are written by it, and sent by `client`.

pyvmomi's SmartConnect is not used: on a loopback address it leaves out the check of the certificate, its probe of the
version has no timeout, and it hands out answers that were cut short.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi.SoapAdapter import SoapResponseDeserializer, SoapStubAdapterBase

NOT_READABLE = (AttributeError, AssertionError, ExpatError, LookupError, RecursionError, TypeError, ValueError)
"""What pyvmomi raises of an answer that it does not understand."""


class UnreadableError(Exception):
    """An answer that is none to this request. Its text says how many bytes of it came, and quotes none."""


class Stub(SoapStubAdapterBase):
    """Serialises a call with pyvmomi, has it sent, and deserialises the answer with pyvmomi.

    `post` takes the method's name and the request, and returns the body of an answer that is no fault.
    """

    def __init__(self, version: str, post: Callable[[str, bytes], bytes]) -> None:
        super().__init__(version=version)  # type: ignore[no-untyped-call]
        self.requestContext = None  # pyvmomi's own, without which it writes no request
        self._post = post

    def request(self, on: Any, method: str, arguments: Sequence[Any]) -> bytes:
        """Return the request that calls a method, named as on the wire. `arguments` are in the method's own order."""
        info = on._GetMethodInfo(method)
        body: bytes = self.SerializeRequest(on, info, arguments)  # type: ignore[no-untyped-call]
        return body

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:  # noqa: N802, N803 - pyvmomi's
        """Call a method; pyvmomi calls this for every one, and for every property that is looked at."""
        request = self.SerializeRequest(mo, info, args)  # type: ignore[no-untyped-call]
        body = self._post(info.wsdlName, request)
        if f"{info.wsdlName}Response".encode() not in body or b"<!" in body:
            raise UnreadableError(f"{len(body)} bytes which are no answer to {info.wsdlName}")
        try:
            # as a file: what is given as bytes may be cut short, and nobody is told
            return SoapResponseDeserializer(outerStub or self).Deserialize(io.BytesIO(body), info.result)
        except NOT_READABLE as error:
            what = f"{len(body)} bytes answer {info.wsdlName} in a shape that cannot be read"
            raise UnreadableError(f"{what} ({type(error).__name__})") from None
