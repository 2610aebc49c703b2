"""What every picture needs of SVG: text that cannot become markup, how wide it is, and a picture as a data URI.

Names come from outside: from machines, files and states. Whatever they are, they stay text.
"""

from __future__ import annotations

import unicodedata

NARROW_EM, WIDE_EM = 0.62, 1.04
"""How wide a sign of a fixed-width font is, and one of CJK, in parts of the font's size; rounded up."""
_SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_IN_A_URI = {"%": "%25", "#": "%23", '"': "%22", "<": "%3C", ">": "%3E", "&": "%26", " ": "%20", "(": "%28", ")": "%29"}


def text_of(value: str) -> str:
    """Return a text as the content or the quoted attribute of an element.

    Signs that XML has no place for, and those that would turn the text around them (U+202E), become U+FFFD.
    """
    return "".join(_SPECIAL.get(sign, sign if _has_a_place(sign) else "\ufffd") for sign in value)


def width_em(value: str) -> float:
    """Return how wide a text is at most in a fixed-width font, in parts of the font's size."""
    return sum(_sign_em(sign) for sign in value)


def shortened(value: str, most_em: float) -> str:
    """Return a text that is no wider than this; what is cut off is told by `…` at its end."""
    if width_em(value) <= most_em:
        return value
    kept, width = "", NARROW_EM * 2
    for sign in value:
        width += _sign_em(sign)
        if width > most_em:
            break
        kept += sign
    return f"{kept.rstrip()}…"


def data_uri(svg: str) -> str:
    """Return a picture as an address that markdown and HTML take as an image's."""
    return "data:image/svg+xml," + "".join(_IN_A_URI.get(sign, sign) for sign in svg)


def _has_a_place(sign: str) -> bool:
    return sign == " " or unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


def _sign_em(sign: str) -> float:
    if unicodedata.combining(sign):
        return 0.0
    return WIDE_EM if unicodedata.east_asian_width(sign) in ("W", "F", "A") else NARROW_EM
