"""Settings of this project, as `ozelot.config` finds them; the environment (`OZELOT_...`) comes first."""

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

# The database to fill, and the file that keeps every page that was ever read.
DATABASE_URL = f"sqlite:///{FOLDER / 'superheroes.db'}"
REQUEST_CACHE_PATH = str(FOLDER / "web_cache.db")

# What the command `ozelot` is about, and what else to import, so that it knows the models and the checks.
PIPELINE = "superheroes.pipeline:LoadEverything"
MODELS = ["superheroes.models", "superheroes.checks"]

# The settings below are this project's own, so it reads their variables itself.
WIKI_URL = os.environ.get("OZELOT_WIKI_URL") or "https://marvel.fandom.com"

# Load only the characters of these universes, as in {"Earth-616", "Earth-199999"}; None loads all. Pages whose
# title names another universe are not even fetched. In the environment, separate them by commas.
_NAMES = os.environ.get("OZELOT_UNIVERSES", "").split(",")
UNIVERSES = frozenset(name.strip() for name in _NAMES if name.strip()) or None

# Seconds to let pass between two requests to the wiki; pages from the cache come at once.
RATE_LIMIT = float(os.environ.get("OZELOT_RATE_LIMIT") or 1.0)
