"""One graph of trivial tasks for each engine: what `benchmarks/engine.py` compares.

A module `with_NAME` has `graph(job)`, which builds the tasks and walks them, and `run(job)`, which runs what is not
complete. `python -m peers` does one of the two in a process of its own.
"""
