"""PCNN (Zeng et al., Distant Supervision via Piecewise CNNs, EMNLP 2015), as a baseline.

In the form of OpenNRE, the likely baseline of the published tables; `--form zeng` is the paper's.
All words start at random alike, in OpenNRE the unknown word with another deviation.
The paper's bags of sentences are for distant supervision: here each post has its own label.
"""

import torch
from torch import Tensor, nn

from model.config import ExtractorConfig
from model.groups import ParameterGroup
from model.words import WordEncoder, table

FILTERS, WINDOW = 230, 3
POSITION_WIDTH, POSITIONS = 5, 256  # of the tables of distances; row 0 is padding
OUTSIDE = 100.0  # subtracted from what lies outside a piece


class PCNN(WordEncoder):
    """A convolution over words and their distances to both entities, its maximum in three pieces.

    The entities cut the sentence into three pieces, in the order of the sentence. In form
    "opennre" a piece ends with an entity's first word and its maximum is that of the ReLU; in form
    "zeng" it ends with the entity's last word and the tanh follows the maximum. An empty piece
    gives 0.
    """

    tasks = ("re",)
    reads_pictures = False
    reads_words = True
    forms = ("opennre", "zeng")

    width = 50

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        self.distances = nn.ModuleList(table(POSITIONS, POSITION_WIDTH) for _ in range(2))
        inputs = self.word_width + 2 * POSITION_WIDTH
        self.convolution = nn.Conv1d(inputs, FILTERS, WINDOW, padding=WINDOW // 2)
        self.after = nn.Dropout(config.dropout)  # the head has another, as in OpenNRE
        self.hidden = self.word_width + 1

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the words' vectors and, as the last channel, 0 for padding (B, T, D + 1)."""
        real = attention_mask[..., None].to(self.dtype)
        return torch.cat([self.vectors(input_ids) * real, real], -1)

    def pair(self, states: Tensor, markers: Tensor) -> Tensor:
        """Return the maxima of the three pieces (B, 690).

        markers: (B, 4), the first words of head and tail, then their last words.
        """
        vectors, real = states[..., :-1], states[..., -1] > 0
        places = torch.arange(states.shape[1], device=states.device)
        firsts, lasts = markers[:, :2], markers[:, 2:]
        inputs = [vectors, *self._distances(places, firsts, real)]
        maps = self.convolution(torch.cat(inputs, -1).transpose(1, 2))  # (B, F, T)
        zeng = self.config.form == "zeng"
        ends = (lasts if zeng else firsts).sort().values
        piece = (places > ends[:, :1]).long() + (places > ends[:, 1:])  # (B, T): 0, 1, 2
        inside = real & (piece == torch.arange(3, device=states.device)[:, None, None])
        outside = ~inside[:, :, None]  # (3, B, 1, T)
        if zeng:
            best = maps.masked_fill(outside, -torch.inf).amax(-1)  # (3, B, F)
            best = best.tanh().where(inside.any(-1, keepdim=True), 0)
        else:
            best = (maps - OUTSIDE * outside).relu().amax(-1)
        pieces: Tensor = self.after(best.transpose(0, 1).flatten(1))
        return pieces

    def _distances(self, places: Tensor, firsts: Tensor, real: Tensor) -> list[Tensor]:
        """Return the vectors of each word's distance to head and tail (B, T, 5) each."""
        ids = (places - firsts[..., None] + POSITIONS // 2).clamp(1, POSITIONS - 1)  # (B, 2, T)
        ids = ids * real[:, None]
        return [rows(ids[:, n]) for n, rows in enumerate(self.distances)]

    @property
    def pair_width(self) -> int:
        return 3 * FILTERS

    def parameter_groups(self) -> list[ParameterGroup]:
        own = ParameterGroup("base", [self.distances, self.convolution])
        return [*super().parameter_groups(), own]
