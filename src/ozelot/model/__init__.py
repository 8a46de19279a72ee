"""The data model: the base class of models."""
