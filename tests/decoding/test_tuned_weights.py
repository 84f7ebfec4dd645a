"""`--weights FILE`: the best of what `tune` wrote, in place of the options' own; other files are named."""

from pathlib import Path

import pytest

from vqw2v_plugin.decoding.settings import BeamSettings, Weights
from vqw2v_plugin.decoding.tuned import read_weights, with_weights

GOOD = '{"best": [{"lm_weight": 1.5, "word_score": -1, "sil_score": 0.25, "rate": 3.0}, {"lm_weight": 9}]}'


def test_the_best_ones_replace_those_of_the_options_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "tuned-dev.json"
    path.write_text(GOOD)
    assert read_weights(path) == Weights(1.5, -1.0, 0.25)
    beam = BeamSettings(beam=7, lm_weight=4.0)
    assert with_weights(beam, path) == BeamSettings(beam=7, lm_weight=1.5, word_score=-1.0, sil_score=0.25)
    assert with_weights(beam, None) is beam


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"best": []}',
        '{"best": 3}',
        '{"best": [{"lm_weight": 1}]}',
        GOOD.replace("1.5", '"1.5"'),
        GOOD.replace("1.5", "true"),
        GOOD.replace("1.5", "NaN"),
        GOOD.replace("1.5", "1e999"),
        GOOD.replace("1.5", "1" * 400),
    ],
)
def test_another_file_is_named_with_what_was_expected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tuned-dev.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"tuned-dev\.json: .*expected a file that `vqw2v tune` wrote"):
        read_weights(path)
    with pytest.raises(ValueError, match="no such file or directory"):
        read_weights(tmp_path / "gone.json")
