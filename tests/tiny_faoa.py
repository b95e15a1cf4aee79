"""A narrow FAOA with random weights, written as its published checkpoints are."""

import json
from pathlib import Path

import numpy as np
import torch

from features.grounding.faoa import Faoa, _Lstm

WORDS = ["<pad>", "<unk>", "<eos>", "the", "dog", "red", " ", "-", "dogs"]


@torch.no_grad()
def random_faoa() -> Faoa:
    """The light LSTM variant, with weights that tell pictures and phrases apart."""
    torch.manual_seed(0)
    network = Faoa(_Lstm(len(WORDS), 16, 16), 32, 32, light=True)
    for name, tensor in network.state_dict().items():
        if tensor.dim() > 1:
            tensor.normal_(std=2.0 / tensor[0].numel() ** 0.5)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    for stride in range(3):
        network.get_parameter(f"fcn_out.{stride}.0.weight").mul_(3)
    return network.eval()


def write_faoa(network: Faoa, folder: Path) -> Path:
    """`lstm_flickr_model.pth.tar` and `words.json` in a folder."""
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    # A NumPy score, as the published training script has it.
    content = {"epoch": 7, "state_dict": state, "best_loss": np.float64(0.68), "optimizer": {}}
    torch.save(content, folder / "lstm_flickr_model.pth.tar")
    (folder / "words.json").write_text(json.dumps(WORDS))
    return folder
