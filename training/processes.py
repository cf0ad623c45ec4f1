"""Work that falls apart by server, done in forked processes: each inherits the history instead of being sent it."""

import os
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Progress = Callable[[str, float], None]
Result = TypeVar("Result")
Job = Callable[[Progress], Result]

WORTH_FORKING = 4_000_000  # values of a history; below, a process costs more than it saves


def workers_for(values: int) -> int:
    """How many processes a history of so many values is worth."""
    return min(2, os.cpu_count() or 1) if values >= WORTH_FORKING and can_fork() else 1


def can_fork() -> bool:
    """Only on Linux: elsewhere system libraries do not survive a fork."""
    return sys.platform == "linux"


def shares(count: int, workers: int) -> list[slice]:
    """`count` servers in at most `workers` neighbouring parts of nearly equal size."""
    parts = max(1, min(workers, count))
    edges = [count * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def run_jobs(jobs: Sequence[Job[Result]], progress: Progress) -> list[Result]:
    """Each job's result, in order; one job runs here, several in a process each.

    Args:
        jobs: Get a progress function; what they return is sent back, what they raise is raised here.
        progress: Told the share that all of them have done.
    """
    if len(jobs) == 1 or not can_fork():
        return [job(progress) for job in jobs]
    context = get_context("fork")
    running: dict[Connection, int] = {}
    processes = []
    for number, job in enumerate(jobs):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(job, theirs))
        process.start()
        theirs.close()
        running[ours] = number
        processes.append(process)
    results: dict[int, Any] = {}
    done = dict.fromkeys(range(len(jobs)), 0.0)
    try:
        while running:
            answered: list[Any] = wait(list(running))
            for ready in answered:
                number = running[ready]
                kind, *told = ready.recv()
                if kind == "progress":
                    done[number] = told[1]
                    progress(told[0], sum(done.values()) / len(done))
                    continue
                del running[ready]
                if kind == "error":
                    raise told[0]
                results[number] = told[0]
    finally:
        for process in processes:
            if process.is_alive() and len(results) < len(jobs):
                process.terminate()
            process.join()
    return [results[number] for number in range(len(jobs))]


def _child(job: Job[Any], answer: Connection) -> None:
    try:
        answer.send(("result", job(lambda what, share: answer.send(("progress", what, share)))))
    except Exception as error:  # noqa: BLE001 - raised again by the parent
        answer.send(("error", error))
