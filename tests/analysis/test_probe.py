"""The linear probe: what it can read off frames, what it must not learn from, and who it tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from feature_folders import write_frames

from vqw2v_plugin.analysis import probe as probes
from vqw2v_plugin.analysis.probe import Frames, ProbeResult, cross_probe, labelled_frames, probe
from vqw2v_plugin.corpora.ctm import Segments
from vqw2v_plugin.stores.features import FeatureError

PHONES = np.array(["AA", "B", "S"])


def frames_of(utterances: int, per: int = 30, spread: float = 0.1, seed: int = 0) -> Frames:
    """Three phones at the corners of a triangle, with noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=utterances * per)
    x = np.eye(3)[labels] + spread * rng.standard_normal((len(labels), 3))
    return Frames(x.astype(np.float32), PHONES[labels], np.repeat(np.arange(utterances), per))


def test_phones_that_lie_apart_are_all_found() -> None:
    found = probe(frames_of(20), frames_of(5, seed=1))
    assert found.accuracy == 1.0 and found.num_phones == 3 and found.num_frames == 150


def test_of_a_single_utterance_nothing_is_kept_apart() -> None:
    assert probe(frames_of(1), frames_of(5, seed=1)).accuracy == 1.0


def test_features_without_a_phone_in_them_are_a_guess() -> None:
    train, test = frames_of(20), frames_of(40, seed=1)
    noise = np.random.default_rng(2).standard_normal((len(test), 3)).astype(np.float32)
    assert probe(train, Frames(noise, test.phones, test.utterance)).accuracy == pytest.approx(1 / 3, abs=0.05)


def test_scale_and_offset_of_a_feature_change_nothing() -> None:
    train, test = frames_of(20, spread=0.6), frames_of(20, spread=0.6, seed=1)
    moved = [Frames(f.x * [1000, 1, 0.01] + 5, f.phones, f.utterance) for f in (train, test)]
    moved = [Frames(f.x.astype(np.float32), f.phones, f.utterance) for f in moved]
    assert probe(*moved).accuracy == pytest.approx(probe(train, test).accuracy, abs=0.005)


