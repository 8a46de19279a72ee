"""The Marvel database wiki, read into a data model."""
