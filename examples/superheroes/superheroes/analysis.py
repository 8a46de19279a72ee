"""What the database says, to look at: a table of characters, a page of plots, a network.

Everything is read once, into data frames, and written to files that a browser or a spreadsheet opens;
the pages ask no other host for anything.
"""

from pathlib import Path

import pandas as pd
from sqlalchemy import select

from ozelot.client import Client
from superheroes.analysis_network import network_page
from superheroes.analysis_plots import plots_page
from superheroes.analysis_table import write_excel
from superheroes.models import Character, Movie, MovieAppearance, Place, Universe


def analyze(client: Client, out_dir: Path) -> list[Path]:
    """Write the table (CSV and Excel), the plots and the network to a folder, and say which files these are."""
    out_dir.mkdir(parents=True, exist_ok=True)
    characters, movies, appearances = read_characters(client), read_movies(client), read_appearances(client)
    table = characters.merge(_films_per_character(appearances), how="left", on="id").drop(columns="id")
    table["films"] = table["films"].fillna(0).astype("Int64")

    csv, excel = out_dir / "characters.csv", out_dir / "characters.xlsx"
    plots, network = out_dir / "plots.html", out_dir / "network.html"
    table.to_csv(csv, index=False, encoding="utf-8", lineterminator="\n")
    write_excel(table, excel)
    plots.write_text(plots_page(table, movies), encoding="utf-8")
    network.write_text(network_page(characters, movies, appearances), encoding="utf-8")
    return [csv, excel, plots, network]


def read_characters(client: Client) -> pd.DataFrame:
    """A line a character, with the names of its universe and its place of birth, most frequent first."""
    query = (
        select(
            Character.id.label("id"),
            Character.name.label("name"),
            Universe.name.label("universe"),
            Character.real_name.label("real_name"),
            Character.gender.label("gender"),
            Character.occupation.label("occupation"),
            Character.height.label("height"),
            Character.weight.label("weight"),
            Place.name.label("place_of_birth"),
            Character.first_appearance_year.label("first_appearance_year"),
            Character.number_of_appearances.label("number_of_appearances"),
            Character.url.label("url"),
        )
        .outerjoin(Universe, Character.universe_id == Universe.id)
        .outerjoin(Place, Character.place_of_birth_id == Place.id)
        .order_by(
            Character.number_of_appearances.is_(None),  # databases differ on where NULL belongs
            Character.number_of_appearances.desc(),
            Character.name,
            Character.id,
        )
    )
    return _typed(
        client.df_query(query),
        whole=["first_appearance_year", "number_of_appearances"],
        real=["height", "weight"],
    )


def read_movies(client: Client) -> pd.DataFrame:
    """A line a film, in the order of their years."""
    query = select(
        Movie.id.label("id"),
        Movie.name.label("name"),
        Movie.year.label("year"),
        Movie.budget.label("budget"),
        Movie.budget_inflation_adjusted.label("budget_inflation_adjusted"),
        Movie.imdb_rating.label("imdb_rating"),
    ).order_by(Movie.year, Movie.name, Movie.id)
    return _typed(
        client.df_query(query),
        whole=["year"],
        real=["budget", "budget_inflation_adjusted", "imdb_rating"],
    )


def read_appearances(client: Client) -> pd.DataFrame:
    """A line an appearance: who is in which film, and as what."""
    query = select(
        MovieAppearance.movie_id.label("movie_id"),
        MovieAppearance.character_id.label("character_id"),
        MovieAppearance.appearance_type.label("appearance_type"),
    ).order_by(MovieAppearance.movie_id, MovieAppearance.character_id)
    return client.df_query(query)


def _films_per_character(appearances: pd.DataFrame) -> pd.DataFrame:
    films = appearances.groupby("character_id")["movie_id"].nunique()
    return films.rename("films").rename_axis("id").reset_index()


def _typed(frame: pd.DataFrame, *, whole: list[str], real: list[str]) -> pd.DataFrame:
    """The frame with types that do not depend on where NULL stands, whole numbers kept whole."""
    return frame.astype(dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "float64"))
