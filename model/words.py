"""Systems on words and characters, without word pieces: their inputs and their tables."""

from collections.abc import Mapping, Sequence
from functools import cache
from math import sqrt
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from model.config import ExtractorConfig
from model.contract import System
from model.groups import ParameterGroup

PADDING, UNKNOWN = 0, 1  # the first two ids of words and of characters
LONGEST_WORD = 45  # characters that are read of a word, as in Ma and Hovy's code


class WordEncoder(System):
    """A system on words, without its head: a table of trained word vectors.

    Its file declares `reads_words`: a token is a word. New vectors are uniform in ±√(3/d) with d
    their width; `fill` replaces some by given ones.

    width: d of new vectors; `config.word_width` if it is not 0.
    """

    reads_words = True
    width: ClassVar[int]

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.word_width = config.word_width or self.width
        self.vectors = table(config.words, self.word_width)

    def fill(self, vectors: Mapping[int, np.ndarray]) -> None:
        """Replace the vectors of some words. vectors: id -> (d,)."""
        with torch.no_grad():
            for id, vector in vectors.items():
                self.vectors.weight[id] = torch.from_numpy(vector)

    def see_once(self, ids: Sequence[int]) -> None:
        """Tell which words occur once in the training posts; ignored unless a system uses it."""

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the group of the word vectors; systems add their own modules."""
        return [ParameterGroup("base", [self.vectors])]


class CharacterEncoder(WordEncoder):
    """A system that also reads the characters of each word, with their case.

    Its file declares `prepares` beside `reads_words`. `states` gets `characters` (B, T, C): ids,
    PADDING after a word's end.
    """

    prepares = True
    character_width: ClassVar[int]

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.characters = table(len(config.characters) + 2, self.character_width)

    @classmethod
    def prepare(
        cls,
        config: ExtractorConfig,
        words: Sequence[str],
        owners: Sequence[int],
        edges: Sequence[tuple[int, int]] = (),
    ) -> list[list[int]]:
        """Return the ids of each token's characters, at least one."""
        ids = _ids(config.characters)
        read = [words[owner][:LONGEST_WORD] for owner in owners if owner >= 0]
        return [[ids.get(c, UNKNOWN) for c in word] or [UNKNOWN] for word in read] or [[UNKNOWN]]

    @classmethod
    def collate(cls, prepared: Sequence[list[list[int]]]) -> dict[str, Tensor]:
        """Return characters (B, T, C)."""
        length = max(map(len, prepared))
        width = max(len(word) for post in prepared for word in post)
        none = [[PADDING] * width]
        rows = [
            [word + [PADDING] * (width - len(word)) for word in post] + none * (length - len(post))
            for post in prepared
        ]
        return {"characters": torch.tensor(rows)}

    def parameter_groups(self) -> list[ParameterGroup]:
        return [*super().parameter_groups(), ParameterGroup("base", [self.characters])]


@cache
def _ids(characters: str) -> Mapping[str, int]:
    return {character: number for number, character in enumerate(characters, 2)}


def table(rows: int, width: int) -> nn.Embedding:
    """Return a table of vectors, uniform in ±√(3/width); zero for PADDING."""
    embedding = nn.Embedding(rows, width, padding_idx=PADDING)
    bound = sqrt(3 / width)
    nn.init.uniform_(embedding.weight, -bound, bound)
    with torch.no_grad():
        embedding.weight[PADDING].zero_()
    return embedding


def bilstm(width: int, hidden: int) -> nn.LSTM:
    """Return a bidirectional LSTM with Glorot's weights and forget biases of 1, other biases 0.

    width: of its inputs. hidden: of each direction.
    """
    lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
    for name, weight in lstm.named_parameters():
        if "weight" in name:
            for gate in weight.chunk(4):
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(weight)
            if "_ih_" in name:  # two biases are added: one of them is enough
                nn.init.ones_(weight[hidden : 2 * hidden])
    return lstm


def read_all(lstm: nn.LSTM, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Run a bidirectional LSTM in float32 over sequences of different lengths, each to its end.

    inputs: (B, T, D). lengths: (B,), at least 1.

    Returns the outputs (B, T, 2H), zero after a sequence's end, and the last state of both
    directions (B, 2H).
    """
    # Not every processor has an LSTM in bfloat16.
    with torch.autocast(inputs.device.type, enabled=False):
        packed = pack_padded_sequence(
            inputs.float(), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        outputs, (last, _) = lstm(packed)
    padded, _ = pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])
    return padded, last.transpose(0, 1).flatten(1)
