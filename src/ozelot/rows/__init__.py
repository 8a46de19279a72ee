"""Rows of tasks: which rows are whose, and deleting them in an order that foreign keys accept."""
