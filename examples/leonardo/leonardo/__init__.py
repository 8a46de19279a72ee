"""Artists and their paintings, in four data models that do the same."""
