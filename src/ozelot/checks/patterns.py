"""Regular expressions that mean the same on every database: what Python's ``re`` means with ``re.ASCII``.

A pattern is parsed here and written anew for each database, with nothing left that one of them understands in its own
way: classes become ranges of characters, anchors and word boundaries are spelled out, control characters are escaped.
What has no common meaning is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from ozelot.checks.pattern_remedies import ESCAPE_REMEDIES, GROUP_REMEDIES

_LAST = 0x10FFFF
_SURROGATES = 0xD800, 0xDFFF
_MOST_REPEATS = 255  # that PostgreSQL takes in one pair of braces
_MOST_REPEATED = (
    1_000  # characters and classes in a repeat that is written out: beyond, databases refuse it, or take long
)
_MOST_PARTS = 10_000  # likewise, in a whole pattern

Ranges: TypeAlias = tuple[tuple[int, int], ...]
Writer: TypeAlias = Callable[["_Dialect"], str]

_DIGIT: Ranges = ((0x30, 0x39),)
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Ranges = ((0x09, 0x0D), (0x20, 0x20))
_NEWLINE: Ranges = ((0x0A, 0x0A),)

_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


def _quoted(text: str) -> str:
    return f"'{text}'" if text.isprintable() else ascii(text)


class InvalidPattern(ValueError):
    """A part of a pattern has no meaning that all databases share; the text says which part, and what to write."""


class Pattern(NamedTuple):
    """A regular expression, written for each database."""

    python: str
    postgresql: str
    mariadb: str

    def for_database(self, dialect: str) -> str:
        """The expression for a database, by the name of its dialect; Python's for SQLite."""
        if dialect in ("mysql", "mariadb"):
            return self.mariadb
        return self.postgresql if dialect == "postgresql" else self.python


class _Dialect(NamedTuple):
    """How a database spells what the databases spell differently."""

    start: str
    end: str
    control: str  # a format for the number of a control character
    has_nul: bool
    limits_repeats: bool


_PYTHON = _Dialect(r"\A", r"\Z", r"\x{:02x}", has_nul=True, limits_repeats=False)
_POSTGRESQL = _Dialect(r"\A", r"\Z", r"\u{:04x}", has_nul=False, limits_repeats=True)
_MARIADB = _Dialect(r"\A", r"\z", r"\x{:02x}", has_nul=True, limits_repeats=False)


def translate(pattern: str) -> Pattern:
    """A pattern for each database.

    Raises:
        InvalidPattern: a part of it has no common meaning.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"A pattern is a str, not {type(pattern).__name__}: {pattern!r}")
    write = _Parser(pattern).parse()
    # The settings of a MariaDB server may turn on flags for all patterns, and its collations turn on (?i).
    return Pattern(write(_PYTHON), write(_POSTGRESQL), f"(?-imsx){write(_MARIADB)}")


def _literal(code: int, dialect: _Dialect) -> str:
    char = chr(code)
    if code < 0x20 or code == 0x7F:
        return dialect.control.format(code)
    return char if code > 0x7F or char.isalnum() or char == "_" else f"\\{char}"


def _merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ranges in order, without overlaps, and without surrogates, which no database stores."""
    low_surrogate, high_surrogate = _SURROGATES
    split: list[tuple[int, int]] = []
    for low, high in ranges:
        split += [(low, min(high, low_surrogate - 1)), (max(low, high_surrogate + 1), high)]
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for pair in split if pair[0] <= pair[1]):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Ranges) -> Ranges:
    edges = [-1, *(edge for low, high in _merged(ranges) for edge in (low, high)), _LAST + 1]
    return _merged((edges[i] + 1, edges[i + 1] - 1) for i in range(0, len(edges), 2))


def _from(lowest: int, ranges: Ranges) -> Ranges:
    return _merged((max(low, lowest), high) for low, high in ranges)


