"""Versions of agents, ordered as semver.org 2.0.0 says, and the platforms that binaries are built for.

Publishing, choosing an agent's update, and asking whether an agent is too old read versions with this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import total_ordering

PLATFORMS = (
    "linux-amd64",
    "linux-arm64",
    "linux-arm",
    "linux-386",
    "linux-ppc64le",
    "linux-s390x",
    "darwin-amd64",
    "darwin-arm64",
    "windows-amd64",
    "windows-arm64",
    "windows-386",
    "freebsd-amd64",
    "freebsd-arm64",
)
"""What `binaries` of a version may be keyed by: Go's names of a system and an architecture."""

_OTHER_NAMES = {
    "x86_64": "amd64",
    "x64": "amd64",
    "aarch64": "arm64",
    "armv8l": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "x86": "386",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
}
MOST_CHARACTERS = 50
_NUMBER = r"(?:0|[1-9][0-9]*)"
_WORD = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_WORD}(?:\.{_WORD})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """One version. What stands behind a `+` names a build and counts for nothing in comparing."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    build: str = field(default="", compare=False)

    def __str__(self) -> str:
        pre = f"-{'.'.join(self.pre)}" if self.pre else ""
        return f"{self.major}.{self.minor}.{self.patch}{pre}{f'+{self.build}' if self.build else ''}"

    def __lt__(self, other: Version) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, int, bool, list[tuple[bool, int, str]]]:
        # a release is later than what preceded it, numbers are lower than words, fewer words than more
        words = [(not word.isdecimal(), int(word) if word.isdecimal() else 0, word) for word in self.pre]
        return self.major, self.minor, self.patch, not self.pre, words


def parse(text: str) -> Version:
    """Return the version that a text says: `1.2.0`, `v1.2.0-rc.1`. Raises ValueError for any other."""
    found = _VERSION.fullmatch(text) if len(text) <= MOST_CHARACTERS else None
    if found is None:
        raise ValueError(f"{text[:MOST_CHARACTERS]!r} is no version; write it as 1.2.0 or 1.2.0-rc.1")
    major, minor, patch, pre, build = found.groups()
    return Version(int(major), int(minor), int(patch), tuple(pre.split(".")) if pre else (), build or "")


def platform_of(os: str, arch: str) -> str | None:
    """Return which of PLATFORMS a machine is, by the names that it uses itself (`Linux`, `x86_64`), or None."""
    name = f"{os.lower()}-{_OTHER_NAMES.get(arch.lower(), arch.lower())}"
    return name if name in PLATFORMS else None
