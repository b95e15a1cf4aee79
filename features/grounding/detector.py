"""Grounding with a zero-shot object detector of transformers: phrases in, scored boxes out.

Three families read phrases differently. Grounding DINO and MM-Grounding-DINO (LLMDet among them)
read one text, the phrases joined by ". ", and score each box against each token; a phrase's score
is the highest among its tokens. OWL-ViT and OWLv2 read a list of phrases and score each box against
each phrase. OmDet-Turbo does the same, and also reads a task, a sentence that names all phrases.
"""

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from PIL.Image import Image
from torch import Tensor
from transformers import BatchEncoding
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.utils import is_timm_available

from features.grounding import Candidate
from features.grounding.hub import missing_tokenizer_files, tokenizer_errors
from features.loading import BROKEN, check_weights, prepare_loading
from features.weights import WeightsError, one_line

SETTINGS = "detector-1"  # raise it when boxes change
MOST = 10  # candidates of a phrase
FLOOR = 0.05  # candidates that score less are dropped
JOINED = ("grounding-dino", "mm-grounding-dino")
LISTED = ("owlv2", "owlvit")
TASKED = ("omdet-turbo",)

_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
_PREPARATION = ("size", "image_mean", "image_std")
_CELL = 8  # stride of the DINOs' and OmDet's finest map, pixels
_COARSEST = 32  # stride of OmDet's coarsest map, pixels; sides of its input must be multiples

Columns = list[list[list[int]]]  # for each picture and phrase: indices of the logits' last axis
Reading = tuple[BatchEncoding, Columns]


def _read_config(folder: Path, longest_side: int | None) -> Any:
    """Read the model's configuration.

    longest_side: pixels; also the input side of a timm backbone, which accepts only one size.
    """
    config_fields = json.loads((folder / "config.json").read_bytes())
    family, known = config_fields.get("model_type"), (*JOINED, *LISTED, *TASKED)
    if family not in known:
        types = ", ".join(known)
        raise WeightsError(f"{folder}: expected a detector of the types {types}, found {family!r}")
    if family in TASKED and not config_fields.get("backbone_config"):
        # The class has defaults for the backbone; with these settings, transformers asks the hub.
        config_fields.pop("backbone_kwargs", None)
    config = transformers.AutoConfig.for_model(**config_fields)
    if longest_side is not None and "img_size" in getattr(config, "timm_kwargs", {}):
        config.timm_kwargs["img_size"] = max(_COARSEST, longest_side - longest_side % _COARSEST)
    return config


