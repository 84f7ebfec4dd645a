"""The linear probe: what it can read off frames, what it must not learn from, and who it tests."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from vqw2v_plugin.analysis.probe import Frames, cross_probe, labelled_frames, probe
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


def test_a_phone_that_training_lacks_is_a_miss() -> None:
    test = frames_of(5, seed=1)
    new = Frames(test.x, np.where(test.phones == "S", "ZH", test.phones), test.utterance)
    assert probe(frames_of(20), new).accuracy == pytest.approx(1 - (new.phones == "ZH").mean())


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


def write_store(folder: Path, sizes: dict[str, int]) -> None:
    total = sum(sizes.values())
    np.save(folder / "all.npy", np.arange(total, dtype=np.float16)[:, None])
    np.save(folder / "all.ends.npy", np.cumsum(list(sizes.values())))
    (folder / "all.ids").write_text("".join(f"{utt}\t{n}\n" for utt, n in sizes.items()))
    about = {"stride": 160, "receptive_field": 480, "sample_rate": 16_000}
    (folder / "features.json").write_text(json.dumps(about))


def test_a_frame_has_the_phone_at_its_centre(tmp_path: Path) -> None:
    write_store(tmp_path, {"a": 5, "unlabelled": 3, "b": 4})
    # frame t is centred on 0.015 + 0.01 t seconds
    segments = {
        "a": Segments(np.array([0.0, 0.03]), np.array([0.02, 0.05]), ("AA", "B")),
        "b": Segments(np.array([0.04]), np.array([1.0]), ("S",)),
    }
    frames = labelled_frames(tmp_path, "all", segments)
    assert frames.phones.tolist() == ["AA", "B", "B", "S"]
    assert frames.x[:, 0].tolist() == [0, 2, 3, 11] and frames.utterance.tolist() == [0, 0, 0, 2]
    assert len(labelled_frames(tmp_path, "all", segments, most=2)) == 2


def test_a_store_without_phones_or_clock_is_named(tmp_path: Path) -> None:
    write_store(tmp_path, {"a": 5})
    with pytest.raises(FeatureError, match="none of its 1 utterances has phone times"):
        labelled_frames(tmp_path, "all", {})
    (tmp_path / "features.json").unlink()
    with pytest.raises(FeatureError, match=r"features.json: does not say 'stride'"):
        labelled_frames(tmp_path, "all", {})


def test_the_script_prints_a_row_for_each_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).resolve().parents[2] / "examples" / "bert" / "probe.py"
    spec = importlib.util.spec_from_file_location("probe_script", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    sizes = {f"u{i}": 40 for i in range(12)}
    times = [f"{utt} 1 {k * 0.1:.1f} 0.1 {PHONES[k % 2]}\n" for utt in sizes for k in range(4)]
    (tmp_path / "all.ctm").write_text("".join(times))
    for name in ("names", "noise"):
        (tmp_path / name).mkdir()
        write_store(tmp_path / name, sizes)
    centres = 0.015 + 0.01 * np.arange(40)
    np.save(tmp_path / "names" / "all.npy", np.tile((centres // 0.1) % 2, 12).astype(np.float16)[:, None])
    np.save(tmp_path / "noise" / "all.npy", np.random.default_rng(0).standard_normal((480, 1), np.float32))
    folders = [str(tmp_path / "names"), str(tmp_path / "noise")]
    for which in (["--split", "all"], ["--train", "all", "--test", "all"]):
        options = ["probe.py", *folders, "--phones", str(tmp_path / "all.ctm"), *which]
        monkeypatch.setattr(sys, "argv", options)
        assert script.main() == 0
        rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| n")]
        assert rows[0] == ["| names", "1", "100.0% |"]
        assert rows[1][0] == "| noise" and float(rows[1][2].strip("% |")) < 70
