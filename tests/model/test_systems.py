"""The systems of the zoo: one battery for all of them, and what is their own."""

import inspect
import textwrap
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from model import contract
from model.config import ExtractorConfig
from model.contract import System
from model.encoder import TextEncoder, load_saved
from model.errors import ModelError
from model.groups import ParameterGroup
from model.ner import EntityHead
from model.relation import RelationHead
from model.systems import (
    BERT_CRF,
    check_own,
    declared,
    digest_of,
    file_of,
    model_class,
    names,
    system_class,
)
from tests.tiny import extractor_config, picture_batch, text_batch

ZOO = [name for name in names() if name not in ("hvpnet", BERT_CRF)]
MODELS = [(name, task) for name in ["hvpnet", *ZOO] for task in declared(name).tasks]
LABELS = 5
# Of models that tag pieces.
PIECE_LABELS = ("PAD", "O", "B-a", "I-a", "B-b", "I-b", "X", "[CLS]", "[SEP]")


def tags_pieces(name: str, task: str) -> bool:
    """True for the models whose CRF tags every piece."""
    return task == "ner" and declared(name).tags_pieces


def make(name: str, task: str) -> System:
    """A tiny model of a system, in eval mode."""
    torch.manual_seed(0)
    looks = declared(name).reads_pictures
    config: ExtractorConfig = extractor_config(
        labels=LABELS, variant="hvpnet" if looks else "text-only"
    )
    config.system = name
    config.form = next(iter(declared(name).forms), "")
    if declared(name).reads_words:
        config.words, config.characters = config.encoder["vocab_size"], "abcdefg"
    if tags_pieces(name, task):
        config.id2label = dict(enumerate(PIECE_LABELS))
    return model_class(task, name)(config).eval()


def parsed(name: str) -> dict[str, torch.Tensor]:
    """What a system prepares of two posts of four and two words, with edges."""
    kind, config = system_class(name), extractor_config()
    first = kind.prepare(config, [*"abcd"], [-1, 0, 1, 1, 2, 3, -1], [(1, 0), (1, 2), (2, 3)])
    return kind.collate([first, kind.prepare(config, [*"ab"], [-1, 0, 0, 1, -1], [(0, 1)])])


def batch(name: str, task: str) -> dict[str, torch.Tensor]:
    """Two posts of 7 and 5 tokens, with labels."""
    found = text_batch()
    if declared(name).reads_pictures:
        found |= picture_batch()
    if declared(name).parses:
        found |= parsed(name)
    elif declared(name).prepares:
        found["characters"] = torch.zeros(2, 7, 4, dtype=torch.long)
        for post, token, length in ((0, 0, 4), (0, 3, 2), (1, 4, 3)):
            found["characters"][post, token, :length] = torch.arange(2, 2 + length)
        alone = (found["characters"] == 0).all(-1) & (found["attention_mask"] > 0)
        found["characters"][..., 0][alone] = 8
    if declared(name).reads_texts:  # two words of the first post's text stand behind its five
        found["segment_ids"] = torch.zeros(2, 7, dtype=torch.long)
        found["segment_ids"][0, 5:] = 1
        found["characters"] = found["characters"][:, :5]
    if task == "re":
        ends = [[2, 5], [4, 2]] if declared(name).reads_words else [[], []]  # last words
        markers = torch.tensor([[1, 4, *ends[0]], [3, 2, *ends[1]]])
        return found | {"markers": markers, "labels": torch.tensor([1, 4])}
    if tags_pieces(name, task):
        words = torch.arange(7).where(found["attention_mask"] > 0, -1)
        labels = torch.tensor([[7, 2, 3, 1, 6, 4, 8], [7, 4, 6, 1, 8, -100, -100]])
        return found | {"words": words, "labels": labels}
    words = torch.tensor([[1, 2, 4], [1, 3, -1]])
    return found | {"words": words, "labels": torch.tensor([[0, 1, 2], [4, 3, -100]])}


