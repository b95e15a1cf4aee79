"""FAOA, the grounding network that made the published crops.

Yang et al., "A Fast and Accurate One-Stage Approach to Visual Grounding" (ICCV 2019, arXiv
1908.06354), §3: one box for each phrase, the most confident of all cells and anchors. Parameters
have the names of the published checkpoints.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from features.grounding import Candidate
from features.grounding.anchors import ANCHOR_SIDE, ANCHORS, Anchors
from features.grounding.darknet import CHANNELS, Darknet
from features.grounding.letterbox import SIDE, letterbox
from features.grounding.words import Words
from features.pictures import MEAN, STD
from features.weights import WeightsError, fill, read_state

SETTINGS = "faoa-1"  # raise it when boxes change
PHRASES_AT_ONCE = 16  # phrases in a forward pass


class _ConvNorm(nn.Module):
    """Convolution without bias, BatchNorm, ReLU."""

    def __init__(self, before: int, width: int, kernel: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, width, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _Bert(BertModel):
    """A BERT that encodes a phrase as the mean of [CLS] over the last four layers."""

    def phrase(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode phrases: ids and mask (N, T) -> (N, H)."""
        states = self(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        return torch.stack([state[:, 0] for state in states[-4:]]).mean(0)


class _Lstm(nn.Module):
    """A bidirectional LSTM that encodes a phrase as its state at the last word."""

    def __init__(self, words: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.rnn = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)

    def phrase(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode phrases: ids and mask (N, T) -> (N, 2 hidden)."""
        lengths = mask.sum(1).cpu()
        words = nn.utils.rnn.pack_padded_sequence(
            self.mlp(self.embedding(ids)), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(words)[0], batch_first=True)
        return states[torch.arange(len(ids)), lengths - 1]


class Faoa(nn.Module):
    """The network. light: a head of one convolution and the output layer instead of five layers.

    Axes: B pictures, N phrases, E = 512 channels; n = 8, 16, 32 cells a side.
    """

    def __init__(self, textmodel: _Bert | _Lstm, language: int, width: int, light: bool) -> None:
        super().__init__()
        joined = 2 * width + 8
        self.visumodel = Darknet()
        self.textmodel = textmodel
        self.mapping_visu = nn.ModuleList(_ConvNorm(channels, width) for channels in CHANNELS)
        self.mapping_lang = nn.Sequential(
            *(nn.Linear(language, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()),
        )
        self.fcn_emb = nn.ModuleList()
        self.fcn_out = nn.ModuleList()
        for _ in CHANNELS:
            embedding = [_ConvNorm(joined, width)]
            output: list[nn.Module] = [nn.Conv2d(width, 15, 1)]
            if not light:
                embedding += [_ConvNorm(width, width, 3), _ConvNorm(width, width)]
                output = [_ConvNorm(width, width // 2), nn.Conv2d(width // 2, 15, 1)]
            self.fcn_emb.append(nn.Sequential(*embedding))
            self.fcn_out.append(nn.Sequential(*output))

    def see(self, pixels: Tensor) -> list[Tensor]:
        """Map normalised pixels (B, 3, 256, 256) to features (B, E, n, n) for each stride."""
        maps = zip(self.mapping_visu, self.visumodel(pixels), strict=True)
        return [functional.normalize(mapping(trunk)) for mapping, trunk in maps]

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode phrases: ids and mask (N, T) -> (N, E), not normalised."""
        language: Tensor = self.mapping_lang(self.textmodel.phrase(ids, mask))
        return language

    def locate(self, maps: Sequence[Tensor], language: Tensor) -> list[Tensor]:
        """Map pictures (N, E, n, n) and phrases (N, E) to outputs (N, 15, n, n) for each stride.

        The channels are x, y, width, height and confidence for each of three anchors, before any
        activation.
        """
        words = functional.normalize(language)[:, :, None, None]
        outputs = []
        for stride, map_ in enumerate(maps):
            size = (len(map_), -1, *map_.shape[2:])
            joined = torch.cat([map_, words.expand(size), _coordinates(map_).expand(size)], dim=1)
            outputs.append(self.fcn_out[stride](self.fcn_emb[stride](joined)))
        return outputs


def _coordinates(maps: Tensor) -> Tensor:
    """Return the coordinates of each cell, (1, 8, n, n).

    Channels: start row and column, end row and column, middle row and column, all in [-1, 1]; then
    1/n twice, a cell's height and width as shares of the frame.
    """
    n = maps.shape[-1]
    starts = torch.arange(n, device=maps.device, dtype=maps.dtype) * 2 / n - 1
    row, column = torch.meshgrid(starts, starts, indexing="ij")
    step = 2 / n
    cell = torch.full_like(row, 1 / n)
    corners = [row, column, row + step, column + step, row + step / 2, column + step / 2]
    return torch.stack([*corners, cell, cell])[None]


def best_boxes(outputs: Sequence[Tensor], anchors: Anchors) -> tuple[Tensor, Tensor, Tensor]:
    """Return the most confident box of each phrase, given the outputs of `locate`.

    Returns boxes (N, 4) in pixels of the frame, x0, y0, x1, y1, not clamped; their indices (N,)
    among all confidences in the order stride, anchor, row, column; their softmax (N,) over all
    confidences, which training maximised.
    """
    logits = torch.cat([output.unflatten(1, (3, 5))[:, :, 4].flatten(1) for output in outputs], 1)
    places = logits.argmax(1)
    scores = logits.softmax(1).gather(1, places[:, None])[:, 0]
    boxes = [_box([o[row] for o in outputs], place, anchors) for row, place in enumerate(places)]
    return torch.stack(boxes), places, scores


def _box(outputs: list[Tensor], place: Tensor, anchors: Anchors) -> Tensor:
    index, stride = int(place), 0
    while index >= 3 * outputs[stride][0].numel():  # the number of boxes of a stride
        index -= 3 * outputs[stride][0].numel()
        stride += 1
    output, n = outputs[stride], outputs[stride].shape[-1]
    anchor, cell = divmod(index, n * n)
    row, column = divmod(cell, n)
    x, y, width, height, _ = output.unflatten(0, (3, 5))[anchor, :, row, column]
    sides = torch.tensor(anchors[3 * stride + anchor]) * (SIDE / ANCHOR_SIDE)
    middle = torch.stack([x.sigmoid() + column, y.sigmoid() + row]) * (SIDE / n)
    half = torch.stack([width, height]).exp() * sides.to(x.device) / 2
    return torch.cat([middle - half, middle + half])


def load_faoa(checkpoint: Path) -> Faoa:
    """Load a published checkpoint, in eval mode: BERT, LSTM and light variants.

    The variant and its sizes follow from keys and shapes. Raises WeightsError.
    """
    saved = read_state(checkpoint)
    state = {name.removeprefix("module."): tensor for name, tensor in saved.items()}
    try:
        textmodel: _Bert | _Lstm
        if "textmodel.rnn.weight_hh_l0" in state:
            hidden = state["textmodel.rnn.weight_hh_l0"].shape[1]
            words, embedded = state["textmodel.embedding.weight"].shape
            textmodel = _Lstm(words, embedded, hidden)
        else:
            textmodel = _Bert(_bert_config(state))
        width, language = state["mapping_lang.0.weight"].shape
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{checkpoint}: not a checkpoint of FAOA: {error} is missing") from error
    light = not any(name.startswith("fcn_emb.0.1.") for name in state)
    network = Faoa(textmodel, language, width, light)
    fill(network, state, str(checkpoint))
    return network.eval()


def _bert_config(state: Mapping[str, Tensor]) -> BertConfig:
    """Read a BERT's configuration off its shapes. Heads are 64 wide, as in all published BERTs."""
    embeddings = "textmodel.embeddings.{}_embeddings.weight"
    vocabulary, width = state[embeddings.format("word")].shape
    layers = {name.split(".")[3] for name in state if name.startswith("textmodel.encoder.layer.")}
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=width // 64,
        intermediate_size=len(state["textmodel.encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(state[embeddings.format("position")]),
        type_vocab_size=len(state[embeddings.format("token_type")]),
    )


class FaoaGrounder:
    """A grounder that returns a box for each phrase, even if the picture does not show it.

    A score is the softmax of the box's confidence over all 4,032 boxes of the network.
    """

    name = "faoa"
    joint = False
    one_size = False

    def __init__(
        self,
        checkpoint: Path,
        vocabulary: str,
        trained_on: str,
        precision: str = "float32",
        device: str = "cpu",
    ) -> None:
        """Load the network and its vocabulary.

        checkpoint: a published .pth file.
        vocabulary: as for `Words`.
        trained_on: the checkpoint's data set, a key of ANCHORS.
        precision: float32 or bfloat16.
        device: a torch device.

        Raises WeightsError.
        """
        self.anchors = ANCHORS[trained_on]
        self.network = load_faoa(checkpoint).to(device)
        embedding = self.network.textmodel.get_parameter(_EMBEDDING[type(self.network.textmodel)])
        self.words = Words(vocabulary, isinstance(self.network.textmodel, _Bert), len(embedding))
        self.precision, self.device = precision, device

    @torch.inference_mode()
    def find(
        self, pictures: Sequence[Image.Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Candidate]]:
        """Return one candidate for each phrase. Pictures may differ in size."""
        framed = [letterbox(picture) for picture in pictures]
        pairs = [(picture, phrase) for picture, texts in enumerate(phrases) for phrase in texts]
        candidates: list[list[Candidate]] = [[] for _ in pictures]
        low = self.precision == "bfloat16"
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=low):
            maps = self.network.see(normalise([frame for frame, _ in framed]).to(self.device))
            for start in range(0, len(pairs), PHRASES_AT_ONCE):
                part = pairs[start : start + PHRASES_AT_ONCE]
                ids, mask = (t.to(self.device) for t in self.words([phrase for _, phrase in part]))
                rows = [picture for picture, _ in part]
                outputs = self.network.locate([m[rows] for m in maps], self.network.read(ids, mask))
                boxes, _, scores = best_boxes([o.float() for o in outputs], self.anchors)
                for (picture, phrase), box, score in zip(
                    part, boxes.double().cpu().numpy(), scores.tolist(), strict=True
                ):
                    x0, y0, x1, y1 = framed[picture][1].to_picture(box[None])[0].tolist()
                    candidates[picture].append(Candidate(phrase, (x0, y0, x1, y1), score))
        return candidates


_EMBEDDING: Mapping[type, str] = {
    _Bert: "embeddings.word_embeddings.weight",
    _Lstm: "embedding.weight",
}


def normalise(frames: Sequence[np.ndarray]) -> Tensor:
    """Normalise with ImageNet's mean and deviation: B frames (S, S, 3) uint8 -> (B, 3, S, S)."""
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pixels - mean) / deviation
