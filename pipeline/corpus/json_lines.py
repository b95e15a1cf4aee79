"""One JSON object a line; where a line holds something else, the message says what."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipeline.corpus.files import Line
from pipeline.errors import DataError

MAX_WHOLE = 10_000_000  # bytes of a file that is looked at for a hint
_IMPORT = (
    "move it out of this folder and read it with: luigi --module tasks ImportPosts "
    "--dataset NAME --file FILE --format"
)


class _TwiceError(ValueError):
    """A name that an object has twice."""


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's fields. JSON doesn't say which of two equal names counts: ValueError."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return fields


def read_object(line: Line, export: bool = False) -> dict[str, Any]:
    """The object that is a line. Raises DataError with the cause where it isn't one.

    export: whether the file should be an export; if not, a line of an export is refused.
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
        advice = "write one object a line, without the brackets around all"
        raise line.error(f"a JSON object; {advice}", value)
    if not isinstance(value, dict):
        raise line.error("a JSON object", value)
    return value


def _cause(text: str, error: json.JSONDecodeError) -> tuple[str, object]:
    """A fault in a line: expected, and found."""
    start = text.lstrip()[:1]
    if not start:
        return "a JSON object", text
    if error.msg.startswith("Extra data"):
        rest = text[error.pos :].strip()
        return "a JSON object and nothing after it on its line", rest
    if start in "{[" and _ends_early(text, error):
        if start == "[":
            advice = "write each post on a line of its own, without brackets around all"
            return f"a JSON object on one line ({advice})", text
        return "the whole object on one line (write each post on a line of its own)", text
    if start in "]}":
        return "a whole JSON object on one line (write each post on a line of its own)", text
    if start == "{":
        near = text[max(0, error.pos - 10) : error.pos + 30]
        reason = error.msg.removesuffix(" at")
        return f"a JSON object ({reason} at character {error.pos + 1})", near
    return "a JSON object", text


def _ends_early(text: str, error: json.JSONDecodeError) -> bool:
    """Whether the line ends before the object does."""
    at_end = error.pos >= len(text.rstrip())
    return at_end or error.msg.startswith("Unterminated string")


def refuse_export(line: Line, value: object) -> None:
    """Raise DataError where the value of a line is of another tool's export."""
    tool = export_format(value)
    if tool is not None:
        raise DataError(
            f"{line.path}, line {line.number}: expected posts, found an export of "
            f"{tool}; {import_advice(tool)}"
        )


def import_advice(tool: str) -> str:
    """The command that imports an export; `tool` is a value of --format."""
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
    """Whether a file that isn't JSON lines begins as Label Studio's export does."""
    with path.open("rb") as file:
        start = file.read(100_000)
    return start.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"[", b"{") and all(
        name in start for name in (b'"annotations"', b'"result"', b'"data"')
    )


def export_format(value: object) -> str | None:
    """The tool whose export a JSON value looks like; None for our own posts and anything else."""
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
    if labels and all(isinstance(one, dict) and "labels" in one for one in labels):
        return "label-studio"  # JSON-MIN
    return "doccano" if all(isinstance(x, list) and len(x) == 3 for x in labels) else None


def misspelt(name: str, known: tuple[str, ...]) -> str | None:
    """The known name that another one is most likely a slip for; None if it is no slip.

    A slip differs in case, or by one letter (two in names of more than five).
    """
    if name in known:
        return None
    near = get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    for one in near:
        if _distance(name.lower(), one) <= (1 if len(one) <= 5 else 2):
            return one
    return None


def _distance(a: str, b: str) -> int:
    """Letters to change, add, leave out or exchange with their neighbour to make a into b."""
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
