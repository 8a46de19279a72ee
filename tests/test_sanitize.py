"""Cleaning text."""

from __future__ import annotations

import pytest

from ozelot.etl.util import sanitize


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  a \t b\r\n\nc  ", "a b c"),
        ("a\u00a0b\u2003c\u3000d", "a b c d"),
        ("", ""),
        ("\n\t ", ""),
        ("plain", "plain"),
        ("\ufb01ne \u2460 \uff21", "fine 1 A"),
        ("e\u0301", "\u00e9"),
        ("Ünïcödé 漢字 🦁", "Ünïcödé 漢字 🦁"),
        ("lone \ud800 surrogate", "lone surrogate"),
    ],
)
def test_text_is_cleaned(text: str, clean: str) -> None:
    assert sanitize(text) == clean
    assert sanitize(clean) == clean


def test_white_space_can_be_left_as_it_is() -> None:
    assert sanitize(" a \n b ", normalize_whitespace=False) == " a \n b "


def test_characters_can_be_left_as_they_are() -> None:
    assert sanitize("\ufb01ne e\u0301", normalize_unicode=False) == "\ufb01ne e\u0301"


@pytest.mark.parametrize(
    ("form", "clean"), [("NFC", "\u00e9\ufb01"), ("NFD", "e\u0301\ufb01"), ("NFKC", "\u00e9fi"), ("NFKD", "e\u0301fi")]
)
def test_form_can_be_chosen(form: str, clean: str) -> None:
    assert sanitize("\u00e9\ufb01", form=form) == clean


@pytest.mark.parametrize(
    ("text", "encoding", "clean"), [("Žižek", "latin-1", "iek"), ("Köln", "ascii", "Kln"), ("漢字 x", "cp1252", "x")]
)
def test_characters_that_the_encoding_does_not_have_are_left_out(text: str, encoding: str, clean: str) -> None:
    assert sanitize(text, encoding=encoding) == clean
    assert sanitize(text, encoding=encoding, enforce_encoding=False) == text


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_result_fits_the_encoding_in_every_form(form: str) -> None:
    assert sanitize("é \u00bd ﬁ", form=form, encoding="latin-1").encode("latin-1")


def test_unknown_encoding_or_form_is_an_error() -> None:
    with pytest.raises(LookupError):
        sanitize("x", encoding="no such encoding")
    with pytest.raises(ValueError):
        sanitize("x", form="no such form")
