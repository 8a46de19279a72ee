"""Which values each type of column takes, so that a value is stored exactly, or rejected."""
