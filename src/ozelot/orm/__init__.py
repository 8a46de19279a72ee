"""The data model: the base class of models, and the markers that say what is complete."""