def _class(ranges: Ranges) -> Writer:
    """One character of a set."""

    def write(dialect: _Dialect) -> str:
        lowest = 0 if dialect.has_nul else 1
        chars = _from(lowest, ranges)
        if not chars:
            return "(?:(?!))"  # a group, as it may be repeated
        others = _from(lowest, _complement(chars))
        is_negated = bool(others) and chars[-1][1] == _LAST
        parts = [
            _literal(low, dialect) if low == high else f"{_literal(low, dialect)}-{_literal(high, dialect)}"
            for low, high in (others if is_negated else chars)
        ]
        return f"[{'^' if is_negated else ''}{''.join(parts)}]"

    return write


def _boundary(*, is_boundary: bool) -> Writer:
    """A word boundary; ``\\b`` itself counts other letters than ASCII on some databases, as words do."""
    word, before, after = _class(_WORD), "(?<!{0})(?={0})|(?<={0})(?!{0})", "(?<!{0})(?!{0})|(?<={0})(?={0})"
    return lambda dialect: f"(?:{(before if is_boundary else after).format(word(dialect))})"


def _sequence(parts: list[Writer]) -> Writer:
    return lambda dialect: "".join(part(dialect) for part in parts)


def _alternatives(branches: list[Writer]) -> Writer:
    if len(branches) == 1:
        return branches[0]
    return lambda dialect: f"(?:{'|'.join(branch(dialect) for branch in branches)})"


def _repeated(part: Writer, least: int, most: int | None) -> Writer:
    def write(dialect: _Dialect) -> str:
        text = part(dialect)
        if (least, most) in _SHORT:
            return f"{text}{_SHORT[least, most]}"
        if not dialect.limits_repeats or max(least, most or 0) <= _MOST_REPEATS:
            return f"{text}{{{least}{'' if most == least else ',' if most is None else f',{most}'}}}"
        optional = ["*"] if most is None else [f"{{0,{count}}}" for count in _shares(most - least)]
        return "(?:" + "".join(text + each for each in [*(f"{{{n}}}" for n in _shares(least)), *optional]) + ")"

    return write


_SHORT = {(0, None): "*", (1, None): "+", (0, 1): "?"}


