"""What code a task is made of, so that it can be told whether that has changed."""
