"""The probe's marked output: how it is cut into sections, and whether it is whole. Pure.

Every marker holds the run's nonce, so neither a banner nor a command's output can forge one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from asset_ledger.domain.secrecy import REDACTED, holds_secret

NONCE = re.compile(r"^[0-9a-f]{16}$")


@dataclass(frozen=True, slots=True)
class Section:
    """What one command printed, and its return code."""

    text: str
    rc: int


class TruncatedError(ValueError):
    """Markers are there, but the output is not whole."""


class UnmarkedError(ValueError):
    """There is no marker at all: the script did not run."""


def marked(output: bytes, nonce: str) -> bytes:
    """Return the output from its first marker on: what a login prints before that is nobody's evidence."""
    at = output.find(f"@@{nonce}:".encode())
    return output[at:] if at >= 0 else b""


def split(body: bytes, nonce: str) -> dict[str, Section]:
    """Cut whole output into sections by name.

    Raises UnmarkedError without any marker, and TruncatedError where the end marker is missing, a section was
    begun and not ended, or the count that the script states at its end is another.
    """
    text = body.decode("utf-8", "replace")
    if f"@@{nonce}:" not in text:
        raise UnmarkedError
    marker = re.compile(rf"(?:^|\n)@@{nonce}:([a-z0-9]+|rc=\d{{1,3}})@@(?:\n|$)")
    sections: dict[str, Section] = {}
    begun: str | None = None
    start = position = 0
    while found := marker.search(text, position):
        word = found.group(1)
        if word.startswith("rc="):
            if begun is None:
                raise TruncatedError(f"a return code without a section after {len(sections)} sections")
            sections.setdefault(begun, Section(text[start : found.start()].strip("\r\n"), int(word[3:])))
            begun = None
        else:
            if begun is not None:
                raise TruncatedError(f"section {begun} has no return code")
            begun, start = word, found.end()
        # the newline that ends one marker may be the one the next begins with
        position = found.end() - 1 if text[found.end() - 1 : found.end()] == "\n" else found.end()
    end = sections.pop("end", None)
    if end is None or begun is not None:
        raise TruncatedError(f"it ends in section {begun}" if begun else "no end marker")
    if end.text.strip() != str(len(sections) + 1):
        raise TruncatedError(f"{len(sections) + 1} sections came, the script wrote {end.text.strip()[:20]!r}")
    return sections


def without_secrets(body: bytes) -> tuple[bytes, bool]:
    """Return the body with every line that holds a key or token replaced, and whether there was one."""
    text = body.decode("utf-8", "surrogateescape")
    if not holds_secret(text):
        return body, False
    kept: list[str] = []
    in_key = False
    for line in text.split("\n"):
        in_key = in_key and not line.startswith("@@")  # a marker ends whatever came before it
        if in_key or holds_secret(line):
            kept.append(REDACTED)
            in_key = ("-----BEGIN" in line or in_key) and "-----END" not in line
        else:
            kept.append(line)
    return "\n".join(kept).encode("utf-8", "surrogateescape"), True
