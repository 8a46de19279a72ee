"""What is secret in addresses, headers and columns, and texts without it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "[hidden]"

_WORDS = (
    r"token|secret|password|passwd|pwd|passphrase|signature|sig|credentials?|authorization|auth|jwt|session|sessionid|sid|"
    r"apikey|api[-_.]?key|access[-_.]?key|private[-_.]?key|subscription[-_.]?key|app[-_.]?key|key"
)
_NAME = re.compile(rf"(?:.*[-_.\[])?(?:{_WORDS})\]?|\w*(?:token|secret|password)", re.IGNORECASE)
#: Of a query or a fragment: what stands before a value, its name, and the value.
_PAIR = re.compile(r"([?&;#])([^=&;#?\s]{1,100})=([^&;#\s'\")>]+)")
_USER = re.compile(r"(\w+://)([^/?#\s@]+)@")
_HEADERS = re.compile(r"authorization|cookie|token|secret|key|auth|session", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether a parameter of that name holds a secret."""
    return _NAME.fullmatch(unquote(name)) is not None


def is_secret_header(name: str) -> bool:
    """Whether a header of that name holds a secret."""
    return _HEADERS.search(name) is not None


def encodable(text: str) -> str:
    """A text that can be written as UTF-8: lone surrogates, which no valid address has, are shown by their number."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def masked(text: str) -> str:
    """An address, or a text that quotes addresses, with ``[hidden]`` where secrets are."""
    if "=" in text:
        text = _PAIR.sub(lambda found: f"{found[1]}{found[2]}={HIDDEN}" if is_secret_name(found[2]) else found[0], text)
    if "@" in text:
        text = _USER.sub(rf"\1{HIDDEN}@", text)
    return encodable(text)


def secrets_of(url: str, headers: Mapping[str, str]) -> set[str]:
    """The secrets in an address and in headers, plain and as they are written in addresses."""
    found = {match[3] for match in _PAIR.finditer(url) if is_secret_name(match[2])}
    for match in _USER.finditer(url):
        found |= {match[2], *match[2].split(":")}
    for name, value in headers.items():
        if is_secret_header(name):
            found |= {value, *value.split()[1:]}
    plain = {text for secret in found for text in (secret, unquote(secret), unquote_plus(secret))}
    return {text for secret in plain for text in (secret, quote(secret, safe=""), quote_plus(secret)) if len(text) > 3}


def without(text: str, secrets: Iterable[str]) -> str:
    """A message without these secrets, and without those of any address that it quotes."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return masked(text)


_LONGEST = 40  # characters of a value that are shown
_NOUNS = {
    **{"str": "string", "int": "integer", "bool": "boolean", "float": "float", "NotStored": "time"},
    **{"date": "date", "datetime": "datetime", "time": "time", "timedelta": "timedelta"},
}
_SECRET = re.compile(r"passw|secret|token", re.I)


def is_secret(name: str) -> bool:
    """Whether a name says that values are not to be shown."""
    return _SECRET.search(name) is not None


def shown(name: str, value: Any, longest: int = _LONGEST) -> str:
    """A value in a message: shortened, and not at all where its name says that it is secret."""
    if is_secret(name):
        return "[hidden]"
    text = _text(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def shown_with_type(name: str, value: Any) -> str:
    """A value with its type, as messages name it: ``the string '2.185'``."""
    if value is None:
        return "None"
    kind = type(value)
    noun = _NOUNS.get(kind.__name__, kind.__name__)
    if is_secret(name):
        return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun} {shown(name, value)}"
    text = shown(name, value)
    return text if text.startswith((f"{kind.__name__}(", "np.")) else f"the {noun} {text}"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, datetime.date | datetime.time):
        return str(value)
    return ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
