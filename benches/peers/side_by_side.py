"""Ours and a peer by turns, as one table.

    python side_by_side.py [--peer pytorch|candle] [--compile] [--peer-preload LIBRARY] [--threads N] [--rounds N] [NAME …]

builds the benchmarks, then runs every one of them whose name contains a NAME (all without one) and the same shape in the peer,
where that has it, one after the other, --rounds times, both on the same --threads processors and as many threads, and prints a
Markdown table: the median times, the median of the ratios of neighbouring runs (above 1, ours is faster), and which share of
the peak ours reaches.
--compile runs the shapes of PyTorch, but for the feature network, through torch.compile.
The benchmarks allocate with mimalloc; --peer-preload gives the peer a shared library of an allocator too. Freed memory is kept
for ten seconds, unless MIMALLOC_PURGE_DELAY says otherwise.
The peak is that of a loop of multiplications with additions, measured at the beginning and at the end of the same run. A
machine that has other work to do moves both times; the ratio moves less, and the spread of the ratios tells how much.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parent
# benchmark program: script with the same shapes
SCRIPTS = {
    "conv2d": "pytorch.py",
    "lstm": "pytorch.py",
    "convlstm": "convlstm.py",
    "pooling": "pooling.py",
    "attention": "attention.py",
    "features": "efficientnet.py",
}
SECONDS = {"ps": 1e-12, "ns": 1e-9, "µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0}
PREFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def programs(command, kind, folder, environment):
    """The programs of a kind that a cargo command builds, by name."""
    command = ["cargo", *command, "--message-format=json"]
    output = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines()]
    return {
        message["target"]["name"]: message["executable"]
        for message in messages
        if message.get("reason") == "compiler-artifact" and kind in message["target"]["kind"] and message["executable"]
    }


def peer_commands(peer, threads, compiles):
    """The command that runs the shapes of each benchmark program in a peer."""
    if peer == "pytorch":
        # The forms of the feature network have been compiled in ways of their own.
        return {
            bench: [sys.executable, PEERS / script, "--threads", str(threads)]
            + (["--compile"] if compiles and bench != "features" else [])
            for bench, script in SCRIPTS.items()
        }
    # candle has kernels for the instructions of the CPU only where they are compiled in.
    environment = {**os.environ, "RUSTFLAGS": "-C target-cpu=native"}
    program = programs(["build", "--release"], "bin", PEERS / "candle", environment)["candle-peer"]
    return {bench: [program] for bench in ("conv2d", "lstm")}


def run(command, environment):
    result = subprocess.run(command, env=environment, cwd=PEERS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{result.stderr}")
    return result.stdout


def criterion(program, name, environment):
    """What criterion prints about one benchmark."""
    options = ["--warm-up-time", "0.5", "--measurement-time", "2", "--sample-size", "10", "--discard-baseline"]
    return run([program, "--bench", f"^{re.escape(name)}$", *options], environment)


def ours(program, name, environment):
    """Seconds."""
    time = re.search(r"time:\s+\[\S+ \S+ (\S+) (\S+) ", criterion(program, name, environment))
    return float(time[1]) * SECONDS[time[2]]


def peak(program, environment):
    """Floating-point operations per second."""
    rate = re.search(r"thrpt:\s+\[\S+ \S+ (\S+) (\w?)elem/s", criterion(program, "tensor-ops/peak/fma", environment))
    return float(rate[1]) * PREFIXES[rate[2]]


def theirs(command, name, environment):
    """The record of the benchmark of exactly this name, or None if the peer has none."""
    records = [json.loads(line) for line in run([*command, "--rounds", "5", name], environment).splitlines()]
    return next((record for record in records if record["name"] == name), None)


def milliseconds(seconds):
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--peer", choices=["pytorch", "candle"], default="pytorch")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peer-preload", type=Path, metavar="LIBRARY")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.compile and arguments.peer != "pytorch":
        parser.error(f"--compile: expected --peer pytorch, found {arguments.peer}")
    if arguments.peer_preload and not arguments.peer_preload.is_file():
        parser.error(f"--peer-preload: {arguments.peer_preload} is no file")
    built = programs(["bench", "-p", "benches", "--no-run"], "bench", PEERS, None)
    peers = peer_commands(arguments.peer, arguments.threads, arguments.compile)
    if hasattr(os, "sched_setaffinity"):
        processors = sorted(os.sched_getaffinity(0))
        if len(processors) < arguments.threads:
            parser.error(f"--threads: expected at most {len(processors)} processors, found {arguments.threads}")
        # Child processes inherit it.
        os.sched_setaffinity(0, processors[: arguments.threads])
    threads = {name: str(arguments.threads) for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    # As .cargo/config.toml has it for what cargo runs.
    environment = {"MIMALLOC_PURGE_DELAY": "10000", **os.environ, **threads}
    preload = {"LD_PRELOAD": str(arguments.peer_preload.resolve())} if arguments.peer_preload else {}
    peaks = [peak(built["tensor_ops"], environment)]

    peer = {"pytorch": "PyTorch", "candle": "candle"}[arguments.peer]
    print(f"| benchmark | ours, ms | {peer}, ms | ratio | of the peak |")
    print("|---|---|---|---|---|")
    for bench, command in peers.items():
        listed = run([built[bench], "--bench", "--list"], environment)
        for name in re.findall(r"^(\S+): benchmark$", listed, re.MULTILINE):
            if arguments.names and not any(part in name for part in arguments.names):
                continue
            times, others, ratios, operations = [], [], [], None
            for _ in range(arguments.rounds):
                record = theirs(command, name, {**environment, **preload})
                if record is None:
                    break
                times.append(ours(built[bench], name, environment))
                others.append(record["seconds"])
                ratios.append(others[-1] / times[-1])
                operations = record.get("operations_per_second", 0) * record["seconds"]
            if not ratios:
                continue
            time, ratio = statistics.median(times), statistics.median(ratios)
            share = f"{operations / time / peaks[0]:.0%}" if operations else "–"
            spread = f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            row = [f"`{name}`", milliseconds(time), milliseconds(statistics.median(others)), spread, share]
            print(f"| {' | '.join(row)} |", flush=True)
    peaks.append(peak(built["tensor_ops"], environment))
    print(f"\nPeak: {peaks[0] / 1e9:.0f} GFLOP/s at the beginning, {peaks[1] / 1e9:.0f} at the end.")


if __name__ == "__main__":
    main()
