"""The public name of :mod:`ozelot.pipeline.marker_target`."""

from ozelot.pipeline.marker_target import ORMTarget

__all__ = ["ORMTarget"]
