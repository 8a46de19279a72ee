"""A server for benchmarks/cache.py: pages that never change, after a while; told "asked", it says when it was asked."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
import threading
import time

from cache import page_of

LATENCY = float(sys.argv[1])
asked: list[float] = []


@functools.cache
def page(number: int) -> bytes:
    return page_of(number).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(time.monotonic())
            if LATENCY:
                await asyncio.sleep(LATENCY)
            number = int(head.split()[1].rpartition(b"/")[2])
            body = page(number % 50 if LATENCY else number)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: max-age=99999999\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def tell() -> None:
    for _ in sys.stdin:
        told = asked.copy()
        del asked[: len(told)]
        print(json.dumps(told), flush=True)


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    threading.Thread(target=tell, daemon=True).start()
    await server.serve_forever()


asyncio.run(main())
