"""A scoring server that speaks SageMaker's container contract: `GET /ping` and `POST /invocations` on one port."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from treeline.core.errors import ModelMismatchError, UsageError
from treeline.forest import content
from treeline.forest.forest import RandomCutForest
from treeline.forest.invocation import MAX_BODY_BYTES, refuse, respond
from treeline.forest.storage import MEMBER, load, read_model_tar

_CONTAINER_MODEL_DIR = "/opt/ml/model"
# A client that stops in mid-request gives its thread back; SageMaker itself waits 60 s for an answer.
_IDLE_TIMEOUT_S = 65.0


class ForestServer(ThreadingHTTPServer):
    """Serves one forest until `shutdown`; `server_port` is the port taken (port 0 takes a free one)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, forest: RandomCutForest, *, host: str = "127.0.0.1", port: int = 8080) -> None:
        self.forest = forest
        super().__init__((host, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: ForestServer
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_TIMEOUT_S
    # Head and body of an answer leave in one packet, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        # A body is of no use here; left unread, it would be taken for the next request.
        self.close_connection |= "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        if self.path == "/ping":
            self._answer(HTTPStatus.OK, content.JSON, b"")
        elif self.path == "/invocations":
            self._answer(*refuse(HTTPStatus.METHOD_NOT_ALLOWED, "/invocations takes POST"))
        else:
            self._answer(*refuse(HTTPStatus.NOT_FOUND, "only /ping and /invocations are served"))

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path != "/invocations":
            self._answer(*refuse(HTTPStatus.NOT_FOUND, "only /ping and /invocations are served"))
            return
        content_type, accept = self.headers.get("Content-Type", ""), self.headers.get("Accept", "")
        self._answer(*respond(self.server.forest, content_type, accept, body))

    def _body(self) -> bytes | None:
        """The request's body; None if it was refused, and the connection closed, because it was not read."""
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit()):
            refusal = refuse(HTTPStatus.LENGTH_REQUIRED, "a Content-Length in bytes is required")
        elif int(text) > MAX_BODY_BYTES:
            reason = f"a body may have {MAX_BODY_BYTES} bytes, this one has {text}"
            refusal = refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
        else:
            body = self.rfile.read(int(text))
            if len(body) == int(text):
                return body
            refusal = refuse(HTTPStatus.BAD_REQUEST, f"the body ended after {len(body)} of {text} bytes")
        self.close_connection = True
        self._answer(*refusal)
        return None

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses (another method, a head it cannot parse), in our words: 4xx and JSON."""
        self.close_connection = True
        # A head without a known version would be answered as HTTP/0.9, without a status line.
        self.request_version = self.protocol_version
        status = HTTPStatus(code)
        if status == HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            status = HTTPStatus.BAD_REQUEST
        self._answer(*refuse(status, message or status.phrase))

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            # The client went away; there is nobody to answer.
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        # A line for each refused request; scored ones and pings would drown them.
        if len(args) > 1 and str(args[1]).startswith(("4", "5")):
            print(f"{self.address_string()} {format % args}", file=sys.stderr)


def load_model(path: Path) -> RandomCutForest:
    """The forest in a `.npz`, in a `model.tar.gz`, or in a directory that holds either.

    Raises:
        UsageError: There is no such file, or it cannot be read.
        ModelMismatchError: The file holds no forest this code reads.
    """
    if path.is_dir():
        held = [path / name for name in (MEMBER, "model.tar.gz") if (path / name).is_file()]
        if not held:
            raise UsageError(f"{path} holds neither {MEMBER} nor model.tar.gz")
        path = held[0]
    try:
        if path.name.endswith((".tar.gz", ".tgz")):
            return read_model_tar(path.read_bytes())
        return load(path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until interrupted; returns the exit code, 2 for a model or an address that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m treeline.forest.serve",
        description="Serve a forest over HTTP, as a SageMaker endpoint's container does.",
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path(os.environ.get("SM_MODEL_DIR", _CONTAINER_MODEL_DIR)),
        help="forest.npz, model.tar.gz, or a directory holding one (default: SM_MODEL_DIR, or %(default)s)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default %(default)s)")
    # SageMaker starts a container with the one argument `serve`.
    parser.add_argument("command", nargs="?", choices=["serve"], default="serve", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    try:
        forest = load_model(asked.model)
        # Compiled before the first ping is answered, not during the first request.
        forest.score(np.zeros((1, forest.feature_dim)))
        server = ForestServer(forest, host=asked.host, port=asked.port)
    except (UsageError, ModelMismatchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (OSError, OverflowError, socket.gaierror) as error:
        print(f"error: cannot listen on {asked.host}:{asked.port}: {error}", file=sys.stderr)
        return 2
    with server:
        print(f"scoring {forest.feature_dim} features on http://{asked.host}:{server.server_port}", file=sys.stderr)
        # As a container's first process it would otherwise ignore the signal that stops containers.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
