"""What is changed, and how much, is drawn for each clip; who says nothing gets nothing."""

import numpy as np
import pytest

from vqw2v_plugin.audio import drawn_changes
from vqw2v_plugin.audio.drawn_changes import NAMES, DrawnChanges

RATE = 16_000


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Which change was made, how strong."""
    found: list[tuple[str, float]] = []

    def noted(name: str) -> object:
        def change(wav: np.ndarray, *arguments: object) -> np.ndarray:
            found.append((name, float(arguments[-1])))  # type: ignore[arg-type]
            return wav

        return change

    for name, function in [("noise", "add_noise"), ("reverb", "add_reverb"), ("pitch", "change_pitch")]:
        monkeypatch.setattr(drawn_changes, function, noted(name))
    return found


def test_seconds_are_told_in_samples_of_the_clip_s_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[int] = []
    for name in ("add_reverb", "change_pitch"):
        made = getattr(drawn_changes, name)

        def noted(wav: np.ndarray, *given: object, made: object = made) -> np.ndarray:
            rates.append(given[-2])  # type: ignore[arg-type]
            return made(wav, *given)  # type: ignore[operator]

        monkeypatch.setattr(drawn_changes, name, noted)
    wav = np.random.default_rng(0).normal(0, 0.1, 900).astype(np.float32)
    DrawnChanges.parse("reverb,pitch", 1.0)(wav, np.random.default_rng(0), 8_000)
    assert rates == [8_000, 8_000]


def draw(text: str, probability: float, times: int) -> None:
    changes, wav = DrawnChanges.parse(text, probability), np.zeros(10, dtype=np.float32)
    for i in range(times):
        changes(wav, np.random.default_rng(i), RATE)


def test_each_comes_as_often_as_it_is_to_and_within_its_bounds(called: list[tuple[str, float]]) -> None:
    draw("noise, reverb,pitch", 0.3, 600)
    bounds = {"noise": (5, 20), "reverb": (0.1, 0.6), "pitch": (-3, 3)}
    for name, (low, high) in bounds.items():
        strengths = [strength for other, strength in called if other == name]
        assert len(strengths) / 600 == pytest.approx(0.3, abs=0.06)
        spread = high - low
        assert low <= min(strengths) < low + 0.1 * spread and high - 0.1 * spread < max(strengths) <= high


def test_only_what_is_named_comes_and_the_same_as_beside_others(called: list[tuple[str, float]]) -> None:
    draw("pitch", 1.0, 20)
    alone = called.copy()
    called.clear()
    draw("noise,reverb,pitch", 1.0, 20)
    assert [name for name, _ in called[:3]] == ["pitch", "reverb", "noise"]
    assert [each for each in called if each[0] == "pitch"] == alone and len(alone) == 20


def test_a_clip_stays_as_long() -> None:
    wav = np.random.default_rng(0).normal(0, 0.1, 7_000).astype(np.float32)
    changes = DrawnChanges.parse(",".join(NAMES), 1.0)
    first, again, other = (changes(wav, np.random.default_rng(seed), RATE) for seed in (1, 1, 2))
    assert len(first) == len(wav) and first.dtype == np.float32
    assert (
        np.array_equal(first, again) and not np.array_equal(first, other) and not np.array_equal(first, wav)
    )


@pytest.mark.parametrize(
    ("text", "probability", "message"),
    [
        ("noise,echo", 0.5, "`augment` has 'echo'; expected some of noise, reverb, pitch"),
        ("", 0.5, "`augment` has ''"),
        ("noise,noise", 0.5, "expected each change once"),
        ("noise", 0.0, "`augment_probability` is 0.0"),
        ("noise", float("nan"), "`augment_probability` is nan"),
        ("noise", 1.5, "`augment_probability` is 1.5"),
    ],
)
def test_what_cannot_be_drawn_is_said(text: str, probability: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DrawnChanges.parse(text, probability)
