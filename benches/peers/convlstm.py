"""The ConvLSTM shapes of the benchmarks in PyTorch, under the same names: a loop over nn.Conv2d, as people write it.

    python convlstm.py [--threads N] [--rounds N] [--compile] [--memory] [NAME …]

prints one JSON object per benchmark as pytorch.py does; --memory adds the peak of the process's memory in MiB, which is that
of the largest benchmark so far, so name one.
"""

import argparse
import json
import resource

import torch

from pytorch import compiled, measure

# name: (batch, time, in channels, hidden channels, kernel, map size)
SHAPES = {
    "moving-mnist": (8, 10, 16, 64, 5, 16),
    "frame-64": (4, 10, 1, 64, 3, 64),
    "deep-64": (1, 10, 64, 64, 3, 64),
    "edge": (1, 10, 1, 16, 3, 64),
}


class ConvLstm(torch.nn.Module):
    """One convolution of input and state side by side for all four gates."""

    def __init__(self, inputs, hidden, kernel):
        super().__init__()
        self.hidden = hidden
        self.gates = torch.nn.Conv2d(inputs + hidden, 4 * hidden, kernel, padding=kernel // 2)

    def forward(self, x):
        batch, steps, _, height, width = x.shape
        h = x.new_zeros(batch, self.hidden, height, width)
        c = torch.zeros_like(h)
        outputs = []
        for t in range(steps):
            i, f, g, o = self.gates(torch.cat((x[:, t], h), 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for name, (batch, steps, inputs, hidden, kernel, size) in SHAPES.items():
        layer = ConvLstm(inputs, hidden, kernel)
        call = compiled(layer, arguments.compile)
        x = torch.randn(batch, steps, inputs, size, size, requires_grad=True)
        operations = 2 * batch * steps * size * size * 4 * hidden * (inputs + hidden) * kernel * kernel

        def forward():
            with torch.no_grad():
                return call(x)

        def training():
            layer.zero_grad()
            x.grad = None
            out = call(x)
            out.backward(torch.ones_like(out))

        for kind, work, count in (("forward", forward, operations), ("training", training, 3 * operations)):
            full = f"convlstm/{kind}/{name}"
            if arguments.names and not any(part in full for part in arguments.names):
                continue
            seconds = measure(work, arguments.rounds)
            record = {"name": full, "seconds": seconds, "operations_per_second": count / seconds}
            if arguments.memory:
                record["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
