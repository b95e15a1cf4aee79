"""Records of ours, as prediction answers and people correct them: JSON lines, pictures by path."""

from pathlib import Path

from pipeline.corpus.files import lines
from pipeline.corpus.imports.source import Record, picture_names
from pipeline.corpus.jsonl import FIELDS, check_record, parse
from pipeline.corpus.notes import Notes


def read(file: Path, notes: Notes) -> list[Record]:
    """The posts of a file of records; scores and what else only an answer has are left out."""
    records = []
    for line in lines(file):
        fields = parse(line, FIELDS, {})
        pictures = picture_names(fields, ["picture"])
        line.need(bool(pictures) or not fields.get("picture"), "picture to be a path", fields)
        fields.pop("picture", None)
        check_record(line, fields, notes)
        records.append(Record(line, fields, pictures))
    return records
