"""The public name of :mod:`ozelot.state.markers`."""

from ozelot.state.markers import ORMTargetMarker

__all__ = ["ORMTargetMarker"]
