"""JSON lines: read one object per line, with precise errors for anything else."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipeline.corpus.files import Line
from pipeline.errors import DataError

MAX_WHOLE = 10_000_000  # bytes of a file that are read for a hint
_IMPORT = (
    "move it out of this folder and read it with: luigi --module tasks ImportPosts "
    "--dataset NAME --file FILE --format"
)


class _TwiceError(ValueError):
    """An object has a field twice. The message is the field's name."""


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's fields. Raises ValueError for a repeated name: JSON allows it."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return fields


def read_object(line: Line, export: bool = False) -> dict[str, Any]:
    """Parse a line as a JSON object. Raises DataError that names the cause if it isn't one.

    export: True if the file is a tool's export; if False, a line of an export is refused.
    """
    try:
        value = json.loads(line.text, object_pairs_hook=each_once)
    except _TwiceError as error:
        raise line.error("each field once", f"{error} twice") from error
    except json.JSONDecodeError as error:
        if not export and line.number == 1 and line.path.is_file() and pretty_export(line.path):
            refuse_export(line, [{"data": {}, "annotations": []}])
        raise line.error(*_cause(line.text, error)) from error
    except (ValueError, RecursionError, MemoryError) as error:  # digits, depth
        raise line.error("a JSON object", line.text) from error
    if not export:
        refuse_export(line, value)
    if isinstance(value, list):
        advice = "write one object per line, without brackets around all of them"
        raise line.error(f"a JSON object; {advice}", value)
    if not isinstance(value, dict):
        raise line.error("a JSON object", value)
    return value


def _cause(text: str, error: json.JSONDecodeError) -> tuple[str, object]:
    """Return what was expected of a line that is not valid JSON, and what was found."""
    start = text.lstrip()[:1]
    if not start:
        return "a JSON object", text
    if error.msg.startswith("Extra data"):
        extra = text[error.pos :].strip()
        return "a JSON object and nothing after it on its line", extra
    if start in "{[" and _ends_early(text, error):
        if start == "[":
            advice = "write each post on its own line, without brackets around all of them"
            return f"a JSON object on one line ({advice})", text
        return "the whole object on one line (write each post on its own line)", text
    if start in "]}":
        return "a whole JSON object on one line (write each post on its own line)", text
    if start == "{":
        near = text[max(0, error.pos - 10) : error.pos + 30]
        reason = error.msg.removesuffix(" at")
        return f"a JSON object ({reason} at character {error.pos + 1})", near
    return "a JSON object", text


def _ends_early(text: str, error: json.JSONDecodeError) -> bool:
    """Return True if the line ends before the object does."""
    at_end = error.pos >= len(text.rstrip())
    return at_end or error.msg.startswith("Unterminated string")


def refuse_export(line: Line, value: object) -> None:
    """Raise DataError if a line's value comes from a tool's export."""
    tool = export_format(value)
    if tool is not None:
        raise DataError(
            f"{line.path}, line {line.number}: expected posts, found an export of "
            f"{tool}; {import_advice(tool)}"
        )


def import_advice(tool: str) -> str:
    """Return the command that imports an export. tool: a value of --format."""
    return f"{_IMPORT} {tool}"


def read_if_json(path: Path) -> tuple[object, object]:
    """Parse a whole file, and its first line, as JSON; None for each that is not JSON."""
    with path.open("rb") as file:
        content = file.read(MAX_WHOLE)
    values: list[object] = []
    for text in (content, content.partition(b"\n")[0]):
        try:
            values.append(json.loads(text))
        except (ValueError, RecursionError, MemoryError):
            values.append(None)
    return values[0], values[1]


def pretty_export(path: Path) -> bool:
    """Return True if a file that isn't JSON lines begins like an export of Label Studio."""
    with path.open("rb") as file:
        start = file.read(100_000)
    return start.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"[", b"{") and all(
        name in start for name in (b'"annotations"', b'"result"', b'"data"')
    )


def export_format(value: object) -> str | None:
    """Return the tool whose export a JSON value looks like; None for posts and anything else."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("data"), dict) and {"annotations", "completions"} & value.keys():
        return "label-studio"
    entities = value.get("entities")
    first = entities[0] if isinstance(entities, list) and entities else None
    if isinstance(first, dict) and "start_offset" in first:
        return "doccano"
    if {"tags", "tokens", "entities"} & value.keys() or "text" not in value:
        return None
    labels = value.get("label", value.get("labels"))
    if not isinstance(labels, list):
        return None
    if labels and all(isinstance(label, dict) and "labels" in label for label in labels):
        return "label-studio"  # JSON-MIN
    is_doccano = all(isinstance(label, list) and len(label) == 3 for label in labels)
    return "doccano" if is_doccano else None


def misspelt(name: str, known: tuple[str, ...]) -> str | None:
    """Return the known name that `name` most likely misspells; None if there is none.

    A misspelling differs in case, or by one letter (two letters in names of more than five).
    """
    if name in known:
        return None
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    for candidate in near:
        if _distance(name.lower(), candidate) <= (1 if len(candidate) <= 5 else 2):
            return candidate
    return None


def _distance(a: str, b: str) -> int:
    """Count the letters to change, add, drop or swap with a neighbour to turn a into b."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (x != y))
            if i > 1 and j > 1 and (x, a[i - 2]) == (b[j - 2], y):
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
