"""Heights, weights, sums of money, counts and years, read from text.

Every function returns `None` for text that it does not understand: no value is better than a wrong one. Of
several amounts the first counts, as the others mostly repeat it in another unit, and of a range the lower
end, which is what the text vouches for.
"""

import math
import re

from superheroes.text import plain_amount

_FLAGS = re.IGNORECASE | re.ASCII
_LARGEST = 1e15

# Not within a longer number (1,88 or 10^21), nor right after a word's full stop.
_NUMBER = r"(?:(?<![\d.,^])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\d,.]*\d)|(?<![\w.,^])\.\d+)"
_UP_TO = rf"(?:\s*(?:-|to)\s*{_NUMBER})?"
_YEAR = r"(?<![\d#])(?:19|20)\d\d(?!\d)"

_YEARS = re.compile(_YEAR)
_YEAR_ALONE = re.compile(rf"^{_YEAR}$")
_PARENTHESES = re.compile(r"\(([^()]*)\)")

_SCALES = {"thousand": 1e3, "million": 1e6, "mil": 1e6, "m": 1e6, "billion": 1e9, "bn": 1e9, "b": 1e9}
_METERS = {
    '"': 0.0254, "inch": 0.0254, "inches": 0.0254, "in": 0.0254, "yard": 0.9144, "mile": 1609.344,
    "cm": 0.01, "centimeter": 0.01, "centimetre": 0.01, "m": 1, "meter": 1, "metre": 1,
    "km": 1e3, "kilometer": 1e3, "kilometre": 1e3,
}  # fmt: skip
_KILOGRAMS = {
    "lb": 0.45359237, "pound": 0.45359237, "oz": 0.028349523125, "ounce": 0.028349523125,
    "ton": 907.18474, "metric ton": 1e3, "tonne": 1e3,
    "kg": 1, "kilo": 1, "kilogram": 1, "g": 1e-3, "gram": 1e-3,
}  # fmt: skip


def _with_unit(units: dict[str, float]) -> re.Pattern[str]:
    longest_first = sorted((re.escape(unit) for unit in units if unit != '"'), key=len, reverse=True)
    unit = rf'(?P<unit>"|(?:{"|".join(longest_first)})(?=s?\b))'
    return re.compile(rf"(?P<low>{_NUMBER}){_UP_TO}\s*(?P<scale>thousand|million|billion)?\s*{unit}", _FLAGS)


_LENGTH = _with_unit(_METERS)
_MASS = _with_unit(_KILOGRAMS)
# 6' 2", 6'2, 7 feet 3 inches, 5-6 feet
_FEET_AND_INCHES = re.compile(
    rf"(?P<feet>{_NUMBER}){_UP_TO}\s*(?:'|(?:feet|foot|ft)\b\.?)"
    rf"(?:\s*[,-]?\s*(?:and\s+)?(?P<inches>{_NUMBER})\s*(?:\"|(?:inches|inch|in)\b|(?=\s*(?:$|[;,(\[-]))))?",
    _FLAGS,
)
_MONEY = re.compile(
    rf"(?P<currency>\bUSD?\s?\$|\bUSD|(?<![a-z])\$|[a-z]{{1,2}}\$|[\u00a3\u20ac\u00a5\u20b9])?\s*"
    rf"(?P<low>{_NUMBER})\s*(?P<scale>(?:thousand|million|mil|m|billion|bn|b)\b)?"
    rf"(?:\s*(?:-|to)\s*\$?\s*{_NUMBER}\s*(?P<high_scale>(?:thousand|million|mil|m|billion|bn|b)\b))?",
    _FLAGS,
)
_FOREIGN_MONEY = re.compile(r"\b(?:euros?|pounds?|yen|rupees?|yuan|Rs|GBP|EUR|CAD|AUD|INR)\b", _FLAGS)
_APPEARANCES = re.compile(rf"({_NUMBER})\s+(?:[a-z]+\s+)?appearances?\b", _FLAGS)
_DATED = re.compile(
    rf"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|winter|spring|summer|fall|autumn)[a-z]*\.?,?\s+"
    rf"(?:\d{{1,2}}(?:st|nd|rd|th)?,?\s+)?({_YEAR})",
    _FLAGS,
)


