"""Status: report for each stage whether its output is fresh and, if not, what changed."""

from collections.abc import Iterable
from typing import Any

from features.errors import AccessError, access_named
from pipeline.engine.locks import in_use, lock_name
from pipeline.engine.outputs import READS, damage, folders, partial_of, read_manifest
from pipeline.engine.stage import FRESH, Stage
from pipeline.errors import FAMILY, NAMED


def status(stages: Iterable[Stage]) -> list[str]:
    """Return a line for each stage: fresh, or stale with the reason."""
    return [f"{stage.STAGE} is {_state(stage)}" for stage in stages]


def _state(stage: Stage) -> str:
    try:
        with access_named(stage.paths.store_root):  # computing the key reads outputs, too
            return _known_state(stage)
    except AccessError as error:
        return f"not known: {error}"
    except (*FAMILY, OSError) as error:  # the data set is missing or cannot be read
        return f"stale: {error}"


def _known_state(stage: Stage) -> str:
    reason = damage(stage.folder, stage.paths.digests)
    if reason is None:
        return f"{FRESH}: {stage.folder}"
    if not stage.folder.exists():
        last = _last_key(stage)
        reason = "never made" if last is None else "; ".join(changes(last, stage.key))
    return f"stale: {reason}{_begun(stage)}"


def _begun(stage: Stage) -> str:
    """Return a note if a run is making the output or was interrupted, else ""."""
    if in_use(stage.paths.store_root, lock_name(stage.folder)):
        return " (a run is making it)"
    if partial_of(stage.folder).exists():
        return " (a run was interrupted; what it finished is kept)"
    return ""


def _last_key(stage: Stage) -> dict[str, Any] | None:
    """Return the key of the most similar output of a stage and data set; of equals the newest."""
    outputs = folders(stage.paths.store_root, stage.STAGE)
    manifests = [manifest for folder in outputs if (manifest := read_manifest(folder))]
    similar = [m for m in manifests if _comparable(m["key"], stage.key)]
    similar.sort(key=lambda m: m["made"], reverse=True)
    nearest = min(similar, key=lambda m: len(changes(m["key"], stage.key)), default=None)
    return None if nearest is None else nearest["key"]


def _comparable(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Return True if two keys have the same data set and are of the same kind of task.

    Keys of a stage that have settings, but none in common, are of two kinds: a training run and a
    summary of several runs.
    """
    names_a, names_b = a["settings"].keys(), b["settings"].keys()
    same_kind = bool(names_a & names_b) or not (names_a and names_b)
    return bool(a["dataset"] == b["dataset"]) and same_kind


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Describe each difference between two keys."""
    lines = []
    for part in ("version", "settings", "sources", "requires"):
        old, new = _flat(before[part], part), _flat(after[part], part)
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) == new.get(name):
                continue
            if name == READS:
                lines += _reads(old.get(name, []), new.get(name, []))
            elif part == "requires":
                lines.append(f"{name} changed")
            elif name not in old:
                lines.append(f"{name} is new ({new[name]})")
            elif name not in new:
                lines.append(f"{name} is gone (was {old[name]})")
            else:
                lines.append(f"{name} {old[name]} → {new[name]}")
    return lines


def _reads(before: list[str], after: list[str]) -> list[str]:
    """Describe which pictures became readable, or unreadable, since the earlier output."""
    kinds = {
        "can be read now": sorted({*after} - {*before}),
        "can no longer be read": sorted({*before} - {*after}),
    }
    return [
        f"{len(names)} pictures that {'were unusable' if change.endswith('now') else 'were read'} "
        f"{change}: {', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''}"
        for change, names in kinds.items()
        if names
    ]


def _flat(value: Any, name: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else {name: value}
