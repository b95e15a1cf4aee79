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
    """Blurred colours."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(cells).resize(size)


@contextmanager
def inputs_of(detector: Detector) -> Iterator[list[dict[str, Any]]]:
    """What the model is given, call by call."""
    seen: list[dict[str, Any]] = []
    handle = detector._model.register_forward_pre_hook(
        lambda model, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    yield seen
    handle.remove()


@contextmanager
def answers_set(detector: Detector, logits: float) -> Iterator[list[torch.Tensor]]:
    """The model gives these logits everywhere, save query 0's and 1's: those stay, in a list."""
    handle = detector._model.register_forward_hook(lambda model, args, output: change(output))
    kept: list[torch.Tensor] = []

    def change(output: Any) -> None:
        is_omdet = "decoder_class_logits" in output
        scores = output["decoder_class_logits" if is_omdet else "logits"]
        boxes = output["decoder_coord_logits" if is_omdet else "pred_boxes"]
        scores[:] = logits
        scores[:, 0] = torch.nan
        boxes[:, 1, 2] = torch.nan
        kept.append(boxes)

    yield kept
    handle.remove()


def of(phrase: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.phrase == phrase]


def assert_close(one: Sequence[Candidate], other: Sequence[Candidate]) -> None:
    """The same phrases, boxes and scores. Rounding is all that may differ."""
    assert [c.phrase for c in one] == [c.phrase for c in other]
    np.testing.assert_allclose([c.box for c in one], [c.box for c in other], atol=2e-3)
    np.testing.assert_allclose([c.score for c in one], [c.score for c in other], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_the_best_of_each_phrase(kind: str, detectors: dict[str, Detector]) -> None:
    grounder: Grounder = detectors[kind]
    found = grounder.find([picture(i) for i in range(4)], PHRASES)
    assert [{c.phrase for c in own} for own in found] == [set(own) for own in PHRASES]
    for own in found:
        scores = [c.score for c in own]
        assert scores == sorted(scores, reverse=True)
        assert all(FLOOR <= score <= 1 for score in scores)
        assert all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in (c.box for c in own))
        assert all(len(of(phrase, own)) <= MOST for phrase in {c.phrase for c in own if c.phrase})


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_alone_is_as_in_a_batch(kind: str, detectors: dict[str, Detector]) -> None:
    pictures = [picture(i) for i in range(4)]
    found = detectors[kind].find(pictures, PHRASES)
    assert found[0] != found[3]
    for alone, own, together in zip(pictures, PHRASES, found, strict=True):
        assert_close(detectors[kind].find([alone], [own])[0], together)


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
    """Processor, its inputs and the model's output, by transformers' own way."""
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
    wanted = processor.post_process_grounded_object_detection(
        output, threshold=0.0, target_sizes=[size[::-1]], **omdets
    )[0]
    found = detectors[kind].find([image], [["red cat"]])[0]
    boxes = torch.tensor([c.box for c in found])
    if kind == OMDET:  # whose processor cuts them off at the picture's edges
        boxes = boxes.clamp(min=0).minimum(torch.tensor(size * 2))
    rows = (wanted["boxes"][None] - boxes[:, None]).abs().amax(-1)
    assert rows.amin(dim=1).max() < 2e-3
    if kind not in DINOS:  # whose own score is that of any token
        scores = wanted["scores"].sort(descending=True).values[:MOST]
        np.testing.assert_allclose([c.score for c in found], scores, atol=1e-5)


@pytest.mark.parametrize("kind", DINOS)
def test_a_phrase_is_scored_over_its_own_tokens(
    kind: str, folders: dict[str, Path], detectors: dict[str, Detector]
) -> None:
    # [CLS] red cat . a dog ##s . cat . [SEP]
    tokens = {"red cat": (1, 2), "a dogs": (4, 5, 6), "cat": (8,)}
    _, inputs, output = direct(folders[kind], picture(5), list(tokens))
    assert inputs["input_ids"].shape == (1, 11)
    found = detectors[kind].find([picture(5)], [list(tokens)])[0]
    for phrase, own in tokens.items():
        scores = []
        for query in output.logits[0].double().tolist():
            scores.append(max(1 / (1 + np.exp(-query[t])) for t in own))
        wanted = sorted(scores, reverse=True)[:MOST]
        np.testing.assert_allclose([c.score for c in of(phrase, found)], wanted, atol=1e-5)


def test_tokens_are_told_by_where_they_stand(detectors: dict[str, Detector]) -> None:
    posts = [["red cat", "a dogs", "cat"], ["man"]]
    _, columns = _join(posts, detectors["grounding-dino"]._tokenizer)
    assert columns == [[[1, 2], [4, 5, 6], [8]], [[1]]]


@pytest.mark.parametrize("kind", DINOS)
def test_no_phrase_makes_a_special_token(kind: str, detectors: dict[str, Detector]) -> None:
    with inputs_of(detectors[kind]) as seen:
        detectors[kind].find([picture(1)], [["a [SEP] cat [CLS]", "[PAD]"]])
    assert [seen[0]["input_ids"][0].tolist().count(i) for i in (101, 102, 0)] == [1, 1, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_given_what_its_processor_makes(
    kind: str, folders: dict[str, Path], detectors: dict[str, Detector]
) -> None:
    phrases = ["Red CAT", "dogs", "the Old Man"]  # in the order in which a task names them
    wanted = AutoProcessor.from_pretrained(folders[kind])(
        images=picture(5), text=[phrases], return_tensors="pt"
    )
    with inputs_of(detectors[kind]) as seen:
        detectors[kind].find([picture(5)], [phrases])
    assert set(seen[0]) - {"interpolate_pos_encoding"} == set(wanted)
    for name, value in wanted.items():
        assert torch.equal(seen[0][name], value), name


@pytest.mark.parametrize("kind", DINOS)
@pytest.mark.parametrize(
    ("size", "shape"), [((90, 60), (86, 129)), ((90, 30), (48, 144)), ((30, 90), (144, 48))]
)
def test_the_longest_side_is_what_it_is_set_to(
    kind: str, size: tuple[int, int], shape: tuple[int, int], folders: dict[str, Path]
) -> None:
    assert round(144 * SHORTEST / LONGEST) == 86
    detector = Detector(folders[kind], longest_side=144)
    with inputs_of(detector) as seen:
        detector.find([picture(5, size)], [["cat"]])
    assert seen[0]["pixel_values"].shape[2:] == shape


@pytest.mark.parametrize("kind", [*OWLS, OMDET])
def test_the_square_is_of_whole_patches(kind: str, folders: dict[str, Path]) -> None:
    detector = Detector(folders[kind], longest_side=127)
    with inputs_of(detector) as seen:
        found = detector.find([picture(5)], [["cat"]])[0]
    side = 96 if kind == OMDET else 120
    assert seen[0]["pixel_values"].shape[2:] == (side, side)
    assert len(found) == MOST


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
    found = detectors[kind].find([picture(1, size), picture(2, size)], [["cat"], ["dog"]])
    assert [len(own) for own in found] == [MOST, MOST]


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
def test_what_does_not_fit_is_asked_later(kind: str, detectors: dict[str, Detector]) -> None:
    many = [
        f"the {colour} {thing}" for colour in ("red", "blue") for thing in ("cat", "dog", "man")
    ]
    few = ["house"]
    with inputs_of(detectors[kind]) as seen:
        found = detectors[kind].find([picture(1), picture(2)], [many, few])
    # 24 tokens less [CLS] and [SEP]: five phrases of three words and a full stop
    assert [tuple(call["input_ids"].shape) for call in seen] == [(2, 22), (1, 6)]
    first = detectors[kind].find([picture(1)], [many[:5]])[0]
    for phrase in many[:5]:
        assert_close(of(phrase, found[0]), of(phrase, first))
    assert_close(of(many[5], found[0]), detectors[kind].find([picture(1)], [many[5:]])[0])
    assert_close(found[1], detectors[kind].find([picture(2)], [few])[0])


@pytest.mark.parametrize("kind", DINOS)
def test_a_phrase_too_long_is_cut(kind: str, detectors: dict[str, Detector]) -> None:
    words = ["red", "old", "big", "dog"] * 10
    with inputs_of(detectors[kind]) as seen:
        found = detectors[kind].find([picture(1)], [[" ".join(words), "cat"]])[0]
    assert [call["input_ids"].shape[1] for call in seen] == [TEXT_LENGTH, 4]
    fits = " ".join(words[: TEXT_LENGTH - 3])
    wanted = detectors[kind].find([picture(1)], [[fits]])[0]
    own = of(" ".join(words), found)
    assert_close(own, [Candidate(own[0].phrase, c.box, c.score) for c in wanted])


@pytest.mark.parametrize("kind", OWLS)
def test_a_query_too_long_is_cut(kind: str, detectors: dict[str, Detector]) -> None:
    with inputs_of(detectors[kind]) as seen:
        found = detectors[kind].find([picture(1)], [["red old big dog " * 10]])[0]
    assert seen[0]["input_ids"].shape == (1, QUERY_LENGTH)
    assert len(found) == MOST


def test_a_class_too_long_is_cut_and_so_is_the_task(detectors: dict[str, Detector]) -> None:
    phrases = ["red old big dog " * 10, "the cat"]
    with inputs_of(detectors[OMDET]) as seen:
        found = detectors[OMDET].find([picture(1)], [phrases])[0]
    assert seen[0]["classes_input_ids"].shape == (2, CLASS_LENGTH)
    assert seen[0]["tasks_input_ids"].shape == (1, CLASS_LENGTH)
    assert [len(of(phrase, found)) for phrase in phrases] == [MOST, MOST]


def test_a_task_names_each_phrase_once(detectors: dict[str, Detector]) -> None:
    with inputs_of(detectors[OMDET]) as seen:
        detectors[OMDET].find([picture(1), picture(2)], [["dog", "cat", "dog"], ["man"]])
    read = detectors[OMDET]._tokenizer.batch_decode
    tasks = read(seen[0]["tasks_input_ids"], skip_special_tokens=True)
    wanted = read(
        detectors[OMDET]._tokenizer(["Detect cat, dog.", "Detect man."])["input_ids"],
        skip_special_tokens=True,
    )
    assert tasks == wanted


def test_each_picture_has_as_many_classes(detectors: dict[str, Detector]) -> None:
    with inputs_of(detectors[OMDET]) as seen:
        detectors[OMDET].find([picture(i) for i in range(4)], PHRASES)
    assert seen[0]["classes_structure"].tolist() == [3, 3, 3]
    assert len(seen[0]["classes_input_ids"]) == 9


@pytest.mark.parametrize("kind", DINOS)
def test_signs_that_end_a_phrase_are_taken_out(kind: str, detectors: dict[str, Detector]) -> None:
    signs = detectors[kind].find([picture(1)], [["Old.dog?", "cat"]])[0]
    plain = detectors[kind].find([picture(1)], [["old dog", "cat"]])[0]
    assert_close(of("cat", signs), of("cat", plain))
    own = of("Old.dog?", signs)
    assert_close(own, [Candidate("Old.dog?", c.box, c.score) for c in of("old dog", plain)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_phrase_is_not_asked(kind: str, detectors: dict[str, Detector]) -> None:
    found = detectors[kind].find([picture(1), picture(2)], [["", "cat", "  "], [" "]])
    assert_close(found[0], detectors[kind].find([picture(1)], [["cat"]])[0])
    assert found[1] == []


@pytest.mark.parametrize("kind", DINOS)
def test_a_phrase_without_tokens_has_no_candidates(
    kind: str, detectors: dict[str, Detector]
) -> None:
    found = detectors[kind].find([picture(1)], [["...", "\u200b", "cat"]])[0]
    assert_close(found, detectors[kind].find([picture(1)], [["cat"]])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_number_is_handed_on(kind: str, detectors: dict[str, Detector]) -> None:
    with answers_set(detectors[kind], logits=2.0):
        found = detectors[kind].find([picture(1)], [["cat"]])[0]
    assert found[0].score == 1
    assert np.isnan(found[0].box).all()
    assert found[1].score == pytest.approx(0.8808, abs=1e-4)
    assert np.isnan(found[1].box).tolist() == [True, False, True, False]
    assert np.isfinite([c.box for c in found[2:]]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_scores_keep_the_order_of_phrases_and_boxes(
    kind: str, detectors: dict[str, Detector]
) -> None:
    with answers_set(detectors[kind], logits=2.0) as boxes:
        found = detectors[kind].find([picture(1)], [["cat", "dog"]])[0]
    assert [c.phrase for c in found] == ["cat", "dog"] + ["cat"] * (MOST - 1) + ["dog"] * (MOST - 1)
    wanted = detectors[kind]._in_pixels(boxes[0], 90, 60)[0, 1:MOST]
    np.testing.assert_allclose([c.box for c in found[2 : MOST + 1]], wanted, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_low_scores_are_dropped(kind: str, detectors: dict[str, Detector]) -> None:
    with answers_set(detectors[kind], logits=-2.95):  # a score of 0.0497
        found = detectors[kind].find([picture(1)], [["cat"]])[0]
    assert len(found) == 1  # the one that is no number


def test_settings_are_taken(folders: dict[str, Path]) -> None:
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
        ("model.safetensors", "found no model.safetensors"),
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
    wanted = f"{folder}: expected a zero-shot detector and its processor, {message}"
    assert str(error.value) == wanted


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("vocab.json", "{}", r"files are missing: vocab.txt \(or tokenizer.json\)"),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", "5 special pieces alone"),
        ("vocab.txt", "\n".join(f"word{n}" for n in range(1999)), "pieces, the model"),
    ],
)
def test_a_tokenizer_that_transformers_makes_up_is_refused(
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
    with pytest.raises(WeightsError, match=r"lacks 1, as box_head\.dense0\.bias$"):
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
        (change_layers, r"config.json has no layer for 16, as owlv2.text_model.encoder.layers.\d"),
        (change_width, r"weights have another shape than config.json says, as .*: expected \("),
        (spoil_weight, r"the weight box_head.dense0.bias holds values that are not finite$"),
        (drop_size, r"processor_config.json lacks size$"),
    ],
)
def test_what_transformers_would_make_up_or_pass_over_is_refused(
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


# A backbone of timm's, as files tell it: by itself, and as the published ones, which are older.
TIMMS = [
    {"backbone_config": {"model_type": "timm_backbone", "backbone": "swin_tiny"}},
    {
        "backbone_config": None,
        "backbone": "swin_tiny",
        "backbone_kwargs": {"img_size": SIDE, "out_indices": [1, 2, 3], "always_partition": True},
        "use_timm_backbone": True,
    },
]


@pytest.mark.parametrize("told", TIMMS)
def test_without_timm_its_backbone_is_refused(
    told: dict[str, object],
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = copy(folders[OMDET], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | told))
    monkeypatch.setattr("features.grounding.detector.is_timm_available", lambda: False)
    monkeypatch.setattr(
        "huggingface_hub.HfApi.repo_exists", lambda *_: pytest.fail("asked the hub")
    )
    with pytest.raises(WeightsError) as error:
        Detector(folder)
    assert str(error.value) == f"{folder}: this detector's backbone needs timm: pip install timm"


def test_owlv2_gets_no_photo_in_its_own_size(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector(folders["owlv2"])
    given: list[tuple[int, int]] = []
    images = detector._images

    def seen(pictures: list[Image.Image], **options: object) -> object:
        given.extend(picture.size for picture in pictures)
        return images(pictures, **options)

    monkeypatch.setattr(detector, "_images", seen)
    monkeypatch.setattr(seen, "size", images.size, raising=False)
    found = detector.find([picture(5, (16 * SIDE, 8 * SIDE))], [["cat"]])[0]
    assert given == [(2 * SIDE, SIDE)]
    assert max(candidate.box[2] for candidate in found) > 2 * SIDE  # pixels of the picture
