#!/usr/bin/env python3
"""Jobs of several processes that find each other over TCP, as torchrun or srun would start them.

usage: check_tcp.py CHECK PROGRAM, where PROGRAM is test_comm_tcp
"""

import os
import re
import socket
import subprocess
import sys


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def torchrun(rank, size, port):
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def srun(rank, size, port):
    return {"SLURM_PROCID": str(rank), "SLURM_NTASKS": str(size), "SLURM_LOCALID": str(rank),
            "SLURM_STEP_NODELIST": "localhost", "MASTER_PORT": str(port)}


def start(program, arguments, variables):
    environment = {k: v for k, v in os.environ.items()
                   if not k.startswith("SLURM_") and k not in torchrun(0, 1, 0)}
    return subprocess.Popen([program] + arguments, env=dict(environment, **variables), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(jobs, seconds=120):
    """Exit code, output and errors of each process; none may hang."""
    results = []
    try:
        for job in jobs:
            out, errors = job.communicate(timeout=seconds)
            results.append((job.returncode, out, errors))
    finally:
        for job in jobs:
            job.kill()
    return results


def run(program, arguments, size, launcher=torchrun):
    port = free_port()
    return finish([start(program, arguments, launcher(rank, size, port)) for rank in range(size)])


def expect(condition, what, results):
    if not condition:
        sys.exit(f"expected {what}, saw\n" + "\n".join(map(str, results)))


def conformance(program):
    for size in (1, 2, 3, 4, 8):
        results = run(program, [], size)
        expect(all(code == 0 for code, _, _ in results), f"{size} ranks to pass", results)
        expect("passed: LargeMatrices" in results[0][1], "rank 0 to say so", results)


def failure(program):
    results = run(program, ["fail"], 3)
    expect(all(code == 7 for code, _, _ in results), "every rank to end with 7", results)
    expect("kumihimo: rank 1: no more" in results[1][2], "rank 1 to say why", results)
    for rank in (0, 2):
        expect("learned: rank 1 failed: no more" in results[rank][2], "the others to learn of it", results)


def death(program):
    results = run(program, ["die"], 3)
    expect([code for code, _, _ in results] == [7, 9, 7], "the others to end", results)
    for rank in (0, 2):
        expect("learned: rank 1 has ended without a word" in results[rank][2], "the others to learn of it", results)
    told = ["kumihimo: rank 0: rank 1 has ended without a word" in errors for _, _, errors in results]
    expect(told == [True, False, False], "rank 0 to say it for rank 1", results)


def missing(program):
    port = free_port()
    results = finish([start(program, ["alone"], torchrun(rank, 4, port)) for rank in (0, 2)])
    for code, _, errors in results:
        expect(code == 4 and re.search(r"ranks 1, 3 of 4 did not come to 127.0.0.1 port \d+ within 1 s", errors),
               "both to say who is missing", results)
    results = finish([start(program, ["alone"], torchrun(1, 4, free_port()))])
    expect(results[0][0] == 4 and "found no rank 0 at 127.0.0.1" in results[0][2], "rank 1 to say so", results)


def port_in_use(program):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        results = finish([start(program, ["alone"], torchrun(0, 2, port))])
        expect(results[0][0] == 4 and f"cannot wait at port {port}" in results[0][2]
               and "MASTER_PORT" in results[0][2], "rank 0 to say so", results)


def wrong_size(program):
    port = free_port()
    results = finish([start(program, [], torchrun(0, 3, port)), start(program, [], torchrun(1, 2, port)),
                      start(program, [], torchrun(2, 3, port))])
    expect(results[0][0] == results[1][0] == 4, "both to end", results)
    for _, _, errors in results[:2]:
        expect("rank 1 was started in a world of 2, rank 0 in one of 3" in errors, "both to say so", results)
    expect(results[2][0] == 4, "the third to end", results)


def garbage(program):
    """Strangers that speak nonsense, or nothing, or go at once, keep nobody from meeting."""
    port = free_port()
    jobs = [start(program, [], torchrun(0, 2, port))]
    strangers = []
    for words in (b"GET / HTTP/1.1\r\n\r\n" * 10, b"", b"KUMIHIMO", os.urandom(4096)):
        while True:
            try:
                strangers.append(socket.create_connection(("127.0.0.1", port)))
                break
            except ConnectionRefusedError:
                pass
        strangers[-1].sendall(words)
    strangers[0].close()
    jobs.append(start(program, [], torchrun(1, 2, port)))
    results = finish(jobs)
    expect(all(code == 0 for code, _, _ in results), "the job to pass", results)


def slurm(program):
    results = run(program, ["fail"], 2, srun)
    expect(all(code == 7 for code, _, _ in results), "the processes to meet", results)


if __name__ == "__main__":
    checks = {check.__name__: check for check in (conformance, failure, death, missing, port_in_use, wrong_size,
                                                  garbage, slurm)}
    checks[sys.argv[1]](sys.argv[2])
