"""The fast way into each database.

::

    from ozelot.orm import bulk

    with client.transaction() as session:
        print(bulk.load(session, Flight, frame, refs={"carrier": Airline.code}, missing="skip"))

Inside a task, ``self.load(Flight, frame, ...)`` does the same with the task's own session.
"""

from __future__ import annotations

from ozelot.load.key_lookup import Refs
from ozelot.load.loader import LoadReport, load

__all__ = ["LoadReport", "Refs", "load"]
