"""The shapes of the attention benchmarks in PyTorch, under the same names.

    python attention.py [--threads N] [--rounds N] [--compile] [NAME …]

prints one JSON object per benchmark: name, median seconds. NAME selects the benchmarks whose name contains it. The
recurrent models are written as one would in PyTorch: keys are projected once for a clip, a step is an `nn.LSTMCell`.
Needs `pip install torch`.
"""

import argparse
import json

import torch
from torch import nn

from pytorch import compiled, measure

FEATURES, HIDDEN, ATTENTION = 1024, 512, 512


class Temporal(nn.Module):
    """The multiplicative score of Yeung et al. over the latest frames."""

    def __init__(self, window):
        super().__init__()
        self.window = window
        self.query = nn.Linear(HIDDEN, ATTENTION, bias=False)
        self.key = nn.Linear(FEATURES, ATTENTION, bias=False)
        self.score = nn.Parameter(torch.randn(ATTENTION) / ATTENTION**0.5)
        self.cell = nn.LSTMCell(FEATURES, HIDDEN)

    def forward(self, x):
        keys = torch.tanh(self.key(x))
        h = c = x.new_zeros(x.shape[0], HIDDEN)
        outputs = []
        for t in range(x.shape[1]):
            first = max(0, t + 1 - self.window)
            query = torch.tanh(self.query(h)) * self.score
            weights = torch.softmax(torch.bmm(keys[:, first : t + 1], query.unsqueeze(2)).squeeze(2), 1)
            context = torch.bmm(weights.unsqueeze(1), x[:, first : t + 1]).squeeze(1)
            h, c = self.cell(context, (h, c))
            outputs.append(h)
        return torch.stack(outputs, 1)


class Spatial(nn.Module):
    """The location softmax of Sharma et al., or the additive score of their code."""

    def __init__(self, regions, additive):
        super().__init__()
        self.additive = additive
        if additive:
            self.query = nn.Linear(HIDDEN, ATTENTION, bias=False)
            self.key = nn.Linear(FEATURES, ATTENTION, bias=False)
            self.score = nn.Linear(ATTENTION, 1, bias=False)
        else:
            self.query = nn.Linear(HIDDEN, regions, bias=False)
        self.initial_hidden = nn.Linear(FEATURES, HIDDEN)
        self.initial_cell = nn.Linear(FEATURES, HIDDEN)
        self.cell = nn.LSTMCell(FEATURES, HIDDEN)

    def forward(self, x):
        mean = x.mean((1, 2))
        h, c = torch.tanh(self.initial_hidden(mean)), torch.tanh(self.initial_cell(mean))
        keys = self.key(x).unbind(1) if self.additive else None
        outputs = []
        for t, frame in enumerate(x.unbind(1)):
            query = self.query(h)
            scores = self.score(torch.tanh(query.unsqueeze(1) + keys[t])).squeeze(2) if self.additive else query
            weights = torch.softmax(scores, 1)
            context = torch.bmm(weights.unsqueeze(1), frame).squeeze(1)
            h, c = self.cell(context, (h, c))
            outputs.append(h)
        return torch.stack(outputs, 1)


def benchmarks(compiles):
    heads = nn.MultiheadAttention(512, 8, batch_first=True)
    # name: input shape, layer, call
    shapes = {
        "multi-head": ((8, 128, 512), heads, lambda x: heads(x, x, x, need_weights=True, average_attn_weights=False)[0]),
        "multi-head-output-only": ((8, 128, 512), heads, lambda x: heads(x, x, x, need_weights=False)[0]),
    }
    for name, shape, make in (
        ("temporal", (8, 120, FEATURES), lambda: Temporal(16)),
        ("spatial", (32, 30, 49, FEATURES), lambda: Spatial(49, True)),
        ("spatial-location", (32, 30, 49, FEATURES), lambda: Spatial(49, False)),
    ):
        layer = make()
        shapes[name] = (shape, layer, layer)
    for name, (shape, layer, call) in shapes.items():

        def make(shape=shape, layer=layer, call=call):
            x = torch.randn(*shape, requires_grad=True)
            call = compiled(call, compiles)

            def forward():
                with torch.no_grad():
                    return call(x)

            def training():
                layer.zero_grad()
                x.grad = None
                out = call(x)
                out.backward(torch.ones_like(out))

            return forward, training

        yield name, make


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for name, make in benchmarks(arguments.compile):
        works = None
        for kind in (0, 1):
            full = f"attention/{('forward', 'training')[kind]}/{name}"
            if arguments.names and not any(part in full for part in arguments.names):
                continue
            works = works or make()
            print(json.dumps({"name": full, "seconds": measure(works[kind], arguments.rounds)}), flush=True)


if __name__ == "__main__":
    main()
