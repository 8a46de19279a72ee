"""Pipelines: tasks, what they require, and what is complete."""
