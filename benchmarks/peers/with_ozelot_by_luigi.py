"""The same tasks of ozelot, driven by Luigi's scheduler and worker."""

from __future__ import annotations

import luigi

from peers.job import Job
from peers.with_ozelot import connected_root
from peers.with_ozelot import graph as graph


def run(job: Job) -> None:
    luigi.build([connected_root(job)], local_scheduler=True, log_level="ERROR")
