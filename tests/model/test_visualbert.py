"""VisualBERT: the same numbers as transformers' model, and the weights that it starts from."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import VisualBertConfig, VisualBertForPreTraining, VisualBertModel

from model.encoder import EncoderError, load_encoder
from model.systems import model_class
from model.zoo.visualbert import VisualBERT
from pipeline.training.build import build
from pipeline.training.config import SCRATCH, TrainConfig
from pipeline.training.encode import load_tokenizer
from pipeline.training.head_of import HEADS
from pipeline.training.vocabulary import check_vocabulary
from tests.model.test_systems import batch, make
from tests.tiny import CHANNELS, DIMS, extractor_config

LABELS = ["None", "a/b/c"]
SHAPE = {**DIMS, "visual_embedding_dim": CHANNELS[-1]}
NAMES = (  # transformers' names -> those of the original files
    ("cls.", "bert.cls."),
    ("visual_bert.", "bert.bert."),
    ("visual_token_type_embeddings", "token_type_embeddings_visual"),
    ("visual_position_embeddings", "position_embeddings_visual"),
    ("visual_projection", "projection"),
)


def scattered(module: nn.Module) -> Any:
    """Draw all weights anew, so that none is 0, 1, or a copy of another."""
    torch.manual_seed(3)
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.3)
    return module.eval()


def published() -> VisualBertModel:
    """A tiny VisualBERT of transformers."""
    model: VisualBertModel = scattered(VisualBertModel(VisualBertConfig(**SHAPE)))
    return model


def model_on(encoder: VisualBertModel, task: str = "re") -> Any:
    """Our model of a task on that encoder, in eval mode."""
    config = extractor_config(labels=5)
    config.system, config.encoder = "visualbert", encoder.config.to_dict()
    model = model_class(task, "visualbert")(config).eval()
    assert isinstance(model, VisualBERT)
    model.adopt(encoder)
    return model


def means(pyramid: Tensor) -> Tensor:
    """Each region's mean (B, R, C) of its 2×2 cells in the last block."""
    last = pyramid[:, :, -CHANNELS[-1] :]
    return (last[..., 0, 0] + last[..., 0, 1] + last[..., 1, 0] + last[..., 1, 1]) / 4


@pytest.mark.parametrize("segments", [False, True])
@torch.no_grad()
def test_states_are_those_of_transformers(segments: bool) -> None:
    encoder, given = published(), batch("visualbert", "re")
    text = {name: given[name] for name in ("input_ids", "attention_mask")}
    kinds = (torch.arange(7) > 3).long().expand(2, 7)
    expected = encoder(
        **text,
        token_type_ids=kinds if segments else None,
        visual_embeds=means(given["pyramid"]),
        visual_attention_mask=given["regions"].long(),
    ).last_hidden_state[:, :7]
    more = {"segment_ids": kinds} if segments else {}
    pictures = {name: given[name] for name in ("pyramid", "regions")}
    states = model_on(encoder).states(**text, **pictures, **more)
    real = given["attention_mask"].bool()
    torch.testing.assert_close(states[real], expected[real])


@pytest.mark.parametrize("task", ["ner", "re"])
def test_on_a_plain_bert_regions_start_as_text(task: str) -> None:
    model: Any = make("visualbert", task)
    for _ in range(2):  # a random BERT, then another one
        tables = model.encoder.embeddings
        assert torch.equal(model.regions.position[0], tables.position_embeddings.weight[0])
        assert torch.equal(model.regions.token_type[0], tables.token_type_embeddings.weight[1])
        other: Any = make("visualbert", task)
        model.adopt(scattered(other.encoder))


