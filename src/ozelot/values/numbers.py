"""Which numbers columns take: integers, floats, and decimals."""

from __future__ import annotations

import math
import struct
from contextlib import suppress
from decimal import MAX_PREC, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal, Inexact
from typing import Any

from ozelot.values.column_rule import DIGITS as DIGITS_OF_FLOAT
from ozelot.values.column_rule import (
    IMPRECISE,
    INFINITE,
    ColumnType,
    Converter,
    InvalidValue,
    Reason,
    Values,
    bounds_of,
)

#: Up to here, each integer is a float of its own. This one may also be the next one, rounded.
EXACT_FLOATS = 2**53

DIGITS = 15  # significant ones that a float keeps
_PLACES = 10  # of decimals that SQLite computed for a Numeric without a scale, as SQLAlchemy gives them
_ROUNDING = Context(prec=400, rounding=ROUND_HALF_EVEN)

_SMALLEST_SINGLE = 2.0**-126  # a smaller float of 4 bytes has fewer digits
#: Not the context of the thread, which user code may change.
_EXACTLY = Context(prec=MAX_PREC, rounding=ROUND_HALF_UP)
_WITHOUT_ROUNDING = Context(prec=MAX_PREC, traps=[Inexact])


class IntegerType(ColumnType):
    """Whole numbers."""

    exact = frozenset({int})
    expects = "an integer"
    conversions = ((str, "int(value)", int),)

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def converter(self, kind: type) -> Converter | None:
        if issubclass(kind, int):
            return int
        if issubclass(kind, float):
            return _whole_float
        return _whole if issubclass(kind, Decimal) else None

    def all_fit(self, values: Values) -> bool:
        low, high = bounds_of(values)
        return bool(self.low <= low and high <= self.high)

    def fault(self, value: Any) -> str | None:
        if self.low <= value <= self.high:
            return None
        return Reason(
            "out of range",
            expects=f"an integer from {self.low:,} to {self.high:,}",
            remedy="Correct it, or give the column a larger type",
        )


def _whole(value: Any) -> int:
    whole = int(value) if math.isfinite(value) else None
    if whole is None or whole != value:
        raise InvalidValue("not a whole number")
    return whole


def _whole_float(value: Any) -> int:
    whole = _whole(value)
    if abs(whole) >= EXACT_FLOATS:
        raise InvalidValue(IMPRECISE)
    return whole


class FloatType(ColumnType):
    """Floating point numbers.

    Args:
        finite: whether the database stores finite numbers only.
        nan: whether the database stores NaN.
        single: whether they have 4 bytes; "short": and the database returns no more than 6 digits of them.
    """

    exact = frozenset({float})
    expects = "a float"
    conversions = ((str, "float(value)", float),)

    def __init__(self, *, finite: bool, nan: bool = True, single: bool | str = False) -> None:
        self._finite, self._nan, self._single = finite, nan and not finite, single

    @property
    def is_plain(self) -> bool:
        """Whether all floats fit, but for those that are no finite number."""
        return not self._single

    def converter(self, kind: type) -> Converter | None:
        if issubclass(kind, float):
            return float.__float__
        return _real if issubclass(kind, int | Decimal) else None

    def all_fit(self, values: Values) -> bool:
        if self._single:
            return False
        return not self._finite or all(map(math.isfinite, bounds_of(values)))

    def fault(self, value: Any) -> str | None:
        if not math.isfinite(value):
            fits = self._nan if value != value else not self._finite
            return None if fits else INFINITE
        if self._single and not _fits_single(value, short=self._single == "short"):
            return Reason("more digits than a float of 4 bytes keeps", remedy="Round it, or make the column a Double")
        return None


def _real(value: Any) -> float:
    try:
        found = float(value)
    except OverflowError:
        raise InvalidValue("too large for a float") from None
    except ValueError:  # a Decimal that signals
        raise InvalidValue("not a number") from None
    if value != value:
        return found
    if math.isinf(found) and not (isinstance(value, Decimal) and value.is_infinite()):
        raise InvalidValue("too large for a float")
    if found != value and (isinstance(value, int) or Decimal(repr(found)) != value):
        raise InvalidValue(DIGITS_OF_FLOAT)
    return found


def _fits_single(value: float, *, short: bool) -> bool:
    """Whether a float of 4 bytes returns this number: it is one, or has no more digits than each of them keeps."""
    try:
        single = _as_single(value)
    except OverflowError:
        return False
    text = float(f"{value:.6g}")
    if text == value:
        return _as_single(text) == single and (abs(value) >= _SMALLEST_SINGLE or value == 0)
    return single == value and (not short or _as_single(text) == single)


