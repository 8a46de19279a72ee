"""Settings of this project; the environment (`OZELOT_DATABASE_URL`, ...) comes first."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent

PIPELINE = "flights.pipeline:LoadEverything"
DATABASE_URL = f"sqlite:///{FOLDER / 'flights.db'}"

#: The months of 2013 to load.
MONTHS = range(1, 13)
