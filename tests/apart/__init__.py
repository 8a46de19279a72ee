"""Tests with models that are called as those of other tests are: each runs in a process of its own."""
