"""Extraction options out of range are refused before a picture is opened."""

import pytest

from pipeline.errors import SettingError
from pipeline.extraction.config import extract_config


@pytest.mark.parametrize("name", ["grid", "size"])
@pytest.mark.parametrize("value", [0, -2])
def test_values_out_of_range(name: str, value: int) -> None:
    with pytest.raises(SettingError, match=f"--{name}: expected 1 or more, found {value}"):
        extract_config("mine", {name: value})
