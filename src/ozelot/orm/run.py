"""The public name of :mod:`ozelot.state.runs`."""

from ozelot.state.runs import Run, TaskOwned, current_run_id

__all__ = ["Run", "TaskOwned", "current_run_id"]
