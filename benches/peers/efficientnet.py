"""The feature network of the benchmarks in PyTorch, under the same names.

    python efficientnet.py [--threads N] [--rounds N] [--variants] [NAME …]

prints one JSON object per benchmark as pytorch.py does, with frames instead of operations per second. --variants prints all
forms of the network: as the package has it, with batch normalisation folded into the convolutions, with channels last in
memory too, and traced and frozen by TorchScript with the layouts of oneDNN; without it the fastest one stands for each batch.
Needs `pip install efficientnet_lite_pytorch==0.1.0`.
"""

import argparse
import json
import warnings
from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pytorch import measure

DATA = Path(__file__).parents[2] / "crates" / "pipeline" / "data" / "efficientnet-lite0"
BATCHES = [1, 8]
SIZE = 224


class Pooled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = EfficientNet.from_name("efficientnet-lite0").eval()
        weights = load_file(DATA / "weights_f16.safetensors")
        self.network.load_state_dict({name: values.float() for name, values in weights.items()}, strict=False)

    def fold(self):
        """Batch normalisation as part of the convolutions, as ours."""

        def fold(layer, convolution, normalisation):
            if hasattr(layer, convolution):
                folded = fuse_conv_bn_eval(getattr(layer, convolution), getattr(layer, normalisation))
                setattr(layer, convolution, folded)
                setattr(layer, normalisation, torch.nn.Identity())

        fold(self.network, "_conv_stem", "_bn0")
        fold(self.network, "_conv_head", "_bn1")
        for block in self.network._blocks:
            fold(block, "_expand_conv", "_bn0")
            fold(block, "_depthwise_conv", "_bn1")
            fold(block, "_project_conv", "_bn2")
        return self

    def forward(self, images):
        return self.network.extract_features(images).mean((2, 3))


def variants(images):
    """Name, network and images of every form."""
    yield "eager", Pooled(), images
    yield "folded", Pooled().fold(), images
    last = torch.channels_last
    yield "channels-last", Pooled().fold().to(memory_format=last), images.to(memory_format=last)
    traced = torch.jit.freeze(torch.jit.trace(Pooled().eval(), images))
    yield "script", torch.jit.optimize_for_inference(traced), images


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--variants", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    for batch in BATCHES:
        name = f"pipeline/efficientnet-lite0/batch-{batch}"
        if arguments.names and not any(part in name for part in arguments.names):
            continue
        records = []
        for variant, network, images in variants(torch.rand(batch, 3, SIZE, SIZE) * 2 - 1):
            with torch.no_grad():
                seconds = measure(lambda: network(images), arguments.rounds)
            record = {"name": name, "seconds": seconds, "frames_per_second": batch / seconds, "variant": variant}
            records.append(record)
        for record in records if arguments.variants else [min(records, key=lambda record: record["seconds"])]:
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
