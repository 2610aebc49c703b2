"""What never stands in a notice: passwords, tokens, keys, addresses of receivers; and signs that a service would obey.

A notice leaves the house, and errors quote strangers: so more is taken out than may be a secret. What is left of a URL
is its scheme and host.
"""

from __future__ import annotations

import re

from asset_ledger.domain.secrecy import REDACTED, holds_secret, names_secret

_LONGEST = 4000
"""Nothing behind it is looked at: it would not be shown."""
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}-----.*?(?:-----END [A-Z ]{0,40}-----|\Z)", re.DOTALL)
_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,30})://(\S{0,2000})")
_SHOWN_SCHEMES = frozenset({"http", "https", "postgresql", "postgres", "redis", "rediss", "ssh", "ldap", "ldaps"})
"""Those whose host is no secret. Of a receiver's address (`dingtalk://TOKEN`) everything is one."""
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")
# NAME=VALUE, NAME: VALUE, "NAME": "VALUE", NAME "VALUE"; the name is judged by `names_secret`
_NAMED = re.compile(
    r"""(?P<name>[\w.-]{1,80}["']?)(?P<sign>\s{0,4}(?:=>|[=:：])\s{0,4}|\s{1,4}(?=["'][^"']{0,2000}["'](?!\s{0,4}[=:：])))"""
    r"""(?P<value>"[^"]{0,2000}"?|'[^']{0,2000}'?|[^\s,;"')\]}]{1,2000})"""
)
_LOGIN = re.compile(
    r"""(?P<option>(?<![\w-])(?:-u|--user|--userpwd|--proxy-user)["',= ]{0,4})"""
    r"""(?P<user>[^\s:"']{1,200}):[^\s"']{1,2000}"""
)
_AT_HOST = re.compile(r"(?P<user>[\w.+%-]{1,100}):\S{1,256}@(?=[A-Za-z0-9\[])")
"""A login without a scheme before it: user:secret@host."""
_FILLING = frozenset({"is", "was", "of", "="})
_GLUED = re.compile(r"(?P<name>密码|口令|密钥|私钥|令牌)(?P<sign>[是为]?)(?P<value>[!-~]{4,2000})")
_ORDER_TO_ALL = re.compile(r"(?i)@(?=all|everyone|here|channel|room|所有人|全体)")
_SHORTEST_SPOKEN = 4
_SCHEME = re.compile(r"(?i)\b(bearer|authorization\W{1,6}\w{2,12})\s+\S{4,2000}")
_IDENTITY = re.compile(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORD = re.compile(r"[A-Za-z0-9+/=_~.-]{20,2000}")
_SHORTEST_HEX = 32


def redacted(text: str) -> str:
    """Return a text of one line without what may be a secret, and without signs that would be obeyed somewhere."""
    plain = _PRIVATE_KEY.sub(REDACTED, text[:_LONGEST])
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in plain).split())
    plain = _URL.sub(_of_url, plain)
    plain = _SCHEME.sub(lambda found: f"{found[1]} {REDACTED}", plain)
    plain = _LOGIN.sub(rf"\g<option>\g<user>:{REDACTED}", plain)
    plain = _AT_HOST.sub(rf"\g<user>:{REDACTED}@", plain)
    plain = _named_out(plain)
    plain = _GLUED.sub(_of_glued, plain)
    plain = _spoken_out(plain)
    plain = _WORD.sub(_of_word, plain)
    if holds_secret(plain):
        return REDACTED
    # a mail is HTML, and Slack takes <!channel> for an order
    plain = _ORDER_TO_ALL.sub("＠", plain)
    return plain.replace("<", "‹").replace(">", "›").replace("`", "'").replace("](", "] (")


def _of_url(found: re.Match[str]) -> str:
    scheme, rest = found[1], found[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = _HOST.match(authority.rpartition("@")[2])
    if scheme.lower() not in _SHOWN_SCHEMES or host is None:
        return f"{scheme}://{REDACTED}"
    behind = "/…" if rest[len(authority) :].strip("/.,;:)'\"") else ""
    return f"{scheme}://{host[0].rstrip('.')}{behind}"


def _named_out(text: str) -> str:
    """Take out the values of names of secrets. Behind any other name it goes on with its value: that may hold a name
    and a value again, however deep."""
    parts: list[str] = []
    at = 0
    while (found := _NAMED.search(text, at)) is not None:
        known = found["value"].startswith(REDACTED[:-1])
        if not known and names_secret(found["name"].strip("\"'")):
            parts += [text[at : found.start("value")], REDACTED]
            at = found.end()
        else:
            behind = found.end() if known else found.start("value")
            parts.append(text[at:behind])
            at = behind
    return "".join((*parts, text[at:]))


def _of_glued(found: re.Match[str]) -> str:
    if not any(sign.isdigit() for sign in found["value"]):
        return found[0]
    return f"{found['name']}{found['sign']}{REDACTED}"


def _spoken_out(text: str) -> str:
    """Take out the word behind a secret's name where it may be one: it has a digit, or the name is an option."""
    words = text.split(" ")
    named = ""
    for place, word in enumerate(words):
        bare = word.strip("\"'(),.;:")
        option = named.startswith("--")
        digit = len(bare) >= _SHORTEST_SPOKEN and any(sign.isdigit() for sign in bare)
        if named and bare and REDACTED[1:-1] not in bare and (digit or (option and not bare.startswith("-"))):
            words[place] = REDACTED
            named = ""
        elif not named or bare.lower() not in _FILLING:
            said = REDACTED[1:-1] in word  # the name has its value already
            named = bare if bare and not said and names_secret(bare[-80:]) else ""
    return " ".join(words)


def _of_word(found: re.Match[str]) -> str:
    """A long word that nobody would write: of many kinds of signs, or hexadecimal and long."""
    word = found[0]
    if _IDENTITY.fullmatch(word):
        return word
    letters = re.sub(r"[^A-Za-z0-9]", "", word)
    mixed = bool(re.search("[a-z]", letters) and re.search("[A-Z]", letters) and re.search("[0-9]", letters))
    hexadecimal = len(letters) >= _SHORTEST_HEX and re.fullmatch(r"[0-9a-fA-F]+", letters) is not None
    dense = len(letters) >= _SHORTEST_HEX and re.search("[0-9]", letters) is not None and "." not in word
    return REDACTED if mixed or hexadecimal or dense else word
