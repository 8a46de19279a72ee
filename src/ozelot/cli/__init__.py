"""The command ``ozelot``: each command reads what was typed, calls the library, and prints what came of it."""
