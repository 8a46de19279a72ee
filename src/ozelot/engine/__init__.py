"""Running a graph of tasks on threads, processes or other machines; :func:`ozelot.run` is its face.

Luigi is how tasks are written; its scheduler looks at every pending task for each one that it hands out. Here the cost
of a task does not depend on how many there are.
"""

from ozelot.engine.events import Event, Failure, Kind, Progress, Ran, RunResult
from ozelot.engine.invocation import run, run_again

__all__ = ["Event", "Failure", "Kind", "Progress", "Ran", "RunResult", "run", "run_again"]