def answer(model: System, given: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return logits, or emissions of the words that exist."""
    with torch.no_grad():
        output = model(**{name: tensor for name, tensor in given.items() if name != "labels"})
    if "words" in given:
        return output.emissions[given["words"] >= 0]
    return output.logits


def test_each_file_has_one_system_and_declares_it() -> None:
    assert ZOO, "the zoo is not empty"
    for name in ZOO:
        found, known = system_class(name), declared(name)
        assert (found.tasks, found.reads_pictures) == (known.tasks, known.reads_pictures)
        assert (found.markers, found.forms) == (known.markers, known.forms)
        assert (found.tags_pieces, found.parses) == (known.tags_pieces, known.parses)
        assert file_of(name) == Path(inspect.getfile(found))


def write_system(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str = "my-own"
) -> str:
    """Write a system into a folder that HVPNET_SYSTEMS names. Returns its name."""
    monkeypatch.setenv("HVPNET_SYSTEMS", str(folder))
    (folder / f"{name.replace('-', '_')}.py").write_text(text)
    return name


def test_annotated_declarations_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "class A:\n    tasks: tuple[str, ...] = ('re',)\n    markers: tuple[str, ...]\n"
    known = declared(write_system(tmp_path, monkeypatch, lines))
    assert (known.tasks, known.reads_pictures, known.markers) == (("re",), True, ())


def test_a_declaration_that_is_no_literal_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_system(tmp_path, monkeypatch, "class A:\n    tasks = BOTH\n")
    with pytest.raises(ModelError, match=r"\.py:2: expected a literal, .*, found BOTH$"):
        declared(name)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tasks = ('ner')", r"tasks: expected \(\"ner\",\), \(\"re\",\) or both, found 'ner'"),
        ("tasks = ('rel',)", r"tasks: expected \(\"ner\",\), .*, found \('rel',\)"),
        ("tasks = ()", r"tasks: expected \(\"ner\",\), .*, found \(\)"),
        ("markers = ('[', ']')", r"markers: expected a tuple of four pieces, or of none, found"),
        ("forms = 'plain'", r"forms: expected a tuple of names, found 'plain'"),
        ("reads_pictures = 'no'", r"reads_pictures: expected True or False, found 'no'"),
    ],
)
def test_a_declaration_of_another_kind_is_refused(
    line: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_system(tmp_path, monkeypatch, f"class A:\n    {line}\n")
    with pytest.raises(ModelError, match=rf"my_own\.py:2: {expected}"):
        declared(name)


def test_an_inherited_declaration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "from model.zoo.pcnn import PCNN\nclass A(PCNN): tasks, width = ('re',), 60\n"
    name = write_system(tmp_path, monkeypatch, lines)
    with pytest.raises(
        ModelError, match=r"my_own\.py: expected \w+ = .* in the class, as it is read"
    ):
        system_class(name)


WORDS = """
from model.words import WordEncoder
class A(WordEncoder):
    tasks = ("re",)
    reads_pictures = False
    reads_words = True
    width = hidden = 6
    def states(self, input_ids, attention_mask):
        return self.vectors(input_ids)
"""


def test_by_default_relations_of_words_are_of_the_first_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_system(tmp_path, monkeypatch, WORDS)
    model = make("my-own", "re")
    given = batch("my-own", "re")
    expected = model.vectors(given["input_ids"][[[0], [1]], [[1, 4], [3, 2]]]).flatten(1)
    pair = model.pair(model.states(given["input_ids"], given["attention_mask"]), given["markers"])
    torch.testing.assert_close(pair, expected)
    assert answer(model, given).shape == (2, LABELS)


def test_a_file_of_two_systems_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "from model.contract import System\nclass A(System): pass\nclass B(System): pass\n"
    name = write_system(tmp_path, monkeypatch, lines)
    with pytest.raises(ModelError, match=r"expected one subclass of System, found A, B$"):
        system_class(name)


def test_a_file_that_is_not_python_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_system(tmp_path, monkeypatch, "class A:\ntasks = 1\n")
    with pytest.raises(ModelError, match=r"my_own\.py:2: expected Python, found an error: "):
        declared(name)


def test_a_folder_of_ones_own_adds_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HVPNET_SYSTEMS", raising=False)
    before = names()
    line = "from model.contract import System\nclass A(System): tasks = ('re',)\n"
    name = write_system(tmp_path, monkeypatch, line)
    (tmp_path / "_helper.py").write_text("")
    check_own()
    assert {*names()} == {*before, name}
    assert file_of(name) == tmp_path / "my_own.py"
    assert digest_of(name) == sha256(line.encode()).hexdigest()
    assert digest_of("hvpnet") == ""
    assert declared(name).tasks == system_class(name).tasks == ("re",)


def test_two_folders_may_have_a_system_of_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in ("re", "ner"):
        (tmp_path / task).mkdir()
        line = f"from model.contract import System\nclass A(System): tasks = ('{task}',)\n"
        name = write_system(tmp_path / task, monkeypatch, line)
        assert declared(name).tasks == model_class(task, name).tasks == (task,)


@pytest.mark.parametrize("name", ["mtb", "bert-crf", "hvpnet"])
def test_a_name_that_exists_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_system(tmp_path, monkeypatch, "", name)
    with pytest.raises(ModelError, match=f"no other system has, found {name}; rename the file"):
        check_own()


@pytest.mark.parametrize("place", ["nowhere", "file.py"])
def test_what_is_no_folder_is_refused(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file.py").write_text("")
    monkeypatch.setenv("HVPNET_SYSTEMS", str(tmp_path / place))
    with pytest.raises(ModelError, match=f"^HVPNET_SYSTEMS: expected a folder .*{place}$"):
        check_own()


@pytest.mark.parametrize("task", ["ner", "re"])
def test_the_contracts_example_works(task: str) -> None:
    example = contract.__doc__.split("last block:\n")[1].split("\nAxes:")[0]
    names: dict[str, Any] = {"TextEncoder": TextEncoder, "ParameterGroup": ParameterGroup, "nn": nn}
    exec(textwrap.dedent(example), names)
    head = EntityHead if task == "ner" else RelationHead
    model = type("Model", (head, names["PictureWords"]), {})(extractor_config(labels=LABELS)).eval()
    given = batch("hvpnet", task)
    expected = answer(model, given)
    grouped = {id(p) for g in model.parameter_groups() for m in g.modules for p in m.parameters()}
    assert grouped == {id(p) for p in model.parameters()}
    given["pyramid"] = given["pyramid"] + 1
    assert not torch.allclose(answer(model, given), expected)


@pytest.mark.parametrize(("name", "task"), MODELS)
def test_one_post_alone_equals_the_same_in_a_batch(name: str, task: str) -> None:
    model, both = make(name, task), batch(name, task)
    alone = {key: tensor[1:] for key, tensor in both.items()}
    for key in ("input_ids", "attention_mask"):
        alone[key] = alone[key][:, :5]  # without padding
    if "firsts" in alone:
        alone["firsts"], alone["degrees"] = alone["firsts"][:, :5], alone["degrees"][:, :2]
    if "characters" in alone:
        alone["characters"] = alone["characters"][:, :5, :3]
    alone.pop("segment_ids", None)  # the second post has no text
    if task == "ner":
        alone["words"] = alone["words"][alone["words"] >= 0][None]
    found = answer(model, alone)
    expected = answer(model, both)[-len(found) :]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "task"), MODELS)
def test_padding_changes_nothing(name: str, task: str) -> None:
    model, given = make(name, task), batch(name, task)
    other = dict(given)
    other["input_ids"] = given["input_ids"].where(given["attention_mask"] > 0, torch.tensor(9))
    torch.testing.assert_close(answer(model, other), answer(model, given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "task"), [m for m in MODELS if declared(m[0]).reads_pictures])
def test_masked_regions_change_nothing(name: str, task: str) -> None:
    model, given = make(name, task), batch(name, task)
    other = dict(given)
    other["pyramid"] = given["pyramid"].clone()
    other["pyramid"][1, 2:] = 7.0
    torch.testing.assert_close(answer(model, other), answer(model, given), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "task"), MODELS)
def test_the_loss_falls(name: str, task: str) -> None:
    model, given = make(name, task).train(), batch(name, task)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(30):
        loss = model(**given).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(("name", "task"), MODELS)
def test_a_saved_model_answers_the_same(name: str, task: str, tmp_path: Path) -> None:
    model, given = make(name, task), batch(name, task)
    model.save_pretrained(tmp_path)
    loaded = load_saved(model_class(task, name), tmp_path)
    assert torch.equal(answer(loaded.eval(), given), answer(model, given))


@pytest.mark.parametrize(("name", "task"), MODELS)
def test_every_parameter_is_in_one_group_and_gets_a_gradient(name: str, task: str) -> None:
    model, given = make(name, task), batch(name, task)
    groups = [
        p for group in model.parameter_groups() for m in group.modules for p in m.parameters()
    ]
    assert len({id(p) for p in groups}) == len(groups)
    assert {id(p) for p in groups} == {id(p) for p in model.parameters()}
    model(**given).loss.backward()
    without = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
    untrained = {n for n, _ in model.named_parameters() if n.startswith(model.untrained)}
    assert {n for n in without if not n.startswith("encoder.pooler")} == untrained


# --- mtb


def test_mtb_maps_the_joined_states_of_the_markers() -> None:
    model, given = make("mtb", "re"), batch("mtb", "re")
    states = model.states(input_ids=given["input_ids"], attention_mask=given["attention_mask"])
    pair = torch.stack([torch.cat([states[n, m] for m in given["markers"][n]]) for n in range(2)])
    weights = model.transform
    assert isinstance(weights, nn.Linear)
    mapped = pair @ weights.weight.T + weights.bias
    expected = mapped @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(answer(model, given), expected)
