"""Find systems by their names, and derive the models of the two tasks from them.

Names are those of files in `model/zoo/` and in the user's own folder, with "-" for "_", and
`hvpnet`. Listing them imports nothing else.
"""

import ast
import os
import sys
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from model.errors import ModelError
from model.hvpnet.variants import HVPNET, RELEASED, TEXT_ONLY, VARIANTS

if TYPE_CHECKING:  # importing it loads torch
    from model.contract import System

BERT_CRF = "bert-crf"  # what hvpnet's variant text-only is
OWN = "HVPNET_SYSTEMS"  # environment variable: the user's own folder of systems
_ZOO = Path(__file__).parent / "zoo"


def names() -> list[str]:
    """Return the names of all systems, hvpnet first."""
    return [HVPNET, *sorted([BERT_CRF, *_files(_ZOO), *_own()])]


def file_of(name: str) -> Path | None:
    """Return the file of a system of `names`; None for hvpnet and bert-crf."""
    return None if name in _WITHOUT_FILE else (_own() | _files(_ZOO))[name]


def digest_of(name: str) -> str:
    """Return the hexadecimal SHA-256 of a system's file; "" for a system without one."""
    file = file_of(name)
    return "" if file is None else sha256(file.read_bytes()).hexdigest()


def check_own() -> None:
    """Raise ModelError if HVPNET_SYSTEMS names no folder, or one with a system of a known name."""
    folder = os.environ.get(OWN)
    if folder and not Path(folder).is_dir():
        raise ModelError(f"{OWN}: expected a folder of systems, found none at {folder}")
    for name, file in _own().items():
        if name in _WITHOUT_FILE or name in _files(_ZOO):
            raise ModelError(
                f"{file}: expected a name that no other system has, found {name}; rename the file"
            )


def _own() -> dict[str, Path]:
    """Return the files of the user's systems by their names."""
    folder = os.environ.get(OWN)
    return _files(Path(folder).absolute()) if folder else {}


def _files(folder: Path) -> dict[str, Path]:
    return {file.stem.replace("_", "-"): file for file in sorted(folder.glob("[!_]*.py"))}


@dataclass(frozen=True)
class Declared:
    """The literals that a system's class declares; see `model/contract.py`."""

    tasks: tuple[str, ...] = ("ner", "re")
    reads_pictures: bool = True
    markers: tuple[str, ...] = ()
    reads_words: bool = False
    reads_texts: bool = False
    prepares: bool = False
    parses: bool = False
    tags_pieces: bool = False
    forms: tuple[str, ...] = ()


_WITHOUT_FILE = {HVPNET: Declared(), BERT_CRF: Declared(tasks=("ner",), reads_pictures=False)}


def declared(name: str) -> Declared:
    """Read what a system declares from its file, without importing it.

    Raises ModelError for a value that is not a literal or of another kind, or a file that is not
    Python.
    """
    file = file_of(name)
    return _WITHOUT_FILE[name] if file is None else _declared_in(file)


@cache
def _declared_in(file: Path) -> Declared:
    known = {field.name for field in fields(Declared)}
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise ModelError(
            f"{file}:{error.lineno}: expected Python, found an error: {error.msg}"
        ) from error
    values = {
        target.id: _literal(file, target.id, line.value)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, (ast.Assign, ast.AnnAssign)) and line.value is not None
        for target in (line.targets if isinstance(line, ast.Assign) else [line.target])
        if isinstance(target, ast.Name) and target.id in known
    }
    return Declared(**values)


def variants_of(name: str) -> tuple[str, ...]:
    """Return the variants of a system, the usual one first."""
    if name == HVPNET:
        return VARIANTS
    return (HVPNET,) if declared(name).reads_pictures else (TEXT_ONLY,)


def encoding_style(task: str, system: str, style: str) -> str:
    """Return the style in which posts are encoded: RELEASED if the CRF tags every piece.

    task: "ner" or "re". style: of the model.
    """
    return RELEASED if task == "ner" and declared(system).tags_pieces else style


def _literal(file: Path, name: str, value: ast.expr) -> Any:
    """Return a declared value. name: of the declaration."""
    try:
        literal = ast.literal_eval(value)
    except ValueError as error:
        raise ModelError(
            f"{file}:{value.lineno}: expected a literal, as it is read without importing the file, "
            f"found {ast.unparse(value)}"
        ) from error
    if expected := _fault(name, literal):
        raise ModelError(
            f"{file}:{value.lineno}: {name}: expected {expected}, found {ast.unparse(value)}"
        )
    return literal


def _fault(name: str, literal: Any) -> str:
    """Return what a declaration must be; "" for a good one."""
    if isinstance(getattr(Declared, name), bool):
        return "" if isinstance(literal, bool) else "True or False"
    good = isinstance(literal, tuple) and all(isinstance(word, str) for word in literal)
    if name == "tasks":
        good = good and {*literal} in ({"ner"}, {"re"}, {"ner", "re"})
        return "" if good else '("ner",), ("re",) or both'
    if name == "markers":
        return "" if good and len(literal) in (0, 4) else "a tuple of four pieces, or of none"
    return "" if good else "a tuple of names"


def system_class(name: str) -> "type[System]":
    """Return a system's class: the one that its file defines.

    Raises ModelError if the file defines none or several, or does not itself declare what differs
    from the defaults.
    """
    from model.contract import System
    from model.hvpnet.prefixed import PrefixedEncoder

    if name == HVPNET:
        return PrefixedEncoder
    module = _module_of(name)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, System)
        and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        actual = ", ".join(kind.__name__ for kind in classes) or "none"
        raise ModelError(f"{file_of(name)}: expected one subclass of System, found {actual}")
    known = declared(name)
    for field in fields(Declared):
        value = getattr(classes[0], field.name)
        if value != getattr(known, field.name):
            raise ModelError(
                f"{file_of(name)}: expected {field.name} = {value!r} in the class, as it is read "
                "without importing the file, found it in a class that it extends"
            )
    return classes[0]


def _module_of(name: str) -> ModuleType:
    if name in _own():
        return _loaded(_own()[name])
    return import_module(f"model.zoo.{name.replace('-', '_')}")


@cache
def _loaded(file: Path) -> ModuleType:
    """Import a user's file, under a name that no installed module has."""
    spec = spec_from_file_location(f"hvpnet_system_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # transformers looks up the module of a class
    spec.loader.exec_module(module)
    return module


def model_class(task: str, name: str) -> "type[System]":
    """Return the class of a task's models of a system: the head on the system.

    task: "ner" or "re". The classes have the same names for all systems.
    """
    from model.ner import EntityHead, EntityTagger
    from model.relation import RelationExtractor, RelationHead

    head, plain = {"ner": (EntityHead, EntityTagger), "re": (RelationHead, RelationExtractor)}[task]
    if name == HVPNET:
        return plain
    derived: type[System] = type(plain.__name__, (head, system_class(name)), {})
    return derived
