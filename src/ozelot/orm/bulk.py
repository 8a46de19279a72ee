"""The public name of :mod:`ozelot.load`."""

from ozelot.load import LoadReport, Refs, load

__all__ = ["LoadReport", "Refs", "load"]
