import os
from pathlib import Path

# Which of the four: standard, extra_columns, inheritance or key_value.
DATA_MODEL = os.environ.get("LEONARDO", "standard")

PIPELINE = f"leonardo.{DATA_MODEL}:LoadEverything"
DATABASE_URL = f"sqlite:///{Path(__file__).parent / DATA_MODEL}.db"
LOG_LEVEL = "WARNING"
