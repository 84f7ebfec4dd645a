"""Where two models' frames lie is told by their centres."""

import json
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.stores.frames import FrameTimes, read_code_sizes
from vqw2v_plugin.stores.symbols import TokenError

MEL = FrameTimes(160, 400, 16_000)  # centres at samples 200, 360, 520, …


@pytest.mark.parametrize(
    ("times", "others", "begin", "expected"),
    [
        (MEL, MEL, 0, [0, 1, 2, 3]),
        # centres at 232.5, 392.5, …: 32.5 behind each
        (FrameTimes(160, 465, 16_000), MEL, 0, [0, 1, 2, 3]),
        # a crop from sample 1000 on: centres at 1200, 1360, …; 1192.5 is the nearest to the first
        (FrameTimes(160, 465, 16_000), MEL, 1000, [6, 7, 8, 9]),
        # from 79 and 80 on: 279 and 280, between 200 and 360; of two as near the earlier
        (MEL, MEL, 79, [0, 1, 2, 3]),
        (MEL, MEL, 80, [0, 1, 2, 3]),
        (MEL, MEL, 81, [1, 2, 3, 4]),
        # codes every 20 ms, centres at 280, 600, 920: mel's 200 360 520 680 840
        (FrameTimes(320, 560, 16_000), MEL, 0, [0, 0, 1, 1, 2]),
        # at 8 kHz: 100, 180, 260 of 8 kHz are 200, 360, 520 of 16 kHz
        (FrameTimes(80, 200, 8_000), MEL, 160, [1, 2, 3, 4]),
        # a first frame far behind: there is none that early
        (FrameTimes(160, 2_000, 16_000), MEL, 0, [-5, -4, -3]),
    ],
)
def test_the_nearest_centres_worked_out_by_hand(
    times: FrameTimes, others: FrameTimes, begin: int, expected: list[int]
) -> None:
    assert times.nearest(others, begin, len(expected)).tolist() == expected


@pytest.mark.parametrize("rates", [(16_000, 16_000), (8_000, 22_050), (44_100, 16_000)])
def test_no_frame_lies_nearer(rates: tuple[int, int]) -> None:
    ours = FrameTimes(rates[0] // 70, rates[0] // 30, rates[0])
    theirs = FrameTimes(rates[1] // 100, rates[1] // 40, rates[1])
    begin = 777
    found = ours.nearest(theirs, begin, 50)
    distances = np.abs(theirs.centres(50)[:, None] + begin / rates[1] - ours.centres(90))  # [50, 90]
    inside = found >= 0
    assert inside.sum() > 40
    np.testing.assert_allclose(distances[inside, found[inside]], distances[inside].min(1), rtol=0, atol=1e-12)


ABOUT = {"num_groups": 1, "num_codes": 5, "stride": 160, "receptive_field": 400, "sample_rate": 16_000}


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({**ABOUT, "run_length": True}, "holds run-length tokens.*without `--run-length`"),
        ({"num_groups": 1}, "does not say num_codes, stride, receptive_field, sample_rate"),
    ],
)
def test_tokens_that_are_not_one_a_frame_are_refused(tmp_path: Path, about: dict, message: str) -> None:
    (tmp_path / "tokens.json").write_text(json.dumps(about))
    with pytest.raises(TokenError, match=message):
        read_code_sizes(tmp_path)
