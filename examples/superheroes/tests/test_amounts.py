import pytest

from superheroes import amounts
from superheroes.text import clean, plain_amount, says_nothing

NBSP, PRIME, DOUBLE_PRIME, DASH = "\u00a0", "\u2032", "\u2033", "\u2013"
FOOT = 0.3048
INCH = 0.0254


@pytest.mark.parametrize(
    ("text", "meters"),
    [
        ("6' 2\"", 6 * FOOT + 2 * INCH),
        ("6'2\"", 6 * FOOT + 2 * INCH),
        ("6'2", 6 * FOOT + 2 * INCH),
        ("6', 2\"", 6 * FOOT + 2 * INCH),
        ("6'-2\"", 6 * FOOT + 2 * INCH),
        ("6' 2''", 6 * FOOT + 2 * INCH),
        (f"6{PRIME} 2{DOUBLE_PRIME}", 6 * FOOT + 2 * INCH),
        ("6\u2019 2\u201d", 6 * FOOT + 2 * INCH),
        (f"6'{NBSP}2\"{NBSP}(1.88{NBSP}m)[1]", 6 * FOOT + 2 * INCH),
        ("6' 2\" (8' 2\" in armor)", 6 * FOOT + 2 * INCH),
        ("6 ft. 2 in.", 6 * FOOT + 2 * INCH),
        ("6'", 6 * FOOT),
        ("6' (1.83 m)", 6 * FOOT),
        ("6', 1.83 m", 6 * FOOT),
        ("5' 10\u00bd\"", 5 * FOOT + 10.5 * INCH),
        ("5' 10 1/2\"", 5 * FOOT + 10.5 * INCH),
        ("7 feet 3 inches", 7 * FOOT + 3 * INCH),
        ("7 feet and 3 inches", 7 * FOOT + 3 * INCH),
        ("1 foot", FOOT),
        ("50 feet", 50 * FOOT),
        ("Approximately 2,000 feet", 2000 * FOOT),
        (f"5{DASH}6 feet", 5 * FOOT),
        (f"5'{DASH}6'", 5 * FOOT),
        ("5 to 50 feet", 5 * FOOT),
        ('74"', 74 * INCH),
        ("74 inches", 74 * INCH),
        ("188 cm", 1.88),
        ("1.88 m (6' 2\")", 1.88),
        ("1.88m", 1.88),
        ("4,165 miles", 4165 * 1609.344),
        ("Variable", None),
        ("six feet", None),
        ("1,88 m", None),
        ("0'", None),
        ("", None),
        ("9" * 5000 + " feet", None),
    ],
)
def test_heights_are_read_in_every_spelling(text: str, meters: float | None) -> None:
    assert amounts.height(text) == (meters if meters is None else pytest.approx(meters, abs=1e-4))


@pytest.mark.parametrize(
    ("text", "kilograms"),
    [
        ("225 lbs (102 kg)", 102.06),
        ("225 lb", 102.06),
        ("225 lbs.", 102.06),
        ("225lbs", 102.06),
        (f"225{NBSP}pounds[2]", 102.06),
        ("225 Lbs", 102.06),
        ("1,040 lbs (472 kg)", 471.74),
        (f"1{NBSP}040 lbs", 471.74),
        (f"200{DASH}225 lbs", 90.72),
        ("200 lbs; 400 lbs in armor", 90.72),
        ("102 kg", 102.0),
        ("102 kilograms", 102.0),
        ("0.5 kg", 0.5),
        ("2 tons", 1814.37),
        ("2 metric tons", 2000.0),
        ("2 tonnes", 2000.0),
        ("10 oz", 0.28),
        ("1.5 million tons", 1360777110.0),
        ("6.0 x 10^21 tons", None),
        ("Variable", None),
        ("225", None),
        ("0 lbs", None),
        ("heavy: 3 legs", None),
    ],
)
def test_weights_are_read_in_every_spelling(text: str, kilograms: float | None) -> None:
    assert amounts.weight(text) == kilograms


@pytest.mark.parametrize(
    ("text", "dollars"),
    [
        ("$140 million", 140_000_000),
        ("$140 Million[1]", 140_000_000),
        (f"$140{NBSP}million", 140_000_000),
        ("$222,906", 222_906),
        ("$1.5 billion", 1_500_000_000),
        ("$37.5M", 37_500_000),
        ("US$ 140 million", 140_000_000),
        ("US $140 million", 140_000_000),
        ("140 million", 140_000_000),
        ("Estimated at $140,000,000", 140_000_000),
        (f"$200{DASH}250 million", 200_000_000),
        (f"$200 million {DASH} $250 million", 200_000_000),
        ("$200 to 250 million", 200_000_000),
        ("$900,000-1 million", 900_000),
        ("\u00a310 million ($15 million)", 15_000_000),
        ("\u20ac10 million", None),
        ("10 million euros", None),
        ("CAD $20 million", None),
        ("A$20 million", None),
        ("2008", None),
        ("a lot", None),
        ("$0", None),
        ("$" + "9" * 400, None),
    ],
)
def test_budgets_are_read_in_every_spelling(text: str, dollars: int | None) -> None:
    assert amounts.dollars(text) == dollars


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234 appearances", 1234),
        ("1,234 Appearances of Peter Parker (Earth-616)", 1234),
        (f"12{NBSP}Appearances", 12),
        ("3 minor appearances", 3),
        ("Appearances", 1),
        ("appearance", 1),
        ("X-23's list", None),
        ("9" * 30 + " appearances", None),
        ("", None),
    ],
)
def test_counts_of_appearances_are_read_in_every_spelling(text: str, number: int | None) -> None:
    assert amounts.appearances(text) == number


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Iron Man (May, 2008)", 2008),
        ("Amazing Fantasy #15 (August, 1962)", 1962),
        ("Amazing Fantasy #15; (August, 1962) [1]", 1962),
        ("Iron Man 2020 #1 (June 1994)", 1994),
        ("Spider-Man 2099 (Vol. 2) #1 (July, 2014)", 2014),
        ("Tales of Suspense #39, March 1963", 1963),
        ("Iron Man (May 2, 2008) (cameo)", 2008),
        ("Marvel Mystery Comics #1 (1939)", 1939),
        ("1939", 1939),
        ("Iron Man 2020 #1", None),
        ("Series #1962", None),
        ("Unknown issue", None),
    ],
)
def test_the_year_of_an_issue_is_not_taken_from_its_title(text: str, year: int | None) -> None:
    assert amounts.issue_year(text) == year


def test_the_earliest_release_counts() -> None:
    assert amounts.release_year("May 2, 2008 (United States); April 14, 2007 (Sydney)") == 2007
    assert amounts.release_year("Never released") is None


def test_unknown_means_none_but_the_unknown_soldier_does_not() -> None:
    assert says_nothing(f" unknown{NBSP}[1]")
    assert says_nothing("Unknown.")
    assert not says_nothing("Unknown Soldier")


def test_text_loses_footnotes_and_control_characters() -> None:
    assert clean("a\x00b\r\n [12][note 3][citation needed]") == "a b"
    assert clean("[sic]") == "[sic]"
    assert plain_amount(f"10\u00bd{DOUBLE_PRIME}") == '10.5"'
