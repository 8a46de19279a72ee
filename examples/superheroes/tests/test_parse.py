import doctest
import json
from types import ModuleType

import pytest

from superheroes import amounts, page, parse, text
from superheroes.page import read, text_of, title_of
from superheroes.parse import Appearance

CHARACTER = """
<html><body><aside class="portable-infobox">
<h2 class="pi-item pi-title">Hulk</h2>
<div class="pi-item pi-data"><h3 class="pi-data-label">Universe</h3>
 <div class="pi-data-value"><a href="/wiki/Earth-616">Earth-616</a> (Prime)</div></div>
<div class="pi-item pi-data"><h3 class="pi-data-label">Real Name:</h3>
 <div class="pi-data-value">Robert <!-- sic -->Bruce
 Banner<sup class="reference"><a href="#cite_note-1">[1]</a></sup></div></div>
<div class="pi-item pi-data"><h3 class="pi-data-label">Occupation</h3>
 <div class="pi-data-value"><ul><li>Scientist,</li><li>Adventurer<ul><li>Avenger</li></ul></li></ul></div></div>
<div class="pi-item pi-data"><h3 class="pi-data-label">Gender</h3><div class="pi-data-value">Male</div></div>
<div class="pi-item pi-data"><h3 class="pi-data-label">Height</h3>
 <div class="pi-data-value">5' 9\u00bd" (as Banner)<br>7' (as Hulk)</div></div>
<div class="pi-item pi-data"><h3 class="pi-data-label">Weight</h3>
 <div class="pi-data-value">1,040&nbsp;lbs (472&nbsp;kg)</div></div>
<div class="pi-item pi-data"><h3 class="pi-data-label">Place of Birth</h3>
 <div class="pi-data-value"><a href="/wiki/File:Flag.png"><img src="x"></a>
 <a href="/wiki/Dayton,_Ohio">Dayton</a>, <a href="/wiki/Ohio">Ohio</a></div></div>
<table class="pi-horizontal-group"><thead><tr><th>First Appearance</th><th>Final Appearance</th></tr></thead>
<tbody><tr><td class="x pi-data-value">Incredible Hulk #1 (May, 1962)</td>
<td class="pi-data-value">The End #1 (August, 2002)</td></tr></tbody></table>
</aside>
<a href="/wiki/Category:X/Appearances"><img src="icon.png"></a>
<a href="/wiki/Category:X/Appearances">Appearances</a>
<a href="/wiki/Category:Bruce_Banner_(Earth-616)/Appearances">3,456 appearances</a>
</body></html>
"""

MOVIE = """
<div class="pi-data"><h3 class="pi-data-label">Release Date(s)</h3>
<div class="pi-data-value"><ul><li>May 2, 2008 (US)</li><li>April 30, 2008 (FR)</li></ul></div></div>
<div class="pi-data"><h3 class="pi-data-label">Budget</h3><div class="pi-data-value">$140 million</div></div>
<ul><li><a href="/wiki/Nobody">before the heading</a></li></ul>
<h2><span class="mw-headline" id="Appearances">Appearances</span></h2>
<p><b>Featured Characters:</b></p>
<ul><li><a href="/wiki/File:A.png"><img></a><a href="/wiki/Tony_Stark">Tony</a> (meets <a href="/wiki/X">X</a>)</li>
<li><b>Team:</b> <a href="/wiki/Avengers">Avengers</a>
 <ul><li><a href="/wiki/Ant-Man#History">Scott</a></li><li><a href="/wiki/Wasp%27s_twin">Wasp</a></li></ul></li>
<li><a href="/wiki/Tony_Stark">Tony again</a></li><li>a passer-by</li>
<li><a href="https://example.org/wiki/Elsewhere">elsewhere</a></li></ul>
<p><b>Villains:</b></p><div><ul><li><a href="/wiki/Tony_Stark">Tony, too</a></li></ul></div>
<p><b>Races and Species:</b></p><ul><li><a href="/wiki/Humans">Humans</a></li></ul>
<p><b>Other Characters</b></p><ul><li><a href="/wiki/Jarvis">Jarvis</a></ul>
<h2><span id="Notes">Notes</span></h2>
<p><b>Characters left out:</b></p><ul><li><a href="/wiki/Thor">Thor</a></li></ul>
<a href="https://www.imdb.com/title/tt0371746/">IMDb</a>
"""

