"""Splits: disjoint, of about the wished size, and unmoved by order or by what else there is."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqw2v_plugin.corpora.sources import Entry
from vqw2v_plugin.corpora.splits import SplitError, SplitPlan, assign, divide, place_of

names = st.sets(st.text(max_size=12), max_size=60)
shares = st.tuples(st.floats(0, 0.5), st.floats(0, 0.4))


def entries(speakers: dict[str, int], **more: str) -> list[Entry]:
    return [
        Entry(f"{s}/{i}.wav", f"{s}/{i}", speaker=s, **more) for s, n in speakers.items() for i in range(n)
    ]


@settings(deadline=None)
@given(names, names, shares, st.integers())
def test_adding_names_moves_none_of_the_others(
    old: set[str], new: set[str], share: tuple[float, float], seed: int
) -> None:
    before, after = divide(old, *share, seed), divide(old | new, *share, seed)
    hashed = {name: hashed_split(place_of(name, seed), *share) for name in old}
    for name in old:
        stood_in = before[name] != hashed[name]  # for a split that would have been empty
        assert before[name] == after[name] or stood_in or len(old) == 1
    if {"valid", "train"} <= set(hashed.values()):
        assert before == hashed


def hashed_split(place: float, valid: float, test: float) -> str:
    return "valid" if place < valid else "test" if place < valid + test else "train"


@settings(deadline=None)
@given(names, shares, st.integers(), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(
    some: set[str], share: tuple[float, float], seed: int, shuffler: random.Random
) -> None:
    shuffled = sorted(some)
    shuffler.shuffle(shuffled)
    splits = divide(shuffled, *share, seed)
    assert splits == divide(sorted(some), *share, seed) and set(splits) == some
    assert set(splits.values()) <= {"train", "valid", "test"}


@pytest.mark.parametrize("seed", [0, 1, -7])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_shares_come_out_about_right(share: float, seed: int) -> None:
    splits = list(divide((f"corpus/{i}.wav" for i in range(20_000)), share, 0.1, seed).values())
    for name, wanted in (("valid", share), ("test", 0.1)):
        spread = (wanted * (1 - wanted) / 20_000) ** 0.5
        assert abs(splits.count(name) / 20_000 - wanted) < 4 * spread


def test_seeds_give_different_splits() -> None:
    some = [str(i) for i in range(1000)]
    first, second = (divide(some, 0.5, 0, seed) for seed in (1, 2))
    assert 400 < sum(first[name] != second[name] for name in some) < 600


def test_places_are_fixed_for_ever() -> None:
    """A corpus must fall into the same splits with the next version of this package, too."""
    assert place_of("george/0_george_0.flac", 1) == pytest.approx(0.29282093881236154, abs=1e-12)
    assert place_of("caf\udce9", 1) != place_of("café", 1)


def test_few_names_leave_no_split_empty() -> None:
    assert sorted(divide(["a", "b"], 0.001, 0, 1).values()) == ["train", "valid"]
    assert sorted(divide(["a", "b"], 0.999, 0, 1).values()) == ["train", "valid"]
    assert divide(["a"], 0.01, 0, 1) == divide(["a"], 0.999, 0, 1) == {"a": "train"}
    assert divide([], 0.5, 0, 1) == {}
    assert set(divide(["a", "b"], 0.0, 0, 1).values()) == {"train"}


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 5), min_size=2, max_size=20),
    st.integers(),
)
def test_no_speaker_is_in_two_splits(speakers: dict[str, int], seed: int) -> None:
    some = entries(speakers)
    splits = assign(some, SplitPlan(valid=0.3, test=0.2, seed=seed, speaker_disjoint=True))
    heard = {(entry.speaker, split) for entry, split in zip(some, splits, strict=True)}
    assert len(heard) == len(speakers) and {"train", "valid"} <= {split for _, split in heard}


def test_segments_of_a_recording_stay_together() -> None:
    some = [Entry(f"{r}.wav", f"rec{r}", f"u{r}-{i}", i, i + 1) for r in range(50) for i in range(4)]
    splits = assign(some, SplitPlan(valid=0.4))
    assert len({(entry.unit, split) for entry, split in zip(some, splits, strict=True)}) == 50


def test_speakers_unknown_gives_the_remedy() -> None:
    with pytest.raises(
        SplitError, match=r"1 of 3 utterances have none \(the first is of x.wav\).*--speaker-from 1"
    ):
        assign([*entries({"ann": 2}), Entry("x.wav", "x")], SplitPlan(speaker_disjoint=True))


def test_the_corpus_own_splits_are_kept() -> None:
    some = [
        *entries({"a": 30}, split="train"),
        *entries({"b": 5}, split="valid"),
        *entries({"c": 5}, split="test-x"),
    ]
    assert assign(some, SplitPlan()) == [entry.split for entry in some]
    assert assign(some, SplitPlan(speaker_disjoint=True)) == [entry.split for entry in some]
    with pytest.raises(SplitError, match="`--valid` has nothing to divide; leave it out, or add `--resplit`"):
        assign(some, SplitPlan(valid=0.1))
    assert set(assign(some, SplitPlan(valid=0.3, anew=True))) == {"train", "valid"}


def test_a_corpus_without_validation_data_gets_some_of_its_training_data() -> None:
    some = [*entries({"a": 200}, split="train"), *entries({"c": 5}, split="test")]
    splits = assign(some, SplitPlan(valid=0.2))
    assert splits[200:] == ["test"] * 5 and 20 < splits.count("valid") < 60


def test_own_splits_that_share_a_speaker_are_refused_when_they_may_not() -> None:
    some = [*entries({"a": 3}, split="train"), *entries({"a": 1}, split="valid")]
    with pytest.raises(SplitError, match="the speaker a is in train and in valid; add `--resplit`"):
        assign(some, SplitPlan(speaker_disjoint=True))
    assert len(set(assign(some, SplitPlan()))) == 2


@pytest.mark.parametrize(
    "wrong", [{"valid": 1.0}, {"valid": -0.1}, {"valid": 0.5, "test": 0.5}, {"test": 0.96}]
)
def test_shares_must_leave_something(wrong: dict[str, float]) -> None:
    with pytest.raises(SplitError, match=r"expected a share|leave nothing"):
        SplitPlan(**wrong)


def test_places_are_those_of_b2sum() -> None:
    """`printf '1\\0a' | b2sum -l 64` and so on, of GNU coreutils."""
    for name, seed, digest in (
        ("a", 1, "52494de452d10712"),
        ("b", 1, "480ec9fb211f9963"),
        ("corpus/x", 7, "44e353db0444e30a"),
        ("\udce9", 1, "f2c7446d37c91b9c"),
    ):
        assert place_of(name, seed) == int(digest, 16) / 2**64
    # 0x52… is 32.1 % of the way, 0x48… 28.1 %
    assert divide(["a", "b"], 0.3, 0.0, 1) == {"a": "train", "b": "valid"}
    assert divide(["a", "b"], 0.1, 0.2, 1) == {"a": "train", "b": "valid"}  # the nearest fills an empty split
    assert divide(["a", "b", "c"], 0.0, 0.3, 1)["b"] == "test"


def test_a_twentieth_is_held_out_where_nothing_is_said() -> None:
    some = [Entry(f"{i}.wav", f"rec{i}") for i in range(400)]
    for plan in (SplitPlan(), SplitPlan(valid=0.05, test=0.0, seed=1)):
        held = {entry.unit for entry, split in zip(some, assign(some, plan), strict=True) if split == "valid"}
        assert (
            held == {entry.unit for entry in some if place_of(entry.unit, 1) < 0.05} and 10 < len(held) < 32
        )
    with pytest.raises(
        SplitError, match=r"`--valid` and `--test` \(0\.05 \+ 0\.95\) leave nothing to train on"
    ):
        SplitPlan(test=0.95)
