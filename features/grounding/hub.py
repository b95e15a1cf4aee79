"""Models of the Hugging Face hub as folders on this machine.

What is heavy is imported where there is work: `is_cached` needs neither torch nor transformers, and
of the hub's own package most only where something of that name is there.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TOKENIZER = "tokenizer.json"  # a tokenizer whole; other files hold it in parts
_FETCHED = ["*.json", "*.txt", "*.safetensors"]
_NEEDED = (  # one of each line
    ("config.json",),
    ("model.safetensors",),
    ("processor_config.json", "preprocessor_config.json"),
    ("tokenizer.json", "vocab.txt", "vocab.json"),
)
_OBJECTS = (  # files of a model's folder that hold a JSON object each
    *("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer.json", "vocab.json", "processor_config.json", "preprocessor_config.json"),
)
_SECONDS = 5  # that the hub may take to answer at all; without a limit, it may take for ever


def is_cached(name: str) -> bool:
    """Whether `model_folder` needs no network for that name."""
    return Path(name).is_dir() or _snapshot(name) is not None


def model_folder(name: str) -> Path:
    """The folder of a model: `name` itself if it is one, else the hub's model of that name, in the
    hub's cache or brought there. Raises WeightsError."""
    if Path(name).is_dir():
        return Path(name)
    return _snapshot(name) or _fetch(name)


def _snapshot(name: str) -> Path | None:
    """The hub's model in this machine's cache, if all that is needed of it is there."""
    folder = snapshot_folder(name)
    return None if folder is None or lacks(folder) else folder


def snapshot_folder(name: str) -> Path | None:
    """The folder of the hub's model in this machine's cache, whole or not."""
    from huggingface_hub import constants

    kept = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}")
    if not os.path.isdir(kept):  # unlike Path.is_dir, also of another user's cache
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # no name that the hub could have
        return None
    return Path(config).parent if isinstance(config, str) else None


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download

    from features.weights import WeightsError, one_line

    try:
        ask_hub(name)
        return Path(snapshot_download(name, allow_patterns=_FETCHED))
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"grounder weights {name!r}: no such folder, not in the hub's cache on this machine, "
            f"and can't be fetched ({one_line(error)}); give --weights FOLDER of the model, or "
            "take --grounder salience"
        ) from error


def ask_hub(name: str) -> None:
    """Raise OSError within seconds where the hub can't be reached or has no such model.

    Loaders by themselves go on trying for a minute, or for ever.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        HfApi().model_info(name, timeout=_SECONDS)
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        raise OSError(" ".join(str(error).split())) from error


def lacks(folder: Path) -> list[str]:
    """What a model's folder should hold and doesn't."""
    found = {path.name for path in folder.glob("*") if path.is_file()}
    return [" or ".join(names) for names in _NEEDED if found.isdisjoint(names)]


def missing_tokenizer_files(names: Mapping[str, str], folder: Path) -> str:
    """The files that a tokenizer cannot do without and the folder lacks, in words; "" if none.

    names: the `vocab_files_names` of the tokenizer's class. Where they are missing, transformers
    makes a tokenizer of special pieces alone and says nothing.
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
    """Turn the bare Exception of the package tokenizers into a ValueError.

    It has no class of its own for a vocabulary that is not UTF-8, or merges without their pieces.
    """
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ValueError(str(error)) from error


def broken_json(folder: Path) -> str:
    """The first file of a model's folder that should hold a JSON object and doesn't, in words.

    "" if there is none: transformers calls such a file missing, or says nothing of which it is.
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
