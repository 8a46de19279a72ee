"""An input file that fetches itself.

::

    class Prices(DownloadTask):
        url = "https://statistics.example/prices.csv"
        input_file = "input/prices.csv"
        checksum = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from ozelot.cache.download import discard, download
from ozelot.errors import ConfigError
from ozelot.etl.tasks import InputFileTask

log = logging.getLogger(__name__)


class DownloadTask(InputFileTask):
    """A file that is fetched where it is not there.

    A download that breaks off is resumed if the server proves that it still has the same version: by a strong ETag or
    Last-Modified, and the same size. Otherwise it restarts. The file is in its place only when it is whole.
    ``Content-Encoding`` is decoded, except for files that are compressed by their name or type (``.gz``).

    Attributes:
        url: the address, set by the class (or by a property).
        checksum: ``sha256:`` and the digest of the file, where only that one will do.
        headers: to be sent.
        rate_limit: seconds between two requests to that server.
        refuse_local: whether to refuse servers on this machine or its link, whatever name or redirect leads there.
    """

    url: str | None = None
    checksum: str | None = None
    headers: Mapping[str, str] | None = None
    rate_limit: float | None = None
    refuse_local: bool = False

    def run(self) -> None:
        """Fetch the file.

        Raises:
            FetchError: it cannot be had, or is another one.
        """
        if self.url is None:
            raise ConfigError(f"{type(self).__name__} has no address: set 'url' in the class")
        download(
            self.url,
            self._path,
            checksum=self.checksum,
            headers=self.headers,
            rate_limit=self.rate_limit,
            refuse_local=self.refuse_local,
        )

    def clear(self) -> None:
        """Delete the file, where it is the one that was fetched; one that somebody put there stays."""
        if not discard(self._path) and self._path.exists():
            log.warning("%s was not fetched by %s, or changed since: it stays", self._path, self.get_name())

    @property
    def _path(self) -> Path:
        self.output()  # says so, where there is no file
        return Path(str(self.input_file))
