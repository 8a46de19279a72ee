"""A process that loads the library again, in one transaction, in a process of its own each time it is told to.

For each line that it reads: it forks, says the number of the new process, and at the next line what became of it.
"""

from __future__ import annotations

import os
import sys
import warnings


def load_again(url: str) -> int:
    """Clear all and load it again; 0: it went well."""
    from ozelot import client
    from ozelot.engine import run_again
    from ozelot.etl.completion import clear_plan
    from tests.engine.library import LoadAuthors, LoadLibrary

    client.set_client(client.Client(connection_string=url))
    roots = [LoadAuthors()]
    return 0 if run_again(clear_plan(LoadLibrary(), roots), roots, atomic=True).ok else 1


def main() -> None:
    """Do as the lines say."""
    import tests.engine.library  # noqa: F401 - once, not in each process

    warnings.simplefilter("ignore")
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            os._exit(load_again(sys.argv[1]))
        print(pid, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
