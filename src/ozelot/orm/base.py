"""The public name of :mod:`ozelot.model.base`."""

from ozelot.model.base import Base, model_registry, render_diagram, schema_picture

__all__ = ["Base", "model_registry", "render_diagram", "schema_picture"]
