"""Public import paths, which 0.2 and the documentation use; nothing inside the package imports them."""
