"""Whether a complete task is stale: its code, its inputs and the columns that it uses, as they were when it ran."""
