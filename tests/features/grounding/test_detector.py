import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor, BertConfig

from features.grounding import Candidate, Grounder
from features.grounding.detector import FLOOR, MOST, Detector, _join
from features.weights import WeightsError
from tests.tiny_detectors import (
    CLASS_LENGTH,
    LONGEST,
    QUERY_LENGTH,
    SHORTEST,
    SIDE,
    TEXT_LENGTH,
    WRITERS,
)

KINDS = list(WRITERS)
DINOS = ["mm-grounding-dino", "grounding-dino"]
OWLS = ["owlv2", "owlvit"]
OMDET = "omdet-turbo"
PHRASES = [["Red cat", "a big dog in the house"], ["man"], [], ["the blue house", "old man", "Dog"]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("detectors")
    return {kind: write(root / kind) for kind, write in WRITERS.items()}


@pytest.fixture(scope="module")
def detectors(folders: dict[str, Path]) -> dict[str, Detector]:
    return {kind: Detector(folder) for kind, folder in folders.items()}


def picture(seed: int, size: tuple[int, int] = (90, 60)) -> Image.Image:
    """Draw a picture of blurred colours."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(cells).resize(size)


@contextmanager
def inputs_of(detector: Detector) -> Iterator[list[dict[str, Any]]]:
    """Record the inputs of each call of the model."""
    calls: list[dict[str, Any]] = []
    handle = detector._model.register_forward_pre_hook(
        lambda model, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    yield calls
    handle.remove()


@contextmanager
def answers_set(detector: Detector, logits: float) -> Iterator[list[torch.Tensor]]:
    """Make the model return `logits`, NaN for query 0's score and for a side of query 1's box.

    Yields a list of the boxes of each call.
    """
    handle = detector._model.register_forward_hook(lambda model, args, output: change(output))
    recorded: list[torch.Tensor] = []

    def change(output: Any) -> None:
        is_omdet = "decoder_class_logits" in output
        scores = output["decoder_class_logits" if is_omdet else "logits"]
        boxes = output["decoder_coord_logits" if is_omdet else "pred_boxes"]
        scores[:] = logits
        scores[:, 0] = torch.nan
        boxes[:, 1, 2] = torch.nan
        recorded.append(boxes)

    yield recorded
    handle.remove()


def of(phrase: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.phrase == phrase]


def assert_close(first: Sequence[Candidate], second: Sequence[Candidate]) -> None:
    """Compare phrases, boxes and scores; only rounding may differ."""
    assert [c.phrase for c in first] == [c.phrase for c in second]
    np.testing.assert_allclose([c.box for c in first], [c.box for c in second], atol=2e-3)
    np.testing.assert_allclose([c.score for c in first], [c.score for c in second], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_the_best_of_each_phrase(kind: str, detectors: dict[str, Detector]) -> None:
    grounder: Grounder = detectors[kind]
    candidates = grounder.find([picture(i) for i in range(4)], PHRASES)
    assert [{c.phrase for c in boxes} for boxes in candidates] == [set(texts) for texts in PHRASES]
    for boxes in candidates:
        scores = [c.score for c in boxes]
        assert scores == sorted(scores, reverse=True)
        assert all(FLOOR <= score <= 1 for score in scores)
        assert all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in (c.box for c in boxes))
        assert all(
            len(of(phrase, boxes)) <= MOST for phrase in {c.phrase for c in boxes if c.phrase}
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_alone_is_as_in_a_batch(kind: str, detectors: dict[str, Detector]) -> None:
    pictures = [picture(i) for i in range(4)]
    candidates = detectors[kind].find(pictures, PHRASES)
    assert candidates[0] != candidates[3]
    for alone, texts, together in zip(pictures, PHRASES, candidates, strict=True):
        assert_close(detectors[kind].find([alone], [texts])[0], together)


@pytest.mark.parametrize("kind", KINDS)
def test_phrases_do_not_depend_on_their_order(kind: str, detectors: dict[str, Detector]) -> None:
    forth = detectors[kind].find([picture(1)], [PHRASES[3]])[0]
    back = detectors[kind].find([picture(1)], [PHRASES[3][::-1]])[0]
    for phrase in PHRASES[3]:
        assert_close(of(phrase, forth), of(phrase, back))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_phrases_have_the_same_candidates(kind: str, detectors: dict[str, Detector]) -> None:
    twice = detectors[kind].find([picture(1)], [["dog", "dog"]])[0]
    assert_close(twice[::2], twice[1::2])
    assert len(twice) == 2 * MOST


def direct(folder: Path, image: Image.Image, phrases: list[str]) -> tuple[Any, Any, Any]:
    """Run a detector as transformers documents it; return processor, its inputs, the output."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=image, text=[phrases], return_tensors="pt")
    with torch.inference_mode():
        return processor, inputs, model(**inputs)


@pytest.mark.parametrize("size", [(90, 60), (50, 120), (64, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_boxes_are_those_of_the_processor(
    kind: str,
    size: tuple[int, int],
    folders: dict[str, Path],
    detectors: dict[str, Detector],
) -> None:
    image = picture(5, size)
    processor, _, output = direct(folders[kind], image, ["red cat"])
    omdets = {"nms_threshold": 1.0} if kind == OMDET else {}
    expected = processor.post_process_grounded_object_detection(
        output, threshold=0.0, target_sizes=[size[::-1]], **omdets
    )[0]
    candidates = detectors[kind].find([image], [["red cat"]])[0]
    boxes = torch.tensor([c.box for c in candidates])
    if kind == OMDET:  # its processor clamps them to the picture
        boxes = boxes.clamp(min=0).minimum(torch.tensor(size * 2))
    rows = (expected["boxes"][None] - boxes[:, None]).abs().amax(-1)
    assert rows.amin(dim=1).max() < 2e-3
    if kind not in DINOS:  # their processor scores a box by any token
        scores = expected["scores"].sort(descending=True).values[:MOST]
        np.testing.assert_allclose([c.score for c in candidates], scores, atol=1e-5)


@pytest.mark.parametrize("kind", DINOS)
def test_a_phrase_is_scored_over_its_own_tokens(
    kind: str, folders: dict[str, Path], detectors: dict[str, Detector]
) -> None:
    # [CLS] red cat . a dog ##s . cat . [SEP]
    tokens = {"red cat": (1, 2), "a dogs": (4, 5, 6), "cat": (8,)}
    _, inputs, output = direct(folders[kind], picture(5), list(tokens))
    assert inputs["input_ids"].shape == (1, 11)
    candidates = detectors[kind].find([picture(5)], [list(tokens)])[0]
    for phrase, places in tokens.items():
        scores = []
        for query in output.logits[0].double().tolist():
            scores.append(max(1 / (1 + np.exp(-query[t])) for t in places))
        expected = sorted(scores, reverse=True)[:MOST]
        np.testing.assert_allclose([c.score for c in of(phrase, candidates)], expected, atol=1e-5)


def test_tokens_are_assigned_by_their_position(detectors: dict[str, Detector]) -> None:
    posts = [["red cat", "a dogs", "cat"], ["man"]]
    _, columns = _join(posts, detectors["grounding-dino"]._tokenizer)
    assert columns == [[[1, 2], [4, 5, 6], [8]], [[1]]]


@pytest.mark.parametrize("kind", DINOS)
def test_no_phrase_makes_a_special_token(kind: str, detectors: dict[str, Detector]) -> None:
    with inputs_of(detectors[kind]) as calls:
        detectors[kind].find([picture(1)], [["a [SEP] cat [CLS]", "[PAD]"]])
    assert [calls[0]["input_ids"][0].tolist().count(i) for i in (101, 102, 0)] == [1, 1, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_given_what_its_processor_makes(
    kind: str, folders: dict[str, Path], detectors: dict[str, Detector]
) -> None:
    phrases = ["Red CAT", "dogs", "the Old Man"]  # in the order in which a task names them
    expected = AutoProcessor.from_pretrained(folders[kind])(
        images=picture(5), text=[phrases], return_tensors="pt"
    )
    with inputs_of(detectors[kind]) as calls:
        detectors[kind].find([picture(5)], [phrases])
    assert set(calls[0]) - {"interpolate_pos_encoding"} == set(expected)
    for name, value in expected.items():
        assert torch.equal(calls[0][name], value), name


@pytest.mark.parametrize("kind", DINOS)
@pytest.mark.parametrize(
    ("size", "shape"), [((90, 60), (86, 129)), ((90, 30), (48, 144)), ((30, 90), (144, 48))]
)
def test_the_longest_side_is_as_set(
    kind: str, size: tuple[int, int], shape: tuple[int, int], folders: dict[str, Path]
) -> None:
    assert round(144 * SHORTEST / LONGEST) == 86
    detector = Detector(folders[kind], longest_side=144)
    with inputs_of(detector) as calls:
        detector.find([picture(5, size)], [["cat"]])
    assert calls[0]["pixel_values"].shape[2:] == shape


@pytest.mark.parametrize("kind", [*OWLS, OMDET])
def test_the_square_is_of_whole_patches(kind: str, folders: dict[str, Path]) -> None:
    detector = Detector(folders[kind], longest_side=127)
    with inputs_of(detector) as calls:
        candidates = detector.find([picture(5)], [["cat"]])[0]
    side = 96 if kind == OMDET else 120
    assert calls[0]["pixel_values"].shape[2:] == (side, side)
    assert len(candidates) == MOST


@pytest.mark.parametrize("kind", KINDS)
def test_too_small_a_side_is_refused(kind: str, folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"^longest side must be at least \d+ pixels .* got 7$"):
        Detector(folders[kind], longest_side=7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_side_is_enough(
    kind: str, folders: dict[str, Path], detectors: dict[str, Detector]
) -> None:
    detector = Detector(folders[kind], longest_side=detectors[kind]._least_side())
    assert detector.find([picture(1)], [["cat"]])[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (2, 500), (600, 3)])
def test_odd_pictures_are_survived(
    kind: str, size: tuple[int, int], detectors: dict[str, Detector]
) -> None:
    candidates = detectors[kind].find([picture(1, size), picture(2, size)], [["cat"], ["dog"]])
    assert [len(boxes) for boxes in candidates] == [MOST, MOST]


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_used_and_near(
    kind: str, folders: dict[str, Path], detectors: dict[str, Detector]
) -> None:
    detector = Detector(folders[kind], precision="bfloat16")
    kinds = set()
    for module in detector._model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, args, output: kinds.add(output.dtype))
    rough = detector.find([picture(1)], [["cat"]])[0]
    exact = detectors[kind].find([picture(1)], [["cat"]])[0]
    assert kinds == {torch.bfloat16}
    np.testing.assert_allclose([c.score for c in rough], [c.score for c in exact], atol=0.06)


@pytest.mark.parametrize("kind", DINOS)
def test_phrases_that_do_not_fit_take_another_call(
    kind: str, detectors: dict[str, Detector]
) -> None:
    many = [
        f"the {colour} {thing}" for colour in ("red", "blue") for thing in ("cat", "dog", "man")
    ]
    few = ["house"]
    with inputs_of(detectors[kind]) as calls:
        candidates = detectors[kind].find([picture(1), picture(2)], [many, few])
    # 24 tokens, minus [CLS] and [SEP], hold five phrases of three words and a full stop
    assert [tuple(call["input_ids"].shape) for call in calls] == [(2, 22), (1, 6)]
    first = detectors[kind].find([picture(1)], [many[:5]])[0]
    for phrase in many[:5]:
        assert_close(of(phrase, candidates[0]), of(phrase, first))
    assert_close(of(many[5], candidates[0]), detectors[kind].find([picture(1)], [many[5:]])[0])
    assert_close(candidates[1], detectors[kind].find([picture(2)], [few])[0])


@pytest.mark.parametrize("kind", DINOS)
def test_a_phrase_too_long_is_cut(kind: str, detectors: dict[str, Detector]) -> None:
    words = ["red", "old", "big", "dog"] * 10
    with inputs_of(detectors[kind]) as calls:
        candidates = detectors[kind].find([picture(1)], [[" ".join(words), "cat"]])[0]
    assert [call["input_ids"].shape[1] for call in calls] == [TEXT_LENGTH, 4]
    fits = " ".join(words[: TEXT_LENGTH - 3])
    expected = detectors[kind].find([picture(1)], [[fits]])[0]
    cut = of(" ".join(words), candidates)
    assert_close(cut, [Candidate(cut[0].phrase, c.box, c.score) for c in expected])


@pytest.mark.parametrize("kind", OWLS)
def test_a_query_too_long_is_cut(kind: str, detectors: dict[str, Detector]) -> None:
    with inputs_of(detectors[kind]) as calls:
        candidates = detectors[kind].find([picture(1)], [["red old big dog " * 10]])[0]
    assert calls[0]["input_ids"].shape == (1, QUERY_LENGTH)
    assert len(candidates) == MOST


def test_a_class_too_long_is_cut_and_so_is_the_task(detectors: dict[str, Detector]) -> None:
    phrases = ["red old big dog " * 10, "the cat"]
    with inputs_of(detectors[OMDET]) as calls:
        candidates = detectors[OMDET].find([picture(1)], [phrases])[0]
    assert calls[0]["classes_input_ids"].shape == (2, CLASS_LENGTH)
    assert calls[0]["tasks_input_ids"].shape == (1, CLASS_LENGTH)
    assert [len(of(phrase, candidates)) for phrase in phrases] == [MOST, MOST]


def test_a_task_names_each_phrase_once(detectors: dict[str, Detector]) -> None:
    with inputs_of(detectors[OMDET]) as calls:
        detectors[OMDET].find([picture(1), picture(2)], [["dog", "cat", "dog"], ["man"]])
    read = detectors[OMDET]._tokenizer.batch_decode
    tasks = read(calls[0]["tasks_input_ids"], skip_special_tokens=True)
    expected = read(
        detectors[OMDET]._tokenizer(["Detect cat, dog.", "Detect man."])["input_ids"],
        skip_special_tokens=True,
    )
    assert tasks == expected


def test_each_picture_has_as_many_classes(detectors: dict[str, Detector]) -> None:
    with inputs_of(detectors[OMDET]) as calls:
        detectors[OMDET].find([picture(i) for i in range(4)], PHRASES)
    assert calls[0]["classes_structure"].tolist() == [3, 3, 3]
    assert len(calls[0]["classes_input_ids"]) == 9


@pytest.mark.parametrize("kind", DINOS)
def test_punctuation_that_ends_a_phrase_is_removed(
    kind: str, detectors: dict[str, Detector]
) -> None:
    signs = detectors[kind].find([picture(1)], [["Old.dog?", "cat"]])[0]
    plain = detectors[kind].find([picture(1)], [["old dog", "cat"]])[0]
    assert_close(of("cat", signs), of("cat", plain))
    cleaned = of("Old.dog?", signs)
    assert_close(cleaned, [Candidate("Old.dog?", c.box, c.score) for c in of("old dog", plain)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_phrase_is_left_out(kind: str, detectors: dict[str, Detector]) -> None:
    candidates = detectors[kind].find([picture(1), picture(2)], [["", "cat", "  "], [" "]])
    assert_close(candidates[0], detectors[kind].find([picture(1)], [["cat"]])[0])
    assert candidates[1] == []


@pytest.mark.parametrize("kind", DINOS)
def test_a_phrase_without_tokens_has_no_candidates(
    kind: str, detectors: dict[str, Detector]
) -> None:
    candidates = detectors[kind].find([picture(1)], [["...", "\u200b", "cat"]])[0]
    assert_close(candidates, detectors[kind].find([picture(1)], [["cat"]])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_nan_is_passed_on(kind: str, detectors: dict[str, Detector]) -> None:
    with answers_set(detectors[kind], logits=2.0):
        candidates = detectors[kind].find([picture(1)], [["cat"]])[0]
    assert candidates[0].score == 1
    assert np.isnan(candidates[0].box).all()
    assert candidates[1].score == pytest.approx(0.8808, abs=1e-4)
    assert np.isnan(candidates[1].box).tolist() == [True, False, True, False]
    assert np.isfinite([c.box for c in candidates[2:]]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_scores_keep_the_order_of_phrases_and_boxes(
    kind: str, detectors: dict[str, Detector]
) -> None:
    with answers_set(detectors[kind], logits=2.0) as boxes:
        candidates = detectors[kind].find([picture(1)], [["cat", "dog"]])[0]
    assert [c.phrase for c in candidates] == [
        *("cat", "dog"),
        *["cat"] * (MOST - 1),
        *["dog"] * (MOST - 1),
    ]
    expected = detectors[kind]._in_pixels(boxes[0], 90, 60)[0, 1:MOST]
    np.testing.assert_allclose([c.box for c in candidates[2 : MOST + 1]], expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_low_scores_are_dropped(kind: str, detectors: dict[str, Detector]) -> None:
    with answers_set(detectors[kind], logits=-2.95):  # a score of 0.0497
        candidates = detectors[kind].find([picture(1)], [["cat"]])[0]
    assert len(candidates) == 1  # the NaN


def test_a_detector_declares_its_properties(folders: dict[str, Path]) -> None:
    detector = Detector(folders["owlv2"])
    assert (detector.name, detector.joint, detector.one_size) == ("detector", True, True)


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "found no config.json"),
        ("model.safetensors", "found no model.safetensors or model.safetensors.index.json"),
        ("processor_config.json", "found no processor_config.json or preprocessor_config.json"),
        ("tokenizer.json", "found no tokenizer.json or vocab.txt or vocab.json"),
    ],
)
def test_a_missing_file_is_named(
    file: str, message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["owlv2"], tmp_path / "model")
    (folder / file).unlink()
    with pytest.raises(WeightsError) as error:
        Detector(folder)
    expected = f"{folder}: expected a zero-shot detector and its processor, {message}"
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("vocab.json", "{}", r"files are missing: vocab.txt \(or tokenizer.json\)"),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "only 5 special tokens"),
        ("vocab.txt", "\n".join(f"word{n}" for n in range(1999)), "tokens, but the model knows"),
    ],
)
def test_a_tokenizer_without_its_files_is_refused(
    file: str, text: str, message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["mm-grounding-dino"], tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / file).write_text(text)
    with pytest.raises(WeightsError, match=f"{folder}: expected a zero-shot .*{message}"):
        Detector(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none: expected .* found no config\.json, no model"):
        Detector(tmp_path / "none")


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["mm-grounding-dino", "owlv2"])
def test_a_file_cut_short_is_an_error(
    kind: str, file: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders[kind], tmp_path / "model")
    (folder / file).write_bytes((folder / file).read_bytes()[:-200])
    with pytest.raises(WeightsError) as error:
        Detector(folder)
    assert str(error.value).startswith(f"{folder}: expected a zero-shot detector")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["many", -3, None])
def test_a_wrong_setting_is_an_error(
    value: object, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["mm-grounding-dino"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"d_model": value}))
    with pytest.raises(WeightsError, match="expected a zero-shot detector"):
        Detector(folder)


def test_weights_that_lack_a_tensor_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["owlv2"], tmp_path / "model")
    state = load_file(folder / "model.safetensors")
    del state["box_head.dense0.bias"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        WeightsError, match=r"lacks 1 of the weights, such as box_head\.dense0\.bias$"
    ):
        Detector(folder)


