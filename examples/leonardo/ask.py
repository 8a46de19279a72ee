"""Whose paintings are larger? The question that needs the two new facts: `python ask.py`."""

import importlib
import sys

from ozelot import config
from ozelot.client import get_client
from ozelot.errors import ExitCode, exit_on_error


def main() -> int:
    """Print the number of paintings, and their mean area, by the gender of the artist."""
    model = importlib.import_module(f"leonardo.{config.DATA_MODEL}")
    if not hasattr(model, "by_gender"):
        print(f"This data model does not know: git apply extension/{config.DATA_MODEL}.diff", file=sys.stderr)
        return ExitCode.INCOMPLETE
    database = get_client()
    database.check_connection()
    with database.create_session() as session:
        for gender, first, paintings, area in session.execute(model.by_gender()):
            size = f"{area / 10_000:.2f} square metres"
            print(f"{gender}: {paintings} paintings of {size}, the first artist born in {first}")
    return ExitCode.OK


if __name__ == "__main__":
    with exit_on_error():
        sys.exit(main())