MANGLED = [
    "",
    "   ",
    "<!-- nothing -->",
    "\x00\ud800<div class='pi-data'><h3 class='pi-data-label'>Height",
    "<?xml version='1.0' encoding='utf-16'?><html>not utf-16</html>",
    "<table><tr><th>First Appearance</th></tr><tr><td class='pi-data-value'></td></tr></table>",
    "<h2><span id='Appearances'>Appearances",
    "<h2><span id='Appearances'></span></h2><p><b>Characters<ul><li><a>no address</a><li><a href='/wiki/'>x</a>",
    "<div class='pi-data'><div class='pi-data-label'>Budget</div></div>",
    "<div>" * 3000,
    "\x89PNG\r\n\x1a\n",
    '{"error": "not a page"}',
]


def fact(label: str, value: str) -> str:
    return f'<div class="pi-data"><h3 class="pi-data-label">{label}</h3><div class="pi-data-value">{value}</div></div>'


def test_every_fact_of_a_messy_character_is_found() -> None:
    facts = parse.character(CHARACTER, "Bruce Banner (Earth-616)")
    assert facts == parse.CharacterFacts(
        universe="Earth-616",
        place_of_birth="Dayton, Ohio",
        real_name="Robert Bruce Banner",
        occupation="Scientist; Adventurer; Avenger",
        gender="Male",
        height=1.7653,
        weight=471.74,
        number_of_appearances=3456,
        first_appearance_year=1962,
        missing=(),
        odd=(),
    )


def test_missing_facts_are_none_and_named() -> None:
    facts = parse.character("<p>A stub.</p>", "Somebody")
    assert facts.missing == (
        *("Universe", "Place of Birth", "Real Name", "Occupation", "Gender"),
        *("Height", "Weight", "Appearances", "First Appearance"),
    )
    assert (facts.universe, facts.height, facts.odd) == (None, None, ())


def test_odd_facts_are_none_and_quoted() -> None:
    facts = parse.character(fact("Height", "Variable") + fact("Place of Birth", "A farm"), "Somebody")
    assert facts.height is None
    assert facts.place_of_birth is None
    assert facts.odd == ("Place of Birth 'A farm'", "Height 'Variable'")


def test_unknown_is_none_and_worth_no_words() -> None:
    labels = ("Place of Birth", "Real Name", "Occupation", "Gender", "Height", "Weight")
    facts = parse.character("".join(fact(label, "Unknown[2]") for label in labels), "Somebody (Earth-1)")
    assert (facts.real_name, facts.place_of_birth, facts.weight) == (None, None, None)
    assert facts.odd == ()
    assert facts.missing == ("Appearances", "First Appearance")


@pytest.mark.parametrize(
    ("value", "title", "universe"),
    [
        ("Earth-616", "Peter Parker (Earth-1610)", "Earth-616"),
        ("Earth-TRN123", "Peter Parker", "Earth-TRN123"),
        ("Ultraverse", "Hellblade", "Ultraverse"),
        ("Unknown", "Peter Parker (Earth-1610)", "Earth-1610"),
        (None, "Peter Parker (Earth-1610)", "Earth-1610"),
        (None, "Ultron (Prototype) (Earth-1610)", "Earth-1610"),
        (None, "Peter Parker (Clone)", None),
    ],
)
def test_the_universe_label_comes_before_the_title(value: str | None, title: str, universe: str | None) -> None:
    page = fact("Universe", value) if value else ""
    assert parse.character(page, title).universe == universe


def test_of_two_facts_with_one_label_the_first_counts() -> None:
    assert parse.character(fact("Gender", "Female") + fact("Gender", "Male"), "X").gender == "Female"


def test_classes_are_compared_as_a_whole() -> None:
    page = fact("Gender", "Female").replace("pi-data-value", "pi-data-values")
    assert parse.character(page, "X").gender is None


def test_every_fact_of_a_film_is_found() -> None:
    assert parse.movie(MOVIE) == parse.MovieFacts(2008, 140_000_000, "tt0371746", (), ())


def test_a_film_without_facts_says_so() -> None:
    facts = parse.movie(fact("Budget", "a fortune") + fact("Release Date", "soon"))
    assert facts == parse.MovieFacts(
        None, None, None, ("link to IMDb",), ("Release Date(s) 'soon'", "Budget 'a fortune'")
    )


def test_characters_and_villains_of_a_film_are_listed_once_a_label() -> None:
    assert parse.movie_appearances(MOVIE) == [
        Appearance("Tony Stark", "Featured Characters"),
        Appearance("Avengers", "Featured Characters"),
        Appearance("Ant-Man", "Featured Characters"),
        Appearance("Wasp's twin", "Featured Characters"),
        Appearance("Tony Stark", "Villains"),
        Appearance("Jarvis", "Other Characters"),
    ]


