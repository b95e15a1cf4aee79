"""Records of ours, as prediction answers and people correct them: JSON lines, pictures by path."""

from pathlib import Path

from pipeline.corpus.files import lines
from pipeline.corpus.imports.source import EMPTY, Record, picture_names
from pipeline.corpus.json_lines import read_object
from pipeline.corpus.jsonl import FIELDS, check_record, known_fields
from pipeline.corpus.notes import Notes

UNREAD = "records that could not be predicted are left out"


def read(file: Path, notes: Notes) -> list[Record]:
    """The posts of a file of records; scores and what else only an answer has are left out."""
    records = []
    for line in lines(file):
        answer = read_object(line)
        if "error" in answer:
            notes.add(UNREAD, f"line {line.number}")
            continue
        fields = known_fields(line, answer, FIELDS, {})
        if isinstance(fields.get("text"), str) and not fields["text"].strip():
            notes.add(EMPTY, f"line {line.number}")
            continue
        pictures = picture_names(fields, ["picture"])
        line.need(bool(pictures) or not fields.get("picture"), "picture to be a path", fields)
        fields.pop("picture", None)
        check_record(line, fields, notes)
        records.append(Record(line, fields, pictures))
    return records
