"""What hangs together as one picture: boxes in columns, what is needed to the left of what needs it, as an SVG.

It stands for itself: real text, no script, no font, no address; a title, a description, and each name whole where the
pointer rests. `domain.pictures.around` decides which boxes there are, `domain.pictures.layers` where they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from asset_ledger.domain.pictures.layers import Layers, layered
from asset_ledger.domain.pictures.svg import shortened, text_of, width_em

Look = Literal["cluster", "physical", "vm", "machine", "instance", "resource", "more"]
Tie = Literal["ledger", "declares", "state"]


@dataclass(frozen=True, slots=True)
class Box:
    """One thing: its name, a line about it, what it is. `gone`: missing or retired. `asked`: the one that is meant."""

    name: str
    about: str
    look: Look
    gone: bool = False
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """Box number `node` hangs on box number `needed`; `why` says how that is known."""

    needed: int
    node: int
    tie: Tie
    why: str


_NAME_PX, _ABOUT_PX = 13, 11
_BOX, _MORE, _WAY = 42, 26, 10
_GAP, _PAD, _BETWEEN, _EDGE = 12, 10, 64, 24
_HEAD, _LEGEND = 64, 22
_NAME_EM, _ABOUT_EM = 22, 25
"""How wide a name is drawn at most, and the line below it, in parts of their sizes; the rest is `…`."""
_LOOKS: dict[Look, tuple[str, str, str, str]] = {
    "cluster": ("cluster", "#6b4fbb", "#f0ecfb", "#2d2450"),
    "physical": ("physical machine", "#1f7a54", "#e7f5ee", "#143a2a"),
    "vm": ("virtual machine", "#2766a8", "#e8f1fb", "#14304f"),
    "machine": ("machine, of a kind that is not known", "#56616b", "#eef1f3", "#2a3036"),
    "instance": ("database instance", "#a85f00", "#fdf2e2", "#46300d"),
    "resource": ("resource of a state", "#9a3a72", "#fbeaf4", "#451d35"),
    "more": ("not drawn", "#7a828a", "#ffffff", "#16191d"),
}
_TIES: dict[Tie, tuple[str, str]] = {
    "ledger": ("runs on, is a member of", ""),
    "declares": ("declares it", "7 4"),
    "state": ("depends on it, by a state", "2 4"),
}


def topology_svg(boxes: Sequence[Box], lines: Sequence[Line], *, title: str, told: str, note: str = "") -> str:
    """Return the picture. `told` stands under the title, `note` under the picture. The same input: the same text."""
    layers = layered(
        [_MORE if box.look == "more" else _BOX for box in boxes],
        [(line.needed, line.node) for line in lines],
        gap=_GAP,
        way=_WAY,
    )
    lefts, widths = _across(boxes, layers)
    looks = [look for look in _LOOKS if any(box.look == look for box in boxes) and look != "more"]
    ties = [tie for tie in _TIES if any(line.tie == tie for line in lines)]
    keys = [*(_LOOKS[look][0] for look in looks), *(_TIES[tie][0] for tie in ties)]
    below = _HEAD + max((middle + _BOX / 2 for middle in layers.middles), default=0) + _EDGE
    foot = [*((note,) if note else ()), _READ]
    right = lefts[-1] + widths[-1] if lefts else 0.0
    texts = [
        (title, 18),
        (told, _NAME_PX),
        *((each, _ABOUT_PX) for each in foot),
        *((key + "      ", 12) for key in keys),
    ]
    width = _EDGE + max(right, *(width_em(text) * size + _EDGE for text, size in texts))
    height = below + _LEGEND * (len(keys) + len(foot)) + _EDGE / 2
    size, both = f"{_n(width)} {_n(height)}", f'width="{_n(width)}" height="{_n(height)}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" {both} role="img"',
        ' aria-labelledby="topology-title topology-desc">',
        f'<title id="topology-title">{text_of(title)}</title>',
        f'<desc id="topology-desc">{text_of(_in_words(boxes, lines, told, note))}</desc>',
        f"<style>{_style()}</style>",
        f'<rect class="page" {both}/>',
        f'<text class="title" x="{_EDGE}" y="30">{text_of(title)}</text>',
        f'<text class="told" x="{_EDGE}" y="50">{text_of(told)}</text>',
        *_drawn_lines(boxes, lines, layers, lefts, widths),
        *_drawn_boxes(boxes, layers, lefts, widths),
        *_legend(looks, ties, foot, below),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


_READ = "What stands to the right hangs on what it is joined to on the left: it goes when that goes."


def _across(boxes: Sequence[Box], layers: Layers) -> tuple[list[float], list[float]]:
    """Return where each column begins, and how wide it is: as wide as the widest text in it."""
    lefts, widths, left = [], [], float(_EDGE)
    for nodes in layers.columns:
        wide = max((_text_px(boxes[node]) for node in nodes if node < len(boxes)), default=0.0) + 2 * _PAD
        lefts.append(left)
        widths.append(wide)
        left += wide + _BETWEEN
    return lefts, widths


def _text_px(box: Box) -> float:
    return max(width_em(_name(box)) * _NAME_PX, width_em(_about(box)) * _ABOUT_PX)


def _name(box: Box) -> str:
    return shortened(box.name, _NAME_EM)


def _about(box: Box) -> str:
    return shortened(box.about, _ABOUT_EM)


def _drawn_boxes(
    boxes: Sequence[Box], layers: Layers, lefts: Sequence[float], widths: Sequence[float]
) -> Iterator[str]:
    for place, nodes in enumerate(layers.columns):
        for node in (each for each in nodes if each < len(boxes)):
            box = boxes[node]
            high = _MORE if box.look == "more" else _BOX
            x, y = lefts[place], _HEAD + layers.middles[node] - high / 2
            marks = " ".join(["box", box.look, *["gone"] * box.gone, *["asked"] * box.asked])
            told = f"{box.name}: {box.about}" if box.about else box.name
            yield f'<g class="{marks}"><title>{text_of(told)}</title>'
            yield f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(widths[place])}" height="{high}" rx="5"/>'
            yield f'<text class="name" x="{_n(x + _PAD)}" y="{_n(y + 17)}">{text_of(_name(box))}</text>'
            if box.about and high == _BOX:
                yield f'<text class="about" x="{_n(x + _PAD)}" y="{_n(y + 33)}">{text_of(_about(box))}</text>'
            yield "</g>"


def _drawn_lines(
    boxes: Sequence[Box], lines: Sequence[Line], layers: Layers, lefts: Sequence[float], widths: Sequence[float]
) -> Iterator[str]:
    where = {node: place for place, nodes in enumerate(layers.columns) for node in nodes}
    for line in lines:
        passed = layers.ways.get((line.needed, line.node))
        if passed is None:
            continue
        path = ""
        for one, other in pairwise(passed):
            ahead = where[one] < where[other]
            start = (lefts[where[one]] + (widths[where[one]] if ahead else 0), _HEAD + layers.middles[one])
            end = (lefts[where[other]] + (0 if ahead else widths[where[other]]), _HEAD + layers.middles[other])
            # through the column of a place it goes straight
            path += f"{'L' if path else 'M'}{_n(start[0])} {_n(start[1])}"
            bend = (start[0] + end[0]) / 2
            path += f"C{_n(bend)} {_n(start[1])} {_n(bend)} {_n(end[1])} {_n(end[0])} {_n(end[1])}"
        told = f"{boxes[line.node].name} {line.why} {boxes[line.needed].name}"
        yield f'<path class="line {line.tie}" d="{path}"><title>{text_of(told)}</title></path>'


def _legend(looks: Sequence[Look], ties: Sequence[Tie], foot: Sequence[str], top: float) -> Iterator[str]:
    y = top
    for each in foot:
        yield f'<text class="about" x="{_EDGE}" y="{_n(y)}">{text_of(each)}</text>'
        y += _LEGEND
    for look in looks:
        yield f'<g class="box {look}"><rect x="{_EDGE}" y="{_n(y - 11)}" width="26" height="14" rx="3"/></g>'
        yield f'<text class="key" x="{_EDGE + 36}" y="{_n(y)}">{text_of(_LOOKS[look][0])}</text>'
        y += _LEGEND
    for tie in ties:
        yield f'<path class="line {tie}" d="M{_EDGE} {_n(y - 4)}h26"/>'
        yield f'<text class="key" x="{_EDGE + 36}" y="{_n(y)}">{text_of(_TIES[tie][0])}</text>'
        y += _LEGEND


def _in_words(boxes: Sequence[Box], lines: Sequence[Line], told: str, note: str) -> str:
    """Return what is seen, for who does not see it."""
    joined = [f"{boxes[line.node].name} {line.why} {boxes[line.needed].name}" for line in lines]
    return ". ".join([told, *joined, *([note] if note else [])]) + "."


def _style() -> str:
    fonts = "font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,'Noto Sans Mono CJK SC',monospace"
    light = [
        f"text{{{fonts};fill:#1b1f24}}",
        ".page{fill:#fff}",
        ".title{font-size:18px;font-weight:bold}.told{font-size:13px}.key{font-size:12px}",
        f".name{{font-size:{_NAME_PX}px}}.about{{font-size:{_ABOUT_PX}px;fill:#4b545d}}",
        ".asked .name{font-weight:bold}",
        ".box rect{stroke-width:1.2}.box.asked rect{stroke-width:3.5}.box.gone rect{stroke-dasharray:5 4}",
        ".line{fill:none;stroke:#6b7681;stroke-width:1.3}",
        *(f".line.{tie}{{stroke-dasharray:{dash}}}" for tie, (_, dash) in _TIES.items() if dash),
        *(f".{look} rect{{stroke:{stroke};fill:{fill}}}" for look, (_, stroke, fill, _) in _LOOKS.items()),
        ".more rect{stroke-dasharray:3 3}",
    ]
    dark = [
        "text{fill:#e6e9ec}.about{fill:#b4bcc4}.page{fill:#16191d}.line{stroke:#8b96a1}",
        *(f".{look} rect{{fill:{fill}}}" for look, (_, _, _, fill) in _LOOKS.items()),
    ]
    return "".join(light) + "@media(prefers-color-scheme:dark){" + "".join(dark) + "}"


def _n(value: float) -> str:
    """Return a length with at most one digit after the point, the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")
