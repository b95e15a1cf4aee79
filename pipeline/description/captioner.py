"""The describer `captioner`: an image-to-text or image-text-to-text model of transformers.

A model without a chat template continues the prompt, or begins as it learned without one. A chat
model is asked the prompt, or QUESTION. Decoding is greedy.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL.Image import Image
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from features.grounding.hub import tokenizer_errors
from features.loading import BROKEN, check_weights, prepare_loading
from features.weights import WeightsError, one_line
from pipeline.description.texts import on_one_line
from pipeline.machine import BFLOAT16

QUESTION = "Describe this picture in one sentence."


def _load(folder: Path, dtype: torch.dtype) -> tuple[Any, Any, Any]:
    """Load the model, the processor of its inputs and the tokenizer of its text.

    Unpickles nothing and runs no code of the folder. Raises WeightsError.
    """
    expected = f"{folder}: expected an image-to-text model and its processor"
    prepare_loading(folder, expected)
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **safe)
        if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            raise WeightsError(f"{expected}, found a model of the type {config.model_type!r}")
        with tokenizer_errors():
            processor, tokenizer = _processors(folder, safe)
        model, info = transformers.AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # checked below: transformers' error names no key
            **safe,
        )
    except WeightsError:
        raise
    except BROKEN as error:
        raise WeightsError(f"{expected}: {one_line(error)}") from error
    check_weights(model, info, expected)
    return model, processor, tokenizer


def _processors(folder: Path, safe: dict[str, bool]) -> tuple[Any, Any]:
    """Return the processor of pictures and prompts, or of pictures alone, and the tokenizer."""
    processor = transformers.AutoProcessor.from_pretrained(folder, **safe)
    if isinstance(processor, transformers.ProcessorMixin):
        return processor, processor.tokenizer
    images = transformers.AutoImageProcessor.from_pretrained(folder, **safe)
    return images, transformers.AutoTokenizer.from_pretrained(folder, **safe)


class _Steps(transformers.LogitsProcessor):
    """Count the new tokens, without changing their scores.

    Some models return the prompt before the new tokens, others don't.
    """

    count = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return scores


class Captioner:
    """A model that writes captions."""

    def __init__(
        self,
        folder: Path,
        prompt: str | None = None,
        length: int = 40,
        precision: str = "float32",
        device: str = "cpu",
    ) -> None:
        """Load the model.

        folder: model and processor, as `save_pretrained` writes them.
        length: most new tokens.
        precision: float32 or bfloat16, of weights and computation.
        device: a torch device.

        Raises WeightsError.
        """
        self._dtype = torch.bfloat16 if precision == BFLOAT16 else torch.float32
        self._model, self._processor, self._tokenizer = _load(folder, self._dtype)
        self._model.to(device).eval()
        self._folder, self._prompt, self._length, self._device = folder, prompt, length, device
        self._tokenizer.padding_side = "left"  # new tokens follow the prompt's last one
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token

    def texts(self, pictures: Sequence[Image]) -> list[str]:
        """Return a caption for each picture, without the prompt.

        Raises WeightsError if the model or its processor refuses the prompt or a picture.
        """
        inputs = self._inputs(list(pictures)).to(self._device, self._dtype)
        steps = _Steps()
        try:
            with torch.inference_mode():
                output = self._model.generate(
                    **inputs,
                    max_new_tokens=self._length,
                    do_sample=False,
                    num_beams=1,
                    logits_processor=transformers.LogitsProcessorList([steps]),
                )
        except (ValueError, LookupError, RuntimeError) as error:
            raise WeightsError(
                f"{self._folder}: cannot write {self._length} tokens after the prompt "
                f"{self._prompt!r}: {one_line(error)}; a shorter prompt or --length may fit, and "
                "fewer pictures at once (--batch-size) need less memory"
            ) from error
        new = output[:, output.shape[1] - steps.count :]
        return [
            on_one_line(text)
            for text in self._tokenizer.batch_decode(new, skip_special_tokens=True)
        ]

    def _inputs(self, pictures: list[Image]) -> Any:
        """Return the model's inputs for pictures, all with the same prompt."""
        try:
            if getattr(self._processor, "chat_template", None):
                return self._asked(pictures)
            if self._prompt is None:
                return self._processor(images=pictures, return_tensors="pt")
            prompts = [self._prompt] * len(pictures)
            inputs = self._processor(
                images=pictures, text=prompts, padding=True, return_tensors="pt"
            )
        except (ValueError, TypeError, LookupError) as error:
            raise WeightsError(
                f"{self._folder}: its processor refuses the prompt {self._prompt!r} or a "
                f"picture: {one_line(error)}"
            ) from error
        if self._model.config.model_type == "git":
            inputs.pop("token_type_ids", None)  # GIT has none
            for name in ("input_ids", "attention_mask"):
                inputs[name] = inputs[name][:, :-1]  # without [SEP]; BLIP drops it itself
        return inputs

    def _asked(self, pictures: list[Image]) -> Any:
        """Return the inputs of a chat model that is asked about each picture."""
        question = {"type": "text", "text": self._prompt or QUESTION}
        chats = [
            [{"role": "user", "content": [{"type": "image", "image": picture}, question]}]
            for picture in pictures
        ]
        return self._processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
