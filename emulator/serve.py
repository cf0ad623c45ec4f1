"""The launcher process: `python -m emulator.serve --port 4566 --directory DIR`.

Prints one JSON line on stdout: {"port": ...} once it listens, or {"error": ...} and exits with 3.
It ends when its stdin closes, when its parent is gone, or on SIGTERM; its Lambda workers end with it.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from emulator.loopback.environment import process_environment, server_environment

HOST = "127.0.0.1"
_PARENT_CHECK_S = 0.5


def listen(port: int) -> socket.socket:
    """A loopback socket on `port`, or on a free one for 0; raises OSError when it is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


def _end_with_parent(end: threading.Event, parent: int) -> None:
    def closed() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock would be held at interpreter shutdown
            pass
        end.set()

    def orphaned() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_CHECK_S)
        end.set()

    threading.Thread(target=closed, daemon=True, name="parent-pipe").start()
    threading.Thread(target=orphaned, daemon=True, name="parent-pid").start()


async def _serve(listener: socket.socket, end: threading.Event, answer: TextIO) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    from emulator.patched_ministack import Emulator

    emulator = Emulator(f"http://{HOST}:{listener.getsockname()[1]}")
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.2
    config.loglevel = "WARNING"
    app: Any = emulator.app  # hypercorn's type of an app names every event there is; this one passes most of them on

    async def ended() -> None:
        while not end.is_set():
            await asyncio.sleep(0.05)

    async def announced() -> None:
        await emulator.started()
        print(json.dumps({"port": listener.getsockname()[1], "pid": os.getpid()}), file=answer, flush=True)

    announcement = asyncio.create_task(announced())
    try:
        await serve(app, config, shutdown_trigger=ended)
    finally:
        announcement.cancel()
        emulator.stop()


def main() -> int:
    """Serve until told to end; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--directory", type=Path, required=True)
    args = parser.parse_args()
    parent = os.getppid()
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    signal.signal(signal.SIGINT, lambda *_: end.set())
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        listener = listen(args.port)
    except OSError as error:
        print(
            json.dumps({"error": f"port {args.port} on {HOST} is not free: {error.strerror}"}), file=answer, flush=True
        )
        return 3
    port = listener.getsockname()[1]
    temporary = (args.directory / f"tmp-{os.getpid()}").resolve()
    temporary.mkdir(parents=True, exist_ok=True)
    environment = process_environment(f"http://{HOST}:{port}") | server_environment(port, str(temporary))
    os.environ.clear()
    os.environ.update(environment)
    _end_with_parent(end, parent)
    try:
        asyncio.run(_serve(listener, end, answer))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sys.stderr.flush()
    os._exit(0)  # threads of the emulator that wait on something must not keep the port


if __name__ == "__main__":
    sys.exit(main())
