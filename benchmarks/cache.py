"""What a page costs: from the cache, beside other caches in one run; and from a server that is slow, or has limits.

    python benchmarks/cache.py hits [--entries 5000] [--repeat 3] [--caches ozelot hishel]
    python benchmarks/cache.py misses [--pages 500]
    python benchmarks/cache.py limit [--pages 500] [--processes 4]
    python benchmarks/cache.py superheroes [--characters 10000] [--profile]

`hits` gives hits a second, by CPU time and by the clock, medians of the repeats. Each cache is filled from a server on
this machine, in a process of its own, and asked for every page once, in another order, in a second one. `misses` has
the server answer after 50 ms. `limit` measures at the server. `superheroes` loads a made-up wiki from a filled cache,
on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import gc
import json
import os
import pstats
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SIZE = 20_000  # bytes of a page


def page_of(number: int) -> str:
    """A page as a wiki would send it, of which zstd leaves about a third."""
    dice = random.Random(number)
    words = ["".join(dice.choices("abcdefghijklmnop", k=dice.randint(2, 9))) for _ in range(300)]
    lines = [f"<html><body><h1>{number}</h1>"]
    while sum(map(len, lines)) < SIZE:
        lines.append(f"<p class='x{dice.randint(1, 99)}'>{' '.join(dice.choices(words, k=12))}</p>\n")
    return "".join(lines)[:SIZE]


def server(*arguments: str) -> subprocess.Popen[str]:
    """A server on this machine; the first line that it prints is its address."""
    command = [sys.executable, str(HERE / "cache_server.py"), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def serving(*, latency: float = 0.0) -> Iterator[tuple[str, Callable[[], list[float]]]]:
    """A server, and what gives the moments at which it was asked since it was last told."""
    process = server(str(latency))
    assert process.stdin is not None and process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def asked() -> list[float]:
        print("asked", file=stdin, flush=True)
        return list(json.loads(stdout.readline()))

    try:
        yield stdout.readline().strip(), asked
    finally:
        process.kill()
        process.communicate()


# The caches: each gives the text of a page, through a cache in that folder.


def ozelot(folder: Path) -> Callable[[str], str]:
    from ozelot.cache import RequestCache

    cache = RequestCache(folder / "cache.db")
    return lambda url: cache.get(url, log_hits=False, log_misses=False)


def orm_query(folder: Path) -> Callable[[str], str]:
    """As ozelot 0.2.4 did: one ORM query a hit, on a table of texts with indexes on URL and xpath."""
    import requests
    import sqlalchemy as sa
    from sqlalchemy import orm

    class Base(orm.DeclarativeBase):
        pass

    class CachedRequest(Base):
        __tablename__ = "cachedrequest"
        id = sa.Column(sa.Integer, primary_key=True)
        url = sa.Column(sa.String(2048), index=True)
        xpath = sa.Column(sa.String(512), index=True)
        content = sa.Column(sa.String)
        status_code = sa.Column(sa.Integer)
        queried_on = sa.Column(sa.DateTime)

    engine = sa.create_engine(f"sqlite:///{folder / 'cache.db'}")
    Base.metadata.create_all(engine)
    session = orm.Session(engine)

    def get(url: str) -> str:
        query = session.query(CachedRequest).filter(CachedRequest.url == url).filter(CachedRequest.xpath.is_(None))
        found: Any = query.one_or_none()
        if found is None:
            found = CachedRequest(url=url, content=requests.get(url, timeout=10).text, status_code=200)
            session.add(found)
            session.commit()
        return str(found.content)

    return get


def requests_cache(folder: Path) -> Callable[[str], str]:
    from requests_cache import CachedSession

    session = CachedSession(str(folder / "cache"), backend="sqlite")
    return lambda url: str(session.get(url).text)


def hishel(folder: Path) -> Callable[[str], str]:
    import requests
    from hishel import SqliteStorage
    from hishel.requests import CacheAdapter

    session = requests.Session()
    session.mount("http://", CacheAdapter(storage=SqliteStorage(database_path=folder / "cache.db")))
    return lambda url: str(session.get(url).text)


def plain_sqlite(folder: Path) -> Callable[[str], str]:
    """The floor: one look-up by key, of texts as they are, with nothing else around it."""
    import sqlite3

    import requests

    connection = sqlite3.connect(folder / "cache.db", isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS page (url TEXT PRIMARY KEY, content TEXT)")

    def get(url: str) -> str:
        row = connection.execute("SELECT content FROM page WHERE url = ?", (url,)).fetchone()
        if row is None:
            row = (requests.get(url, timeout=10).text,)
            connection.execute("INSERT INTO page VALUES (?, ?)", (url, *row))
        return str(row[0])

    return get


CACHES: dict[str, Callable[[Path], Callable[[str], str]]] = {
    "ozelot": ozelot,
    "orm_query": orm_query,
    "requests_cache": requests_cache,
    "hishel": hishel,
    "plain_sqlite": plain_sqlite,
}


def one_of(name: str, folder: Path, base: str, entries: int, seed: int) -> None:
    """In a process of its own: fetch all pages, or all again; prints seconds of CPU time and of the clock."""
    get = CACHES[name](folder)
    urls = [f"{base}/page/{number}" for number in range(entries)]
    random.Random(seed).shuffle(urls)
    get(urls[0])
    begin = time.perf_counter(), time.process_time()
    size = sum(len(get(url)) for url in urls)
    seconds = time.perf_counter() - begin[0], time.process_time() - begin[1]
    assert size == entries * SIZE, size
    print(json.dumps(seconds))


def hits(entries: int, repeat: int, names: list[str]) -> None:
    found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    with serving() as (base, asked), tempfile.TemporaryDirectory(prefix="ozelot_") as top:

        def run(name: str, seed: int) -> tuple[float, float]:
            folder = Path(top) / name
            folder.mkdir(exist_ok=True)
            command = [sys.executable, __file__, "one", name, str(folder), base, str(entries), str(seed)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            clock, cpu = json.loads(done.stdout.splitlines()[-1])
            return clock, cpu

        for name in names:
            run(name, 0)
            assert len(asked()) == entries
        for number in range(repeat):
            for name in names:
                found[name].append(run(name, number + 1))
                assert not asked(), f"{name} asked the server again"
    print(
        f"{'cache':16} {'hits/s of CPU':>14} {'hits/s':>10}   medians of {repeat}, {entries:,} pages of {SIZE:,} bytes"
    )
    for name in names:
        clock, cpu = (statistics.median(times) for times in zip(*found[name], strict=True))
        print(f"{name:16} {entries / cpu:14,.0f} {entries / clock:10,.0f}")


def misses(pages: int) -> None:
    from ozelot.cache import RequestCache

    with serving(latency=0.05) as (base, asked), tempfile.TemporaryDirectory(prefix="ozelot_") as folder:
        urls = [f"{base}/page/{number}" for number in range(pages)]
        with RequestCache(Path(folder) / "one.db") as cache:
            begin = time.perf_counter()
            for url in urls:
                cache.get(url, log_misses=False)
            alone = time.perf_counter() - begin
        asked()
        with RequestCache(Path(folder) / "many.db") as cache:
            begin, cpu = time.perf_counter(), time.process_time()
            assert sum(page.error is None for page in cache.get_many(urls, concurrency=16)) == pages
            together, cpu = time.perf_counter() - begin, time.process_time() - cpu
        assert len(asked()) == pages
    print(f"{pages} pages, 50 ms each: one by one {alone:.2f} s, 16 at a time {together:.2f} s")
    print(f"{alone / together:.1f} times as fast; {cpu / pages * 1000:.2f} ms of CPU time a page")


MANY = """
import sys
from ozelot.cache import RequestCache
with RequestCache(sys.argv[1]) as cache:
    urls = [f"{sys.argv[2]}/page/{sys.argv[3]}{number}" for number in range(int(sys.argv[4]))]
    sys.stdin.readline()
    assert all(page.error is None for page in cache.get_many(urls, rate_limit=0.05))
