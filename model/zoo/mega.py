"""MEGA (Zheng et al., Multimodal Relation Extraction with Efficient Graph Alignment, ACM MM 2021).

Each object of the picture attends to the text (semantic alignment) and sums the words that are
linked as it is (structural alignment, `_alignment.py`). The sum over objects joins the states of
both opening markers or, for entities, for which nothing is published, of each word.

Form "released" is the published code's: 128 pieces, whose padding is attended to; ten objects,
absent ones included; the alignment's nodes off by the number of the picture's edges; empty rows at
the places of head and tail exchanged; the (T, 10) values read as (10, T). Form "fixed" reads each
text at its own length without padding, only objects that exist, and each word's values at its first
piece. It keeps all objects of a word, the code the five most alike.

Departures in both forms: objects are the whole picture and its crops, by the mean of the last
block, where the code has a detector's objects and vectors; an edge joins the picture to each crop
(the code: relations of a scene graph; overlaps of crops are left out, as their boxes are not at
hand); words are joined by spaCy's dependencies, if it is installed, over all sentences of a post.
Linear maps that the code never uses are left out.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ExtractorConfig
from model.encoder import TextEncoder
from model.groups import ParameterGroup
from model.zoo._alignment import (
    BUCKETS,
    SLOTS,
    degree_features,
    released_alignment,
    released_relation,
    similarity,
    star_features,
)

FIXED, RELEASED = "fixed", "released"
LENGTH = 128  # pieces of a text in form released; a longer text keeps its length

Prepared = tuple[np.ndarray, list[int], int]


class MEGA(TextEncoder):
    """Objects that attend to words, and words aligned with them by their graphs."""

    markers = ("[unused0]", "[unused1]", "[unused2]", "[unused3]")
    prepares = True
    parses = True
    forms = ("fixed", "released")

    def __init__(self, config: ExtractorConfig) -> None:
        super().__init__(config)
        width = 2 * self.hidden
        self.of_objects = nn.Linear(config.block_channels[-1], width)
        self.of_text = nn.Linear(self.hidden, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.merge = nn.Linear(2 * width, width)
        own = self.hidden if self.task == "ner" else super().pair_width
        self.join = nn.Linear(own + width, width)

    @classmethod
    def prepare(
        cls,
        config: ExtractorConfig,
        words: Sequence[str],
        owners: Sequence[int],
        edges: Sequence[tuple[int, int]] = (),
    ) -> Prepared:
        """Return features of words (W, D), the word that starts at each piece, and E, of the edges.

        -1 stands for pieces that start no word.
        """
        before = [-1, *owners]
        firsts = [owner if owner not in before[: n + 1] else -1 for n, owner in enumerate(owners)]
        return degree_features(edges, len(words)), firsts, len(edges)

    @classmethod
    def collate(cls, prepared: Sequence[Prepared]) -> dict[str, Tensor]:
        """Return `degrees` (B, W, D), `firsts` (B, P), -1 for padding, and `sizes` (B, 2).

        The sizes are the numbers of words and of edges.
        """
        words = max(1, *(len(features) for features, _, _ in prepared))
        pieces = max(len(firsts) for _, firsts, _ in prepared)
        degrees = torch.zeros(len(prepared), words, BUCKETS)
        places = torch.full((len(prepared), pieces), -1)
        for n, (features, firsts, _) in enumerate(prepared):
            degrees[n, : len(features)] = torch.from_numpy(features)
            places[n, : len(firsts)] = torch.tensor(firsts)
        sizes = torch.tensor([[len(features), edges] for features, _, edges in prepared])
        return {"degrees": degrees, "firsts": places, "sizes": sizes}

    def states(self, **inputs: Any) -> Tensor:
        """Return the encoder's states, joined with the sum over objects (B, T, 3H)."""
        pyramid, regions = inputs.pop("pyramid"), inputs.pop("regions")
        degrees, firsts, sizes = (inputs.pop(name) for name in ("degrees", "firsts", "sizes"))
        if self.config.form == RELEASED:
            inputs = self._lengthened(inputs)
        text = self.read(**inputs).last_hidden_state
        firsts = functional.pad(firsts, (0, text.shape[1] - firsts.shape[1]), value=-1)
        with torch.no_grad():
            relation = self.relation(inputs["input_ids"], degrees, firsts, sizes, regions)
        objects = pyramid[:, :, -self.of_objects.in_features :].mean((-1, -2), dtype=self.dtype)
        objects = objects.where(regions[..., None], 0)
        mask = inputs["attention_mask"].bool()
        if self.config.form == RELEASED:
            objects = functional.pad(objects, (0, 0, 0, SLOTS - objects.shape[1]))
            regions, mask = regions.new_ones(objects.shape[:2]), torch.ones_like(mask)
        summed = self.look(text, objects, relation.to(text.dtype), mask, regions)
        return torch.cat([text, summed[:, None].expand(-1, text.shape[1], -1)], -1)

    def _lengthened(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return inputs (B, T) padded to LENGTH pieces."""
        padding = self.encoder.config.pad_token_id or 0
        more = max(0, LENGTH - inputs["input_ids"].shape[1])
        return {
            name: functional.pad(tensor, (0, more), value=padding if name == "input_ids" else 0)
            for name, tensor in inputs.items()
        }

    def relation(
        self, input_ids: Tensor, degrees: Tensor, firsts: Tensor, sizes: Tensor, regions: Tensor
    ) -> Tensor:
        """Return the structural alignment of objects and pieces (B, R, T); (B, 10, T) if released.

        input_ids, firsts: (B, T). Others as of `collate`, and the regions' mask (B, R).
        """
        crops = regions[:, 1:].sum(1) * regions[:, 0]  # of a missing picture, they have no edge
        stars = torch.from_numpy(star_features(regions.shape[1])).to(degrees)[crops]  # (B, 2, D)
        objects = stars[:, [0] + [1] * (regions.shape[1] - 1)] * regions[..., None]
        rows = torch.arange(len(firsts), device=firsts.device)[:, None]
        if self.config.form == FIXED:
            values = similarity(degrees, objects)[rows, firsts.clamp(min=0)]  # (B, T, R)
            return values.where(firsts[..., None] >= 0, 0).transpose(1, 2)
        relations = []
        edges = sizes[:, 1] + crops  # of both graphs
        for n, (words, count) in enumerate(zip(sizes[:, 0].tolist(), edges.tolist(), strict=True)):
            nodes = torch.cat([degrees[n, :words], objects[n]])
            missing = count + 1 + SLOTS - len(nodes)  # a negative number cuts nodes
            nodes = functional.pad(nodes, (0, 0, 0, missing))
            empty = [0] if self.task == "ner" else self._empty(input_ids[n], firsts[n])
            values = released_relation(released_alignment(nodes), empty, len(firsts[n]))
            relations.append(values.reshape(SLOTS, -1))
        return torch.stack(relations)

    def _empty(self, ids: Tensor, firsts: Tensor) -> list[int]:
        """Return the places of the published zero rows of a post, with head and tail exchanged.

        ids, firsts: (T,).
        """
        places = [int((ids == marker).nonzero()[0]) for marker in self.config.marker_ids]
        head, tail = (int((firsts[a:b] >= 0).sum()) for a, b in (places[:2], places[2:]))
        return [0, places[2], places[2] + head + 1, places[0], places[0] + tail + 1]

    def look(
        self, text: Tensor, objects: Tensor, relation: Tensor, mask: Tensor, there: Tensor
    ) -> Tensor:
        """Return the sum over objects of what each takes from the text (B, 2H).

        text: (B, T, H). objects: (B, R, C). relation: (B, R, T). mask: (B, T), True for pieces to
        attend to. there: (B, R), True for objects to sum.
        """
        text, objects = self.of_text(text), self.of_objects(objects)
        weights = self.attention(objects, text, mask)
        semantic = (weights @ self.value(text)).sigmoid()
        both = self.merge(torch.cat([semantic, relation @ text], -1))
        return both.where(there[..., None], 0).sum(1)

    def attention(self, objects: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """Return the objects' weights of pieces (B, R, T).

        objects: (B, R, 2H). text: (B, T, 2H). mask: (B, T).
        """
        scores = self.query(objects) @ self.key(text).transpose(1, 2) / math.sqrt(text.shape[-1])
        return scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)

    @property
    def pair_width(self) -> int:
        """The width of `pair`: 2H."""
        return 2 * self.hidden

    def pair(self, states: Tensor, markers: Tensor) -> Tensor:
        """Return the joined map of both opening markers (or [CLS]) and the picture (B, 2H)."""
        text, summed = states[..., : self.hidden], states[:, 0, self.hidden :]
        joined: Tensor = self.join(torch.cat([super().pair(text, markers), summed], -1))
        return joined

    @property
    def emission_width(self) -> int:
        """2H, the width of a word's joined map."""
        return 2 * self.hidden

    def emissions(self, tokens: Tensor) -> Tensor:
        """Return the scores (B, W, K) of the words' joined maps."""
        return super().emissions(self.join(tokens))

    def parameter_groups(self) -> list[ParameterGroup]:
        maps = [self.of_objects, self.of_text, self.query, self.key, self.value]
        own = ParameterGroup("base", [*maps, self.merge, self.join])
        return [*super().parameter_groups(), own]
