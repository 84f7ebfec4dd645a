"""Where two models' frames lie is told by their centres."""

import json
from pathlib import Path

import numpy as np
import pytest
from feature_folders import write_frames

from vqw2v_plugin.stores.features import FeatureError
from vqw2v_plugin.stores.frames import FrameTimes, TokenFrames, open_frames, read_code_sizes
from vqw2v_plugin.stores.symbols import TOKENS, TokenError, write_dict
from vqw2v_plugin.stores.tokens import TokenWriter

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


FRAMES = {"stride": 160, "receptive_field": 400, "sample_rate": 16_000}


def tokens(folder: Path, run_length: bool = False) -> None:
    """Two utterances of codes of two groups, and a token that the dictionary lacks."""
    with TokenWriter(folder, "train", 10) as writer:
        writer.add("a", 3, [4, 9] if run_length else [4, 9, 5])
        writer.add("b", 2, [5] if run_length else [5, 5])
    if run_length:
        np.save(folder / "train.durations.npy", np.array([2, 1, 2], "<i4"))
    write_dict(folder / "dict.txt", [("0-7", 1), ("3-2", 1)])
    TOKENS.write_about(folder, {**FRAMES, "run_length": run_length})


def test_frames_a_second_are_the_rate_by_the_stride() -> None:
    assert MEL.rate == 100 and FrameTimes(320, 400, 8_000).rate == 25
    assert MEL.centres(3).tolist() == pytest.approx([0.0125, 0.0225, 0.0325])


def test_tokens_are_codes_one_a_frame_and_what_the_dictionary_lacks_is_none(tmp_path: Path) -> None:
    tokens(tmp_path / "frames")
    tokens(tmp_path / "runs", run_length=True)
    found, runs = (open_frames(tmp_path / name, None, []) for name in ("frames", "runs"))
    assert found.layer == "codes" and found.times == MEL
    assert found["a"].tolist() == [[0, 7], [-1, -1], [3, 2]] and found["b"].tolist() == [[3, 2]] * 2
    assert runs["a"].tolist() == [[0, 7], [0, 7], [-1, -1]] and runs["b"].tolist() == [[3, 2]] * 2


def test_codes_are_those_that_the_json_says(tmp_path: Path) -> None:
    tokens(tmp_path)
    found = TokenFrames(tmp_path, "train")
    found.check_codes(2, 8)
    for groups, codes in ((2, 7), (1, 8), (2, (1 << 24) + 1)):
        with pytest.raises(FeatureError, match=rf"dict\.txt: has symbols of 2 codes up to 7, .* {codes};"):
            found.check_codes(groups, codes)


def test_rows_without_times_are_no_frames(tmp_path: Path) -> None:
    for about, says in (
        ({**FRAMES, "segments": "runs"}, "holds segments, or frames of audio without its silence"),
        ({**FRAMES, "silence": "energy"}, "holds segments, or frames of audio without its silence"),
        ({"stride": 160}, "does not say receptive_field, sample_rate, so its frames have no times"),
    ):
        write_frames(tmp_path, "train", {"a": np.zeros((2, 3), np.float16)}, about)
        with pytest.raises(FeatureError, match=says):
            open_frames(tmp_path, "train", [])


def test_of_several_splits_the_one_that_was_asked_for_or_hinted_at_is_read(tmp_path: Path) -> None:
    for split in ("dev", "test", "train"):
        write_frames(tmp_path, split, {"a": np.zeros((2, 3), np.float16)}, {**FRAMES, "layer": "mfcc"})
    assert open_frames(tmp_path, "train", ["test"]).split == "train"
    assert open_frames(tmp_path, None, ["other", "test", "dev"]).split == "test"
    assert open_frames(tmp_path, "train", []).layer == "mfcc"
    for asked, says in ((None, "it is not clear which split is meant"), ("eval", "`--split` is 'eval'")):
        with pytest.raises(FeatureError, match=f"{says}; the splits there are: dev, test, train; name one"):
            open_frames(tmp_path, asked, ["other"])


def test_a_folder_of_two_kinds_or_of_none_is_neither_s(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="holds neither features nor tokens; expected a folder of"):
        open_frames(tmp_path, "train", [])
    tokens(tmp_path)
    write_frames(tmp_path, "train", {"a": np.zeros((2, 3), np.float16)}, FRAMES)
    with pytest.raises(FeatureError, match="holds features and tokens; expected a folder of"):
        open_frames(tmp_path, "train", [])


def test_groups_and_codes_are_those_that_the_json_says(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text(json.dumps({**ABOUT, "num_groups": 2, "run_length": False}))
    assert read_code_sizes(tmp_path) == (2, 5)


def test_a_stretch_before_the_first_frame_has_none(tmp_path: Path) -> None:
    write_frames(tmp_path, "train", {"a": np.zeros((4, 3), np.float16)}, FRAMES)
    found = open_frames(tmp_path, None, [])
    assert [found.span(*stretch) for stretch in ((-1, -0.5), (-1, 0.0126), (0.0125, 0.0325))] == [
        *((0, 0), (0, 1), (0, 2))
    ]
