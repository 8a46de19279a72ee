"""Settings of this project; the environment (`OZELOT_DATABASE_URL`, ...) comes first."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent

PIPELINE = "project_name.pipeline:LoadEverything"
DATABASE_URL = f"sqlite:///{FOLDER / 'project_name.db'}"
