"""The superheroes example, run with an input file that cannot be read and then with another that has changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import luigi

from ozelot import cache, client, config
from ozelot.client import Client
from ozelot.etl import tasks
from tests.superheroes import MODELS, checks, fill_cache, inputs, pipeline, settings
from tests.tables import create_tables

FAILED, STALE = "InflationAdjustMovieBudgets", "LoadMovies"
ERROR = "consumer_price_index.csv holds no index: it wants the columns year and cpi"


class Superheroes(tasks.ORMWrapperTask):
    """All data, and all checks of it."""

    def requires(self) -> Any:
        return [pipeline.LoadEverything(), checks.Tests()]


@contextmanager
def loaded(folder: Path) -> Iterator[Client]:
    """The pipeline after a run: one task failed, one is stale by now; the client that tasks use."""
    files = {task: folder / task.input_file.name for task in (inputs.ConsumerPriceIndexFile, inputs.IMDBMovieRatings)}
    for task, path in files.items():
        path.write_bytes(task.input_file.read_bytes())
    files[inputs.ConsumerPriceIndexFile].write_text("year,index\n", encoding="utf-8")
    pages = fill_cache(folder / "web.db")
    database = Client(connection_string=f"sqlite:///{folder / 'superheroes.db'}")
    client.set_client(database)
    with (
        mock.patch.dict(vars(config), settings(pages)),
        mock.patch.object(inputs.ConsumerPriceIndexFile, "input_file", files[inputs.ConsumerPriceIndexFile]),
        mock.patch.object(inputs.IMDBMovieRatings, "input_file", files[inputs.IMDBMovieRatings]),
    ):
        create_tables(database, *MODELS)
        luigi.build([Superheroes()], local_scheduler=True, log_level="CRITICAL")
        with files[inputs.IMDBMovieRatings].open("a", encoding="utf-8") as ratings:
            ratings.write("tt9999999,9.9\n")
        cache.reset_request_cache()
        yield database
    client.set_client(None)
    cache.reset_request_cache()
    database.engine.dispose()
