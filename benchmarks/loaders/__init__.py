"""Ways to load the same rows into the same table, one a file; `python -m loaders WAY FORM ROWS FOLDER` measures one."""
