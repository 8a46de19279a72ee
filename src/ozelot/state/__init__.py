"""The pipeline's state in the database: markers, runs, what each was built on, and what it read."""
