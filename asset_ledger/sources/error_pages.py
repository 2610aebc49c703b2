"""The page docs/error-codes.md as text, out of the registry. Pure; the command line prints it, a test compares it."""

from __future__ import annotations

from collections.abc import Iterable

from asset_ledger.domain.errors import CORE_CODES, ErrorCode
from asset_ledger.sources.registry import PLATFORMS, platform

_HEAD = """# Error codes

Generated from the code by `make docs`; do not edit. `asset-ledger errors CODE` prints one of them.

Every error, every failed target of `asset-ledger runs show` and every rejected cell of an import carries one of these
codes. A code never changes its meaning. *Again* says whether the same call may succeed later without anybody doing
something: such errors are tried again by themselves.
"""


def markdown() -> str:
    """Return the whole page: the codes no single platform owns, then those of each platform, by name."""
    parts = [_HEAD, _section("Everywhere", CORE_CODES)]
    for name in sorted(PLATFORMS):
        found = platform(name)
        title = f"{found.title} (`{name}`)"
        parts.append(_section(title, found.error_codes, f"See [platforms/{name}.md](platforms/{name}.md).\n\n"))
    return "\n".join(parts)


def _section(title: str, codes: Iterable[ErrorCode], intro: str = "") -> str:
    rows = "".join(
        f"| `{code.code}` | {code.category} | {'yes' if code.retryable else 'no'} | {_cell(code.meaning)} "
        f"| {_cell(code.advice)} |\n"
        for code in sorted(codes, key=lambda code: code.code)
    )
    return f"## {title}\n\n{intro}| code | category | again | means | do |\n|---|---|---|---|---|\n{rows}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
