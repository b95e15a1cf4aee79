"""Hints if a data set has no texts: files nearby that may be the intended ones."""

from pathlib import Path

from pipeline.corpus.files import clip
from pipeline.corpus.json_lines import export_format, import_advice, pretty_export, read_if_json

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".tar", ".tgz", ".rar")
_CONLL = (".conll", ".bio", ".iob", ".iob2", ".io", ".bioes", ".conllu")
_JSON = (".json", ".jsonl", ".ndjson", ".jsonlines")
_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods", ".parquet", ".feather", ".arrow")
_SHOWN = 3


def near_misses(data: Path, dataset: str, own: bool) -> str:
    """Return hints on files in the data set's folder or with its name, or "" without such files.

    own: True for the user's own data, in any form; of a published data set only packed files count.
    """
    folder = data / dataset
    files = [*_visible(folder), *(f for f in _visible(data) if f.name.split(".")[0] == dataset)]
    files = [file for file in files if own or file.suffix.lower() in _PACKED]
    hints = [hint for file in files if (hint := _hint(file, folder / "posts.jsonl"))]
    return "".join(f"{hint}; " for hint in dict.fromkeys(hints[:_SHOWN]))


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))


def _hint(file: Path, wanted: Path) -> str | None:
    shown, suffix = clip(str(file.name)), file.suffix.lower()
    if suffix in _PACKED:
        return f"found {shown}, which is packed: unpack it"
    if suffix in (".ann", *_CONLL):
        return f"found {shown}: {import_advice('brat' if suffix == '.ann' else 'conll')}"
    if suffix in _JSON:
        return _of_json(file, wanted)
    if suffix in _TABLES:
        return f"found {shown}: write each post as a JSON object on a line of {wanted.name}"
    if file.name.lower().startswith(wanted.name):  # POSTS.JSONL, posts.jsonl.txt
        return f"found {shown}: rename it to {wanted.name}"
    return None


def _of_json(file: Path, wanted: Path) -> str:
    shown = clip(file.name)
    whole, first = read_if_json(file)
    tool = export_format(whole) or export_format(first)
    if tool is None and pretty_export(file):
        tool = "label-studio"
    if tool is not None:
        return f"found {shown}, an export of {tool}: {import_advice(tool)}"
    if isinstance(first, dict):
        return f"found {shown}, which has one object per line: move it to {wanted}"
    problem = "is one array" if isinstance(whole, list) else "does not have one object per line"
    return f"found {shown}, which {problem}: write one object per line into {wanted.name}"
