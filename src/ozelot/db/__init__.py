"""Databases: connections, transactions, locks, and what statements write. Knows nothing of models and tasks."""
