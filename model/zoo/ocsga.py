"""OCSGA (Wu et al., Multimodal Representation with Embedded Visual Guiding Objects, ACM MM 2020).

The picture enters as words alone: the names of at most four objects, which the words of the
sentence attend to. They are the first words of the picture's text: of `DescribePictures --describer
objects` (phrases of the grounded regions), or of another describer or file. A post without such
words has four empty objects.

The sizes, and what is left out of residuals, are those of the published code with one dense layer.
Departures: words are looked up in lower case alone, the code's first as they are; the LSTMs start
with Glorot's weights and open forget gates, as in CNN-BiLSTM-CRF; BatchNorm's statistics are of
real words, the code's of padding too; the loss is a mean over posts, the code's a sum, so the
recipe's rate is ten times the published one for its batches of ten posts. START and STOP of its CRF
are transitions here.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ExtractorConfig
from model.groups import ParameterGroup
from model.words import PADDING, CharacterEncoder, bilstm, read_all, table

OBJECTS = 4
SPELLED, HIDDEN, HEADS, INNER = 25, 100, 2, 800  # of each direction; of attention; of the FFN
DROPOUT = 0.6  # inside the attention layers


class _Norm(nn.Module):
    """Layer normalisation by the unbiased deviation, with its ε outside the root."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, states: Tensor) -> Tensor:
        """Return normalised states (…, D)."""
        centred = states - states.mean(-1, keepdim=True)
        return self.gain * centred / (states.std(-1, keepdim=True) + 1e-6) + self.bias


class _Attention(nn.Module):
    """Attention of two heads, its dropout and normalisation, with or without the residual."""

    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.query, self.key, self.value, self.merge = (nn.Linear(width, width) for _ in range(4))
        self.norm, self.dropout = _Norm(width), nn.Dropout(DROPOUT)
        self.residual = residual

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Return attended states (B, Q, D). keys: (B, K, D). mask: (B, K), True for real keys.

        Without any real key all weights are equal.
        """
        q, k, v = (
            linear(states).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for linear, states in ((self.query, queries), (self.key, keys), (self.value, keys))
        )
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~mask[:, None, None], -1e9).softmax(-1)
        attended = self.merge((self.dropout(weights) @ v).transpose(1, 2).flatten(2))
        attended = self.dropout(attended)
        return self.norm(queries + attended if self.residual else attended)


class _FeedForward(nn.Module):
    """Two linear maps, their dropout and normalisation, with or without the residual."""

    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Linear(width, INNER), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(INNER, width)
        )
        self.norm, self.dropout = _Norm(width), nn.Dropout(DROPOUT)
        self.residual = residual

    def forward(self, states: Tensor) -> Tensor:
        """Return mapped states (B, T, D)."""
        mapped = self.dropout(self.maps(states))
        return self.norm(states + mapped if self.residual else mapped)


class OCSGA(CharacterEncoder):
    """Words and characters, guided by the names of the picture's objects."""

    tasks = ("ner",)
    reads_pictures = False
    reads_words = True
    reads_texts = True
    prepares = True

    width = 200
    character_width = 30

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.hidden = 2 * HIDDEN
        self.before = nn.Dropout(config.dropout)
        self.spelling = bilstm(self.character_width, SPELLED)
        self.lstm = bilstm(self.word_width + 2 * SPELLED, HIDDEN)
        self.objects = table(config.words, self.word_width).requires_grad_(False)  # frozen
        self.of_objects = nn.Linear(self.word_width, self.hidden)
        self.words_to_words = _Attention(self.hidden, residual=True)
        self.of_words = _FeedForward(self.hidden, residual=True)
        self.objects_to_objects = _Attention(self.hidden, residual=True)
        self.words_to_objects = _Attention(self.hidden, residual=False)
        self.of_guided = _FeedForward(self.hidden, residual=False)
        self.norm = nn.BatchNorm1d(self.hidden)

    def fill(self, vectors: Mapping[int, np.ndarray]) -> None:
        super().fill(vectors)
        self.objects.load_state_dict(self.vectors.state_dict())

    def states(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        characters: Tensor,
        segment_ids: Tensor | None = None,
    ) -> Tensor:
        """Return the states before the scores (B, T, 200), of T words of the sentences."""
        count = characters.shape[1]
        of_text = torch.zeros_like(input_ids) if segment_ids is None else segment_ids
        real = ((attention_mask > 0) & (of_text == 0))[:, :count]
        words = self._read(input_ids[:, :count], characters, real)  # X
        objects, there = self._objects(input_ids, of_text > 0)  # Y0
        guided = self.of_words(self.words_to_words(words, words, real))  # E
        objects = self.objects_to_objects(objects, objects, there)  # Y
        guided = self.of_guided(self.words_to_objects(guided, objects, there))  # Z
        return self._normalised(words + guided, real)

    def _read(self, ids: Tensor, characters: Tensor, real: Tensor) -> Tensor:
        """Return the LSTM's outputs after dropout (B, T, 200)."""
        vectors = self.vectors(ids)
        spelled = vectors.new_zeros(*ids.shape, 2 * SPELLED)
        own = characters[real]  # (N, C)
        letters = self.before(self.characters(own))
        read = read_all(self.spelling, letters, (own != PADDING).sum(1))[1]
        spelled[real] = read.to(vectors.dtype)
        both = self.before(torch.cat([vectors, spelled], -1))
        states: Tensor = self.before(read_all(self.lstm, both, real.sum(1))[0])
        return states

    def _objects(self, input_ids: Tensor, of_text: Tensor) -> tuple[Tensor, Tensor]:
        """Return mapped vectors of the texts' first words (B, 4, 200), and which exist (B, 4)."""
        if input_ids.shape[1] < OBJECTS:
            missing = OBJECTS - input_ids.shape[1]
            input_ids, of_text = (functional.pad(x, (0, missing)) for x in (input_ids, of_text))
        order = of_text.long().argsort(dim=1, descending=True, stable=True)[:, :OBJECTS]
        there = of_text.gather(1, order)
        ids = input_ids.gather(1, order).where(there, PADDING)
        mapped: Tensor = self.of_objects(self.objects(ids))
        return mapped, there

    def _normalised(self, states: Tensor, real: Tensor) -> Tensor:
        """Return states normalised over the batch's real words; others stay as they are."""
        own = states[real]
        if len(own) > 1 or not self.training:  # one word has no deviation
            states = states.clone()
            states[real] = self.norm(own).to(states.dtype)
        return states

    def emissions(self, tokens: Tensor) -> Tensor:
        """Return the scores of the tags, without dropout before them."""
        scores: Tensor = self.classifier(tokens)
        return scores

    def parameter_groups(self) -> list[ParameterGroup]:
        own = [
            *(self.spelling, self.lstm, self.objects, self.of_objects, self.norm),
            *(self.words_to_words, self.of_words, self.objects_to_objects),
            *(self.words_to_objects, self.of_guided),
        ]
        return [*super().parameter_groups(), ParameterGroup("base", own)]
