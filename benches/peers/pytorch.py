"""The shapes of the benchmarks in PyTorch, under the same names.

    python pytorch.py [--threads N] [--rounds N] [--compile] [NAME …]

prints one JSON object per benchmark: name, median seconds, floating-point operations per second. NAME selects the
benchmarks whose name contains it, --compile runs them through torch.compile. Needs `pip install torch`, and with
--compile a C++ compiler.
"""

import argparse
import json
import statistics
import time

import torch

# name: (batch, in channels, out channels, kernel, stride, groups, map size)
CONV2D = {
    "3x3-56": (8, 64, 192, 3, 1, 1, 56),
    "7x7-224": (8, 3, 64, 7, 2, 1, 224),
    "1x1-28": (8, 192, 64, 1, 1, 1, 28),
    "3x3-28": (8, 256, 256, 3, 1, 1, 28),
    "depthwise-112": (8, 32, 32, 3, 1, 32, 112),
    "thermal-16": (512, 16, 32, 3, 1, 1, 16),
}

# name: (batch, time, features, hidden, layers)
LSTM = {
    "snippets-b8": (8, 30, 1024, 512, 5),
    "snippets-b1": (1, 30, 1024, 512, 5),
    "wide": (32, 120, 1024, 512, 2),
    "small": (16, 24, 128, 96, 1),
}


def conv2d(batch, inputs, outputs, kernel, stride, groups, size):
    layer = torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
    x = torch.randn(batch, inputs, size, size, requires_grad=True)
    out = layer(x)
    return layer, x, 2 * out.numel() * kernel * kernel * inputs // groups


def lstm(batch, steps, features, hidden, layers):
    layer = torch.nn.LSTM(features, hidden, layers, batch_first=True)
    x = torch.randn(batch, steps, features, requires_grad=True)
    weights = sum(p.numel() for name, p in layer.named_parameters() if "weight" in name)
    return layer, x, 2 * batch * steps * weights


def compiled(call, enabled):
    """`call` through torch.compile, if that is asked for."""
    return torch.compile(call) if enabled else call


def benchmarks(compiles):
    for crate, shapes, make in (("conv2d", CONV2D, conv2d), ("lstm", LSTM, lstm)):
        for name, shape in shapes.items():
            layer, x, operations = make(*shape)
            call = compiled(layer, compiles)

            def forward(call=call, x=x):
                with torch.no_grad():
                    return call(x)

            def training(layer=layer, call=call, x=x):
                layer.zero_grad()
                x.grad = None
                out = call(x)
                out = out[0] if isinstance(out, tuple) else out
                out.backward(torch.ones_like(out))

            yield f"{crate}/forward/{name}", forward, operations
            yield f"{crate}/training/{name}", training, 3 * operations


def measure(work, rounds):
    work()
    start = time.perf_counter()
    work()
    repeats = max(1, int(0.05 / max(time.perf_counter() - start, 1e-7)))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        times.append((time.perf_counter() - start) / repeats)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for name, work, operations in benchmarks(arguments.compile):
        if arguments.names and not any(part in name for part in arguments.names):
            continue
        seconds = measure(work, arguments.rounds)
        record = {"name": name, "seconds": seconds, "operations_per_second": operations / seconds}
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
