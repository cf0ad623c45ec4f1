"""The scorer's container contract, over a real socket: what SageMaker, and so our endpoint client, relies on."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from treeline.core.errors import ModelMismatchError, UsageError
from treeline.forest import recordio
from treeline.forest.forest import RandomCutForest
from treeline.forest.serve import ForestServer, load_model, main
from treeline.forest.storage import save, write_model_tar

ROWS = np.random.default_rng(6).normal(size=(2000, 4))
FOREST = RandomCutForest.fit(ROWS, num_trees=50, num_samples_per_tree=32, seed=1, kernel="numpy")
CSV = {"Content-Type": "text/csv"}


def csv(rows: np.ndarray) -> bytes:
    return "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ForestServer(FOREST, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    yield opened
    opened.close()


def ask(connection, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None):
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, response.headers.get("Content-Type"), response.read()


def test_ping_says_the_model_is_loaded(connection):
    status, _, body = ask(connection, "GET", "/ping")
    assert (status, body) == (200, b"")


def test_fifty_rows_are_scored_as_the_forest_scores_them(connection):
    status, kind, body = ask(connection, "POST", "/invocations", csv(ROWS[:50]), CSV)
    assert (status, kind) == (200, "application/json")
    assert [item["score"] for item in json.loads(body)["scores"]] == FOREST.score(ROWS[:50]).tolist()


def test_json_lines_and_recordio_work_over_the_wire(connection):
    headers = {"Content-Type": "application/x-recordio-protobuf", "Accept": "application/jsonlines"}
    status, kind, body = ask(connection, "POST", "/invocations", recordio.encode(ROWS[:3]), headers)
    assert (status, kind) == (200, "application/jsonlines")
    assert len(body.splitlines()) == 3


def test_one_connection_serves_many_requests_also_after_a_bad_one(connection):
    """Keep-alive: a bad body is read to its end, so what follows it is not mistaken for the rest of it."""
    connection.connect()
    held = connection.sock
    statuses = [
        ask(connection, "POST", "/invocations", body, CSV)[0]
        for body in (b"0,0,0,0\n", b"0,0,0\n", b"nonsense", b"0,0,0,nan\n", b"0,0,0,0\n")
    ]
    assert statuses == [200, 400, 400, 400, 200]
    assert connection.sock is held


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/invocations", b"1,2,3\n", CSV, 400),
        ("POST", "/invocations", b"1,2,3,4\n", {"Content-Type": "text/plain"}, 415),
        ("POST", "/invocations", b"1,2,3,4\n", CSV | {"Accept": "image/png"}, 406),
        ("POST", "/elsewhere", b"", CSV, 404),
        ("GET", "/elsewhere", None, {}, 404),
        ("GET", "/invocations", None, {}, 405),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(connection, method, path, body, headers, status):
    answered, kind, answer = ask(connection, method, path, body, headers)
    assert (answered, kind) == (status, "application/json")
    assert list(json.loads(answer)) == ["error"]
    assert answer.count(b"\n") == 1


def raw(port: int, request: bytes) -> bytes:
    """Everything the server answers to bytes no HTTP library would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 6291457\r\n", 413),
        (b"Content-Length: 99999999999999999999\r\n", 413),
        (b"Content-Length: -1\r\n", 411),
        (b"Content-Length: ten\r\n", 411),
        (b"Transfer-Encoding: chunked\r\n", 411),
        (b"", 411),
        (b"Content-Length: 100\r\n", 400),  # the body ends early
    ],
)
def test_a_body_of_untold_or_excessive_length_is_refused_and_the_connection_closed(port, head, status):
    answer = raw(port, b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n" + head + b"\r\n1,2")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"PUT /invocations HTTP/1.1", 405),
        (b"BREW /invocations HTTP/1.1", 405),
        (b"GET /ping HTTP/9.9", 400),
        (b"GET /ping HTTP/x", 400),
        (b"nonsense", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1", 414),
        (b"GET /ping HTTP/1.1\r\nLong: " + b"a" * 70_000, 431),
    ],
)
def test_a_request_that_is_none_of_ours_is_never_the_servers_fault(port, request_line, status):
    answer = raw(port, request_line + b"\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert list(json.loads(answer.split(b"\r\n\r\n", 1)[1])) == ["error"]


def test_a_body_where_none_belongs_is_not_taken_for_the_next_request(port):
    answer = raw(port, b"GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nnonsense")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_body_of_the_largest_size_is_read(connection):
    body = b"0,0,0,0\n".ljust(6 * 1024 * 1024, b"\n")
    assert ask(connection, "POST", "/invocations", body, CSV)[0] == 200


def test_requests_on_many_connections_are_answered_side_by_side(port):
    """An idle connection may not hold up the others."""
    idle = socket.create_connection(("127.0.0.1", port))
    answers: list[int] = []

    def client() -> None:
        opened = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        answers.extend(ask(opened, "POST", "/invocations", csv(ROWS[:50]), CSV)[0] for _ in range(5))
        opened.close()

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    idle.close()
    assert answers == [200] * 20


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    save(FOREST, tmp_path / "forest.npz")
    return tmp_path


def test_a_model_is_found_as_a_file_an_archive_or_in_a_directory(model_dir, tmp_path):
    archive = tmp_path / "archives" / "model.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(write_model_tar(FOREST))
    for path in (model_dir, model_dir / "forest.npz", archive, archive.parent):
        np.testing.assert_allclose(load_model(path).score(ROWS[:5]), FOREST.score(ROWS[:5]), rtol=1e-6)


def test_a_model_that_is_not_there_or_is_none_is_said_so(tmp_path):
    with pytest.raises(UsageError, match=r"holds neither forest.npz nor model.tar.gz"):
        load_model(tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        load_model(tmp_path / "absent.npz")
    (tmp_path / "forest.npz").write_bytes(b"text")
    with pytest.raises(ModelMismatchError, match="not a saved forest"):
        load_model(tmp_path)


def test_the_command_ends_with_2_and_one_line_where_it_cannot_start(model_dir, tmp_path, port, capsys):
    for arguments in (["--model", str(tmp_path / "absent")], ["--model", str(model_dir), "--port", str(port)]):
        assert main(arguments) == 2
        assert re.fullmatch(r"error: .*\n", capsys.readouterr().err)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_end(model_dir, end):
    """As SageMaker starts a container: the argument `serve`, the model's directory in SM_MODEL_DIR."""
    process = subprocess.Popen(
        [sys.executable, "-m", "treeline.forest.serve", "serve", "--port", "0"],
        env={"SM_MODEL_DIR": str(model_dir), "PATH": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    found = re.search(r":(\d+)$", process.stderr.readline().strip())
    try:
        assert found is not None
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
        assert ask(connection, "GET", "/ping")[0] == 200
        connection.close()
    finally:
        process.send_signal(end)
        _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert rest == "stopped\n"
