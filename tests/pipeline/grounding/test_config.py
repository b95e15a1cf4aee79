"""Values of grounding options that are out of range."""

import pytest

from pipeline.errors import SettingError
from pipeline.grounding.config import GroundConfig


@pytest.mark.parametrize("value", [0, -640])
def test_a_longest_side_has_pixels(value: int) -> None:
    with pytest.raises(SettingError, match=f"--longest-side: expected 1 or more, found {value}"):
        GroundConfig(longest_side=value)
