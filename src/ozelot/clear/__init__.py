"""Clearing: a plan of what is to be deleted, in which order, and carrying it out."""