def height(text: str) -> float | None:
    """A height in meters, to a tenth of a millimeter.

    >>> height("6' 2\\""), height("50 feet"), height("188 cm"), height("Variable")
    (1.8796, 15.24, 1.88, None)
    """
    text = plain_amount(text)
    feet, other = _FEET_AND_INCHES.search(text), _LENGTH.search(text)
    if feet and (not other or feet.start() <= other.start()):
        inches = _number(feet["feet"]) * 12 + _number(feet["inches"] or "0")
        return _amount(inches * 0.0254, 4)
    return _measure(other, _METERS, 4)


def weight(text: str) -> float | None:
    """A weight in kilograms, to ten grams; a ton is 2,000 pounds unless it is metric.

    >>> weight("225 lbs (102 kg)"), weight("2 tons"), weight("Variable")
    (102.06, 1814.37, None)
    """
    return _measure(_MASS.search(plain_amount(text)), _KILOGRAMS, 2)


def dollars(text: str) -> int | None:
    """A sum in U.S. dollars; sums in other currencies are not understood.

    >>> dollars("$140 million"), dollars("$222,906"), dollars("$200-250 million"), dollars("10 million euros")
    (140000000, 222906, 200000000, None)
    """
    text = plain_amount(text)
    if _FOREIGN_MONEY.search(text):
        return None
    for found in _MONEY.finditer(text):
        currency = (found["currency"] or "").upper().replace(" ", "")
        scale = (found["scale"] or "").lower()
        low = _number(found["low"])
        if not scale and low < 1000:  # $200-250 million, but not $900,000-1 million
            scale = (found["high_scale"] or "").lower()
        if currency in ("$", "US$", "USD$", "USD") or (not currency and scale.endswith(("ion", "and"))):
            return _whole(_amount(low * _SCALES.get(scale, 1), 0))
    return None


def appearances(text: str) -> int | None:
    """The number of appearances that a link to a list of them states; a bare `Appearances` means one.

    >>> appearances("1,234 appearances"), appearances("Appearances"), appearances("Gallery")
    (1234, 1, None)
    """
    text = plain_amount(text)
    if found := _APPEARANCES.search(text):
        number = _whole(_amount(_number(found[1]), 0))
        return number if number is not None and number < 2**31 else None
    return 1 if text.casefold() in ("appearance", "appearances") else None


def issue_year(text: str) -> int | None:
    """The year in which an issue came out: the one after a month, else the one in the last parentheses.

    A year anywhere else is often a part of the title.

    >>> issue_year("Iron Man (May, 2008)"), issue_year("Spider-Man 2099 #1 (November, 1992)")
    (2008, 1992)
    """
    text = plain_amount(text)
    dated = _DATED.findall(text)
    inside = dated or [year for group in _PARENTHESES.findall(text) for year in _YEARS.findall(group)]
    years = inside or _YEAR_ALONE.findall(text)
    return int(years[-1]) if years else None


def release_year(text: str) -> int | None:
    """The earliest year among the dates on which a film came out.

    >>> release_year("April 14, 2008 (Sydney); May 2, 2008 (United States)")
    2008
    """
    return min(map(int, _YEARS.findall(plain_amount(text))), default=None)


def _measure(found: re.Match[str] | None, units: dict[str, float], digits: int) -> float | None:
    if found is None:
        return None
    scale = _SCALES.get((found["scale"] or "").lower(), 1)
    return _amount(_number(found["low"]) * scale * units[found["unit"].lower()], digits)


def _number(digits: str) -> float:
    return float(digits.replace(",", ""))


def _amount(value: float, digits: int) -> float | None:
    """The value rounded, or `None` where it is no amount: nothing, or beyond all measure."""
    if not math.isfinite(value) or value > _LARGEST:
        return None
    return round(value, digits) or None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
