"""A line of days small enough to stand in a sentence: how many machines were seen, and how many targets failed.

A day of which nothing is known is a gap, never a zero. The text is short: Dagster hides metadata of 1,000 characters.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 300, 40
_FOOT = 10
"""How much of the height the failures have, below the line."""
# of middle brightness: they are read on white and on black, since an image does not know the page that it is in
_LINE, _BAR = "#4a90d9", "#e5534b"


def days_sparkline(seen: Sequence[int | None], failed: Sequence[int]) -> str:
    """Return the SVG of as many days as there are numbers, the newest on the right: a line, and a bar for failures."""
    step = WIDTH / max(len(seen), 1)
    known = [value for value in seen if value is not None]
    low, high = (min(known), max(known)) if known else (0, 0)
    top = HEIGHT - _FOOT - 6

    def y(value: int) -> int:
        return round(3 + (top / 2 if high == low else top * (high - value) / (high - low)))

    line, dots, pen, last = "", "", False, (0, 0)
    for number, value in enumerate(seen):
        if value is None:
            pen = False
            continue
        at = (round(step * (number + 0.5)), y(value))
        alone = not pen and (number + 1 == len(seen) or seen[number + 1] is None)
        if alone:
            dots += f"M{at[0]} {at[1]}h0"
        elif pen:
            line += _relative(at[0] - last[0], at[1] - last[1])
        else:
            line += f"M{at[0]} {at[1]}"
        pen, last = not alone, at
    worst = max(failed, default=0)
    bars = "".join(
        f"M{round(step * (number + 0.5))} {HEIGHT}v-{max(2, round(_FOOT * count / worst))}"
        for number, count in enumerate(failed)
        if count
    )
    # the caps are round so that a day alone is a dot
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' fill='none' stroke-width='2'>"
        f"<path d='{line}{dots}' stroke='{_LINE}' stroke-linecap='round'/>"
        + (f"<path d='{bars}' stroke='{_BAR}' stroke-width='5'/>" if bars else "")
        + "</svg>"
    )


def _relative(x: int, y: int) -> str:
    return f"h{x}" if y == 0 else f"l{x}{y}" if y < 0 else f"l{x} {y}"
