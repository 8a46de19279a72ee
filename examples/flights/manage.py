"""The commands of this project: `python manage.py --help`."""

import sys

from flights.commands import main
from ozelot.errors import exit_on_error

if __name__ == "__main__":
    with exit_on_error():
        sys.exit(main())
