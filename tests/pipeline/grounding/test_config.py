"""Settings of grounding: values out of range are refused; `described` is read back."""

import json

import pytest

from pipeline.errors import SettingError
from pipeline.grounding.config import (
    DETECTOR,
    FAOA,
    NONE,
    SALIENCE,
    GroundConfig,
    Grounders,
)

FINDERS = (DETECTOR, FAOA, SALIENCE, NONE)


@pytest.mark.parametrize("value", [0, -640])
def test_longest_side_below_1_is_refused(value: int) -> None:
    with pytest.raises(SettingError, match=f"--longest-side: expected 1 or more, found {value}"):
        GroundConfig(longest_side=value)


@pytest.mark.parametrize(
    "grounders",
    [*(Grounders(name) for name in FINDERS), *(Grounders(name, released=True) for name in FINDERS)],
    ids=lambda grounders: grounders.name,
)
def test_a_described_configuration_is_read_back(grounders: Grounders) -> None:
    config = GroundConfig(
        grounders,
        phrases="spacy",
        max_crops=2,
        order="phrase",
        min_score=0.4,
        weights="a/b",
        longest_side=640,
    )
    settings = json.loads(json.dumps(config.described()))
    assert GroundConfig.from_described(settings) == config


def test_a_keys_other_settings_are_ignored() -> None:
    settings = {"grounder": "released, faoa", "weights": "from disk", "parser": "3.8", "reads": []}
    expected = GroundConfig(Grounders("faoa", released=True), weights="from disk")
    assert GroundConfig.from_described(settings) == expected
    assert GroundConfig.from_described({}) == GroundConfig()
