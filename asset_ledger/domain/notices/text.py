"""The words of a notice: short markdown that also reads well as plain text, for Feishu and WeCom show it as it stands.

The narrowest of the services decides: a bot of WeCom takes 2048 bytes. Every trouble is a line; what has no room is a
number and a command. Times are those of the ledger's days, Asia/Shanghai: the first line says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from asset_ledger.domain.calendar import LEDGER_TIMEZONE
from asset_ledger.domain.notices.digest import Digest, merged, runs_of
from asset_ledger.domain.notices.troubles import Entry, Severity, worst

MOST_BYTES = 1900
"""Of title and body together. WeCom takes 2048; the rest is for what apprise puts around them."""
MOST_LINES = 20
_LINE_BYTES = 480
_SAID_BYTES = 160
"""What is left at least of what is wrong where the next step is long: that is not cut for it."""
_STEP_BYTES = 480
_TITLE_BYTES = 120
_RUNS_LINKED = 3
_SHOW = "asset-ledger runs show"
_OPEN = "asset-ledger notices troubles"
"""What lists all that is told and not over."""

_WORDS = {
    "failed_run": ("run failed", "runs failed"),
    "canceled_run": ("run canceled", "runs canceled"),
    "failed_target": ("target failed", "targets failed"),
    "held_removal": ("removal held", "removals held"),
    "finding": ("finding", "findings"),
    "failed_check": ("check failed", "checks failed"),
    "silent": ("does not tick", "do not tick"),
}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `severity` is that of the worst of it."""

    title: str
    body: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a message: of how many troubles that go on (`wrong`) and that are over it tells; what shows more."""

    text: str
    wrong: int = 0
    over: int = 0
    command: str = ""


def compose(digests: Sequence[Digest], *, dagster_url: str | None, message: str, why_late: str = "") -> Message:
    """Return the message that tells of one digest or of several at once. `message` is by what a repeat is known:
    the same digests give the same text. `why_late` says why they come together."""
    told = sorted(digests, key=lambda one: one.place)
    entries, passed = merged(told)
    severity = worst(one.severity for one in entries)
    title = _cut(f"[asset_ledger] {_headline(told, entries, passed)}", _TITLE_BYTES)
    head = [*_head(told, why_late), ""]
    foot = ["", *_foot(told, dagster_url, message)]
    lines = [
        _Line(_line(one, alone=len(told) == 1), *((0, 1) if one.news == "well" else (1, 0)), command=one.command)
        for one in entries
    ]
    if passed:
        names = ", ".join(f"`{one.code}` {one.place}" for one in passed[:3])
        text = f"- came and went: {len(passed)} {_plural(len(passed), 'trouble')}: {names}"
        lines.append(_Line(_cut(text, _LINE_BYTES), over=len(passed)))
    known = max((one.known for one in told), default=0)
    if known:
        text = f"- {known} known {_plural(known, 'trouble')} {'goes' if known == 1 else 'go'} on, not told again"
        lines.append(_Line(text, wrong=known))
    shown = _fitting(title, head, lines, foot, _more(told))
    return Message(title, "\n".join([*head, *shown, *foot]), severity)


def _headline(told: Sequence[Digest], entries: Sequence[Entry], passed: Sequence[Entry]) -> str:
    wrong = [one for one in entries if one.news != "well"]
    well = len(entries) - len(wrong)
    about = told[0].title if len(told) == 1 else f"{len(told)} notices"
    parts = []
    for kind, words in _WORDS.items():
        of_kind = [one for one in wrong if one.kind == kind]
        if of_kind:
            # of targets and findings the number is what matters, of the others that there are such
            count = sum(one.count if kind == "failed_target" else max(one.fresh, 1) for one in of_kind)
            parts.append(f"{count} {words[count != 1]}")
    if well:
        parts.append(f"{well} well again")
    if passed:
        parts.append(f"{len(passed)} came and went")
    return f"{about}: {', '.join(parts) or 'nothing new'}"


def _head(told: Sequence[Digest], why_late: str) -> list[str]:
    if len(told) == 1:
        one = told[0]
        owner = f", for {one.owner}" if one.owner else ""
        status = f", {one.status}" if one.status else ""
        late = f"; {why_late}" if why_late else ""
        return [f"**{one.title}**{status}, {moment(one.at)}{owner}{late}"]
    owners = ", ".join(sorted({one.owner for one in told if one.owner}))
    late = f", {why_late}" if why_late else ""
    return [
        f"**{len(told)} notices** of {_moment(told[0].at)} to {moment(told[-1].at)}{late}"
        + (f", for {_cut(owners, 160)}" if owners else "")
    ]


def _line(one: Entry, *, alone: bool) -> str:
    place = one.place if one.kind != "failed_run" or one.place != one.source else one.source
    if one.news == "well":
        return f"- well again: {place} `{one.code}` ({_WORDS[one.kind][0]}, since {_moment(one.since)})"
    words = _WORDS[one.kind]
    several = one.kind in ("failed_target", "finding", "held_removal")
    # findings are told as they open; how many are open by now is another question
    number = one.fresh if one.kind == "finding" else one.count
    count = f"{number} {words[number != 1]}" if several else words[0]
    if one.news == "more" and several and one.kind != "finding":
        count += f", {one.fresh} of them new"
    line = f"- {one.severity.upper()} {place} `{one.code}`: {count}"
    if one.news == "still":
        line += f", still, since {_moment(one.since)}"
    elif one.news == "more":
        line += f", since {_moment(one.since)}"
    names = [name for name in one.shown if name not in (one.place, one.source)]
    if several and names and one.kind != "held_removal":
        rest = (one.fresh if one.news == "more" or one.kind == "finding" else one.count) - len(names)
        line += ": " + ", ".join(f"`{name}`" for name in names) + (f" and {rest} more" if rest > 0 else "")
    line = _cut(line, _LINE_BYTES)
    step = f" {_sentence(one.advice)}" if one.advice else ""
    command = f" `{one.command}`" if one.command and (not alone or one.kind in ("held_removal", "finding")) else ""
    step = _cut(step, _STEP_BYTES - _bytes(command)) + command
    if one.message:
        line += _cut(f". {_sentence(one.message)}", max(_LINE_BYTES - _bytes(line) - _bytes(step), _SAID_BYTES))
    elif one.advice:
        line += "."
    return line + step


def _foot(told: Sequence[Digest], dagster_url: str | None, message: str) -> list[str]:
    runs = runs_of(told)
    foot = []
    if command := _more(told):
        foot.append(f"More: `{command}`")
    if dagster_url:
        links = [f"{dagster_url.rstrip('/')}/runs/{run}" for run in runs]
        if len(links) > _RUNS_LINKED:
            links = [f"{dagster_url.rstrip('/')}/runs"]
        # a line of its own each: every service makes a link of it
        foot += links
    return [*foot, f"notice {message[:8]}"]


def _more(told: Sequence[Digest]) -> str:
    """Return the command that shows more of one run: its targets. Empty where there is none, or there are several."""
    commands = {one.command for each in told for one in each.entries if one.command.startswith(_SHOW)}
    return commands.pop() if len(commands) == 1 and len(told) == 1 else ""


def _fitting(title: str, head: Sequence[str], lines: Sequence[_Line], foot: Sequence[str], command: str) -> list[str]:
    """Return as many lines as there is room for, and a last one that counts the others. `command` shows those alone
    that name it."""
    room = MOST_BYTES - _bytes(title) - sum(_bytes(line) + 1 for line in (*head, *foot))
    lines_left = MOST_LINES - len(head) - len(foot)
    shown: list[str] = []
    for number, line in enumerate(lines):
        last = number == len(lines) - 1
        behind = 0 if last else _bytes(_rest(lines[number + 1 :], command)) + 1
        if _bytes(line.text) + 1 + behind > room or len(shown) + (1 if last else 2) > lines_left:
            return [*shown, _rest(lines[number:], command)]
        room -= _bytes(line.text) + 1
        shown.append(line.text)
    return shown


def _rest(lines: Sequence[_Line], command: str) -> str:
    """Return the line that counts lines without room, with what lists those troubles of them that go on."""
    wrong, over = sum(one.wrong for one in lines), sum(one.over for one in lines)
    if not wrong:
        return f"- and {over} more that {'is' if over == 1 else 'are'} over"
    itself = command and all(one.command == command for one in lines if one.wrong)
    ended = f"; {over} more {'is' if over == 1 else 'are'} over" if over else ""
    return f"- and {wrong} more: `{command if itself else _OPEN}`{ended}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…", "。")) else f"{text}."


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def moment(at: datetime) -> str:
    """Return an instant as notices give it, to the minute, with its zone."""
    return f"{_moment(at)} {LEDGER_TIMEZONE}"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(ZoneInfo(LEDGER_TIMEZONE)):%Y-%m-%d %H:%M}"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _cut(text: str, most: int) -> str:
    """Return a text of at most so many bytes, a code span in it closed."""
    if _bytes(text) <= most:
        return text
    kept = text.encode("utf-8", "replace")[: most - 4].decode("utf-8", "ignore").rstrip()
    return kept + ("`…" if kept.count("`") % 2 else "…")
