"""Tests of the published grounding network: parity, checkpoints, anchors, words, frame, trunk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from features.grounding import words as words_module
from features.grounding.anchors import ANCHORS, COCO_ANCHORS, FLICKR_ANCHORS, trained_on
from features.grounding.darknet import CHANNELS, LAYERS, OUTPUTS, Conv, Darknet, load_darknet
from features.grounding.faoa import Faoa, FaoaGrounder, best_boxes, load_faoa
from features.grounding.letterbox import BORDER, letterbox
from features.grounding.words import Words
from features.weights import WeightsError
from pipeline.grounding.config import TRAINED_ON
from tests.parity.__main__ import main
from tests.tiny import SHARED
from tests.tiny_faoa import WORDS, random_faoa, write_faoa

GOLDEN = SHARED / "golden/grounding/set_a"


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs the golden vectors")
def test_parity_with_the_published_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grounding", str(GOLDEN)]) == 0, capsys.readouterr().out


# --- checkpoints


@pytest.fixture(scope="module")
def network() -> Faoa:
    return random_faoa()


@pytest.fixture(scope="module")
def files(network: Faoa, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faoa(network, tmp_path_factory.mktemp("faoa"))


def grounder(files: Path, **settings: Any) -> FaoaGrounder:
    return FaoaGrounder(
        files / "lstm_flickr_model.pth.tar",
        str(files / "words.json"),
        "flickr",
        **settings,
    )


def photo(seed: int, size: tuple[int, int]) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def test_a_checkpoint_gives_its_network(network: Faoa, files: Path) -> None:
    loaded = load_faoa(files / "lstm_flickr_model.pth.tar")
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert not loaded.training


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_every_key_must_be_accounted_for(change: str, network: Faoa, tmp_path: Path) -> None:
    state = dict(network.state_dict())
    if change == "missing":
        del state["fcn_out.0.0.bias"]
    elif change == "unexpected":
        state["extra"] = torch.zeros(1)
    else:
        state["fcn_out.0.0.bias"] = torch.zeros(3)
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=rf"a\.pth: .*{change}: (extra|fcn_out\.0\.0\.bias)"):
        load_faoa(tmp_path / "a.pth")


def test_another_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=r"a\.pth: not a checkpoint of FAOA: .* is missing"):
        load_faoa(tmp_path / "a.pth")


class _Trap:
    def __reduce__(self) -> Any:
        return (print, ("code ran",))


def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}, "trap": _Trap()}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match="never unpickled"):
        load_faoa(tmp_path / "a.pth")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bert_flickr_model.pth.tar", "flickr"),
        ("flickr30k-bert-uncased.pth", "flickr"),
        ("lstm_referit_model.pth.tar", "referit"),
        ("bert_unc_model.pth", "unc"),
        ("bert_uncased_model.pth", None),
        ("model_function.pth", None),
        ("flickr_referit.pth", None),
    ],
)
def test_the_file_name_contains_the_data_set(name: str, data: str | None) -> None:
    assert trained_on(Path("/refcoco/flickr") / name) == data


def test_anchors_follow_the_data() -> None:
    assert set(ANCHORS) == set(TRAINED_ON)
    assert [data for data, anchors in ANCHORS.items() if anchors == FLICKR_ANCHORS] == ["flickr"]
    assert set(ANCHORS.values()) == {FLICKR_ANCHORS, COCO_ANCHORS}


# --- boxes


def test_one_box_a_phrase_as_a_plain_loop_finds_it() -> None:
    draw = torch.Generator().manual_seed(0)
    outputs = [torch.randn(2, 15, n, n, generator=draw) for n in (8, 16, 32)]
    boxes, places, scores = best_boxes(outputs, FLICKR_ANCHORS)
    for phrase in range(2):
        highest, index, index_of_best, total = -np.inf, 0, -1, 0.0
        for stride, output in enumerate(outputs):
            n = output.shape[-1]
            for anchor in range(3):
                for row in range(n):
                    for column in range(n):
                        x, y, w, h, logit = output[
                            phrase, 5 * anchor : 5 * anchor + 5, row, column
                        ].tolist()
                        total += np.exp(logit)
                        if logit > highest:
                            width, height = FLICKR_ANCHORS[3 * stride + anchor]
                            half_w = np.exp(w) * width * 256 / 416 / 2
                            half_h = np.exp(h) * height * 256 / 416 / 2
                            cx = (1 / (1 + np.exp(-x)) + column) * 256 / n
                            cy = (1 / (1 + np.exp(-y)) + row) * 256 / n
                            box = (cx - half_w, cy - half_h, cx + half_w, cy + half_h)
                            highest, index_of_best = logit, index
                        index += 1
        np.testing.assert_allclose(boxes[phrase].numpy(), box, rtol=1e-4)
        assert int(places[phrase]) == index_of_best
        assert float(scores[phrase]) == pytest.approx(np.exp(highest) / total, rel=1e-4)


def test_a_picture_is_seen_once_whatever_its_phrases(files: Path) -> None:
    model = grounder(files)
    batches = []
    model.network.visumodel.register_forward_hook(lambda *args: batches.append(len(args[2][0])))
    candidates = model.find(
        [photo(0, (300, 200)), photo(1, (300, 200))], [("dog", "the dog"), ("red",)]
    )
    assert batches == [2]
    assert [[c.phrase for c in boxes] for boxes in candidates] == [["dog", "the dog"], ["red"]]


def test_alone_is_as_in_a_batch(files: Path) -> None:
    model = grounder(files)
    pictures = [photo(0, (300, 200)), photo(1, (120, 400))]
    together = model.find(pictures, [("dog", "red"), ("the red dog",)])
    alone = [model.find([pictures[0]], [("dog",)])[0], model.find([pictures[0]], [("red",)])[0]]
    alone += [model.find([pictures[1]], [("the red dog",)])[0]]
    for a, b in zip(
        [c for boxes in together for c in boxes], [boxes[0] for boxes in alone], strict=True
    ):
        assert a.phrase == b.phrase
        np.testing.assert_allclose(a.box, b.box, atol=1e-2)
        assert a.score == pytest.approx(b.score, abs=1e-5)


def test_a_repeated_phrase_has_a_box_each_time(files: Path) -> None:
    candidates = grounder(files).find([photo(0, (300, 200))], [("dog", "dog")])
    assert len(candidates[0]) == 2


def test_phrases_and_pictures_make_a_difference(files: Path) -> None:
    candidates = grounder(files).find(
        [photo(0, (300, 200)), photo(1, (300, 200))], [("dog", "red dogs"), ("dog",)]
    )
    assert len({c.box for boxes in candidates for c in boxes}) == 3


def test_without_phrases_nothing_is_found(files: Path) -> None:
    assert grounder(files).find([photo(0, (30, 20))], [()]) == [[]]


def test_bfloat16_finds_about_the_same(files: Path) -> None:
    picture = photo(0, (300, 200))
    exact = grounder(files).find([picture], [("dog",)])[0][0]
    low = grounder(files, precision="bfloat16").find([picture], [("dog",)])[0][0]
    assert low != exact
    assert low.score == pytest.approx(exact.score, rel=0.3)


# --- inputs


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (30, 20), (256, 256), (1, 400), (3, 2)])
def test_a_box_comes_back_from_the_frame(size: tuple[int, int]) -> None:
    _, placement = letterbox(Image.new("RGB", size))
    scale = 256 / max(size)
    frame = [(256 - side * scale) / 2 for side in size]
    whole = np.array([[*frame, *(256 - edge for edge in frame)]])
    # The published mapping may be off by half a pixel of the frame, as it places whole pixels.
    np.testing.assert_allclose(placement.to_picture(whole)[0], [0, 0, *size], atol=0.51 / scale)


def test_a_frame_is_the_picture_on_its_border() -> None:
    frame, _ = letterbox(Image.new("RGB", (400, 200), (10, 200, 30)))
    assert frame.shape == (256, 256, 3)
    assert (frame[:64] == BORDER).all()
    assert (frame[192:] == BORDER).all()
    assert (frame[64:192] == (10, 200, 30)).all()


def test_shrinking_averages_the_covered_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 768, 3)).astype(np.uint8)
    frame, _ = letterbox(Image.fromarray(pixels))
    expected = pixels.reshape(256, 4, 192, 4, 3).mean((1, 3))
    np.testing.assert_allclose(frame[:, 32:224], expected, atol=0.51)


def test_shrinking_keeps_the_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (610, 610, 3)).astype(np.uint8)
    frame, _ = letterbox(Image.fromarray(pixels))
    np.testing.assert_allclose(frame.mean((0, 1)), pixels.mean((0, 1)), atol=0.1)


def test_enlarging_by_a_whole_number_repeats_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    frame, _ = letterbox(Image.fromarray(pixels))
    assert (frame == pixels.repeat(4, axis=0).repeat(4, axis=1)).all()


@pytest.fixture
def words(tmp_path: Path) -> Words:
    (tmp_path / "words.json").write_text(json.dumps(WORDS))
    return Words(str(tmp_path / "words.json"), pieces=False, size=len(WORDS))


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("The red dog", [3, 5, 4, 2]),
        ("the red-dog.", [3, 5, 7, 4, 2]),
        ("a dog", [1, 4, 2]),
        ("the, dog", [3, 1, 4, 2]),
        ("dog " * 19, [4] * 19 + [2]),
        ("dog " * 20, [4] * 20),
        ("dog " * 30, [4] * 20),
    ],
)
def test_words_of_the_lstm(phrase: str, expected: list[int], words: Words) -> None:
    ids, mask = words([phrase])
    assert ids[0].tolist() == expected + [0] * (20 - len(expected))
    assert mask.sum() == len(expected)


def test_pieces_of_bert(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "##s", "the", "cafe"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    words = Words(str(tmp_path / "vocab.txt"), pieces=True, size=len(pieces))
    ids, mask = words(["The DOGS", "Café x", "dog " * 30])
    assert ids[0, :5].tolist() == [2, 7, 5, 6, 3]
    assert ids[1, :4].tolist() == [2, 8, 1, 3]
    assert ids[2].tolist() == [2, *[5] * 18, 3]
    assert mask.sum(1).tolist() == [5, 4, 20]


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("dog\n##s\n[PAD]\nthe")
    with pytest.raises(WeightsError, match=r"it lacks \[UNK\], \[CLS\], \[SEP\]\); give"):
        Words(str(tmp_path / "vocab.txt"), pieces=True, size=8)


def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match=r"files are missing: vocab.txt \(or tokenizer.json\)"):
        Words(str(tmp_path), pieces=True, size=5)


def test_a_vocabulary_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "vocab.txt").write_bytes("[PAD]\n[UNK]\n[CLS]\n[SEP]\nfête\n".encode("latin-1"))
    for name in (tmp_path, tmp_path / "vocab.txt"):
        with pytest.raises(WeightsError, match=r"can't be loaded \(.*(utf-8|UTF-8)"):
            Words(str(name), pieces=True, size=5)


@pytest.mark.parametrize(
    "content", ["no json", '{"a": 1}', "[1, 2]", '["<pad>", "a"]', '["a", "<pad>"]']
)
def test_a_word_list_of_another_form_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text(content)
    with pytest.raises(WeightsError, match=r"words\.json': expected --vocabulary, a JSON list"):
        Words(str(tmp_path / "words.json"), pieces=False, size=2)


def test_a_vocabulary_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError("no network")

    monkeypatch.setattr(words_module, "ask_hub", fail)
    with pytest.raises(WeightsError, match=r"'no/such': can't be loaded \(no network\); give"):
        Words("no/such", pieces=True, size=9)


def test_words_of_another_checkpoint_are_refused(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text(json.dumps(WORDS))
    with pytest.raises(
        WeightsError, match="expected the 58 words that the checkpoint knows, found"
    ):
        Words(str(tmp_path / "words.json"), pieces=False, size=58)


# --- the trunk


@pytest.fixture(scope="module")
def trunk() -> Darknet:
    torch.manual_seed(1)
    return Darknet().eval()


def test_the_trunk_has_the_published_size(trunk: Darknet) -> None:
    assert len(LAYERS) == 107
    learned = sum(p.numel() for p in trunk.parameters())
    running = sum(b.numel() for n, b in trunk.named_buffers() if "running" in n)
    assert learned + running == 62_001_757  # numbers of yolov3.weights


@torch.no_grad()
def test_maps_have_the_published_shapes(trunk: Darknet) -> None:
    maps = trunk(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(CHANNELS, (32, 16, 8), strict=True)
    ]
    widths = {n: layer.filters for n, layer in enumerate(LAYERS) if isinstance(layer, Conv)}
    assert tuple(widths[n] for n in OUTPUTS) == CHANNELS


def numbers(trunk: Darknet) -> np.ndarray:
    """Return the trunk's weights in the order of a darknet file."""
    state: dict[str, Tensor] = trunk.state_dict()
    parts = []
    for n, layer in enumerate(LAYERS):
        if isinstance(layer, Conv):
            norm = f"module_list.{n}.batch_norm_{n}."
            names = [norm + part for part in ("bias", "weight", "running_mean", "running_var")]
            names = names if layer.norm else [f"module_list.{n}.conv_{n}.bias"]
            parts += [state[name] for name in [*names, f"module_list.{n}.conv_{n}.weight"]]
    return np.concatenate([part.flatten().numpy() for part in parts])


@pytest.mark.parametrize("header", [(0, 2, 0, 32013312, 0), (0, 1, 0, 7)])
def test_a_darknet_file_is_read(header: tuple[int, ...], trunk: Darknet, tmp_path: Path) -> None:
    content = np.array(header, "<i4").tobytes() + numbers(trunk).tobytes()
    (tmp_path / "yolov3.weights").write_bytes(content)
    other = Darknet()
    load_darknet(other, tmp_path / "yolov3.weights")
    for name, tensor in trunk.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


@pytest.mark.parametrize("content", [b"", b"\0" * 21, np.array((0, 2, 0, 1, 0, 5)).tobytes()])
def test_a_darknet_file_of_another_network_is_refused(
    content: bytes, trunk: Darknet, tmp_path: Path
) -> None:
    (tmp_path / "a.weights").write_bytes(content)
    with pytest.raises(WeightsError, match=r"a\.weights: expected the 62,001,757 numbers"):
        load_darknet(trunk, tmp_path / "a.weights")
