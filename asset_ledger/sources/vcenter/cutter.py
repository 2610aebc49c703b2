"""The objects of one answer of the PropertyCollector, cut out of it as it streams in. Pure; `bulk` feeds it.

An answer is megabytes of `<objects>` elements with little around them. The elements are cut out by their bytes and not
looked into; all the rest, as one document without them, goes through a real parser. What would make a cut unsound is
refused: comments, CDATA and processing instructions (then `<` stands only where markup begins), anything between the
elements, another encoding, a document that does not end. An element in an element leaves an end over, which is refused.
"""

from __future__ import annotations

from typing import Any, NoReturn
from xml.parsers.expat import ExpatError, ParserCreate
from xml.parsers.expat import errors as expat

from asset_ledger.domain.errors import PermanentError, RetryableError
from asset_ledger.sources.vcenter.errors import NETWORK_ERROR, PARSE_ERROR
from asset_ledger.sources.vcenter.slices import END, VIM, unsafe

START = b"<objects>"
MOST_AROUND = 1 << 16
MOST_OF_ONE = 64 << 20
"""The list of a view is one object, too: some 100 bytes for every machine in it."""
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_UNFINISHED = frozenset(
    expat.codes[said]
    for said in (expat.XML_ERROR_NO_ELEMENTS, expat.XML_ERROR_UNCLOSED_TOKEN, expat.XML_ERROR_PARTIAL_CHAR)
)


class Cutter:
    """Cuts one answer. After `end`, `token` is that of the next page, None where there is none."""

    def __init__(self, method: str, target: str) -> None:
        """Take the method whose answer it is, as on the wire, and the server, for messages."""
        self._method, self._target = method, target
        self.token: str | None = None
        self.namespaces: dict[str, str] = {}
        self._held: list[bytes] = []
        self._size = 0
        # whether an element has begun in what is held, and the end of that: the element's end may begin in it
        self._within = False
        self._seam = b""
        self._step = self._head
        self._open: list[str] = []
        self._declared: list[dict[str, str]] = []
        self._declaring: dict[str, str] = {}
        self._text: list[str] = []
        self._parser = self._made_parser()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the elements that this part of the answer completes. Raises PermanentError(VCENTER_PARSE_ERROR)."""
        return self._step(chunk)

    def end(self) -> None:
        """Take the end of the answer.

        Raises RetryableError(VCENTER_NETWORK_ERROR) where it is cut short, whatever length it said it has, and
        PermanentError(VCENTER_PARSE_ERROR) where it ends as no answer does.
        """
        if self._step == self._objects:
            if b"".join(self._held[-32:]).rstrip().endswith(b"Envelope>"):
                self._refuse("it has an object that does not end")
            self._cut_short("it ends in the middle of an object")
        self._parse(b"".join(self._held), last=True)

    def _head(self, chunk: bytes) -> list[bytes]:
        """Look for the first element."""
        data = b"".join((*self._held, chunk))
        at = data.find(START)
        self._bounded(len(data) if at < 0 else at)
        if at < 0:
            self._held = [data]
            return []
        self._parse(data[:at], last=False)
        expected = ["Envelope", "Body", f"{self._method}Response", "returnval"]
        if [one.rpartition(" ")[2] for one in self._open] != expected:
            self._refuse("its objects stand in another place")
        self.namespaces = {prefix: uri for each in self._declared for prefix, uri in each.items()}
        self._held = []
        self._step = self._objects
        return self._objects(data[at:])

    def _objects(self, chunk: bytes) -> list[bytes]:
        """Cut at the ends of elements. One that is not whole yet is held in the parts that it came in."""
        if self._within and END not in chunk and END not in self._seam + chunk[: len(END) - 1]:
            self._held.append(chunk)
            self._seam = (self._seam + chunk[1 - len(END) :])[1 - len(END) :]
            self._size += len(chunk)
            if self._size > MOST_OF_ONE:
                self._refuse(f"one object is larger than {MOST_OF_ONE >> 20} MiB")
            return []
        data = b"".join((*self._held, chunk)) if self._held else chunk
        found, at = [], 0
        while data.startswith(START, at):
            end = data.find(END, at)
            if end < 0:
                break
            end += len(END)
            found.append(data[at:end])
            at = end
        # what is not cut yet is looked at when it is, or by the parser
        if at and unsafe(data[:at]):
            self._refuse("it has a comment, CDATA or a processing instruction among its objects")
        rest = data[at:]
        if START.startswith(rest[: len(START)]):
            self._held, self._size = [rest] if rest else [], len(rest)
            self._within, self._seam = len(rest) >= len(START), rest[1 - len(END) :]
            return found
        self._held, self._size = [], 0
        self._step = self._tail
        return found + self._tail(rest)

    def _tail(self, chunk: bytes) -> list[bytes]:
        self._held.append(chunk)
        self._size += len(chunk)
        self._bounded(self._size)
        return []

    def _bounded(self, size: int) -> None:
        if size > MOST_AROUND:
            self._refuse(f"there are more than {MOST_AROUND >> 10} KiB around its objects")

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(data, last)
        except ExpatError as error:
            if error.code in _UNFINISHED:
                self._cut_short(str(error))
            self._refuse(f"it is no XML: {error}")

    def _made_parser(self) -> Any:
        parser = ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._odd
        parser.CommentHandler = self._odd
        parser.ProcessingInstructionHandler = self._odd
        parser.StartCdataSectionHandler = self._odd
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._stop
        parser.CharacterDataHandler = self._text.append
        return parser

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
            self._refuse("it is not in UTF-8")

    def _odd(self, *_: object) -> None:
        self._refuse("it has a comment, CDATA, a processing instruction or a document type")

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        self._declaring[prefix or ""] = uri or ""

    def _start(self, tag: str, _attributes: object) -> None:
        at, inside = len(self._open), self._open[1:2] == [f"{_SOAP} Body"]
        if at == 0 and tag != f"{_SOAP} Envelope":
            self._refuse("it is no SOAP")
        if at >= 2 and inside:
            expected = (f"{VIM} {self._method}Response", f"{VIM} returnval", f"{VIM} token")
            if at - 2 >= len(expected) or tag != expected[at - 2]:
                self._refuse(f"{tag.rpartition(' ')[2]} is not expected where it stands")
        self._open.append(tag)
        self._declared.append(self._declaring)
        self._declaring = {}
        self._text.clear()

    def _stop(self, tag: str) -> None:
        self._open.pop()
        self._declared.pop()
        if tag == f"{VIM} token":
            if self.token is not None:
                self._refuse("it has two tokens")
            self.token = "".join(self._text).strip()
            if not self.token:
                self._refuse("its token is empty")
        elif any(text.strip() for text in self._text):
            self._refuse("it has text where none is expected")
        self._text.clear()

    def _cut_short(self, why: str) -> NoReturn:
        said = f"the answer to {self._method} is cut short: {why}"
        raise RetryableError(NETWORK_ERROR, said, target=self._target)

    def _refuse(self, why: str) -> NoReturn:
        raise PermanentError(PARSE_ERROR, f"the answer to {self._method} cannot be read: {why}", target=self._target)
