import math

import numpy as np
import pytest

from vqw2v_plugin.analysis.phone_codes import code_usage, joint_ids, phone_information


def test_usage_of_uniform_codes_is_everything() -> None:
    codes = np.stack([np.tile(np.arange(8), 8), np.repeat(np.arange(8), 8)], 1)
    usage = code_usage(codes, 8)
    assert usage.used == (8, 8) and usage.share_used == 1
    assert usage.perplexity == pytest.approx((8, 8))
    assert usage.joint_used == 64 and usage.joint_perplexity == pytest.approx(64)


def test_a_code_that_was_seen_once_is_used() -> None:
    usage = code_usage(np.array([[0, 1], [0, 2], [5, 1]]), 8)
    assert usage.used == (2, 2) and usage.joint_used == 3 and usage.share_used == pytest.approx(4 / 16)


def test_a_collapse_has_perplexity_one() -> None:
    usage = code_usage(np.full((10, 2), 3), 8)
    assert usage.used == (1, 1) and usage.joint_used == 1
    assert usage.perplexity == pytest.approx((1, 1))
    assert usage.share_used == pytest.approx(1 / 8)


def test_codes_that_name_the_phone_tell_all_of_it() -> None:
    ids = np.repeat(np.arange(4), 1000)
    found = phone_information(ids, [f"p{i}" for i in ids])
    assert found.phone_entropy == pytest.approx(2)
    assert found.share == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("frames", [2, 6, 40, 400])
def test_no_code_tells_more_of_a_phone_than_there_is(frames: int) -> None:
    phones = [f"p{i % 40}" for i in range(frames)]
    found = phone_information(np.arange(frames) % 40, phones)  # each phone's own code
    assert found.bits == found.phone_entropy > 0 and found.share == 1.0


def test_codes_unrelated_to_phones_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    ids, phones = rng.integers(0, 100, 20_000), rng.integers(0, 40, 20_000)
    assert phone_information(ids, [str(p) for p in phones]).bits < 0.02  # 0.14 without the correction


def test_information_is_normalised_by_the_phones_entropy_whatever_the_codes_is() -> None:
    """Two phones, four codes, all as frequent: one bit of a code is the phone three times in four."""
    phones = np.repeat([0, 0, 0, 0, 1, 1, 1, 1], 1000)
    wrong = np.tile(np.repeat([0, 0, 0, 1], 1000), 2)
    ids = 2 * (phones ^ wrong) + np.tile([0, 1], 4000)
    found = phone_information(ids, [str(p) for p in phones])
    told = 1 + 3 / 4 * math.log2(3 / 4) + 1 / 4 * math.log2(1 / 4)  # 0.189 of the phone's 1 bit
    extra = (8 - 2 - 4 + 1) / (2 * 8000 * math.log(2))  # of cells that chance alone fills (Miller, 1955)
    assert found.phone_entropy == pytest.approx(1) and found.num_phones == 2
    assert found.bits == pytest.approx(told - extra, abs=1e-9)
    assert found.share == pytest.approx(told - extra, abs=1e-9)


def test_joint_ids_are_equal_exactly_where_all_groups_are() -> None:
    codes = np.array([[1, 2], [2, 1], [1, 2], [1, 1]])
    ids = joint_ids(codes)
    assert ids[0] == ids[2] and len(set(ids.tolist())) == 3


@pytest.mark.parametrize("codes", [np.zeros((0, 2), dtype=int), np.zeros(4, dtype=int)])
def test_codes_of_another_shape_are_refused(codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\[frames, groups\]"):
        code_usage(codes, 8)


@pytest.mark.parametrize(("frames", "phones"), [(0, 0), (3, 2)])
def test_codes_without_a_phone_each_are_refused(frames: int, phones: int) -> None:
    with pytest.raises(ValueError, match=f"{frames} codes stand against {phones} phones"):
        phone_information(np.zeros(frames, dtype=np.int64), ["a"] * phones)
