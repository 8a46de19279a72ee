"""Values as the page shows them."""

from __future__ import annotations

import datetime
import re
from typing import Any

import sqlalchemy as sa

from ozelot.model.base import Base
from ozelot.redaction import is_secret
from ozelot.state.runs import utc_now

LONGEST = 200  # characters of a value
HIDDEN = "[hidden]"

#: Where errors of a database, and SQLAlchemy, quote the row that they are about.
_QUOTED = re.compile(
    r"(?P<before>\[parameters: )[^\n]*(?P<after>\])"
    r"|(?P<detail>DETAIL: +)(?:Key \(|Failing row)(?:(?!\n\s*(?:\[SQL: |HINT: |CONTEXT: ))[\s\S])*"
    r"|(?P<entry>Duplicate entry ')[\s\S]*?(?P<key>' for key )"
    r"|(?P<of>Key \([^\n]*?\)=\()[^\n]*(?P<exists>\) (?:already exists|is not present|is still referenced|conflicts))"
    r"|(?P<already>another row has the key )[^\n]*(?P<by> already, by )"
)
#: Where those of a load, or of one value, quote values of one column, by its name: to the end, as these may hold all.
_OF_ROWS = re.compile(r"(\brow \d+ has |; got |keys? (?:not found in|found in several rows of) [^:\n]*: )[^\n]*")


def is_hidden(column: sa.Column[Any]) -> bool:
    """Whether the values of a column are not to be shown: its model says so, or its name."""
    return bool(column.info.get("hidden")) or is_secret(column.name)


def discreet(error: str | None) -> str:
    """An error without the row that it quotes, of which columns may be hidden.

    >>> discreet("IntegrityError: NOT NULL\\n[SQL: INSERT]\\n[parameters: ('Ada', 7)]")
    'IntegrityError: NOT NULL\\n[SQL: INSERT]\\n[parameters: [hidden]]'
    """
    text = _QUOTED.sub(_without_values, error or "")
    if any(_is_about(text, column) for column in _hidden_by_models()):
        text = _OF_ROWS.sub(rf"\1{HIDDEN}", text)
    return text


def _is_about(text: str, column: sa.Column[Any]) -> bool:
    models = [mapper for mapper in Base.registry.mappers if column.table in mapper.tables]
    attributes = {mapper.get_property_by_column(column).key for mapper in models if column in mapper.columns.values()}
    owners = {column.table.name, *(mapper.class_.__name__ for mapper in models)}
    is_named = any(name in text for name in {column.name, *attributes})
    return is_named and any(f"{owner}." in text for owner in owners)


def _without_values(found: re.Match[str]) -> str:
    before, *after = [part for part in found.groups() if part]
    return "".join([before, HIDDEN, *after])


def _hidden_by_models() -> list[sa.Column[Any]]:
    return [c for table in Base.metadata.tables.values() for c in table.columns if c.info.get("hidden")]


def value(found: Any) -> str:
    """A value in a cell: of a long one the beginning, of bytes how many."""
    if isinstance(found, bytes | bytearray | memoryview):
        return f"{len(found):,} bytes"
    text = str(found)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def type_name(kind: sa.types.TypeEngine[Any]) -> str:
    """The type of a column as its database knows it."""
    if isinstance(kind, sa.types.NullType):
        return "?"
    try:
        return named(str(kind))
    except Exception:  # noqa: BLE001 - types of projects may only know their own database
        return type(kind).__name__


def named(text: str, longest: int = LONGEST) -> str:
    """A name or a reason in a line: of a long one the beginning, and one that nobody would see in quotes."""
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    return cut if cut.strip() or not cut else f'"{cut}"'


def ago(when: datetime.datetime, now: datetime.datetime | None = None) -> str:
    """How long ago a moment is, in one unit.

    >>> ago(datetime.datetime(2026, 1, 1), datetime.datetime(2026, 1, 3))
    '2 days ago'
    """
    seconds = ((now or utc_now()) - when).total_seconds()
    if seconds < 0:
        return "in the future"
    if seconds < 10:
        return "just now"
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number:,} {name}{'' if number == 1 else 's'} ago"
    return "just now"
