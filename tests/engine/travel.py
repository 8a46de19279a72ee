"""A task with a parameter of each kind, which says what arrived."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

from ozelot.etl import tasks


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Traveller(tasks.ORMTask):
    creates = ()

    text = luigi.Parameter()
    optional = luigi.OptionalParameter()
    number = luigi.IntParameter()
    real = luigi.FloatParameter()
    yes = luigi.BoolParameter()
    date = luigi.DateParameter()
    month = luigi.MonthParameter()
    hour = luigi.DateHourParameter()
    second = luigi.DateSecondParameter()
    interval = luigi.DateIntervalParameter()
    delta = luigi.TimeDeltaParameter()
    colour = luigi.EnumParameter(enum=Colour)
    colours = luigi.EnumListParameter(enum=Colour)
    choice = luigi.ChoiceParameter(choices=[1, 2, 3], var_type=int)
    mapping = luigi.DictParameter()
    items = luigi.ListParameter()
    pairs = luigi.TupleParameter()
    path = luigi.PathParameter()
    task = luigi.TaskParameter()
    insignificant = luigi.Parameter(significant=False)
    private = luigi.Parameter(visibility=ParameterVisibility.PRIVATE)

    def run(self) -> None:
        Path("arrived").write_text(seen(self))


def seen(task: Any) -> str:
    """All values, with their types."""
    return "\n".join(f"{name} {type(value)} {value!r}" for name, value in sorted(task.param_kwargs.items()))


class Secretive(tasks.ORMTask):
    """Fails with all it knows of the database."""

    creates = ()

    def run(self) -> None:
        url = self.client.url.render_as_string(hide_password=False)
        raise RuntimeError(f"cannot do this with {url} and {self.client.url.password}")
