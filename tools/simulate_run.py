"""Runs jobs in processes of their own: ``python -m scout40.tools.simulate_run`` is a worker.

A worker reads one job a line and answers one line when the shard is there. It is in a session of
its own, so that Ctrl-C does not reach it: a shard that was begun is finished. It ends when its
input does.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from scout40.streams.errors import Scout40Error
from scout40.tools.simulate_jobs import Job, make_shard


def run_jobs(jobs: Sequence[Job], cores: int, stop: Callable[[], bool]) -> Iterator[Job]:
    """Make all shards, as they get ready; after ``stop`` those that were begun are finished.

    Raises Scout40Error with the text of the first one that fails.
    """
    if cores == 1 or len(jobs) < 2:
        for job in jobs:
            if stop():
                return
            make_shard(job)
            yield job
        return
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    ready: queue.SimpleQueue[Job | Exception | None] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    ended = threading.Event()
    count = min(cores, len(jobs))
    threads = [threading.Thread(target=_serve, args=(waiting, ready, ended)) for _ in range(count)]
    for thread in threads:
        thread.start()
    failed: Exception | None = None
    try:
        while count:
            if stop():
                ended.set()
            try:
                done = ready.get(timeout=0.1)
            except queue.Empty:
                continue
            if done is None:
                count -= 1
            elif isinstance(done, Exception):
                failed = failed or done
                ended.set()
            else:
                yield done
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if failed is not None:
        raise failed


def _serve(
    waiting: queue.SimpleQueue[Job],
    ready: queue.SimpleQueue[Job | Exception | None],
    ended: threading.Event,
) -> None:
    """Hand jobs to one worker until there are none."""
    command = [sys.executable, "-m", __name__]
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        ) as worker:  # fmt: skip
            assert worker.stdin is not None
            assert worker.stdout is not None
            while not ended.is_set():
                try:
                    job = waiting.get_nowait()
                except queue.Empty:
                    break
                worker.stdin.write(json.dumps(asdict(job)) + "\n")
                worker.stdin.flush()
                ready.put(_answer(worker.stdout.readline(), job))
            worker.stdin.close()
    except OSError as error:
        ready.put(Scout40Error(f"a worker of the simulation was lost: {error}"))
    finally:
        ready.put(None)


def _answer(line: str, job: Job) -> Job | Exception:
    """The job, or why it failed."""
    if not line:
        return Scout40Error(f"{job.path.name}: the worker ended before the shard was made")
    answer = json.loads(line)
    if "error" in answer:
        return Scout40Error(answer["error"])
    if "fault" in answer:
        return RuntimeError(f"{job.path.name}: {answer['fault']}")
    return job


def _work() -> None:
    """The worker: standard output is for answers alone, whatever libraries print."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        answer = {}
        try:
            make_shard(Job(**json.loads(line)))
        except Scout40Error as error:
            answer["error"] = str(error)
        except Exception:
            answer["fault"] = traceback.format_exc()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _work()
