"""ABX: brute force over all triples, the ends of its scale, and what it must not depend on."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from vqw2v_plugin.analysis.abx import Items, Plan, abx
from vqw2v_plugin.analysis.dtw import RESOLUTION, dtw, frame_distances, prepare_frames

EVERYTHING = Plan(max_items=1000, max_speakers=1000)


def random_items(count: int = 60, seed: int = 0, dim: int = 3) -> Items:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, count)
    return Items(
        frames=rng.standard_normal((sizes.sum(), dim)).astype(np.float32),
        starts=np.cumsum(sizes) - sizes,
        sizes=sizes,
        phones=rng.integers(0, 4, count),
        contexts=rng.integers(0, 2, count),
        speakers=rng.integers(0, 3, count),
    )


def of_frames(items: Items, make: object) -> Items:
    """The items with frames [F, D] that `make` gives for the phone of each frame."""
    phones = items.phones.repeat(items.sizes)
    frames = np.zeros((items.sizes.sum(), 4), dtype=np.float32)
    for i, (start, size) in enumerate(zip(items.starts, items.sizes, strict=True)):
        frames[start : start + size] = make(int(items.phones[i]))  # type: ignore[operator]
    assert len(phones) == len(frames)
    return Items(frames, items.starts, items.sizes, items.phones, items.contexts, items.speakers)


def brute_force(items: Items, distance: str, within: bool) -> tuple[float, int]:
    """Every triple (A, B, X) by itself, the means as nested dictionaries."""
    frames = prepare_frames(items.frames, distance)

    def apart(i: int, j: int) -> float:
        x, y = (frames[None, items.starts[k] : items.starts[k] + items.sizes[k]] for k in (i, j))
        return float(dtw(frame_distances(x, y, distance))[0])

    num = len(items)
    far = np.array([[apart(i, j) for j in range(num)] for i in range(num)])
    cells: dict[tuple, list[float]] = defaultdict(list)
    for a, b, x in itertools.product(range(num), repeat=3):
        same_context = items.contexts[a] == items.contexts[b] == items.contexts[x]
        same_voice = items.speakers[a] == items.speakers[x]
        if a == x or not same_context or items.speakers[a] != items.speakers[b] or same_voice != within:
            continue
        if items.phones[a] == items.phones[x] != items.phones[b]:
            nearer = far[a, x] - far[b, x]
            error = 0.5 if abs(nearer) <= RESOLUTION else float(nearer > 0)
            pair, voices = (items.phones[a], items.phones[b]), (items.speakers[a], items.speakers[x])
            cells[pair, items.contexts[a], voices].append(error)
    triples = sum(map(len, cells.values()))
    for depth in (2, 1, 0):  # speakers, contexts, pairs
        wider: dict[tuple, list[float]] = defaultdict(list)
        for key, errors in cells.items():
            wider[key[:depth]].append(float(np.mean(errors)))
        cells = wider
    return float(np.mean(cells[()])), triples


@pytest.mark.parametrize("distance", ["angular", "euclidean", "codes"])
def test_abx_equals_brute_force(distance: str) -> None:
    items = random_items()
    if distance == "codes":
        codes = np.random.default_rng(1).integers(0, 3, items.frames.shape)
        items = Items(codes, items.starts, items.sizes, items.phones, items.contexts, items.speakers)
    scores = abx(items, distance, EVERYTHING)
    for score, within in zip(scores, (True, False), strict=True):
        assert score is not None
        error, triples = brute_force(items, distance, within)
        assert score.error == pytest.approx(error, abs=1e-12) and score.triples == triples


def test_identical_features_give_one_half() -> None:
    same = np.random.default_rng(0).standard_normal(4)
    items = of_frames(random_items(), lambda phone: same)
    for distance in ("angular", "cosine", "euclidean"):
        assert [score and score.error for score in abx(items, distance, EVERYTHING)] == [0.5, 0.5]


def test_features_of_no_phone_give_about_one_half() -> None:
    """Noise from item to item; from frame to frame too, where all items have one length."""
    rng = np.random.default_rng(0)
    steady = of_frames(random_items(400), lambda phone: rng.standard_normal(4))
    single = Items(
        rng.standard_normal((1200, 4)),
        np.arange(400) * 3,
        np.full(400, 3),
        steady.phones,
        steady.contexts,
        steady.speakers,
    )
    for items in (steady, single):
        for score in abx(items, "angular", Plan()):
            assert score is not None and score.error == pytest.approx(0.5, abs=0.03)


def test_features_that_name_the_phone_give_zero() -> None:
    items = of_frames(random_items(), lambda phone: np.eye(4)[phone])
    for distance in ("angular", "cosine", "euclidean"):
        assert [score and score.error for score in abx(items, distance, Plan())] == [0, 0]


def test_a_wrong_phone_between_two_right_ones_gives_one() -> None:
    three = np.arange(3)
    frames = np.array([[1.0, 0], [0, 1], [1, 1]])
    items = Items(frames, three, three * 0 + 1, three // 2, three * 0, three * 0)
    within, across = abx(items, "angular", Plan())
    assert within is not None and within.error == 1 and within.triples == 2 and across is None


def test_the_order_of_items_does_not_matter() -> None:
    items = random_items(200, seed=2)
    shuffled = items.take(np.random.default_rng(0).permutation(len(items)))
    for one, other in zip(
        abx(items, "angular", EVERYTHING), abx(shuffled, "angular", EVERYTHING), strict=True
    ):
        assert one == other and one is not None


def test_drawn_triples_are_the_seeds_and_fewer() -> None:
    items = random_items(400, seed=3)
    drawn = [abx(items, "angular", Plan(3, 1, seed)) for seed in (1, 1, 2)]
    full = abx(items, "angular", EVERYTHING)
    assert drawn[0] == drawn[1] != drawn[2]
    for some, all_ in zip(drawn[0], full, strict=True):
        assert some is not None and all_ is not None
        assert some.triples < all_.triples / 4
        assert some.error == pytest.approx(all_.error, abs=0.1)


def test_the_other_speakers_are_drawn_by_the_seed() -> None:
    items = random_items(400, seed=3)
    found = [abx(items, "angular", Plan(1000, 1, seed)) for seed in (1, 1, 2)]
    within, across = zip(*found, strict=True)
    assert within[0] == within[1] == within[2]  # all items are there
    assert across[0] == across[1] != across[2]


def test_each_a_meets_no_more_other_speakers_than_asked_for() -> None:
    """4 speakers with 2 items of each of 2 phones: 2 phones · 4 speakers · others · 2 X · 2 A · 2 B."""
    each = np.arange(16)
    items = Items(np.eye(16, dtype=np.float32), each, each * 0 + 1, each % 2, each * 0, each // 4)
    found = [abx(items, "angular", Plan(10, most)) for most in (1, 2, 3, 9)]
    assert [across.triples for _, across in found if across] == [64, 128, 192, 192]
    assert {within.triples for within, _ in found if within} == {2 * 4 * 2 * 1 * 2}


def test_no_more_items_of_a_phone_are_compared_than_asked_for() -> None:
    """2 speakers, 2 phones, 5 items of each: 2 · 2 · n · (n − 1) · n within, 2 · 2 · n · n · n across."""
    each = np.arange(20)
    items = Items(np.eye(20, dtype=np.float32), each, each * 0 + 1, each % 2, each * 0, each // 10)
    for most, n in ((2, 2), (4, 4), (5, 5), (9, 5)):
        within, across = abx(items, "angular", Plan(most))
        assert within is not None and within.triples == 4 * n * (n - 1) * n
        assert across is not None and across.triples == 4 * n**3


def test_a_pair_s_error_is_a_mean_over_its_contexts_however_many_triples_each_has() -> None:
    """Of each of 2 speakers, phone 0 beside 1: all of 2 triples are wrong, elsewhere none of 6."""
    frames = np.array([[1.0, 0], [0, 1], [1, 1], [1, 0], [1, 0.1], [1, 0.2], [0, 1]] * 2)
    each = np.arange(14)
    phones, contexts = np.array([0, 0, 1, 0, 0, 0, 1] * 2), (each % 7 > 2).astype(int)
    score, _ = abx(Items(frames, each, each * 0 + 1, phones, contexts, each // 7), "angular", Plan())
    assert score is not None and (score.triples, score.contexts) == (16, 2)
    assert score.by_pair == {(0, 1): (0.5, 16)} and score.error == 0.5 and score.phones == {0, 1}


def test_one_speaker_has_no_across_and_single_items_no_within() -> None:
    items = random_items()
    alone = Items(
        *(getattr(items, n) for n in ("frames", "starts", "sizes", "phones", "contexts")), items.starts * 0
    )
    within, across = abx(alone, "angular", Plan())
    assert within is not None and across is None
    single = items.take(np.flatnonzero(items.speakers == 0)[:1])
    assert abx(single, "angular", Plan()) == (None, None)
    assert abx(items.take(np.arange(0)), "angular", Plan()) == (None, None)


def test_each_speaker_s_items_of_a_phone_have_their_own_limit() -> None:
    """The last phone of the one is the first of the other."""
    phones = np.array([0, 1, 1, 2]).repeat(9)
    speakers = np.array([0, 0, 1, 1]).repeat(9)
    frames = np.random.default_rng(0).standard_normal((36, 3)).astype(np.float32)
    items = Items(frames, np.arange(36), np.ones(36, int), phones, np.zeros(36, int), speakers)
    within, across = abx(items, "angular", Plan(max_items=4))
    assert within is not None and within.triples == 4 * (4 * 3 * 4)
    assert across is not None and across.triples == 2 * 4 * 4 * 4  # phone 1 of both, against another


def test_numbers_that_leave_no_triple_are_refused() -> None:
    with pytest.raises(ValueError, match="`--items` is 1"):
        Plan(max_items=1)
    with pytest.raises(ValueError, match="`--speakers` 0; expected 2 and 1 at least"):
        Plan(max_speakers=0)