def _shares(count: int) -> list[int]:
    """A count as a sum of counts that PostgreSQL takes."""
    return [*[_MOST_REPEATS] * (count // _MOST_REPEATS), *([count % _MOST_REPEATS] if count % _MOST_REPEATS else [])]


class _Item(NamedTuple):
    """A part of a pattern.

    Attributes:
        write: writes it.
        size: its number of characters and classes, with repeats written out.
        why_not_repeated: what cannot be repeated says so; empty for what can.
    """

    write: Writer
    size: int = 1
    why_not_repeated: str = ""


_REPEAT = re.compile(r"\*|\+|\?|\{(?=[0-9,])([0-9]*)(?:(,)([0-9]*))?\}")


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def parse(self) -> Writer:
        found = self._alternation()
        if self._at < len(self._pattern):
            raise self._error(self._at, ")", "closes no group", "escape it: \\)")
        if found.size > _MOST_PARTS:
            raise InvalidPattern(
                f"A pattern of {found.size:,} characters is longer than the {_MOST_PARTS:,} that all databases take: "
                "shorten it, or compare with one_of()"
            )
        return found.write

    def _error(self, start: int, part: str, what: str, remedy: str) -> InvalidPattern:
        return InvalidPattern(
            f"{_quoted(part)} at position {start} of the pattern {_quoted(self._pattern)} {what}: {remedy}"
        )

    def _ambiguous(self, start: int, part: str, remedy: str) -> InvalidPattern:
        return self._error(start, part, "does not mean the same on all databases", remedy)

    def _starts(self, text: str) -> bool:
        return self._pattern.startswith(text, self._at)

    def _alternation(self) -> _Item:
        branches = [self._branch()]
        while self._starts("|"):
            self._at += 1
            branches.append(self._branch())
        return _Item(_alternatives([branch.write for branch in branches]), sum(branch.size for branch in branches))

    def _branch(self) -> _Item:
        parts: list[_Item] = []
        while self._at < len(self._pattern) and self._pattern[self._at] not in "|)":
            start = self._at
            item = self._atom()
            parts.append(self._with_repeat(item, start))
        return _Item(_sequence([part.write for part in parts]), sum(part.size for part in parts))

    def _with_repeat(self, item: _Item, start: int) -> _Item:
        repeat = _REPEAT.match(self._pattern, self._at)
        if repeat is None:
            return item
        if item.why_not_repeated:
            part = self._pattern[start : repeat.end()]
            raise self._error(start, part, f"repeats {item.why_not_repeated}", f"remove the {repeat[0]}")
        least, most = _counts(repeat)
        if most is not None and least > most:
            raise self._error(self._at, repeat[0], "ends before it begins", f"write {{{most},{least}}}")
        self._at = repeat.end()
        if self._starts("?"):
            self._at += 1  # it takes as little as it can, which changes what is matched, not whether
        elif self._starts("+"):
            raise self._ambiguous(repeat.start(), f"{repeat[0]}+", f"write {repeat[0]} alone")
        if (again := _REPEAT.match(self._pattern, self._at)) is not None:
            part = self._pattern[start : self._at]
            what = "repeats what is repeated already"
            raise self._error(start, part + again[0], what, f"put it into a group: (?:{part}){again[0]}")
        size = max(item.size, 1) * max(least, most or 1, 1)
        if size > _MOST_REPEATED:
            part = self._pattern[start : self._at]
            what = f"stands for {size:,} characters, more than the {_MOST_REPEATED:,} that all databases take"
            raise self._error(start, part, what, "use smaller counts, or * or +")
        return _Item(_repeated(item.write, least, most), size)

    def _atom(self) -> _Item:
        start, char = self._at, self._pattern[self._at]
        if char == "(":
            return self._group()
        if char == "[":
            return _Item(_class(self._bracket()))
        if char == "\\":
            return self._escape()
        if char == "{" or char in "*+?":
            if char == "{" and _REPEAT.match(self._pattern, start) is None:
                raise self._ambiguous(start, char, "escape it: \\{")
            raise self._error(start, char, "repeats nothing", f"escape it: \\{char}")
        self._at += 1
        if char == "^":
            return _Item(lambda dialect: dialect.start, 0, "the start of the text")
        if char == "$":
            return _Item(lambda dialect: dialect.end, 0, "the end of the text")
        if char == ".":
            return _Item(_class(_complement(_NEWLINE)))
        return _Item(self._one(start, ord(char)))

    def _one(self, start: int, code: int) -> Writer:
        self._check_storable(start, code)
        # PostgreSQL neither stores NUL nor takes it in a pattern; a class leaves it out there.
        return _class(((0, 0),)) if code == 0 else lambda dialect: _literal(code, dialect)

    def _check_storable(self, start: int, code: int) -> None:
        if _SURROGATES[0] <= code <= _SURROGATES[1]:
            part = self._pattern[start : self._at]
            raise self._error(start, part, "is half of a surrogate pair, which no database stores", "remove it")

    def _group(self) -> _Item:
        start = self._at
        lookahead = ""
        if self._starts("(?:"):
            self._at += 3
        elif self._starts("(?=") or self._starts("(?!"):
            lookahead = self._pattern[start : start + 3]
            self._at += 3
        elif self._starts("(?") or self._starts("(*"):
            opening = next((each for each in GROUP_REMEDIES if self._starts(each)), self._pattern[start : start + 3])
            remedy = GROUP_REMEDIES.get(opening, "remove the flags" if opening[-1:].isalpha() else "write (...)")
            raise self._ambiguous(start, opening, remedy)
        else:
            self._at += 1
        inner = self._alternation()
        if not self._starts(")"):
            raise self._error(
                start, self._pattern[start:][:20], "is a group without an end", "add ), or escape it: \\("
            )
        self._at += 1
        write = inner.write
        if lookahead:
            return _Item(lambda dialect: f"{lookahead}{write(dialect)})", inner.size, "a condition on what follows")
        return _Item(lambda dialect: f"(?:{write(dialect)})", inner.size)

    def _escape(self) -> _Item:
        start = self._at
        name = self._pattern[start + 1 : start + 2]
        if name in ("b", "B"):
            self._at += 2
            return _Item(_boundary(is_boundary=name == "b"), 20, "a word boundary")
        if name in ("A", "Z"):
            self._at += 2
            is_start = name == "A"
            what = "the start of the text" if is_start else "the end of the text"
            return _Item(lambda dialect: dialect.start if is_start else dialect.end, 0, what)
        if (ranges := self._set_escape()) is not None:
            return _Item(_class(ranges))
        return _Item(self._one(start, self._char_escape()))

    def _set_escape(self) -> Ranges | None:
        sets = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
        name = self._pattern[self._at + 1 : self._at + 2]
        if name.lower() not in sets or not name:
            return None
        self._at += 2
        found = sets[name.lower()]
        return found if name.islower() else _complement(found)

    def _char_escape(self) -> int:
        """The character that an escape stands for."""
        start = self._at
        name = self._pattern[start + 1 : start + 2]
        self._at += 2
        if not name:
            raise self._error(start, "\\", "escapes nothing", "write \\\\ for a backslash")
        if name in _CONTROLS:
            return _CONTROLS[name]
        if name in _HEX_DIGITS:
            digits = self._pattern[self._at : self._at + _HEX_DIGITS[name]]
            if not re.fullmatch(rf"[0-9A-Fa-f]{{{_HEX_DIGITS[name]}}}", digits) or int(digits, 16) > _LAST:
                expected = f"write \\{name} with {_HEX_DIGITS[name]} hexadecimal digits"
                raise self._ambiguous(start, f"\\{name}{digits}", expected)
            self._at += len(digits)
            return int(digits, 16)
        if name.isascii() and name.isdigit():
            reference = "repeat what the group matches; for the character, write \\x and two hexadecimal digits"
            raise self._ambiguous(start, f"\\{name}", reference)
        if name.isalnum():
            remedy = ESCAPE_REMEDIES.get(name, f"write {name} for the character")
            raise self._ambiguous(start, f"\\{name}", remedy)
        return ord(name)

    def _bracket(self) -> Ranges:
        start = self._at
        self._at += 1
        is_negated = self._starts("^")
        self._at += is_negated
        ranges: list[tuple[int, int]] = []
        first = self._at
        while not self._starts("]") or self._at == first:
            if self._at >= len(self._pattern):
                part = self._pattern[start:][:20]
                raise self._error(start, part, "is a class without an end", "add ], or escape it: \\[")
            ranges += self._range(start)
        self._at += 1
        found = _merged(ranges)
        return _complement(found) if is_negated else found

    def _range(self, bracket: int) -> Ranges:
        start = self._at
        low = self._member(bracket)
        if not self._starts("-") or self._pattern.startswith("-]", self._at) or self._at + 1 >= len(self._pattern):
            return low if isinstance(low, tuple) else ((low, low),)
        self._at += 1
        high = self._member(bracket)
        part = self._pattern[start : self._at]
        if isinstance(low, tuple) or isinstance(high, tuple):
            raise self._error(start, part, "is a range from or to a class", "escape the hyphen: \\-")
        if low > high:
            raise self._error(start, part, "is a range that ends before it begins", "swap its ends")
        return ((low, high),)

    def _member(self, bracket: int) -> int | Ranges:
        start, char = self._at, self._pattern[self._at]
        if char == "[" and self._pattern[start + 1 : start + 2] in (":", ".", "="):
            part = self._pattern[start : start + 2]
            raise self._ambiguous(start, part, "list the characters, such as [A-Za-z]; or escape it: \\[")
        if char == "\\":
            if (ranges := self._set_escape()) is not None:
                return ranges
            if self._pattern[start + 1 : start + 2] == "b":
                raise self._ambiguous(
                    start, "\\b", "write \\x08 for a backspace; a word boundary goes outside the class"
                )
            code = self._char_escape()
        else:
            self._at += 1
            code = ord(char)
        self._check_storable(start, code)
        return code


def _counts(repeat: re.Match[str]) -> tuple[int, int | None]:
    if repeat[0] in "*+?":
        return (1 if repeat[0] == "+" else 0), (1 if repeat[0] == "?" else None)
    least = int(repeat[1] or 0)
    if repeat[2] is None:
        return least, least
    return least, int(repeat[3]) if repeat[3] else None
