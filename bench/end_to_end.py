"""The baseline "usual way": decode pictures and run them through ResNet-50 in every training step.

This is how the published code trains. A post's picture and three crops are opened, resized and
normalised with torchvision. Each goes through a ResNet-50 that is part of the model, and the pooled
maps become the prefix of a BERT-base on texts padded to 80 word pieces. All is float32, without a
cache. The ResNet is not optimised, but its gradients are computed and discarded, as in that code.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from torchvision.transforms import v2
from transformers import AttentionInterface, AttentionMaskInterface, BertModel
from transformers.masking_utils import sdpa_mask

from model.hvpnet.prefix import VisualPrefix
from pipeline.training.encode import Encoded

LONGEST = 80
NAME = "bench_prefix"


class EndToEnd(nn.Module):
    """ResNet-50, prefix, BERT and a relation classifier in one model."""

    def __init__(self, encoder: str, labels: int, channels: list[int]) -> None:
        super().__init__()
        self.resnet = models.resnet50(weights=None)
        self.maps: list[Tensor] = []
        net = self.resnet
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            layer.register_forward_hook(self._keep)
        self.bert = BertModel.from_pretrained(encoder, attn_implementation=NAME, dtype="float32")
        self.bert.resize_token_embeddings(30_526, mean_resizing=False)
        self.prefix = VisualPrefix(channels, 2, 12, 768, 12, "paper", "hvpnet", 800)
        self.classifier = nn.Linear(2 * 768, labels)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.maps.append(output)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the loss."""
        pyramids = []
        for slot in range(batch["pixels"].shape[1]):  # the picture, then each crop
            self.maps.clear()
            self.resnet(batch["pixels"][:, slot])
            pooled = [functional.avg_pool2d(m, m.shape[-1] // 2)[..., :2, :2] for m in self.maps]
            pyramids.append(torch.cat(pooled, dim=1))
        prefix = self.prefix(torch.stack(pyramids, dim=1))
        states = self.bert(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], prefix=prefix
        ).last_hidden_state
        rows = torch.arange(len(states))[:, None]
        logits = self.classifier(states[rows, batch["markers"]].flatten(1))
        return functional.cross_entropy(logits, batch["labels"])


def optimizer(model: EndToEnd, rate: float = 3e-5) -> torch.optim.Optimizer:
    """Return AdamW over all weights except those of the ResNet."""
    weights = [w for name, w in model.named_parameters() if not name.startswith("resnet.")]
    return torch.optim.AdamW(weights, lr=rate)


def collate(posts: Sequence[Encoded], pictures: Sequence[Path], padding: int) -> dict[str, Tensor]:
    """Pad texts to LONGEST, decode each post's picture and cut three crops from it."""
    length = [len(post.input_ids) for post in posts]
    ids = [
        [*post.input_ids, *[padding] * (LONGEST - n)] for post, n in zip(posts, length, strict=True)
    ]
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor([[1] * n + [0] * (LONGEST - n) for n in length]),
        "markers": torch.tensor([post.positions for post in posts]),
        "labels": torch.tensor([post.labels[0] for post in posts]),
        "pixels": torch.stack([_four(pictures[post.number % len(pictures)]) for post in posts]),
    }


PREPARE = v2.Compose(
    [
        v2.Resize(256),
        v2.CenterCrop(224),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def _four(file: Path) -> Tensor:
    """Prepare a picture and three crops. The published code, slightly slower, opens a file each."""
    whole = Image.open(file).convert("RGB")
    width, height = whole.size
    inputs = [PREPARE(whole)]
    for x in (0, width // 4, width // 2):
        inputs.append(PREPARE(whole.crop((x, 0, x + width // 2, height))))
    return torch.stack(inputs)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prefix: list[Tensor],
    dropout: float = 0.0,
    **others: Any,
) -> tuple[Tensor, None]:
    prefix_key, prefix_value = prefix[module.layer_idx]
    key, value = torch.cat((prefix_key, key), dim=2), torch.cat((prefix_value, value), dim=2)
    if attention_mask is not None:
        batch, _, rows, _ = attention_mask.shape
        ahead = attention_mask.new_ones(batch, 1, rows, prefix_key.shape[2])
        attention_mask = torch.cat((ahead, attention_mask), dim=3)
    output = functional.scaled_dot_product_attention(query, key, value, attention_mask, dropout)
    return output.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
