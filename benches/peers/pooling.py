"""The pooling shapes of the benchmarks in PyTorch, under the same names.

    python pooling.py [--threads N] [--rounds N] [--compile] [--variants] [NAME …]

prints one JSON object per benchmark as pytorch.py does. --variants prints all ways in which PyTorch pools over time or over
windows; without it the fastest one stands for each.
"""

import argparse
import json

import torch
import torch.nn.functional as F

from pytorch import compiled, measure

BATCH, FRAMES, WINDOW, STRIDE = 8, 120, 10, 5
UNITS, CLASSES = 256, 101
WINDOWS = (FRAMES - WINDOW) // STRIDE + 1


def max_values(x):
    return x.max(1).values


def amax(x):
    return x.amax(1)


def max_pool_2d(x):
    """Windows as those of an image of frames by features."""
    return F.max_pool2d(x.flatten(2).unsqueeze(1), (WINDOW, 1), (STRIDE, 1)).squeeze(1)


def unfolded(x):
    return x.flatten(2).unfold(1, WINDOW, STRIDE).amax(-1)


def stacked(x):
    return torch.stack([x[:, w * STRIDE:w * STRIDE + WINDOW].flatten(2).amax(1) for w in range(WINDOWS)], 1)


def stacked_max(x):
    windows = [x[:, w * STRIDE:w * STRIDE + WINDOW].flatten(2).max(1).values for w in range(WINDOWS)]
    return torch.stack(windows, 1)


class Slow(torch.nn.Module):
    def __init__(self, features, pool):
        super().__init__()
        self.pool = pool
        self.shared, self.hidden = torch.nn.Linear(features, UNITS), torch.nn.Linear(UNITS, UNITS)
        self.classifier = torch.nn.Linear(UNITS, CLASSES)

    def forward(self, x):
        x = torch.relu(self.shared(self.pool(x))).amax(1)
        return self.classifier(torch.relu(self.hidden(x)))


class Local(torch.nn.Module):
    def __init__(self, features, pool):
        super().__init__()
        self.pool = pool
        self.first, self.second = torch.nn.Linear(features, UNITS), torch.nn.Linear(UNITS, UNITS)
        self.classifier = torch.nn.Linear(WINDOWS * UNITS, CLASSES)

    def forward(self, x):
        return self.classifier(torch.relu(self.second(torch.relu(self.first(self.pool(x))))).flatten(1))


class TimeDomain(torch.nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.convolution = torch.nn.Conv3d(channels, 256, (WINDOW, 3, 3), (STRIDE, 1, 1), (0, 1, 1))
        self.hidden = torch.nn.Linear(256 * size * size, UNITS)
        self.classifier = torch.nn.Linear(UNITS, CLASSES)

    def forward(self, x):
        x = torch.relu(self.convolution(x.transpose(1, 2))).amax(2)
        return self.classifier(torch.relu(self.hidden(x.flatten(1))))


class Pool(torch.nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        return self.pool(x)


def benchmarks():
    features = 1024 * 7 * 7
    poolings, windows = [amax, max_values], [max_pool_2d, unfolded, stacked, stacked_max]
    wide, narrow = (BATCH, FRAMES, 1024, 7, 7), (BATCH, FRAMES, 64, 7, 7)
    values = BATCH * FRAMES * features
    slow = 2 * BATCH * (WINDOWS * features * UNITS + UNITS * UNITS + UNITS * CLASSES)
    local = 2 * BATCH * (WINDOWS * (features * UNITS + UNITS * UNITS) + WINDOWS * UNITS * CLASSES)
    convolved = WINDOWS * 49 * 64 * 256 * 9 * WINDOW
    time_domain = 2 * BATCH * (convolved + 256 * 49 * UNITS + UNITS * CLASSES)
    for pool in poolings:
        yield "temporal-max", pool.__name__, lambda: Pool(pool), wide, values, values
    for pool in windows:
        yield "slow", pool.__name__, lambda: Slow(features, pool), wide, slow, 3 * slow
    for pool in windows:
        yield "local", pool.__name__, lambda: Local(features, pool), wide, local, 3 * local
    yield "time-domain", "", lambda: TimeDomain(64, 7), narrow, time_domain, 3 * time_domain


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--variants", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    records = {}
    for shape, variant, make, size, forward_operations, training_operations in benchmarks():
        ids = {kind: f"pooling/{kind}/{shape}" for kind in ("forward", "training")}
        wanted = {k: i for k, i in ids.items() if not arguments.names or any(n in i for n in arguments.names)}
        if not wanted:
            continue
        layer, x = make(), torch.randn(size, requires_grad=True)
        call = compiled(layer, arguments.compile)

        def forward():
            with torch.no_grad():
                return call(x)

        def training():
            layer.zero_grad()
            x.grad = None
            out = call(x)
            out.backward(torch.ones_like(out))

        for kind, name in wanted.items():
            work, operations = (forward, forward_operations) if kind == "forward" else (training, training_operations)
            seconds = measure(work, arguments.rounds)
            record = {"name": name, "seconds": seconds, "operations_per_second": operations / seconds, "variant": variant}
            if arguments.variants:
                print(json.dumps(record), flush=True)
            elif name not in records or seconds < records[name]["seconds"]:
                records[name] = record
    for record in records.values():
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