def test_the_best_linear_rule_is_reached() -> None:
    """Two Gaussians a distance of 2 apart: 84.1 % is what the rule of Bayes gets."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=40_000)
    x = (rng.standard_normal((len(labels), 2)) + np.stack([2 * labels, 0 * labels], 1)).astype(np.float32)
    frames = Frames(x, PHONES[labels], np.arange(len(labels)) // 100)
    found = probe(frames[frames.utterance < 200], frames[frames.utterance >= 200])
    assert found.accuracy == pytest.approx(0.841, abs=0.01)


def test_many_noise_features_are_held_down_by_the_decay() -> None:
    rng = np.random.default_rng(0)
    frames = frames_of(24, per=20, spread=0.5)
    wide = np.concatenate([frames.x, rng.standard_normal((len(frames), 300)).astype(np.float32)], 1)
    frames = Frames(wide, frames.phones, frames.utterance)
    assert probe(frames[frames.utterance < 16], frames[frames.utterance >= 16]).accuracy > 0.6


def test_weights_are_where_cross_entropy_and_decay_are_in_balance() -> None:
    frames = frames_of(10, spread=0.5)
    x, y = torch.from_numpy(frames.x), torch.from_numpy(np.searchsorted(PHONES, frames.phones))
    weights = probes._fit(x, y, torch.zeros(4, 3), 0.1)
    wrong = torch.softmax(weights[0] + x @ weights[1:], 1) - torch.eye(3)[y]  # the slope by each score
    torch.testing.assert_close(x.T @ wrong / len(x), -0.1 * weights[1:], atol=1e-4, rtol=0.01)
    torch.testing.assert_close(wrong.mean(0), torch.zeros(3), atol=1e-4, rtol=0)  # the offsets are free


@pytest.mark.parametrize("decays", [(1e4, 1e-3), (1e-3, 1e4)])
def test_the_decay_that_does_best_on_utterances_kept_apart_is_taken(
    decays: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "DECAYS", decays)  # under the large one all frames are of one phone
    assert probe(frames_of(20), frames_of(5, seed=1)).accuracy == 1.0


def test_of_decays_that_do_as_well_the_strongest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, float]] = []
    fit = probes._fit

    def noted(x: torch.Tensor, y: torch.Tensor, start: torch.Tensor, decay: float) -> torch.Tensor:
        tried.append((len(x), decay))
        return fit(x, y, start, decay)

    monkeypatch.setattr(probes, "_fit", noted)
    probe(frames_of(20), frames_of(5, seed=1))
    apart = 18 * 30  # without each tenth utterance
    assert tried == [(apart, 1e-2), (apart, 1e-3), (apart, 1e-4), (20 * 30, 1e-2)]


@pytest.mark.parametrize(("utterances", "apart"), [(20, {9, 19}), (10, {9}), (9, {8}), (2, {1})])
def test_each_tenth_utterance_is_kept_apart_or_the_last_of_fewer(utterances: int, apart: set[int]) -> None:
    numbers = np.repeat(np.arange(utterances), 3)
    kept = probes._kept_apart(5 * numbers)  # in a split of which some have no phones
    assert set(numbers[kept].tolist()) == apart and kept.sum() == 3 * len(apart)


def test_folds_count_by_their_frames() -> None:
    """A phone that one utterance alone has is missed there, and all others are found."""
    labels = np.concatenate([np.full(60, 3), *[np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])] * 7])
    x = (np.eye(4)[labels] + 0.01 * np.random.default_rng(0).standard_normal((130, 4))).astype(np.float32)
    utterance = np.concatenate([np.zeros(60, np.int64), np.repeat(np.arange(1, 8), 10)])
    found = cross_probe(Frames(x, np.array([*PHONES, "ZH"])[labels], utterance), folds=4)
    assert (found.num_frames, found.num_phones) == (130, 4)
    assert found.accuracy == pytest.approx(70 / 130)
    assert found.majority == pytest.approx(4 / 130)  # beside it `ZH` is the most frequent, without it AA


def test_a_phone_that_training_lacks_is_a_miss() -> None:
    test = frames_of(5, seed=1)
    new = Frames(test.x, np.where(test.phones == "S", "ZH", test.phones), test.utterance)
    assert probe(frames_of(20), new).accuracy == pytest.approx(1 - (new.phones == "ZH").mean())


@pytest.mark.parametrize("phone", PHONES)
def test_each_phone_may_be_the_one_that_training_lacks(phone: str) -> None:
    test = frames_of(5, seed=1)
    new = Frames(test.x, np.where(test.phones == phone, "new", test.phones), test.utterance)
    assert probe(frames_of(20), new).accuracy == pytest.approx(1 - (new.phones == "new").mean())


def test_the_guess_is_training_s_most_frequent_phone() -> None:
    train, test = frames_of(20), frames_of(5, seed=1)
    kept = np.flatnonzero(train.phones == PHONES[0])[: len(train) // 20]
    few = np.isin(np.arange(len(train)), kept) | (train.phones != PHONES[0])
    few &= (train.phones != PHONES[1]) | (np.arange(len(train)) % 4 == 0)  # PHONES[2] is most frequent
    test = test[(test.phones != PHONES[2]) | (np.arange(len(test)) % 3 == 0)]  # and here it is the rarest
    found = probe(train[few], test)
    assert found.majority == pytest.approx((test.phones == PHONES[2]).mean())


def test_no_utterance_is_tested_by_what_learnt_from_it() -> None:
    """Each utterance has a feature that names its phones, differently in each: of no use in another."""
    rng = np.random.default_rng(0)
    key = rng.integers(3, size=(12, 3))
    labels = rng.integers(3, size=12 * 40)
    utterance = np.repeat(np.arange(12), 40)
    code = utterance * 3 + labels
    frames = Frames(np.eye(36, dtype=np.float32)[code], PHONES[key[utterance, labels]], utterance)
    assert probe(frames, frames).accuracy == 1.0
    assert cross_probe(frames, folds=4).accuracy < 0.7


def test_too_few_utterances_for_the_folds_are_named() -> None:
    with pytest.raises(ValueError, match="3 utterances with phones cannot be shared out among 4 folds"):
        cross_probe(frames_of(3), folds=4)


def write_store(folder: Path, sizes: dict[str, int], values: np.ndarray | None = None) -> None:
    """Of one feature, by default the frame's number."""
    numbers = np.arange(sum(sizes.values()), dtype=np.float16) if values is None else values
    parts = np.split(numbers[:, None], np.cumsum(list(sizes.values()))[:-1])
    about = {"stride": 160, "receptive_field": 480, "sample_rate": 16_000}
    write_frames(folder, "all", dict(zip(sizes, parts, strict=True)), about)


