"""ozelot: maintainable ETL pipelines.

What is most asked for is here, and imported at first use, so that ``import ozelot`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ozelot.engine import run as run
    from ozelot.etl.verify import verify as verify

__version__ = "1.0.0.dev0"

_FACES = {"run": "ozelot.engine", "verify": "ozelot.etl.verify"}


def __getattr__(name: str) -> Any:
    if name in _FACES:
        return getattr(importlib.import_module(_FACES[name]), name)
    raise AttributeError(f"module 'ozelot' has no attribute '{name}'")
