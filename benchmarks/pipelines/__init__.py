"""The flights of New York into SQLite, by ozelot and by hand: `python -m pipelines` is one of them, in a process."""
