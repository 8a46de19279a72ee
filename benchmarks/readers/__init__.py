"""Ways to read a query's result: `python -m readers` is one of them in a process of its own."""
