"""ozelot: maintainable ETL pipelines."""

__version__ = "1.0.0.dev0"
