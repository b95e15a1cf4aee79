"""The project's own records, as Predict writes them, corrected or not: JSON lines."""

from pathlib import Path

from pipeline.corpus.files import lines
from pipeline.corpus.imports.source import EMPTY, Record, picture_names
from pipeline.corpus.json_lines import read_object
from pipeline.corpus.jsonl import FIELDS, check_record, known_fields
from pipeline.corpus.notes import Notes

UNREAD = "records that could not be predicted are left out"


def read(file: Path, notes: Notes) -> list[Record]:
    """Read a file of records without the fields of predictions, such as scores.

    Pictures are given by path. Raises DataError.
    """
    records = []
    for line in lines(file):
        record = read_object(line)
        if "error" in record:
            notes.add(UNREAD, f"line {line.number}")
            continue
        fields = known_fields(line, record, FIELDS, {})
        if isinstance(fields.get("text"), str) and not fields["text"].strip():
            notes.add(EMPTY, f"line {line.number}")
            continue
        pictures = picture_names(fields, ["picture"])
        line.need(bool(pictures) or not fields.get("picture"), "picture to be a path", fields)
        fields.pop("picture", None)
        check_record(line, fields, notes)
        records.append(Record(line, fields, pictures))
    return records
