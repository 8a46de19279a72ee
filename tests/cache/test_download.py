"""An input file that fetches itself: resumed, checked, in place only when whole, and cleared only where it is ours."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ozelot.cache.rate_limit import Timer
from ozelot.errors import ConfigError, FetchError, NotInCache
from ozelot.etl.download import DownloadTask
from tests.cache.server import FILE, Server
from tests.etl.heroes import build

SHA = hashlib.sha256(FILE).hexdigest()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Timer, "sleep", lambda _timer, _seconds: None)  # between two tries
    return tmp_path / "input" / "file.bin"


def task(path: Path, address: str | None, expected: str | None = None) -> DownloadTask:
    class Fetch(DownloadTask):
        url = address
        input_file = path
        checksum = expected

    return Fetch()


def test_download_that_breaks_off_goes_on_where_it_was(file: Path, server: Server) -> None:
    assert build(task(file, server("/file"), f"sha256:{SHA}"))
    assert file.read_bytes() == FILE
    ranges = [headers.get("range") for headers in server.headers]
    first = len(FILE) // 3
    assert ranges == [None, f"bytes={first}-", f"bytes={first + (len(FILE) - first) // 3}-"]
    assert sorted(found.name for found in file.parent.iterdir()) == ["file.bin", "file.bin.fetched.json"]


def test_file_that_changed_meanwhile_begins_anew(file: Path, server: Server) -> None:
    file.parent.mkdir()
    file.with_name("file.bin.part").write_bytes(b"of another version")
    file.with_name("file.bin.part.json").write_text(
        json.dumps({"url": server("/file/whole"), "validator": '"0"', "total": len(FILE), "encodings": ""})
    )
    assert build(task(file, server("/file/whole")))
    assert server.headers[0]["range"] == "bytes=18-"
    assert file.read_bytes() == FILE


def test_wrong_checksum_leaves_nothing(file: Path, server: Server) -> None:
    with pytest.raises(FetchError, match=f"its sha256 is {SHA}, not 00"):
        task(file, server("/file/whole"), "sha256:00").run()
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("checksum", ["crc:1", "shake_128:00", "9f86"])
def test_checksum_that_is_none_says_so_before_anybody_is_asked(file: Path, server: Server, checksum: str) -> None:
    with pytest.raises(ConfigError, match="Not a checksum"):
        task(file, server("/file"), checksum).run()
    assert server.paths == []


def test_failure_is_one_line_and_no_file(file: Path, server: Server) -> None:
    with pytest.raises(FetchError, match=r"No file from .*/gone: HTTP status 404"):
        task(file, server("/gone")).run()
    with pytest.raises(FetchError, match=r"No file from .*/cut: .*IncompleteRead") as caught:
        task(file, server("/cut")).run()
    assert "\n" not in str(caught.value)
    assert not file.exists()


def test_clear_deletes_what_was_fetched_and_nothing_else(file: Path, server: Server) -> None:
    fetched = task(file, server("/file/whole"))
    assert build(fetched)
    other = file.with_name("other.csv")
    other.write_text("mine")
    fetched.clear()
    assert list(file.parent.iterdir()) == [other]
    assert build(fetched)
    file.write_bytes(b"changed by hand")
    fetched.clear()
    assert file.read_bytes() == b"changed by hand"


def test_file_that_somebody_provided_is_neither_fetched_nor_cleared(file: Path, server: Server) -> None:
    file.parent.mkdir()
    file.write_text("mine")
    there = task(file, server("/file"))
    there.run()
    there.clear()
    assert file.read_text() == "mine"
    assert server.paths == []


def test_offline_nobody_is_asked(file: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OZELOT_OFFLINE", "yes")
    with pytest.raises(NotInCache, match="is not there, and OFFLINE is set"):
        task(file, server("/file")).run()
    assert server.paths == []


def test_task_without_an_address_says_what_to_set(file: Path) -> None:
    with pytest.raises(ConfigError, match="set 'url' in the class"):
        task(file, None).run()
