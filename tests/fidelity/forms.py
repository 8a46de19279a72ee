"""The forms in which rows come in, and in which results go out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

Values = Sequence[Any]

#: Makes rows of the column ``value``; an error of a library says that it cannot hold the values.
FORMS: dict[str, Callable[[type[Any], Values], Any]] = {
    "dicts": lambda _, values: [{"value": value} for value in values],
    "generator": lambda _, values: ({"value": value} for value in values),
    "objects": lambda model, values: [model(value=value) for value in values],
    "pandas objects": lambda _, values: pd.DataFrame({"value": pd.Series(list(values), dtype=object)}),
    "pandas NumPy": lambda _, values: pd.DataFrame({"value": list(values)}),
    "pandas nullable": lambda _, values: pd.DataFrame({"value": list(values)}).convert_dtypes(),
    "pandas Arrow": lambda _, values: pd.DataFrame({"value": list(values)}).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda _, values: pl.DataFrame({"value": [_for_polars(value) for value in values]}),
    "arrow": lambda _, values: pa.table({"value": pa.array(list(values))}),
    "reader": lambda _, values: pa.table({"value": pa.array(list(values))}).to_reader(),
}


def _for_polars(value: Any) -> Any:
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError("polars panics")
    return value


OF_PYTHON = ("dicts", "generator", "objects", "pandas objects")


def values_in(frame: Any) -> list[Any]:
    """The values of the first column of a frame, with None for what is missing."""
    if isinstance(frame, pd.DataFrame):
        return [_of_python(value) for value in frame.iloc[:, 0]]
    if isinstance(frame, pl.DataFrame):
        return list(frame.to_series(0).to_list())
    return list(frame.column(0).to_pylist())


def _of_python(value: Any) -> Any:
    """A value of a frame of pandas, which has one NaN for what is missing and for what is no number."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def same(one: Any, other: Any) -> bool:
    """Whether two values are one: NaN is NaN, 0 is not -0, True is not 1 and 1 is not 1.0."""
    if isinstance(one, pd.Timestamp | pd.Timedelta):
        return bool(one == other)
    if isinstance(one, float) and isinstance(other, float):
        return repr(float(one)) == repr(float(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) is not isinstance(other, bool) or isinstance(one, float) is not isinstance(other, float):
        return False
    return bool(one == other)


def of_backend(value: Any, backend: str, family: str) -> Any:
    """A value of a frame as a session has it: where Arrow has no type for it, it is text."""
    return json.loads(value) if backend != "pandas" and family == "json" and value is not None else value


def as_backend(value: Any, backend: str, family: str) -> Any:
    """A value of a session as a frame has it: Arrow has neither UUIDs nor members of an Enum."""
    if backend == "pandas":
        return _of_python(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    return getattr(value, "name", value) if family == "enum" else value
