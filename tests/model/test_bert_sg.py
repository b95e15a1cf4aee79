"""BERT+SG: both forms against their equations, written as plain loops."""

from typing import Any

import pytest
import torch
from torch import Tensor

from model.contract import System
from model.systems import model_class
from tests.model.test_systems import answer, batch, make
from tests.tiny import CHANNELS

FORMS = ("plain", "attention")


def of_form(form: str, head: str = "markers") -> Any:
    """A tiny model of a form, in eval mode."""
    torch.manual_seed(0)
    config = make("bert-sg", "re").config
    config.form, config.relation_head = form, head
    return model_class("re", "bert-sg")(config).eval()


def given() -> dict[str, Tensor]:
    """Two posts; the second lacks two regions, whose rows hold anything."""
    return batch("bert-sg", "re")


def entities_of(model: System, post: int) -> Tensor:
    """The joined states of a post's opening markers (2H)."""
    text = {name: given()[name] for name in ("input_ids", "attention_mask")}
    states = model.encoder(**text).last_hidden_state[post]
    return torch.cat([states[place] for place in given()["markers"][post]])


def objects_of(post: int) -> list[Tensor]:
    """A post's four objects (C): the mean of a region's 2×2 cells, or zeros."""
    objects = []
    for region, exists in zip(given()["pyramid"][post], given()["regions"][post], strict=True):
        last = region[-CHANNELS[-1] :]
        mean = (last[:, 0, 0] + last[:, 0, 1] + last[:, 1, 0] + last[:, 1, 1]) / 4
        objects.append(mean if exists else torch.zeros_like(mean))
    return objects


def test_plain_joins_the_pair_and_all_objects() -> None:
    model = of_form("plain")
    for post, logits in enumerate(answer(model, given())):
        picture = model.objects(torch.cat(objects_of(post)))
        pair = torch.cat([model.transform(entities_of(model, post)), picture])
        assert (len(pair), len(picture)) == (64 + 1024, 1024)
        torch.testing.assert_close(logits, model.classifier(pair))


def test_attention_of_the_objects_to_the_single_pair() -> None:
    """With a query and a key, which change nothing: the softmax over one key is 1."""
    model = of_form("attention")
    query, key = torch.nn.Linear(CHANNELS[-1], 32), torch.nn.Linear(64, 32)
    for post, logits in enumerate(answer(model, given())):
        entities = entities_of(model, post)
        total = torch.zeros(32)
        for vector in objects_of(post):
            scores = (query(vector) @ key(entities))[None]
            total = total + scores.softmax(0)[0] * model.value(entities) + model.objects(vector)
        merged = model.merge(torch.cat([model.transform(entities), total]))
        torch.testing.assert_close(logits, model.classifier(merged))


@pytest.mark.parametrize("form", FORMS)
def test_absent_slots_are_zeros_and_further_crops_are_not_read(form: str) -> None:
    model, posts = of_form(form), given()
    expected = answer(model, posts)
    fewer = {name: tensor[1:] for name, tensor in posts.items()}
    fewer["pyramid"], fewer["regions"] = fewer["pyramid"][:, :2], fewer["regions"][:, :2]
    torch.testing.assert_close(answer(model, fewer), expected[1:])
    more = dict(posts)
    more["pyramid"] = torch.cat([posts["pyramid"], torch.randn(2, 2, sum(CHANNELS), 2, 2)], 1)
    more["regions"] = torch.cat([posts["regions"], torch.ones(2, 2).bool()], 1)
    torch.testing.assert_close(answer(model, more), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("head", ["markers", "cls"])
def test_every_weight_is_in_one_group_and_gets_a_gradient(form: str, head: str) -> None:
    model = of_form(form, head)
    model(**given()).loss.backward()
    grouped = [p for g in model.parameter_groups() for m in g.modules for p in m.parameters()]
    assert sorted(map(id, grouped)) == sorted(map(id, model.parameters()))
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert {n for n in still if not n.startswith("encoder.")} == set()
