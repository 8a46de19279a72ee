"""``python -m ozelot``: the command ``ozelot``."""

from ozelot.cli.app import main

if __name__ == "__main__":
    main()
