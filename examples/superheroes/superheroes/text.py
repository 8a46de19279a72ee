"""Text as people typed it, made plain."""

import re
import unicodedata

_FOOTNOTE = re.compile(r"\[(?:\d+|[a-z]|[?!]|note \d+|citation needed)\]", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOTHING = {"", "-", "?", "n/a", "none", "unknown", "unrevealed"}

# One sign for the many that look alike: primes and quotes for feet and inches, dashes for ranges.
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201f\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u00bd": " 1/2",
        "\u00bc": " 1/4",
        "\u00be": " 3/4",
    }
)
_FRACTIONS = {"1/2": ".5", "1/4": ".25", "3/4": ".75"}
_FRACTION = re.compile(r"(?<![\d/])(?:1/2|1/4|3/4)(?![\d/])")
_THIN_SPACE = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")  # 1 040: a thousand and forty
_BEFORE_POINT = re.compile(r"(\d) (?=\.\d)")


def clean(text: str) -> str:
    """The text without footnote marks and control characters, with single spaces.

    >>> clean(" Peter\\xa0Parker[1]  ")
    'Peter Parker'
    """
    if not text.isprintable():  # most are, and to know is quicker than to look for each
        text = _CONTROL.sub(" ", text)
    return " ".join((_FOOTNOTE.sub("", text) if "[" in text else text).split())


def says_nothing(text: str) -> bool:
    """Whether the text states that there is no fact.

    >>> says_nothing("Unknown"), says_nothing("Unknown Soldier")
    (True, False)
    """
    return clean(text).rstrip(".").casefold() in _NOTHING


def plain_amount(text: str) -> str:
    """An amount in plain signs: `'` and `"` for feet and inches, `-` for ranges, decimal fractions.

    >>> plain_amount("5\\u2032 10\\u00bd\\u2033 \\u2013 6\\u2032")
    '5\\' 10.5" - 6\\''
    """
    if text.isascii():
        text = text.replace("`", "'")
    else:
        text = unicodedata.normalize("NFKC", _THIN_SPACE.sub("", text).translate(_SIGNS))
    text = clean(text).replace("''", '"')
    if "/" in text:
        text = _FRACTION.sub(lambda found: _FRACTIONS[found[0]], text)
    return _BEFORE_POINT.sub(r"\1", text) if " ." in text else text
