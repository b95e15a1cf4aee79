"""OCSGA: its equations, computed word by word with the published code's order of steps."""

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from model.config import ExtractorConfig
from model.systems import model_class
from model.zoo.ocsga import OCSGA

IDS = [5, 2, 9]
WORDS = ["ab", "c", "a"]


@pytest.fixture
def model() -> Any:
    torch.manual_seed(5)
    config = ExtractorConfig(
        system="ocsga",
        variant="text-only",
        words=12,
        characters="abc",
        knowledge_tokens=8,
        id2label=dict(enumerate("wxyz")),
    )
    made = model_class("ner", "ocsga")(config)
    for name, weight in made.named_parameters():
        if "norm" in name:  # away from 1 and 0, so that a mistake shows
            nn.init.normal_(weight, 1.0, 0.3)
    norm = cast(nn.BatchNorm1d, made.norm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_(0, 0.2)
    norm.running_var.uniform_(0.5, 2)
    return made.eval()


def given(texts: list[list[int]]) -> dict[str, Tensor]:
    """One post for each text, with the same sentence; ids of the texts' words behind it."""
    width = 3 + max(map(len, texts))
    ids = torch.zeros(len(texts), width, dtype=torch.long)
    segments = torch.zeros_like(ids)
    for n, text in enumerate(texts):
        ids[n, : 3 + len(text)] = torch.tensor([*IDS, *text])
        segments[n, 3 : 3 + len(text)] = 1
    config = ExtractorConfig(characters="abc")
    prepared = [OCSGA.prepare(config, WORDS, range(3)) for _ in texts]
    mask = (ids > 0).long()
    return {"input_ids": ids, "attention_mask": mask, "segment_ids": segments} | OCSGA.collate(
        prepared
    )


def norm(part: Any, x: Tensor) -> Tensor:
    rows = [
        part.gain * (row - row.mean()) / (math.sqrt(row.var(unbiased=True)) + 1e-6) + part.bias
        for row in x
    ]
    return torch.stack(rows)


def attended(part: Any, queries: Tensor, keys: Tensor, there: list[bool]) -> Tensor:
    """Attention of two heads of 100, without residual and normalisation."""
    heads = []
    q, k, v = part.query(queries), part.key(keys), part.value(keys)
    for head in (slice(0, 100), slice(100, 200)):
        rows = []
        for row in q[:, head]:
            scores = [float(row @ key) / 10 for key in k[:, head]]
            scores = [s if real else -1e9 for s, real in zip(scores, there, strict=True)]
            weights = torch.tensor(scores).softmax(0)
            rows.append((weights[:, None] * v[:, head]).sum(0))
        heads.append(torch.stack(rows))
    return cast(Tensor, part.merge(torch.cat(heads, 1)))


@torch.no_grad()
def expected(model: Any, objects: list[int], there: list[bool]) -> Tensor:
    letters = {"a": 2, "b": 3, "c": 4}
    rows = []
    for id, word in zip(IDS, WORDS, strict=True):
        sequence = model.characters(torch.tensor([[letters[c] for c in word]]))
        ends = model.spelling(sequence)[1][0][:, 0].flatten()
        rows.append(torch.cat([model.vectors.weight[id], ends]))
    x = model.lstm(torch.stack(rows)[None])[0][0]
    e = norm(model.words_to_words.norm, x + attended(model.words_to_words, x, x, [True] * 3))
    e = norm(model.of_words.norm, e + model.of_words.maps(e))
    y = model.of_objects(model.objects.weight[objects])
    y = norm(model.objects_to_objects.norm, y + attended(model.objects_to_objects, y, y, there))
    z = norm(model.words_to_objects.norm, attended(model.words_to_objects, e, y, there))
    z = norm(model.of_guided.norm, model.of_guided.maps(z))
    batch = model.norm
    scale = batch.weight / (batch.running_var + batch.eps).sqrt()
    return cast(Tensor, (x + z - batch.running_mean) * scale + batch.bias)


@torch.no_grad()
def test_states_are_the_published_steps(model: Any) -> None:
    found = model.states(**given([[7, 8], [], [3, 4, 6, 7, 8]]))
    for row, objects, there in (
        (0, [7, 8, 0, 0], [True, True, False, False]),
        (1, [0, 0, 0, 0], [False] * 4),
        (2, [3, 4, 6, 7], [True] * 4),  # four at most
    ):
        torch.testing.assert_close(
            found[row], expected(model, objects, there), atol=2e-5, rtol=1e-4
        )


@torch.no_grad()
def test_a_batch_without_texts_has_empty_objects(model: Any) -> None:
    batch = given([[]])
    del batch["segment_ids"]
    torch.testing.assert_close(
        model.states(**batch)[0], expected(model, [0] * 4, [False] * 4), atol=2e-5, rtol=1e-4
    )


def test_statistics_are_of_real_words(model: Any) -> None:
    model.train()
    states = torch.randn(2, 3, 200)
    real = torch.tensor([[True, True, True], [True, False, False]])
    found = model._normalised(states, real)
    own = states[real]
    deviation = own.var(0, unbiased=False).add(model.norm.eps).sqrt()
    plain = (own - own.mean(0)) / deviation * model.norm.weight + model.norm.bias
    torch.testing.assert_close(found[real], plain, atol=1e-5, rtol=1e-5)
    alone = model._normalised(states[:1, :1], real[:1, :1])  # no deviation to learn from
    assert torch.equal(alone, states[:1, :1])


def test_vectors_of_objects_are_given_and_frozen(model: Any) -> None:
    model.fill({4: torch.full((200,), 3.0).numpy()})
    assert (model.objects.weight[4] == 3).all()
    assert not model.objects.weight.requires_grad