def test_a_frame_has_the_phone_at_its_centre(tmp_path: Path) -> None:
    write_store(tmp_path, {"a": 5, "unlabelled": 3, "b": 4})
    # frame t is centred on 0.015 + 0.01 t seconds
    segments = {
        "a": Segments(np.array([0.0, 0.03, 0.04]), np.array([0.02, 0.04, 0.05]), ("AA", "B", "ZH")),
        "b": Segments(np.array([0.04]), np.array([1.0]), ("S",)),
    }
    frames = labelled_frames(tmp_path, "all", segments)
    assert frames.phones.tolist() == ["AA", "B", "ZH", "S"]
    assert frames.x[:, 0].tolist() == [0, 2, 3, 11] and frames.utterance.tolist() == [0, 0, 0, 2]
    for most, kept in ((2, [0, 2]), (3, [0, 2]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])):
        some = labelled_frames(tmp_path, "all", segments, most=most)
        for name in ("x", "phones", "utterance"):
            assert getattr(some, name).tolist() == getattr(frames, name)[kept].tolist()


def test_a_store_without_phones_or_clock_is_named(tmp_path: Path) -> None:
    write_store(tmp_path, {"a": 5})
    with pytest.raises(FeatureError, match="none of its 1 utterances has phone times"):
        labelled_frames(tmp_path, "all", {})
    (tmp_path / "features.json").unlink()
    with pytest.raises(FeatureError, match=r"features.json: does not say 'stride'"):
        labelled_frames(tmp_path, "all", {})


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "examples" / "bert" / "probe.py"
    spec = importlib.util.spec_from_file_location("probe_script", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_learns_from_as_many_frames_in_as_many_turns_as_it_is_told(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.ctm").write_text("u 1 0 1 a\n")
    asked: list[object] = []
    frames = SimpleNamespace(x=np.zeros((1, 3)))
    monkeypatch.setattr(
        script, "labelled_frames", lambda folder, split, *more: asked.append((split, *more[1:])) or frames
    )
    monkeypatch.setattr(script, "cross_probe", lambda *told: asked.append(told[1:]) or RESULT)
    monkeypatch.setattr(script, "probe", lambda *_: RESULT)
    for which in (["--split", "all"], ["--train", "some", "--test", "others"]):
        options = [
            "probe.py",
            "z",
            "--phones",
            str(tmp_path / "a.ctm"),
            *which,
            "--most",
            "7",
            "--folds",
            "3",
        ]
        monkeypatch.setattr(sys, "argv", options)
        assert script.main() == 0
    assert asked == [("all", 7), (3,), ("some", 7), ("others",)]  # of a test all frames count
    monkeypatch.setattr(sys, "argv", [*options[:-1], "1"])
    with pytest.raises(SystemExit):
        script.main()


RESULT = ProbeResult(0.5, 0.25, 10, 2)


def test_the_script_prints_a_row_for_each_folder(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {f"u{i}": 40 for i in range(12)}
    times = [f"{utt} 1 {k * 0.1:.1f} 0.1 {PHONES[k % 2]}\n" for utt in sizes for k in range(4)]
    (tmp_path / "all.ctm").write_text("".join(times))
    centres = 0.015 + 0.01 * np.arange(40)
    write_store(tmp_path / "names", sizes, np.tile((centres // 0.1) % 2, 12).astype(np.float16))
    write_store(tmp_path / "noise", sizes, np.random.default_rng(0).standard_normal(480).astype(np.float32))
    folders = [str(tmp_path / "names"), str(tmp_path / "noise")]
    for which in (["--split", "all"], ["--train", "all", "--test", "all"]):
        options = ["probe.py", *folders, "--phones", str(tmp_path / "all.ctm"), *which]
        monkeypatch.setattr(sys, "argv", options)
        assert script.main() == 0
        rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| n")]
        assert rows[0] == ["| names", "1", "100.0% |"]
        assert rows[1][0] == "| noise" and float(rows[1][2].strip("% |")) < 70
