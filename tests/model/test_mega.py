"""MEGA: its alignment and its forms, a published checkpoint, and parity with the published code."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.contract import System
from model.released import ReleasedError
from model.released_mega import MARKERS, import_mega, is_mega
from model.systems import model_class
from model.zoo._alignment import (
    BUCKETS,
    SLOTS,
    degree_features,
    released_alignment,
    released_relation,
    similarity,
    star_features,
)
from pipeline.corpus.post import Post
from pipeline.errors import DataError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.rows import made_by
from pipeline.grounding import dependencies
from pipeline.training.import_released import import_into
from pipeline.training.saved import SavedModel, check_pyramids
from tests.model.test_systems import answer, batch, make
from tests.parity.__main__ import main
from tests.tiny import CHANNELS, MINILM, SHARED, extractor_config

GOLDEN = SHARED / "golden" / "mega" / "set_a"
GRAPH = [(1, 0), (1, 2), (2, 3), (2, 4), (5, 6), (7, 8)]  # nodes 9 and 10 are alone


# --- parity


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs the shared data")
def test_parity_with_the_published_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("recipe.py", "state_dict.json"):
        shutil.copy(GOLDEN.parent / name, tmp_path)
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("meta.json", "re_1.npz", "released_graphs.npz"):  # a post without objects
        shutil.copy(GOLDEN / name, folder)
    assert main(["mega", str(folder)]) == 0, capsys.readouterr().out


# --- alignment


def test_features_count_degrees_around_a_node() -> None:
    features = degree_features(GRAPH, 11)
    assert not features[9:].any()
    # Degrees: 1 for nodes 0, 3 to 8; 2 for node 1; 3 for node 2. Buckets: 0 of 1; 1 of 2 and 3.
    assert features[0, :3].tolist() == [1.0, 0.01 + 0.0001, 0]
    assert features[2, :3] == pytest.approx([0.02 + 0.0001, 1 + 0.01, 0])
    star = degree_features([(0, n) for n in range(1, 300)], 300)
    assert star[0] == pytest.approx([2.99, *[0] * (BUCKETS - 2), 1])


@pytest.mark.parametrize("seed", [0, 1])
def test_the_closed_form_is_that_of_landmarks_and_svd(seed: int) -> None:
    draw = np.random.default_rng(seed)
    features = degree_features(draw.integers(0, 12, (14, 2)).tolist(), 15)
    kernel = np.exp(-np.linalg.norm(features[:, None] - features[None], axis=-1))
    landmarks = draw.permutation(len(features))  # min(10 · log₂ N, N) of them: all
    close = kernel[:, landmarks]
    u, s, _ = np.linalg.svd(np.linalg.pinv(close[landmarks]))
    places = close @ u @ np.diag(np.sqrt(s))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    expected = np.exp(-np.linalg.norm(places[:, None] - places[None], axis=-1))
    nodes = torch.from_numpy(features)
    # Equal features are a root of 0 apart, which rounding makes a root of 1e-14.
    np.testing.assert_allclose(similarity(nodes, nodes), expected, atol=1e-6)


def test_stars_are_graphs_of_a_picture_and_its_crops() -> None:
    stars = star_features(4)
    assert stars.shape == (4, 2, BUCKETS)
    assert not stars[0].any()
    expected = degree_features([(0, 1), (0, 2), (0, 3)], 4)
    assert np.array_equal(stars[3], expected[:2])


def test_a_row_keeps_its_five_largest_values_the_first_of_equals() -> None:
    features = torch.zeros(12, BUCKETS)
    features[0, 0] = features[9, 0] = 1.0
    alignment = released_alignment(features)
    assert alignment.shape == (2, SLOTS)
    assert (alignment > 0).nonzero()[:, 1].tolist() == [0, 1, 2, 3, 7, 0, 1, 2, 3, 4]
    assert alignment[0, 7] == 1


def test_the_loaders_rows_are_inserted_one_after_the_other() -> None:
    alignment = torch.arange(5.0)[:, None] + torch.zeros(5, SLOTS)
    relation = released_relation(alignment, [0, 3, 1], 7)
    assert relation[:, 0].tolist() == [0, 0, 1, 2, 0, 3, 4]


# --- forms


def aligned(model: System, given: dict[str, Tensor]) -> Tensor:
    """The alignment of objects and pieces."""
    names = ("input_ids", "degrees", "firsts", "sizes", "regions")
    inputs = {name: given[name] for name in names}
    length = max(inputs["input_ids"].shape[1], 128 * (model.config.form == "released"))
    for name, value in (("input_ids", 0), ("firsts", -1)):
        more = length - inputs[name].shape[1]
        inputs[name] = functional.pad(inputs[name], (0, more), value=value)
    relation: Tensor = model.get_submodule("").relation(**inputs)
    return relation


def test_fixed_values_are_at_the_first_pieces_of_words() -> None:
    model, given = make("mega", "re"), batch("mega", "re")
    relation = aligned(model, given)  # the second post: two words, the picture and a crop
    words = degree_features([(0, 1)], 2)
    expected = torch.zeros(4, 7)
    expected[:2, [1, 3]] = similarity(*(torch.from_numpy(words).float(),) * 2).T
    torch.testing.assert_close(relation[1, :2], expected[:2])
    assert (relation[1][:, [0, 2, 4, 5, 6]] == 0).all()


def released(task: str, positions: int = 128) -> System:
    """A tiny model in form released, whose markers are pieces of the first post of `batch`."""
    torch.manual_seed(0)
    config = extractor_config(labels=5)
    config.encoder["max_position_embeddings"] = positions
    config.system, config.form = "mega", "released"
    config.marker_ids = batch("mega", task)["input_ids"][0, [0, 2, 3, 6]].tolist()
    return model_class(task, "mega")(config).eval()


def test_released_values_are_of_the_joined_graph_and_read_row_by_row() -> None:
    given = {name: tensor[:1] for name, tensor in batch("mega", "re").items()}
    found = aligned(released("re"), given)[0]
    # Words 0 to 3 with three edges, then the picture 4 and its three crops.
    edges = [(1, 0), (1, 2), (2, 3), (4, 5), (4, 6), (4, 7)]
    nodes = torch.from_numpy(degree_features(edges, len(edges) + 1 + SLOTS)).float()
    # The head's markers hold one first piece, the tail's two.
    rows = released_relation(released_alignment(nodes), [0, 3, 5, 0, 3], 128)
    torch.testing.assert_close(found, rows.flatten().view(SLOTS, 128))


@pytest.mark.parametrize("task", ["ner", "re"])
def test_the_released_form_reads_128_pieces_and_ten_objects(task: str) -> None:
    model = released(task)
    given = {name: tensor[:1] for name, tensor in batch("mega", task).items()}
    before = answer(model, given)
    more = {"input_ids": 0, "attention_mask": 0, "firsts": -1}
    longer = given | {
        name: functional.pad(given[name], (0, 9), value=value) for name, value in more.items()
    }
    torch.testing.assert_close(answer(model, longer), before)
    states = model.states(**{n: t for n, t in given.items() if n not in HEADS})
    assert states.shape[1] == 128
    with torch.no_grad():  # an absent slot has the biases alone
        model.get_submodule("of_objects").bias += 1
    given["regions"] = torch.zeros_like(given["regions"])
    none = answer(model, given)
    with torch.no_grad():
        model.get_submodule("of_objects").bias += 1
    assert not torch.allclose(answer(model, given), none)


HEADS = ("words", "markers", "labels")


@pytest.mark.parametrize("task", ["ner", "re"])
def test_a_fixed_post_without_regions_reads_its_text_alone(task: str) -> None:
    model, given = make("mega", task), batch("mega", task)
    given["regions"] = torch.zeros_like(given["regions"])
    states = model.states(**{n: t for n, t in given.items() if n not in HEADS})
    assert not states[..., 32:].any()


@pytest.mark.parametrize("task", ["ner", "re"])
def test_graph_and_picture_count(task: str) -> None:
    model, given = make("mega", task), batch("mega", task)
    before = answer(model, given)
    for name in ("degrees", "pyramid"):
        other = given | {name: given[name] + 1.0}
        assert not torch.allclose(answer(model, other), before), name
    other = given | {"pyramid": given["pyramid"].clone()}
    other["pyramid"][:, :, : -CHANNELS[-1]] = 0  # blocks 1 to 3
    assert torch.equal(answer(model, other), before)


def test_pieces_of_picture_texts_belong_to_no_word() -> None:
    model, given = make("mega", "ner"), batch("mega", "ner")
    given["firsts"] = given["firsts"][:, :5]  # text pieces behind: collate knows none
    assert answer(model, given).isfinite().all()


# --- words' edges


def test_without_a_parser_no_word_has_an_edge_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dependencies, "installed", lambda: False)
    dependencies._parser.cache_clear()
    for _ in range(2):
        assert dependencies.dependency_edges([("a", "b"), ()]) == [[], []]
    dependencies._parser.cache_clear()
    [line] = caplog.messages
    assert line.startswith("spaCy or its model is not installed: no word is joined")


@pytest.mark.skipif(not dependencies.installed(), reason="needs spaCy and its English model")
def test_edges_are_those_of_dependencies_without_roots() -> None:
    edges, none = dependencies.dependency_edges([("Tom", "sings", "old", "songs"), ()])
    assert sorted(edges) == [(1, 0), (1, 3), (3, 2)]
    assert none == []


# --- a published checkpoint


def checkpoint(words: int = 60) -> dict[str, Tensor]:
    """A published state dict of a small encoder."""
    config = extractor_config(labels=5)
    size = {"hidden_size": 64, "num_attention_heads": 1, "max_position_embeddings": 128}
    config.encoder |= size | {"vocab_size": words}
    config.system, config.form = "mega", "released"
    config.block_channels = [8, 16, 32, 64]
    names = {
        "encoder.": "bert.",
        "of_objects.": "linear_pic.",
        "of_text.": "linear_hidden.",
        "query.": "linear_q.",
        "key.": "linear_k.",
        "value.": "linear_v.",
        "merge.": "linear_final1.",
        "join.": "linear_final.",
    }
    state = {}
    for name, tensor in model_class("re", "mega")(config).state_dict().items():
        part = next((p for p in names if name.startswith(p)), None)
        if part is None:
            state[f"fc.{name.removeprefix('classifier.')}"] = tensor
        else:
            state[f"sentence_encoder.{names[part]}{name.removeprefix(part)}"] = tensor
    for name in ("linear", "linear_merge"):
        state[f"sentence_encoder.{name}.weight"] = torch.zeros(128, 128)
    return state


def test_a_checkpoint_is_converted_key_by_key() -> None:
    state = checkpoint()
    assert is_mega({f"module.{key}": tensor for key, tensor in state.items()})
    imported = import_mega(state, [*"abcde"])
    unused = [f"sentence_encoder.{name}.weight" for name in ("linear", "linear_merge")]
    assert [*imported.left_out] == unused
    ours = imported.model.state_dict()
    assert len(ours) == len(state) - 2
    assert torch.equal(ours["merge.weight"], state["sentence_encoder.linear_final1.weight"])
    assert torch.equal(ours["join.bias"], state["sentence_encoder.linear_final.bias"])
    assert torch.equal(ours["classifier.weight"], state["fc.weight"])
    config = imported.model.config
    assert (config.system, config.form, config.marker_ids) == ("mega", "released", [*MARKERS])
    state["sentence_encoder.linear_more.bias"] = torch.zeros(1)
    with pytest.raises(ReleasedError, match="not known: sentence_encoder"):
        import_mega(state, [*"abcde"])


def test_an_imported_model_opens_and_refuses_the_rows_of_a_backbone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mega.pth.tar"
    torch.save({"state_dict": checkpoint(words=30_522)}, file)
    labels = "pipeline.training.import_released.load_labels"
    monkeypatch.setattr(labels, lambda *_: [*"abcde"])
    import_into(tmp_path, file, str(MINILM), posts_folder=tmp_path, longest=80)
    saved = SavedModel.open(tmp_path / "model")
    assert saved.longest == 128
    post = Post("0", "test", ("Ringo", "sings"), relation="b", head=(0, 1), tail=(1, 2))
    [encoded] = saved.encode({0: post})
    assert encoded.input_ids[1:4:2] == [1, 2]  # [unused0], Ringo's one piece, [unused1]
    given = saved.collator(None)([encoded])
    pictures = {"pyramid": torch.ones(1, 1, 120, 2, 2), "regions": torch.ones(1, 1).bool()}
    assert saved.load().eval()(**given, **pictures).logits.shape == (1, 5)
    rows: Any = SimpleNamespace(made_by=made_by(ExtractConfig(), "IMAGENET1K_V1"))
    with pytest.raises(DataError, match="with backbone of a scene-graph detector; found backbone"):
        check_pyramids(saved.config, rows, tmp_path)