def change_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] -= 1
    (folder / "config.json").write_text(json.dumps(config))


def change_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (folder / "config.json").write_text(json.dumps(config))


def spoil_weight(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    state["box_head.dense0.bias"][0] = float("nan")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def drop_size(folder: Path) -> None:
    processor = json.loads((folder / "processor_config.json").read_text())
    del processor["image_processor"]["size"]
    (folder / "processor_config.json").write_text(json.dumps(processor))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            change_layers,
            r"json has no layer for 16 of the weights, such as owlv2.text_model.encoder.layers.\d",
        ),
        (
            change_width,
            r"weights have another shape than config.json says, such as .*: expected \(",
        ),
        (spoil_weight, r"the weight box_head.dense0.bias holds values that are not finite$"),
        (drop_size, r"processor_config.json lacks size$"),
    ],
)
def test_faults_that_transformers_hides_are_refused(
    change: Callable[[Path], None], message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["owlv2"], tmp_path / "model")
    change(folder)
    with pytest.raises(WeightsError, match=message):
        Detector(folder)


def test_a_bare_error_of_the_tokenizers_is_one_line(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = copy(folders["owlv2"], tmp_path / "model")
    text = '{"version": "1.0", "added_tokens": [], "model": {"type": "Nope"}}'
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(WeightsError, match=r"expected a zero-shot detector .*untagged enum"):
        Detector(folder)


def test_another_kind_of_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = copy(folders["owlv2"], tmp_path / "model")
    BertConfig().save_pretrained(folder)
    with pytest.raises(WeightsError, match=r"types grounding-dino, .* omdet-turbo, found 'bert'$"):
        Detector(folder)


# Settings for a timm backbone, in today's form and in the older form of the published files.
TIMMS = [
    {"backbone_config": {"model_type": "timm_backbone", "backbone": "swin_tiny"}},
    {
        "backbone_config": None,
        "backbone": "swin_tiny",
        "backbone_kwargs": {"img_size": SIDE, "out_indices": [1, 2, 3], "always_partition": True},
        "use_timm_backbone": True,
    },
]


@pytest.mark.parametrize("settings", TIMMS)
def test_without_timm_its_backbone_is_refused(
    settings: dict[str, object],
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = copy(folders[OMDET], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    monkeypatch.setattr("features.grounding.detector.is_timm_available", lambda: False)
    monkeypatch.setattr(
        "huggingface_hub.HfApi.repo_exists", lambda *_: pytest.fail("contacted the hub")
    )
    with pytest.raises(WeightsError) as error:
        Detector(folder)
    assert str(error.value) == f"{folder}: this detector's backbone needs timm: pip install timm"


def test_owlv2_gets_reduced_photos(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector(folders["owlv2"])
    sizes: list[tuple[int, int]] = []
    images = detector._images

    def watched(pictures: list[Image.Image], **options: object) -> object:
        sizes.extend(picture.size for picture in pictures)
        return images(pictures, **options)

    monkeypatch.setattr(detector, "_images", watched)
    monkeypatch.setattr(watched, "size", images.size, raising=False)
    candidates = detector.find([picture(5, (16 * SIDE, 8 * SIDE))], [["cat"]])[0]
    assert sizes == [(2 * SIDE, SIDE)]
    assert max(candidate.box[2] for candidate in candidates) > 2 * SIDE  # pixels of the picture
