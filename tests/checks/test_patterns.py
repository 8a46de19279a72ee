"""A pattern of ``matches()`` means the same on every database, or is refused where the check is made."""

from __future__ import annotations

import random
import re

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ozelot.checks import matches
from ozelot.checks.patterns import translate
from ozelot.checks.runner import examined
from ozelot.client import Client
from ozelot.orm import bulk
from ozelot.orm.base import Base
from tests.tables import create_tables

pytestmark = pytest.mark.servers

CLASSES = r"[ab] [^ab] [\w-] [^\W] [a-c_] [\s\S] [^\s\S] []a] [^]a] [\]\\-] [à-ÿ] [^\x00-\x20] [[] [.] [$^] [\D\s]"
ESCAPES = r"\d \w \s \D \W \S \. \n \t \x00 \x41 \u00e9 \U0001F600 \( \\"
ATOMS = [*"abA-_ .é😀]}#", *CLASSES.split(" "), *ESCAPES.split(" ")]
ANCHORS = ["^", "$", r"\b", r"\B", r"\A", r"\Z"]
REPEATS = ["*", "+", "?", "{2}", "{0}", "{1,}", "{,2}", "{0,3}", "{2,9}", "*?", "+?", "??", "{1,2}?"]
CHARS = "aabbAB_- .\n\t\r\x0b019éÉßİ\u0131\u017f\u212a٣😀àÿ]}[(){}#\\$^\x1c\x85\u2028\u00a0\x7f\x00"


class Note(Base):
    __tablename__ = "checks_note"

    text: Mapped[str] = mapped_column(sa.String(100))


def noted(db: Client, *texts: str) -> None:
    create_tables(db, Note)
    with db.transaction() as session:
        bulk.load(session, Note, [{"text": text} for text in texts])


def matching(db: Client, pattern: str) -> list[str]:
    """The texts that match, as the check finds them."""
    statement = sa.select(Note.text).where(Note.text.regexp_match(translate(pattern).for_database(db.engine.name)))
    with db.create_session() as session:
        (result,) = examined(session, [matches(Note.text, pattern)])
        found = list(session.scalars(statement.order_by(Note.id)))
        number = session.scalar(sa.select(sa.func.count()).select_from(Note)) or 0
    assert result.found == f"{number - len(found):,} of {number:,} rows otherwise"
    return found


def some_pattern(chance: random.Random, depth: int = 0) -> str:
    def piece() -> str:
        kind = chance.random()
        if kind < 0.15 and depth < 3:
            opening = chance.choice(["(", "(?:", "(?=", "(?!"])
            part = f"{opening}{some_pattern(chance, depth + 1)})"
            if opening in ("(?=", "(?!"):
                return part
        elif kind < 0.3:
            return chance.choice(ANCHORS)
        else:
            part = chance.choice(ATOMS)
        return part + (chance.choice(REPEATS) if chance.random() < 0.35 else "")

    return "|".join(
        "".join(piece() for _ in range(chance.randint(0, 4))) for _ in range(chance.choice([1, 1, 1, 2, 3]))
    )


def in_python(pattern: str) -> re.Pattern[str]:
    """The pattern for ``re``, where ``$`` also matches before a newline at the end, and ``\\B`` in no empty text."""
    parts = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL)
    other = {"$": r"\Z", r"\B": r"(?:(?<!\w)(?!\w)|(?<=\w)(?=\w))", "[[]": r"\["}
    return re.compile("".join(other.get(part, part) for part in parts), re.ASCII)


@pytest.mark.slow
def test_random_patterns_match_the_texts_that_they_match_in_python(db: Client) -> None:
    chance = random.Random(20260504)
    chars = CHARS.replace("\0", "") if db.engine.name == "postgresql" else CHARS  # which does not store it
    texts = ["".join(chance.choice(chars) for _ in range(chance.choice([0, 1, 1, 2, 3, 4, 6]))) for _ in range(150)]
    noted(db, *texts)

    for pattern in [some_pattern(chance) for _ in range(120)]:
        expected = [text for text in texts if in_python(pattern).search(text)]
        assert matching(db, pattern) == expected, pattern


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^a$", ["a"]),
        (r"^a\Z", ["a"]),
        (r"\Aa.b\Z", []),
        (r"^a[^x]b$", ["a\nb"]),
        (r"^\w$", ["a", "A"]),
        (r"^\d$", []),
        (r"^\D$", ["a", "é", "٣", "A", "K"]),
        (r"\s", ["a\n", "a\nb"]),
        ("^[k]$", []),
        ("^[a-z]$", ["a"]),
        (r"\bb$", ["a\nb"]),
        (r"^\B.", ["é", "٣", "K"]),
        (".{3,300}|^$", [""]),
        ("^.{0,500}$", ["a", "é", "٣", "A", "K", ""]),
    ],
)
def test_ends_classes_case_and_repeats_are_those_of_python(db: Client, pattern: str, expected: list[str]) -> None:
    noted(db, "a", "a\n", "a\nb", "é", "٣", "A", "\u212a", "")

    assert matching(db, pattern) == [text.replace("K", "\u212a") for text in expected]