@pytest.mark.parametrize(
    ("before", "label"),
    [
        ("", "Featured Characters"),
        ("<p><br></p>", "Featured Characters"),
        ("<p><a href='/wiki/File:A.png'><img></a></p>", "Featured Characters"),
        ("<p>Villains:</p>", "Villains"),
        ("<p><b>Villains:</b></p>", "Villains"),
        ("<p>In order.</p><p><b>Villains:</b></p>", "Villains"),
        ("<h3>Villains</h3><p>In order.</p>", "Villains"),
        ("<p>Locations:</p>", None),
        ("<p><b>Locations:</b></p>", None),
    ],
)
def test_a_first_list_without_a_label_names_the_featured_characters(before: str, label: str | None) -> None:
    page = f"""
    <ul><li><a href="/wiki/Nobody">before the heading</a></li></ul><p>A film.</p><h2 id="Appearances">Appearances</h2>
    {before}<ul><li><a href="/wiki/Thor">Thor</a></li></ul>
    <p><b>Items:</b></p><ul><li><a href="/wiki/Hammer">hammer</a></li></ul>
    <p><b>Other Characters:</b></p><ul><li><a href="/wiki/Jarvis">Jarvis</a></li></ul>
    """
    first = [Appearance("Thor", label)] if label else []
    assert parse.movie_appearances(page) == [*first, Appearance("Jarvis", "Other Characters")]


def test_films_are_linked_once_however_often_the_list_has_them() -> None:
    page = """
    <a href="/wiki/Iron_Man_(film)">Iron Man</a> <a href="/wiki/Iron_Man_(film)#Cast">cast</a>
    <a href="/wiki/Iron_Man_%28film%29">again</a> <a href="/wiki/iron_Man_(film)">and again</a>
    <a href="/wiki/X-Men_(2000_film)?veaction=edit">X-Men</a> <a href="/wiki/Iron_Man_(film)/Gallery">pictures</a>
    <a href="/wiki/File:Poster_(film)">poster</a> <a name="x">none</a> <a href="https://example.org/(film)">else</a>
    """
    assert parse.film_titles(page) == ["Iron Man (film)", "X-Men (2000 film)"]


@pytest.mark.parametrize("page", MANGLED)
def test_mangled_pages_have_no_facts_and_do_no_harm(page: str) -> None:
    assert parse.character(page, "X").height is None
    assert parse.movie(page).year is None
    assert parse.movie_appearances(page) == []
    assert parse.film_titles(page) == []


def test_category_members_are_pages_only_and_come_with_where_to_go_on() -> None:
    members = [
        {"ns": 0, "title": "Earth-616"},
        {"ns": 14, "title": "Category:Realities by name"},
        {"ns": 0},
        {"title": "no namespace"},
    ]
    answer = {"continue": {"cmcontinue": "page|42|1", "continue": "-||"}, "query": {"categorymembers": members}}
    assert parse.category_members(json.dumps(answer)) == parse.Listing(("Earth-616",), "page|42|1")
    del answer["continue"]
    assert parse.category_members(json.dumps(answer)).continue_from is None


@pytest.mark.parametrize(
    "answer", ["", "<html>blocked</html>", "[]", '{"error": {}}', '{"query": {"categorymembers": null}}']
)
def test_an_answer_that_is_no_list_is_refused(answer: str) -> None:
    with pytest.raises(ValueError, match="no list of members"):
        parse.category_members(answer)


def test_names_lose_what_tells_pages_apart() -> None:
    assert parse.name_of("Peter Parker (Clone) (Earth-616)") == "Peter Parker (Clone)"
    assert parse.name_of("Fantastic Four (2005 film)") == "Fantastic Four"
    assert parse.name_of("(film)") == "(film)"


def test_titles_come_from_wiki_links_only() -> None:
    assert title_of("/wiki/Spider-Man:_Homecoming_(film)") == "Spider-Man: Homecoming (film)"
    assert title_of("/wiki/N%27Jadaka_(Earth-199999)") == "N'Jadaka (Earth-199999)"
    assert title_of("/wiki/Special:Search?query=x") is None
    assert title_of("/index.php?title=X") is None
    assert title_of("http://[broken") is None
    assert title_of("/wiki/%ff") == "\ufffd"


def test_exponents_stay_exponents() -> None:
    assert text_of(read("<p>6.0 x 10<sup>21</sup> tons</p>")) == "6.0 x 10^21 tons"


@pytest.mark.parametrize("module", [amounts, page, parse, text])
def test_examples_in_docstrings_are_true(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)
