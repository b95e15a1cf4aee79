"""The captioner against greedy decoding by hand, and models that cannot be loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from features.weights import WeightsError
from pipeline.description.captioner import QUESTION, Captioner
from pipeline.description.config import DescribeConfig
from pipeline.description.describer import make_describer
from pipeline.machine import Machine
from tests.tiny_captioners import write_blip, write_git, write_llava

LENGTH = 5
PICTURES = [
    Image.new("RGB", (50, 40), "red"),
    Image.new("RGB", (30, 60), "blue"),
    Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB"),
]


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava"))


def greedy(model: Any, inputs: dict[str, Any], tokenizer: Any, stop: int) -> str:
    """Continue one picture's text by the most likely tokens, without a batch or a cache."""
    ids = inputs.pop("input_ids")
    new: list[int] = []
    inputs.pop("attention_mask", None)
    while len(new) < LENGTH and stop not in new:
        with torch.inference_mode():
            logits = model(**inputs, input_ids=ids).logits
        new.append(int(logits[0, -1].argmax()))
        ids = torch.cat([ids, torch.tensor([new[-1:]])], dim=1)
    return str(tokenizer.decode(new, skip_special_tokens=True))


@pytest.mark.parametrize("prompt", [None, "a photo of"])
def test_blip_begins_by_itself_or_continues_the_prompt(blip: Path, prompt: str | None) -> None:
    captioner = Captioner(blip, prompt, LENGTH)
    texts, model, processor = captioner.texts(PICTURES), captioner._model, captioner._processor
    words = processor.tokenizer(prompt or "", add_special_tokens=False)["input_ids"]
    start = torch.tensor([[model.config.text_config.bos_token_id, *words]])
    for picture, text in zip(PICTURES, texts, strict=True):
        inputs = {**processor(images=picture, return_tensors="pt"), "input_ids": start}
        assert text == greedy(model, inputs, processor.tokenizer, stop=3)
    assert len(set(texts)) == len(PICTURES)


@pytest.mark.parametrize("prompt", [None, "a photo of"])
def test_git_begins_by_itself_or_continues_the_prompt(tmp_path: Path, prompt: str | None) -> None:
    captioner = Captioner(write_git(tmp_path), prompt, LENGTH)
    texts, model, processor = captioner.texts(PICTURES), captioner._model, captioner._processor
    words = processor.tokenizer(prompt or "", add_special_tokens=False)["input_ids"]
    for picture, text in zip(PICTURES, texts, strict=True):
        start = torch.tensor([[processor.tokenizer.cls_token_id, *words]])
        inputs = {**processor(images=picture, return_tensors="pt"), "input_ids": start}
        assert text == greedy(model, inputs, processor.tokenizer, stop=3)
    assert len(set(texts)) > 1


@pytest.mark.parametrize("prompt", [None, "a photo of"])
def test_a_chat_model_is_asked(llava: Path, prompt: str | None) -> None:
    captioner = Captioner(llava, prompt, LENGTH)
    texts, model, processor = captioner.texts(PICTURES), captioner._model, captioner._processor
    question = f"<s> USER : <image> {prompt or QUESTION} ASSISTANT :"
    for picture, text in zip(PICTURES, texts, strict=True):
        inputs = processor(
            images=picture, text=question, add_special_tokens=False, return_tensors="pt"
        )
        assert text == greedy(model, {**inputs}, processor.tokenizer, stop=2)
    assert len(set(texts)) == len(PICTURES)


def test_length_is_that_of_new_tokens(blip: Path) -> None:
    for length in (1, 3):
        [text] = Captioner(blip, "a photo of", length).texts(PICTURES[:1])
        assert len(text.split()) == length


def test_bfloat16_computes_in_bfloat16(blip: Path) -> None:
    captioner = Captioner(blip, None, LENGTH, "bfloat16")
    assert {weight.dtype for weight in captioner._model.parameters()} == {torch.bfloat16}
    assert captioner.texts(PICTURES[:1]) != [""]


def test_a_prompt_that_the_processor_refuses(llava: Path, tmp_path: Path) -> None:
    """Without its chat template, LLaVA needs a prompt with a place for the picture."""
    shutil.copytree(llava, tmp_path / "llava")
    (tmp_path / "llava/chat_template.jinja").unlink()
    [text] = Captioner(tmp_path / "llava", "<image> a cat", 2).texts(PICTURES[:1])
    assert len(text.split()) == 2
    with pytest.raises(WeightsError, match="refuses the prompt 'a cat' or a picture: ") as error:
        Captioner(tmp_path / "llava", "a cat", 2).texts(PICTURES[:1])
    assert "\n" not in str(error.value)


def test_a_text_that_does_not_fit_into_the_model_is_one_line(blip: Path) -> None:
    with pytest.raises(WeightsError, match="cannot write 2 tokens after the prompt 'a a ") as error:
        Captioner(blip, "a " * 999, 2).texts(PICTURES[:1])
    assert "\n" not in str(error.value)


# --- models that cannot be loaded


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def change_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))


def add_layer(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (cut_off, ": "),
        (change_type, ", found a model of the type 'bert'"),
        (add_layer, ": model.safetensors lacks "),
        (remove("model.safetensors"), ", found no model.safetensors"),
        (remove("tokenizer.json"), ", found no tokenizer.json"),
        (remove("processor_config.json"), ", found no processor_config.json"),
    ],
    ids=["cut off", "another type", "another layer", "no weights", "no tokenizer", "no processor"],
)
def test_a_model_that_cannot_be_loaded_is_one_line(
    blip: Path, tmp_path: Path, change: Callable[[Path], None], found: str
) -> None:
    folder = Path(shutil.copytree(blip, tmp_path / "blip"))
    change(folder)
    with pytest.raises(WeightsError) as error:
        Captioner(folder)
    expected = f"{folder}: expected an image-to-text model and its processor{found}"
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


def test_weights_that_cannot_be_fetched_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, name: str, timeout: float) -> None:
        raise LocalEntryNotFoundError("no network\nat all")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(WeightsError) as error:
        make_describer(DescribeConfig(weights="a/b"), Machine())
    message = str(error.value)
    assert message.startswith("captioner weights 'a/b': no such folder, not in the hub's cache on")
    assert message.endswith("or use --files with texts of your own")
    assert "\n" not in message
