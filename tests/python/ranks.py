"""Ranks on one machine: a process each, connected by Gloo.

Starting them (a torch import each) takes far longer than most of what they do, so they stay for the next
test that asks for as many, until one of them is lost.
"""

import atexit
import multiprocessing
import shutil
import tempfile
import traceback
from pathlib import Path

from puma_fast.distributed import LostRankError

DEADLINE = 300
"""Seconds after which a rank that does not answer is a failure, not a hang."""

_jobs = {}


class Gone:
    """The answer of a rank that ended without one."""


def in_ranks(count, function, *arguments):
    """Give `[function(*arguments) in each of count ranks]`; an exception comes back as its object.

    A rank that ends without an answer gives `Gone`. `function` must be importable: a test module's own.
    """
    job = _jobs.pop(count, None) or _Job(count)
    try:
        answers = job.run(function, arguments)
    except BaseException:
        job.end()
        raise
    if any(isinstance(answer, Gone | LostRankError) for answer in answers):
        job.end()
    else:
        _jobs[count] = job
    return answers


class _Job:
    def __init__(self, count):
        context = multiprocessing.get_context("spawn")
        self._folder = Path(tempfile.mkdtemp())
        meeting = f"file://{self._folder / 'meeting'}"
        self._pipes, self._processes = [], []
        for index in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_rank, args=(there, meeting, index, count), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)
        atexit.register(self.end)

    def run(self, function, arguments):
        for pipe in self._pipes:
            pipe.send((function, arguments))
        return [_answer(pipe) for pipe in self._pipes]

    def end(self):
        for process in self._processes:
            process.kill()
            process.join()
        shutil.rmtree(self._folder)
        atexit.unregister(self.end)


def _answer(pipe):
    assert pipe.poll(DEADLINE), f"a rank gave no answer within {DEADLINE} s"
    try:
        return pipe.recv()
    except EOFError:
        return Gone()


def _rank(pipe, meeting, index, count):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=index, world_size=count)
    while True:
        function, arguments = pipe.recv()
        try:
            answer = function(*arguments)
        except Exception as error:
            error.add_note(traceback.format_exc())
            answer = error
        pipe.send(answer)