def _as_single(value: float) -> float:
    (found,) = struct.unpack("<f", struct.pack("<f", value))
    return float(found)


class DecimalType(ColumnType):
    """Decimals.

    Args:
        precision: the number of digits; None: any.
        scale: how many of them come after the point; None: any.
        digits: how many significant digits are kept; None: all.
        rounds: whether floats are rounded to the scale, by the digits that ``repr`` shows, half away from zero.
    """

    exact = frozenset({Decimal})
    expects = "a Decimal"
    conversions = ((str, "Decimal(value)", Decimal),)

    def __init__(
        self, precision: int | None, scale: int | None, digits: int | None = None, *, rounds: bool = True
    ) -> None:
        self._scale = scale
        self._limit = None if precision is None else Decimal(10) ** (precision - (scale or 0))
        self._smallest = None if scale is None else Decimal(1).scaleb(-scale)
        self._digits = None if digits is None or (precision is not None and precision <= digits) else digits
        self._rounds = rounds
        limits = [] if self._limit is None else [self._limit]
        if self._digits is not None:
            limits.append(Decimal(10) ** (self._digits - (scale or 0)))
        #: Numbers below it that have exactly the places of ``smallest`` fit.
        self.plain_limit = min(limits, default=None)

    @property
    def smallest(self) -> Decimal | None:
        """The smallest positive number of the scale; None: there is no scale."""
        return self._smallest

    @property
    def bounds(self) -> str:
        """What the column keeps of a number, for messages."""
        parts = [] if self._limit is None else [f"below {self._limit:f}"]
        parts += [] if self._scale is None else [f"with at most {self._scale} digits after the point"]
        parts += [] if self._digits is None else [f"with at most {self._digits} significant digits"]
        return "".join(f" {part}" if not place else f", {part}" for place, part in enumerate(parts))

    def converter(self, kind: type) -> Converter | None:
        if issubclass(kind, int | Decimal):
            return Decimal
        return self._rounded if issubclass(kind, float) else None

    def _rounded(self, value: float) -> Decimal:
        # The shortest text that means this float; its further digits are not meant to be kept.
        found = Decimal(repr(float(value)))
        if self._smallest is None or not self._rounds or not found.is_finite():
            return found
        return found.quantize(self._smallest, context=_EXACTLY)

    def all_fit(self, values: Values) -> bool:
        smallest, limit = self._smallest, self.plain_limit
        if smallest is None or limit is None or not all(map(smallest.same_quantum, values)):
            return False
        low, high = bounds_of(values)
        return bool(-limit < low and high < limit)

    def fault(self, value: Any) -> str | None:
        smallest, limit = self._smallest, self._limit
        if not value.is_finite():
            return Reason("not finite", expects="a finite number")
        if limit is not None and not -limit < value < limit:
            return Reason("too large", expects=f"a number below {limit:,f}")
        if smallest is not None and not value.same_quantum(smallest) and not _is_multiple(value, smallest):
            return Reason(
                "too many digits",
                expects=f"at most {self._scale} digits after the decimal point",
                remedy=f"Round it: value.quantize(Decimal('{smallest:f}'))",
            )
        if self._digits is not None and not self._is_float(value):
            return Reason(
                "too many digits",
                expects=f"at most {self._digits} significant digits",
                remedy="Round it, or make the column a String, which keeps all digits",
            )
        return None

    def _is_float(self, value: Decimal) -> bool:
        """Whether a float has all digits of this number, and is told from its neighbors by these."""
        with suppress(OverflowError):
            return Decimal(f"{float(value):.{self._digits}g}") == value
        return False


def _is_multiple(value: Decimal, smallest: Decimal) -> bool:
    try:
        value.quantize(smallest, context=_WITHOUT_ROUNDING)
    except Inexact:
        return False
    return True


def decimals_of_sqlite(places: int | None) -> Converter:
    """What makes decimals of numbers that SQLite returns; those that were stored, exactly."""
    quantum = None if places is None else Decimal(1).scaleb(-places)
    quantum_of_computed = Decimal(1).scaleb(-_PLACES)

    def process(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not float:
            found = Decimal(value)
        elif quantum is None and float(text := f"{value:.{DIGITS}g}") == value:
            return Decimal(text)
        else:
            found = Decimal(repr(value))
            if quantum is None:
                return found.quantize(quantum_of_computed, context=_ROUNDING) if found.is_finite() else found
        return found if quantum is None or not found.is_finite() else found.quantize(quantum, context=_ROUNDING)

    return process
