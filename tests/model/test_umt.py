"""UMT: its parts by themselves, a published checkpoint, and parity with the published code."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchcrf import CRF
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertLayer

from model.encoder import ENCODERS
from model.released import ReleasedError
from model.released_umt import import_umt, is_umt
from model.systems import model_class
from model.zoo._cross_layer import CrossLayer
from model.zoo._regions import picture_cells
from pipeline.corpus.post import Post
from pipeline.engine.files import read_json
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.rows import made_by
from pipeline.training.batches import Collator
from pipeline.training.import_released import import_into
from pipeline.training.saved import SavedModel
from tests.model.test_systems import PIECE_LABELS, answer, batch, make
from tests.parity.__main__ import main
from tests.tiny import CHANNELS, MINILM, SHARED, extractor_config

GOLDEN = SHARED / "golden" / "umt" / "set_a"


# --- parity


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs the shared data")
def test_parity_with_the_published_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = "umt_1"  # 7×7, a missing picture, and an I- without its B-
    for name in ("recipe.py", "state_dict.json"):
        shutil.copy(GOLDEN.parent / name, tmp_path)
    folder = tmp_path / "set"
    folder.mkdir()
    meta = read_json(GOLDEN / "meta.json")
    meta["cases"] = [one for one in meta["cases"] if one["name"] == case]
    (folder / "meta.json").write_text(json.dumps(meta))
    shutil.copy(GOLDEN / f"{case}.npz", folder)
    assert main(["umt", str(folder)]) == 0, capsys.readouterr().out


# --- parts


def test_a_cross_layer_is_a_layer_of_bert() -> None:
    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_attention_heads=4, intermediate_size=128)
    config._attn_implementation = "eager"
    expected, layer = BertLayer(config).eval(), CrossLayer(32, 4).eval()
    for weight in expected.parameters():
        nn.init.normal_(weight, std=0.3)
    layer.load_state_dict({in_cross_layer(n): t for n, t in expected.state_dict().items()})
    states, mask = torch.randn(2, 5, 32), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    bias = torch.zeros(2, 1, 1, 5).masked_fill(~mask[:, None, None], -10_000)
    torch.testing.assert_close(layer(states, states, mask), expected(states, bias))
    assert {part.eps for part in layer.modules() if isinstance(part, nn.LayerNorm)} == {1e-12}


def in_cross_layer(name: str) -> str:
    """Return the name that a parameter of transformers' BERT layer has in a CrossLayer."""
    part, kind = name.rsplit(".", 1)
    parts = {
        "attention.self.query": "query",
        "attention.self.key": "key",
        "attention.self.value": "value",
        "attention.output.dense": "merge",
        "attention.output.LayerNorm": "attention_norm",
        "intermediate.dense": "inner",
        "output.dense": "outer",
        "output.LayerNorm": "norm",
    }
    return f"{parts[part]}.{kind}"


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_encoder_fits(kind: str) -> None:
    config = extractor_config(kind, labels=5)
    config.system = "umt"
    assert answer(model_class("re", "umt")(config).eval(), batch("umt", "re")).isfinite().all()


@pytest.mark.parametrize("task", ["ner", "re"])
def test_a_missing_picture_is_an_all_zero_map(task: str) -> None:
    model, given = make("umt", task), batch("umt", task)
    zero, missing = dict(given), dict(given)
    zero["pyramid"] = given["pyramid"].clone()
    zero["pyramid"][1] = 0
    missing["regions"] = torch.tensor([[True] * 4, [False] * 4])
    assert torch.equal(answer(model, missing), answer(model, zero))
    assert not torch.allclose(answer(model, given), answer(model, zero))


@pytest.mark.parametrize("task", ["ner", "re"])
def test_only_the_last_block_of_the_whole_picture_counts(task: str) -> None:
    model, given = make("umt", task), batch("umt", task)
    other = dict(given)
    other["pyramid"] = torch.randn_like(given["pyramid"])
    other["pyramid"][:, 0, -CHANNELS[-1] :] = given["pyramid"][:, 0, -CHANNELS[-1] :]
    assert torch.equal(answer(model, other), answer(model, given))


