"""Ranks on one machine: a process each, connected by Gloo."""

import contextlib
import multiprocessing
import tempfile
import traceback
from datetime import timedelta
from pathlib import Path

DEADLINE = 300
"""Seconds after which a rank that does not answer is a failure, not a hang."""


def in_ranks(count, function, *arguments):
    """Give `[function(*arguments) in each of count ranks]`; an exception comes back as its object.

    `function` must be importable: a test module's own.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        pipes, processes = [], []
        for index in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_rank, args=(there, meeting, index, count, function, arguments))
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
        try:
            return [_answer(pipe) for pipe in pipes]
        finally:
            for process in processes:
                process.join(10)
                process.kill()


def _answer(pipe):
    assert pipe.poll(DEADLINE), f"a rank gave no answer within {DEADLINE} s"
    try:
        return pipe.recv()
    except EOFError:
        return None


def _rank(pipe, meeting, index, count, function, arguments):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=index, world_size=count)
    try:
        answer = function(*arguments)
    except Exception as error:
        error.add_note(traceback.format_exc())
        answer = error
    pipe.send(answer)
    pipe.close()
    # Whoever leaves first closes connections on which another may not have finished writing.
    with contextlib.suppress(RuntimeError):
        dist.monitored_barrier(timeout=timedelta(seconds=5))