def test_text_of_thousands_of_characters_is_matched_to_its_end(db: Client) -> None:
    noted(db, "a" * 100, "a" * 99 + "b")

    assert matching(db, "^(?:a|bc)+$") == ["a" * 100]
    assert matching(db, "^a{3,700}b?$") == ["a" * 100, "a" * 99 + "b"]


@pytest.mark.parametrize(
    ("pattern", "part", "remedy"),
    [
        (r"^\p{L}+$", r"'\p' at position 1", "list the characters, such as [A-Za-zÀ-ÿ]"),
        (r"(a)\1", r"'\1' at position 3", "repeat what the group matches"),
        (r"\z", r"'\z'", r"write $ or \Z"),
        (r"\R", r"'\R'", r"write (\r\n|[\n\r])"),
        (r"\ya", r"'\y'", r"write \b"),
        (r"\q", r"'\q'", "write q for the character"),
        (r"\x4", r"'\x4'", "2 hexadecimal digits"),
        ("a\\", r"'\' at position 1", "write \\\\ for a backslash"),
        ("(?i)title", "'(?i'", "list both cases, such as [Tt]itle"),
        ("(?<=a)b", "'(?<='", "use holds()"),
        ("(?P<year>[0-9]{4})", "'(?P<'", "a group without a name"),
        ("(?>a)", "'(?>'", "write (?:...)"),
        ("a*+", "'*+'", "write * alone"),
        ("(a", "'(a' at position 0", "escape it"),
        ("a)", "')' at position 1", "escape it"),
        ("[a", "'[a'", "escape it"),
        ("[[:alpha:]]", "'[:' at position 1", "list the characters"),
        (r"[\b]", r"'\b'", r"write \x08"),
        (r"[\w-z]", r"'\w-z'", "escape the hyphen"),
        ("[z-a]", "'z-a'", "swap its ends"),
        ("*a", "'*' at position 0", r"escape it: \*"),
        ("a{x}", "'{' at position 1", r"escape it: \{"),
        ("a{3,2}", "'{3,2}'", "write {2,3}"),
        ("a{2}{3}", "'a{2}{3}'", "put it into a group: (?:a{2}){3}"),
        ("^*", "'^*'", "remove the *"),
        ("(?=a)+", "'(?=a)+'", "remove the +"),
        ("(?:(?:ab){100}){100}", "stands for 20,000 characters", "use smaller counts"),
        ("a\ud800", "'\\ud800'", "remove it"),
        ("a" * 20_000, "of 20,000 characters", "compare with one_of()"),
    ],
)
def test_a_pattern_without_a_common_meaning_is_refused_and_the_error_says_what_to_write(
    pattern: str, part: str, remedy: str
) -> None:
    with pytest.raises(ValueError, match=r"^matches\(Note\.text\): ") as caught:
        matches(Note.text, pattern)

    assert part in str(caught.value) and remedy in str(caught.value)
    assert str(caught.value).isprintable() and "\n" not in str(caught.value)


def test_a_pattern_from_a_function_is_refused_when_the_check_runs(db: Client) -> None:
    noted(db, "a")
    check = matches(Note.text, lambda: r"\p{L}")

    with db.create_session() as session, pytest.raises(ValueError, match="list the characters"):
        examined(session, [check])


def test_a_pattern_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="A pattern is a str, not Pattern"):
        matches(Note.text, re.compile("a"))  # type: ignore[arg-type]


def test_where_mariadb_gives_up_on_a_pattern_the_result_says_so(db: Client) -> None:
    noted(db, "a" * (24 if db.engine.name == "sqlite" else 60) + "b")

    with db.create_session() as session:
        (result,) = examined(session, [matches(Note.text, "^(?:a|aa)+$")])
    assert not result.ok
    assert ("gave up" in result.found) is (db.engine.name in ("mysql", "mariadb"))