"""


def limit(processes: int, pages: int) -> None:
    for number in sorted({1, processes}):
        with serving(latency=0.05) as (base, asked), tempfile.TemporaryDirectory(prefix="ozelot_") as folder:
            started = [
                subprocess.Popen(
                    [sys.executable, "-c", MANY, f"{folder}/{one}.db", base, f"{one}0000", str(pages // number)],
                    stdin=subprocess.PIPE,
                )
                for one in range(1, number + 1)
            ]
            for process in started:
                process.communicate(b"go")
            assert not any(process.returncode for process in started)
            times = sorted(asked())
        most = max(sum(begin <= when < begin + 1 for when in times) for begin in times)
        rate = (len(times) - 1) / (times[-1] - times[0])
        print(f"{number} processes, {len(times)} pages, limit 20 a second: {rate:.1f} a second, {most} at most in any")


def superheroes(characters: int, *, profile: bool) -> None:
    """The time of all tasks of the pipeline, from a cache that holds a wiki of so many characters."""
    sys.path.insert(0, str(HERE.parent / "examples" / "superheroes"))
    with tempfile.TemporaryDirectory(prefix="ozelot_") as folder:
        os.environ |= {
            "OZELOT_DATABASE_URL": f"sqlite:///{folder}/heroes.db",
            "OZELOT_REQUEST_CACHE_PATH": f"{folder}/pages.db",
            "OZELOT_LOG_LEVEL": "ERROR",
            "OZELOT_OFFLINE": "1",
        }
        import wiki_pages

        import ozelot as package
        from ozelot import cache, client, config
        from ozelot.orm.base import Base
        from ozelot.pipeline.graph import walk
        from superheroes import pipeline, snapshot

        store = cache.get_request_cache()
        size = number = 0
        for url, text in wiki_pages.pages(characters):
            store.put(url, text)
            size, number = size + len(text), number + 1
        for url in snapshot.gone(str(config.WIKI_URL)):
            store.put(url, "", status_code=404)
        cache.reset_request_cache()
        Base.create_all(client.get_client())
        gc.set_threshold(50_000, 10, 10)  # as the command `ozelot` does
        profiler = cProfile.Profile()
        begin = time.perf_counter(), time.process_time()
        if profile:  # which sees no other threads
            profiler.runcall(lambda: [task.run() for task in walk(pipeline.LoadEverything()).tasks.values()])
        else:
            assert package.run(pipeline.LoadEverything()).complete
        clock, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
        with client.get_client().create_session() as session:
            rows = session.connection().exec_driver_sql("SELECT count(*) FROM character").scalar()
        assert rows == characters, rows
    rate = characters / cpu
    print(f"{characters:,} characters, pages of {size / number:,.0f} bytes: {rate:,.0f} a second of CPU time")
    print(f"{cpu:.2f} s of CPU time, {clock:.2f} s by the clock")
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        one_of(sys.argv[2], Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["hits", "misses", "limit", "superheroes"])
    parser.add_argument("--entries", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--caches", nargs="+", choices=CACHES, default=list(CACHES))
    parser.add_argument("--pages", type=int, default=500)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--characters", type=int, default=10_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    names = ["ozelot", "requests", "requests-cache", "hishel", "sqlalchemy"]
    there = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in metadata.distributions()}
    print(f"Python {sys.version.split()[0]}, " + ", ".join(f"{name} {there.get(name, 'missing')}" for name in names))
    if options.what == "hits":
        hits(options.entries, options.repeat, options.caches)
    elif options.what == "misses":
        misses(options.pages)
    elif options.what == "limit":
        limit(options.processes, options.pages)
    else:
        superheroes(options.characters, profile=options.profile)


if __name__ == "__main__":
    main()
