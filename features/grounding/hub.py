"""Models of the Hugging Face hub as folders on this machine.

Heavy packages are imported where they are used: `is_cached` imports neither torch nor transformers,
and most of huggingface_hub only if the cache has a folder of that name.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

WEIGHTS, SHARDS = "model.safetensors", "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"  # a complete tokenizer; other files hold parts of it
_FETCHED = ["*.json", "*.txt", "*.jinja", "*.safetensors"]
_NEEDED = (  # at least one file of each line
    ("config.json",),
    (WEIGHTS, SHARDS),
    ("processor_config.json", "preprocessor_config.json"),
    ("tokenizer.json", "vocab.txt", "vocab.json"),
)
_OBJECTS = (  # files of a model's folder that hold a JSON object each
    *("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer.json", "vocab.json", "processor_config.json", "preprocessor_config.json"),
)
_SECONDS = 5  # timeout of the hub's answer; without one a call may never return


def is_cached(name: str) -> bool:
    """Return True if `model_folder` needs no network for that name."""
    return Path(name).is_dir() or _snapshot(name) is not None


def model_folder(name: str, kind: str = "grounder", instead: str = "--grounder salience") -> Path:
    """Return the folder of a model: `name` if it is a folder, else the hub's model of that name.

    Downloads the hub's model unless the cache has it. Raises WeightsError.

    kind, instead: for its message: what the model is, and the option that needs no model.
    """
    if Path(name).is_dir():
        return Path(name)
    return _snapshot(name) or _fetch(name, kind, instead)


def _snapshot(name: str) -> Path | None:
    """Return the hub's model in this machine's cache, if it is complete."""
    folder = snapshot_folder(name)
    return None if folder is None or lacks(folder) else folder


def snapshot_folder(name: str) -> Path | None:
    """Return the folder of the hub's model in this machine's cache, complete or not."""
    from huggingface_hub import constants

    cached = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}")
    if not os.path.isdir(cached):  # Path.is_dir raises PermissionError in another user's cache
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # not a valid name of a model
        return None
    return Path(config).parent if isinstance(config, str) else None


def _fetch(name: str, kind: str, instead: str) -> Path:
    from huggingface_hub import snapshot_download

    from features.weights import WeightsError, one_line

    try:
        ask_hub(name)
        return Path(snapshot_download(name, allow_patterns=_FETCHED))
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{kind} weights {name!r}: no such folder, not in the hub's cache on this machine, "
            f"and can't be fetched ({one_line(error)}); give --weights FOLDER of the model, or "
            f"use {instead}"
        ) from error


def ask_hub(name: str) -> None:
    """Raise OSError within seconds if the hub can't be reached or has no such model.

    Without this check, loaders retry for a minute, or forever.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        HfApi().model_info(name, timeout=_SECONDS)
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        raise OSError(" ".join(str(error).split())) from error


def lacks(folder: Path) -> list[str]:
    """Return the files that are missing from a model's folder; alternatives joined by "or"."""
    files = {path.name for path in folder.glob("*") if path.is_file()}
    missing = [" or ".join(names) for names in _NEEDED if files.isdisjoint(names)]
    shards = _shards(folder) if SHARDS in files and WEIGHTS not in files else set()
    return [*missing, *sorted(shards - files)]


def _shards(folder: Path) -> set[str]:
    """Return the files over which a model's weights are spread; none if their index is broken."""
    try:
        return {*map(str, json.loads((folder / SHARDS).read_bytes())["weight_map"].values())}
    except (ValueError, LookupError, TypeError, AttributeError):  # not JSON, or of another form
        return set()


def missing_tokenizer_files(names: Mapping[str, str], folder: Path) -> str:
    """Return the required tokenizer files that the folder lacks, as text; "" if it has all.

    names: the `vocab_files_names` of the tokenizer's class. If they are missing, transformers
    silently makes a tokenizer with only special tokens.
    """
    parts = [file for file in names.values() if file != TOKENIZER]
    whole = TOKENIZER in names.values()
    if (whole and (folder / TOKENIZER).is_file()) or not parts:
        return ""
    missing = [file for file in parts if not (folder / file).is_file()]
    if not missing:
        return ""
    return " and ".join(missing) + (f" (or {TOKENIZER})" if whole else "")


@contextmanager
def tokenizer_errors() -> Iterator[None]:
    """Turn a bare Exception of the package tokenizers into a ValueError.

    The package raises it for a vocabulary that is not UTF-8, or for merges of unknown tokens.
    """
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ValueError(str(error)) from error


def broken_json(folder: Path) -> str:
    """Describe the first file of a model's folder that should hold a JSON object and does not.

    "" if all do. transformers reports such a file as missing, or does not name it.
    """
    for name in _OBJECTS:
        if not (folder / name).is_file():
            continue
        try:
            value = json.loads((folder / name).read_bytes())
        except ValueError as error:
            return f"{name} is not JSON: {error}"
        if not isinstance(value, dict):
            return f"{name} holds no JSON object"
    return ""
