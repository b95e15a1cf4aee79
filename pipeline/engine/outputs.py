"""Output folders: their places in the store, their manifests, and checks for damage."""

import os
from pathlib import Path
from typing import Any

from features.errors import AccessError, access_named
from pipeline.engine.digests import Digests
from pipeline.engine.files import read_json

MANIFEST = "manifest.json"
READS = "reads"  # a setting: pictures that an earlier output could not use but are readable now
PARTIAL = ".{}.partial"  # name of an unfinished output folder


def folders(store: Path, stage: str) -> list[Path]:
    """List the finished output folders of a stage."""
    return sorted(manifest.parent for manifest in (store / stage).glob(f"[!.]*/{MANIFEST}"))


def partials(store: Path, stage: str) -> dict[Path, Path]:
    """Map each unfinished output folder of a stage, of any run, to its final folder."""
    hidden = sorted((store / stage).glob(PARTIAL.format("*")))
    return {f: f.with_name(f.name.removeprefix(".").removesuffix(".partial")) for f in hidden}


def partial_of(folder: Path) -> Path:
    """Return the folder in which an output is made until it is finished."""
    return folder.with_name(PARTIAL.format(folder.name))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Read an output folder's manifest; None if it is missing or damaged. Raises AccessError."""
    try:
        with access_named(folder / MANIFEST):
            manifest = read_json(folder / MANIFEST)
    except AccessError:
        raise
    except (OSError, ValueError, RecursionError):
        return None
    whole = _has(manifest, {"files": dict, "key": dict, "made": str}) and _has(
        manifest["key"], {"dataset": str, "settings": dict, "sources": dict, "requires": dict}
    )
    return manifest if whole else None


def _has(value: Any, parts: dict[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(n), t) for n, t in parts.items())


def damage(folder: Path, digests: Digests) -> str | None:
    """Return in a few words why an output folder is unusable, or None if it is intact.

    Raises AccessError if it may not be read: another user's output must not be made again.
    """
    with access_named(folder):
        return _damage(folder, digests)


def _damage(folder: Path, digests: Digests) -> str | None:
    if not folder.exists():
        return "never made"
    manifest = read_manifest(folder)
    if manifest is None or not manifest["files"]:
        return "its manifest is missing or broken"
    if str(manifest.get("fingerprint")) not in folder.name:
        return "its manifest belongs to another output"
    for name, digest in manifest["files"].items():
        path = os.path.join(folder, name)
        try:
            if digests.of(path) != digest:
                digests.forget(path)  # the stored digest may be wrong: read the file again
                if digests.of(path) != digest:
                    return f"{name} was altered"
        except AccessError:
            raise
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return f"{name} is missing"
    return None