def states_of(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inputs of `states`."""
    return {n: t for n, t in given.items() if n not in ("words", "markers", "labels")}


def test_cells_keep_their_channels() -> None:
    given = batch("umt", "re")
    cells = picture_cells(given["pyramid"], given["regions"], CHANNELS[-1])
    last = given["pyramid"][:, 0, -CHANNELS[-1] :]
    assert torch.equal(cells[1, 2], last[1, :, 1, 0])  # the second row's first cell


def test_emissions_are_half_the_classifiers_and_half_the_auxiliary_ones() -> None:
    model = make("umt", "ner")
    tokens = torch.randn(1, 1, 96)
    final, text = tokens[0, 0, :64], tokens[0, 0, 64:]
    main, auxiliary = model.classifier(final), model.auxiliary.classifier(text)
    shared = dict(zip(("PAD", "O", "B", "I", "X", "[CLS]", "[SEP]"), auxiliary, strict=True))
    for name in ("B", "I"):  # of the types a and b
        shared |= {f"{name}-a": shared[name] / 2, f"{name}-b": shared[name] / 2}
    expected = main / 2 + torch.stack([shared[label] for label in PIECE_LABELS]) / 2
    torch.testing.assert_close(model.emissions(tokens)[0, 0], expected)


def test_half_the_auxiliary_loss_is_added() -> None:
    model, given = make("umt", "ner"), batch("umt", "ner")
    states = model.states(**states_of(given))
    mask = given["words"] >= 0
    scores = model.auxiliary.classifier(states[..., 64:])
    own = torch.tensor([[5, 2, 3, 1, 4, 2, 6], [5, 2, 4, 1, 6, 0, 0]])
    auxiliary = -model.auxiliary.crf(scores, own, mask, reduction="mean")
    labels = given["labels"].clamp(min=0)
    alone = -model.crf(model.emissions(states), labels, mask, reduction="mean")
    torch.testing.assert_close(model(**given).loss, alone + auxiliary / 2)


def test_dropout_is_before_the_states_and_not_before_the_classifiers() -> None:
    model, given = make("umt", "ner"), batch("umt", "ner")
    model.dropout.train()
    first, second = (model.states(**states_of(given)) for _ in range(2))
    assert not torch.allclose(first, second)
    assert torch.equal(model.emissions(first), model.emissions(first))


def test_relations_are_read_from_the_final_states_at_the_markers() -> None:
    model, given = make("umt", "re"), batch("umt", "re")
    final = model.states(**states_of(given))
    assert final.shape == (2, 7, 64)
    pair = torch.stack([torch.cat([final[n, m] for m in given["markers"][n]]) for n in range(2)])
    torch.testing.assert_close(answer(model, given), model.classifier(pair))


def test_picture_texts_are_attended_to() -> None:
    model, given = make("umt", "ner"), batch("umt", "ner")
    given["words"] = given["words"][:, :4]
    given["segment_ids"] = (torch.arange(7) > 3).long().expand(2, 7)
    other = {**given, "input_ids": given["input_ids"].clone()}
    other["input_ids"][:, 4] = 20
    assert not torch.allclose(answer(model, other), answer(model, given))


def test_both_crfs_train_at_the_heads_rate_and_their_vectors_decay() -> None:
    model = make("umt", "ner")
    of = {m: g for g in model.parameter_groups() for part in g.modules for m in part.modules()}
    for crf in [m for m in model.modules() if isinstance(m, CRF)]:
        assert (of[crf].rate, of[crf].vectors_decay) == ("head", True)
    linear = {m: of[m].rate for m in model.modules() if isinstance(m, nn.Linear)}
    heads = {model.classifier, model.auxiliary.classifier}
    assert {m for m, rate in linear.items() if rate == "head"} == heads


@pytest.mark.parametrize("task", ["ner", "re"])
def test_bfloat16_stays_close(task: str) -> None:
    model, given = make("umt", task), batch("umt", task)
    expected = model(**given).loss
    with torch.autocast("cpu", torch.bfloat16):
        low = model(**given).loss
    low.backward()
    torch.testing.assert_close(low, expected, atol=0, rtol=0.02)


# --- a published checkpoint

LABELS = (
    *("PAD", "O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"),
    *("X", "[CLS]", "[SEP]"),
)


def checkpoint(words: int = 30, channels: int = 8) -> dict[str, Tensor]:
    """Return a small checkpoint in the published form: 64 wide, with one head."""
    config = BertConfig(
        vocab_size=words,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=256,
        max_position_embeddings=130,
    )
    torch.manual_seed(0)
    layers = ("self_attention", "self_attention_v2", "txt2img_attention", "img2txt_attention")
    parts: dict[str, nn.Module] = {
        "bert": BertModel(config),
        **{f"{name}.layer.0": BertLayer(config) for name in (*layers, "txt2txt_attention")},
        **{name: nn.Linear(channels, 64) for name in ("vismap2text", "vismap2text_v2")},
        "gate": nn.Linear(128, 64),
        "classifier": nn.Linear(128, 13),
        "aux_classifier": nn.Linear(64, 7),
        "crf": CRF(13),
        "aux_crf": CRF(7),
    }
    return {
        f"{name}.{key}": tensor.detach()
        for name, part in parts.items()
        for key, tensor in part.state_dict().items()
    }


def test_every_key_is_taken_or_named() -> None:
    state = checkpoint()
    positions = {"bert.embeddings.position_ids": torch.arange(130)[None]}
    wrapped = {f"module.{key}": t for key, t in (state | positions).items()}
    assert is_umt(wrapped)
    imported = import_umt(wrapped, LABELS)
    assert [*imported.left_out] == [*positions]
    ours = imported.model.state_dict()
    assert len(ours) == len(state)
    for name, published in {
        "region_keys.weight": "vismap2text.weight",
        "region_queries.weight": "vismap2text_v2.weight",
        "text_layer.key.bias": "self_attention_v2.layer.0.attention.self.key.bias",
        "auxiliary.layer.merge.bias": "self_attention.layer.0.attention.output.dense.bias",
        "image_to_text.outer.weight": "img2txt_attention.layer.0.output.dense.weight",
        "auxiliary.crf.transitions": "aux_crf.transitions",
        "encoder.pooler.dense.weight": "bert.pooler.dense.weight",
    }.items():
        assert torch.equal(ours[name], state[published])
    config = imported.model.config
    assert (config.system, config.grid, config.block_channels) == ("umt", 7, [1, 2, 4, 8])


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("gate.bias", None, "missing: gate.bias"),
        ("bert.embeddings.word_embeddings.weight", None, "word_embeddings.weight is missing"),
        (
            "self_attention.layer.1.output.dense.bias",
            (64,),
            "not known: self_attention.layer.1.output.dense.bias",
        ),
        ("crf.transitions", (9, 9), r"crf.transitions: expected \(13, 13\), found \(9, 9\)"),
    ],
)
def test_other_files_are_refused(key: str, shape: tuple[int, ...] | None, message: str) -> None:
    state = checkpoint()
    state.pop(key, None)
    if shape is not None:
        state[key] = torch.zeros(shape)
    with pytest.raises(ReleasedError, match=message):
        import_umt(state, LABELS)


def test_an_imported_model_tags_posts_and_names_its_pyramids(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save(checkpoint(words=30_522, channels=512), file)
    import_into(tmp_path, file, str(MINILM), posts_folder=tmp_path, longest=80)
    report = read_json(tmp_path / "report.json")
    assert (report["labels"], report["task"]) == ([*LABELS], "ner")
    assert report["keys"] == report["keys_taken"] == len(checkpoint())
    saved = SavedModel.open(tmp_path / "model")
    assert saved.longest == 128
    [encoded] = saved.encode({0: Post("0", "test", ("Ringo", "sings"))})
    given = Collator(0, saved.head.collate)([encoded])
    assert given["words"].tolist() == [[*range(len(encoded.input_ids))]]  # every piece
    pictures = {"pyramid": torch.ones(1, 1, 960, 7, 7), "regions": torch.ones(1, 1).bool()}
    tags = saved.load().eval()(**given, **pictures).tags
    assert tags.shape == given["words"].shape
    expected = made_by(ExtractConfig(backbone="resnet152", grid=7), "IMAGENET1K_V1")
    assert saved.config.pyramids == expected