def _load(folder: Path, longest_side: int | None) -> tuple[Any, Any, Tokenizer]:
    """Load the model, in float32, the image processor and the tokenizer.

    Unpickles nothing and runs no code of the folder. Raises WeightsError.
    """
    expected = f"{folder}: expected a zero-shot detector and its processor"
    prepare_loading(folder, expected)
    try:
        config = _read_config(folder, longest_side)
        safe = {"config": config, "local_files_only": True, "trust_remote_code": False}
        images = transformers.AutoImageProcessor.from_pretrained(folder, **safe)
        with tokenizer_errors():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
        backbone = getattr(config, "backbone_config", None)
        if getattr(backbone, "model_type", None) == "timm_backbone" and not is_timm_available():
            raise WeightsError(f"{folder}: this detector's backbone needs timm: pip install timm")
        safe |= {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        safe["ignore_mismatched_sizes"] = True  # checked below: transformers' error names no key
        detector = transformers.AutoModelForZeroShotObjectDetection
        model, info = detector.from_pretrained(folder, **safe)
    except WeightsError:
        raise
    except BROKEN as error:
        raise WeightsError(f"{expected}: {one_line(error)}") from error
    _check_tokenizer(tokenizer, config, folder, expected)
    _check_processor(folder, expected)
    check_weights(model, info, expected)
    return model, images, tokenizer


def _check_processor(folder: Path, expected: str) -> None:
    """Raise WeightsError if the processor's file lacks a setting: transformers uses defaults."""
    name = next(name for name in _PROCESSORS if (folder / name).is_file())
    settings = json.loads((folder / name).read_bytes())
    lacking = [
        field for field in _PREPARATION if field not in settings.get("image_processor", settings)
    ]
    if lacking:
        raise WeightsError(f"{expected}: {name} lacks {', '.join(lacking)}")


def _check_tokenizer(tokenizer: Tokenizer, config: Any, folder: Path, expected: str) -> None:
    """Raise WeightsError if files of the tokenizer are missing or the detector lacks its tokens."""
    if missing := missing_tokenizer_files(tokenizer.vocab_files_names, folder):
        raise WeightsError(f"{expected}: the tokenizer's files are missing: {missing}")
    words = tokenizer.get_vocab()
    if not set(words.values()) - {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}:
        raise WeightsError(f"{expected}, found a tokenizer with only {len(words)} special tokens")
    rows = getattr(getattr(config, "text_config", None), "vocab_size", None)
    size = max(words.values()) + 1
    if rows is not None and size > rows:
        raise WeightsError(
            f"{expected}: the tokenizer has {size:,} tokens, but the model knows only {rows:,}"
        )


class _Query(NamedTuple):
    phrase: str
    text: str  # the phrase as the model reads it


def _one_sentence(phrase: str) -> str:
    """Convert to lower case, as the processor does; remove the punctuation that ends a phrase."""
    return " ".join(phrase.lower().replace(".", " ").replace("?", " ").split())


def _shorten(text: str, most: int, tokenizer: Tokenizer) -> tuple[str, int]:
    """Cut a text after `most` tokens; return it and the number of its tokens."""
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(spans) > most:
        text = text[: spans[most - 1][1]]
    return text, min(len(spans), most)


def _join(posts: list[list[str]], tokenizer: Tokenizer) -> Reading:
    """Encode one joined text for each post.

    A phrase's columns are its tokens by their position in the text: its words may occur twice.
    """
    joined = [". ".join(texts) + "." for texts in posts]
    encoded = tokenizer(joined, padding=True, return_offsets_mapping=True, return_tensors="pt")
    columns: Columns = []
    for texts, spans in zip(posts, encoded.pop("offset_mapping").tolist(), strict=True):
        columns.append([])
        begin = 0
        for text in texts:
            end = begin + len(text)
            columns[-1].append([t for t, (a, b) in enumerate(spans) if begin <= a < b <= end])
            begin = end + len(". ")
    return encoded, columns


def _list(posts: list[list[str]], tokenizer: Tokenizer, most: int, tasked: bool) -> Reading:
    """Encode a list of texts for each post, all lists of the same length, `most` tokens a text.

    A short list is filled up with its first text. OmDet's own filling, zeros, would change its
    boxes: it keeps those that fit any text best. With `tasked`, a task names each post's texts in
    alphabetical order, so that their order does not matter; a task that is too long is cut.
    """
    longest = max(map(len, posts))
    texts = [text for post in posts for text in post + post[:1] * (longest - len(post))]
    columns = [[[i] for i in range(len(post))] for post in posts]
    tokens = partial(
        tokenizer, padding="max_length", truncation=True, max_length=most, return_tensors="pt"
    )
    if not tasked:
        return tokens(texts), columns
    tasks = [f"Detect {', '.join(sorted(set(post)))}." for post in posts]
    encoded = {"classes_structure": torch.full((len(posts),), longest)}
    encoded |= {f"classes_{name}": value for name, value in tokens(texts).items()}
    encoded |= {f"tasks_{name}": value for name, value in tokens(tasks).items()}
    return BatchEncoding(encoded), columns


def _best(phrase: str, boxes: Tensor, scores: Tensor) -> list[Candidate]:
    """Return a phrase's candidates, given all boxes (n, 4) in pixels and their scores (n,)."""
    broken = scores.isnan()
    boxes = boxes.masked_fill(broken[:, None], math.nan)
    scores = scores.masked_fill(broken, 1.0)
    order = scores.argsort(descending=True, stable=True)[:MOST]
    order = order[scores[order] >= FLOOR]
    kept = zip(boxes[order].tolist(), scores[order].tolist(), strict=True)
    return [Candidate(phrase, (x0, y0, x1, y1), score) for (x0, y0, x1, y1), score in kept]


class Detector:
    """A grounder with a zero-shot detector; scores are sigmoids of the model's logits."""

    name = "detector"
    joint = True
    one_size = True

    def __init__(
        self,
        folder: Path,
        precision: str = "float32",
        longest_side: int | None = None,
        device: str = "cpu",
    ) -> None:
        """Load the detector.

        folder: model and processor, as `save_pretrained` writes them.
        precision: float32 or bfloat16.
        longest_side: of the model's input, in pixels; the processor's limit for the shortest side
            changes in proportion. None keeps the processor's limits.
        device: a torch device.

        Raises WeightsError, also if the longest side is too short for the model.
        """
        assert precision in ("float32", "bfloat16")
        self._model, self._images, self._tokenizer = _load(folder, longest_side)
        self._model.to(device).eval()
        self._config = self._model.config
        self._joined = self._config.model_type in JOINED
        self._listed = self._config.model_type in LISTED
        self._longest = longest_side
        if longest_side is not None and longest_side < self._least_side():
            raise WeightsError(
                f"longest side must be at least {self._least_side()} pixels for the detector in "
                f"{folder}, got {longest_side}"
            )
        self._device, self._half = device, precision == "bfloat16"

    def find(
        self, pictures: Sequence[Image], phrases: Sequence[Sequence[str]]
    ) -> list[list[Candidate]]:
        """Return the candidates of each picture for its phrases, the best first.

        pictures: upright, RGB, all of one size. A phrase has at most MOST candidates, all with a
        score of at least FLOOR. If a score is NaN, the candidate gets the score 1 and a box of NaN,
        so that the check of boxes rejects and counts it.
        """
        assert len({picture.size for picture in pictures}) <= 1
        candidates: list[list[Candidate]] = [[] for _ in pictures]
        calls = [self._calls(texts) for texts in phrases]
        for turn in range(max(map(len, calls), default=0)):
            batch = [i for i, queries in enumerate(calls) if turn < len(queries)]
            answers = self._detect([pictures[i] for i in batch], [calls[i][turn] for i in batch])
            for i, answer in zip(batch, answers, strict=True):
                candidates[i] += answer
        return [sorted(boxes, key=lambda candidate: -candidate.score) for boxes in candidates]

    def _calls(self, phrases: Sequence[str]) -> list[list[_Query]]:
        """Split a picture's phrases into calls: one, unless the joined text would be too long."""
        if not self._joined:
            queries = [_Query(phrase, phrase) for phrase in phrases if phrase.strip()]
            return [queries] if queries else []
        calls: list[list[_Query]] = []
        limit = self._config.max_text_len - 2  # [CLS] and [SEP]
        room = 0
        for phrase in phrases:
            text, length = _shorten(_one_sentence(phrase), limit - 1, self._tokenizer)
            if length == 0:
                continue
            if length + 1 > room:  # with the full stop after it
                calls.append([])
                room = limit
            calls[-1].append(_Query(phrase, text))
            room -= length + 1
        return calls

    def _detect(self, pictures: list[Image], queries: list[list[_Query]]) -> list[list[Candidate]]:
        """Call the model once; return each picture's candidates, in the order of its queries."""
        width, height = pictures[0].size
        size = self._input_size(width, height)
        if self._config.model_type == "owlv2":
            # Its processor blurs at the picture's full size: seconds and gigabytes for a photo.
            reduced = max(1, max(width, height) // (2 * size["width"]))
            pictures = [picture.reduce(reduced) for picture in pictures]
        pixels = self._images(pictures, size=size, return_tensors="pt")
        texts, columns = self._read([[query.text for query in calls] for calls in queries])
        # The OWLs learned positions for one input size. Interpolation leaves that size unchanged.
        extra = {"interpolate_pos_encoding": True} if self._listed else {}
        inputs = {**pixels.to(self._device), **texts.to(self._device), **extra}
        kind = torch.device(self._device).type
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=self._half):
            output = self._model(**inputs)
        tasked = not (self._joined or self._listed)
        boxes = output.decoder_coord_logits if tasked else output.pred_boxes
        logits = output.decoder_class_logits if tasked else output.logits
        boxes = self._in_pixels(boxes.float().cpu(), width, height)
        scores = logits.float().sigmoid().cpu()  # (B, boxes, tokens or phrases)
        return [
            [
                candidate
                for query, places in zip(queries[i], columns[i], strict=True)
                for candidate in _best(query.phrase, boxes[i], scores[i][:, places].amax(dim=1))
            ]
            for i in range(len(pictures))
        ]

    def _read(self, posts: list[list[str]]) -> Reading:
        """Return the model's text inputs, and for each text its columns of the logits."""
        if self._joined:
            return _join(posts, self._tokenizer)
        most = self._config.text_config.max_position_embeddings
        return _list(posts, self._tokenizer, most, tasked=not self._listed)

    def _input_size(self, width: int, height: int) -> dict[str, int]:
        """Return height and width in pixels of the model's input for a picture's size.

        The input need not keep the picture's proportions, because boxes are shares of its sides. So
        a picture that is too narrow for the model's number of queries is widened.
        """
        size = dict(self._images.size)
        if "longest_edge" not in size:  # a square for all pictures
            if self._longest is None:
                return size
            return dict.fromkeys(("height", "width"), self._longest - self._longest % self._step())
        longest = self._longest or size["longest_edge"]
        shortest = round(longest * size["shortest_edge"] / size["longest_edge"])
        rows, columns = get_size_with_aspect_ratio((height, width), shortest, longest)
        least = math.ceil(self._least_side() ** 2 / max(rows, columns))
        return {"height": max(rows, least), "width": max(columns, least)}

    def _least_side(self) -> int:
        """Return the smallest longest side in pixels: a patch, or a map position for each query."""
        least = 1 if self._listed else _CELL * math.sqrt(self._config.num_queries)
        return math.ceil(least / self._step()) * self._step()

    def _step(self) -> int:
        """Return the pixels of which the side of a square input must be a multiple."""
        if self._listed:
            return self._config.vision_config.patch_size
        return 1 if self._joined else _COARSEST

    def _in_pixels(self, boxes: Tensor, width: int, height: int) -> Tensor:
        """Convert boxes (B, n, 4) to x0, y0, x1, y1 in pixels of the picture.

        The model gives centre, width and height as shares of its input. OWLv2's processor pads a
        picture to a square, right and below; the others only resize.
        """
        if self._config.model_type == "owlv2":
            width = height = max(width, height)
        halves = boxes.new_tensor([-0.5, -0.5, 0.5, 0.5])
        corners = boxes[..., [0, 1, 0, 1]] + boxes[..., [2, 3, 2, 3]] * halves
        return corners * boxes.new_tensor([width, height, width, height])
