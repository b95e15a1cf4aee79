"""Settings of picture text: the describer that they choose, and those that have no effect."""

from typing import Any

import pytest

from pipeline.description.config import (
    CAPTIONER_WEIGHTS,
    DescribeConfig,
    describe_config,
)
from pipeline.errors import SettingError


@pytest.mark.parametrize(
    ("values", "described"),
    [
        ({"files": ("a", "b")}, {"describer": "file", "files": ("a", "b")}),
        (
            {},
            {
                "describer": "captioner",
                "weights": CAPTIONER_WEIGHTS,
                "prompt": None,
                "length": DescribeConfig.length,
                "precision": "float32",
            },
        ),
        ({"describer": "ocr", "weights": "w", "length": 3}, {"describer": "ocr"}),
        ({"describer": "objects", "files": ("a",)}, {"describer": "objects"}),
    ],
    ids=["files", "nothing", "ocr", "objects"],
)
def test_a_describer_and_the_settings_that_it_reads(
    values: dict[str, Any], described: dict[str, Any]
) -> None:
    config = describe_config(values)
    assert config.described() == described
    assert config == DescribeConfig(**described)


def test_a_named_describer_comes_before_files() -> None:
    config = describe_config({"describer": "captioner", "files": ("a",), "weights": "w"})
    assert (config.describer, config.files, config.weights) == ("captioner", (), "w")


def test_no_files_for_the_describer_file() -> None:
    with pytest.raises(SettingError, match=r"--describer file: expected --files, .* found none"):
        describe_config({"describer": "file"})


def test_a_length_of_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="--length: expected 1 or more, found 0"):
        describe_config({"length": 0})
