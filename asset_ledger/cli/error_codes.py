"""`asset-ledger errors`: what a code means and what to do. The codes are those of `sources.registry`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from asset_ledger.cli.screen import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from asset_ledger.domain.errors import ErrorCode


def errors(
    code: Annotated[str | None, typer.Argument(metavar="[CODE]", help="Without it: all of them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/error-codes.md.")] = False,
) -> None:
    """Explain an error code, or list all."""
    from asset_ledger.sources.registry import error_codes

    codes = error_codes()
    if code is None:
        if markdown:
            from asset_ledger.sources.error_pages import markdown as page

            typer.echo(page(), nl=False)
        elif as_json:
            print_json([asdict(each) for each in codes])
        else:
            rows = [[each.code, each.category, each.retryable, each.meaning] for each in codes]
            print_table(["code!", "category", "retry", "meaning…"], rows)
            say("`asset-ledger errors CODE` says what to do")
        return
    found = {each.code: each for each in codes}.get(code.upper())
    if found is None:
        raise typer.BadParameter(f"{code} is no error code{_near(code.upper(), codes)}")
    if as_json:
        print_json(asdict(found))
        return
    say(found.code)
    again = "the same may succeed later" if found.retryable else "the same fails again until something is changed"
    print_facts(
        {"meaning": found.meaning, "what to do": found.advice, "category": found.category, "retry": again}, indent=2
    )


def _near(code: str, codes: tuple[ErrorCode, ...]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(code, [each.code for each in codes], n=3)
    return f"; did you mean {', '.join(near)}?" if near else "; `asset-ledger errors` lists them"