def folder_of(folder: Path, original: bool = False, **fields: Any) -> VisualBertForPreTraining:
    """Write a VisualBERT and its tokenizer into a folder, by original names or transformers'."""
    config = VisualBertConfig(**{**SHAPE, "pad_token_id": 1, **fields})  # as transformers has it
    model: VisualBertForPreTraining = scattered(VisualBertForPreTraining(config))
    model.save_pretrained(folder)
    special = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = special + [chr(ord("a") + n % 26) * (1 + n // 26) for n in range(60 - len(special))]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    if original:
        (folder / "model.safetensors").unlink()
        state = {}
        for key, weight in model.state_dict().items():
            for name, replacement in NAMES:
                key = key.replace(name, replacement, 1)
            state[key] = weight
        torch.save(state, folder / "pytorch_model.bin")
    return model


def no_hub(name: str) -> None:
    raise OSError("no network")


@pytest.mark.parametrize("original", [False, True])
def test_a_folder_gives_all_its_weights(
    original: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = folder_of(tmp_path, original).visual_bert.state_dict()
    encoder = load_encoder(str(tmp_path), no_hub)
    tokenizer = load_tokenizer(str(tmp_path))
    caplog.clear()  # transformers' report
    with caplog.at_level(logging.INFO):
        check_vocabulary(tokenizer, encoder.config, 60, str(tmp_path))
        model = model_on(encoder)
    assert caplog.messages == []
    for name, weight in model.encoder.state_dict().items():
        assert torch.equal(weight, source[name]), name
    own, prefix = model.regions, "embeddings.visual_"
    assert torch.equal(own.projection.weight, source[f"{prefix}projection.weight"])
    assert torch.equal(own.projection.bias, source[f"{prefix}projection.bias"])
    assert torch.equal(own.position[0], source[f"{prefix}position_embeddings.weight"][0])
    assert torch.equal(own.token_type[0], source[f"{prefix}token_type_embeddings.weight"][1])
    assert model.config.encoder["model_type"] == "bert"
    assert model.encoder.embeddings.word_embeddings.padding_idx == 0


def training(encoder: Path | str, system: str = "visualbert") -> TrainConfig:
    return TrainConfig(encoder=str(encoder), system=system, max_tokens=30)


def test_another_width_starts_the_projection_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = folder_of(tmp_path, visual_embedding_dim=16)
    with caplog.at_level(logging.INFO):
        model: Any = build(HEADS["re"], [], LABELS, training(tmp_path), None)[1]
    [line] = [line for line in caplog.messages if "projection" in line]
    assert line.endswith("starts anew: its regions have 16 channels, ours 2048")
    assert model.regions.projection.in_features == 2048
    words = source.visual_bert.embeddings.word_embeddings.weight
    rows = model.encoder.get_input_embeddings().weight
    assert torch.equal(rows[:-4], words)  # four markers are new
    [own] = model.regions.position
    assert torch.equal(own, source.visual_bert.embeddings.visual_position_embeddings.weight[0])


def test_a_scratch_encoder_is_a_bert() -> None:
    _, model = build(HEADS["re"], [], LABELS, training(SCRATCH), None)
    assert model.config.encoder["model_type"] == "bert"


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_other_encoders_are_refused(kind: str) -> None:
    config = extractor_config(kind)
    config.system = "visualbert"
    with pytest.raises(
        EncoderError, match=f"type bert or visual_bert with .*, found type '{kind}'"
    ):
        model_class("re", "visualbert")(config)


def test_a_visualbert_of_another_form_is_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, bypass_transformer=True)
    with pytest.raises(EncoderError, match="found bypass_transformer"):
        build(HEADS["re"], [], LABELS, training(tmp_path), None)


def test_other_systems_refuse_a_visualbert(tmp_path: Path) -> None:
    folder_of(tmp_path)
    with pytest.raises(EncoderError, match=r"^encoder type 'visual_bert' can't take"):
        build(HEADS["re"], [], LABELS, training(tmp_path, "hvpnet"), None)


def test_missing_weights_of_regions_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, original=True)
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    del state["bert.bert.embeddings.position_embeddings_visual.weight"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"missing, such as embeddings\.visual_position_emb"):
        load_encoder(str(tmp_path), no_hub)
