"""A share of the labels: one seed's, smaller in larger ones, in numbers or hours, told by speakers."""

from dataclasses import replace
from pathlib import Path

import pytest

from vqw2v_plugin.stores.label_share import Share, draw, share_of
from vqw2v_plugin.stores.labels import LabelError, Labels, read_labels, read_words, write_labels

UTTS = tuple(f"u{i}" for i in range(20))
LABELS = Labels(
    UTTS,
    tuple(("a",) for _ in UTTS),
    tuple(f"word {utt}" for utt in UTTS),
    tuple(36.0 for _ in UTTS),
    tuple("ann" if i % 4 else "bob" for i in range(20)),
)


def test_a_share_is_one_seed_s_and_holds_the_smaller_shares() -> None:
    utts = [f"u{i}" for i in range(200)]
    tenth, fifth = share_of(utts, 0.1, 1), share_of(utts, 0.2, 1)
    assert len(tenth) == 20 and len(fifth) == 40 and tenth < fifth
    assert tenth == share_of(utts[::-1], 0.1, 1)  # whatever the order
    assert tenth != share_of(utts, 0.1, 2)
    assert len(share_of(utts[:7], 0.4, 1)) == 3 and len(share_of(utts[:7], 0.3, 1)) == 2
    assert len(share_of(utts, 1e-9, 1)) == 1 and share_of(utts, 1.0, 1) == set(utts)
    for wrong in (0.0, 1.5, -1.0, -3.0):
        with pytest.raises(LabelError, match="`label_fraction` is"):
            share_of(utts, wrong, 1)


def test_a_number_of_utterances_and_hours_draw_in_the_same_order() -> None:
    five = draw(LABELS, Share(5)).utts
    assert len(five) == 5 and five == draw(LABELS, Share(0.25)).utts
    assert draw(LABELS, Share(hours=0.05)).utts == five  # 0.01 h each
    assert draw(LABELS, Share(hours=0.0599)).utts == five  # none goes beyond the hours
    assert len(draw(LABELS, Share(hours=1e-6)).utts) == 1 and draw(LABELS, Share(hours=9)).utts == set(UTTS)
    assert draw(LABELS, Share(1000)).utts == set(UTTS)


def test_whom_it_drew_is_told_with_hours_and_speakers_or_by_name() -> None:
    told = draw(LABELS, Share(19)).told()
    assert told.startswith("19 of 20 labelled utterances, 0.19 of 0.20 h, of 2 of 2 speakers: ann 1")
    alone = draw(LABELS, Share(1))
    (utt,) = draw(LABELS, Share(0.05)).utts
    speaker = (LABELS.speakers or ())[UTTS.index(utt)]
    said = f"1 of 20 labelled utterances, 0.01 of 0.20 h, of 1 of 2 speakers: {speaker} 1"
    assert draw(LABELS, Share(0.05)).told() == said and alone.utts == set(UTTS)
    nameless = replace(LABELS, speakers=("",) * 20)
    assert draw(nameless, Share(2)).told().endswith("of 1 of 1 speakers: unknown 2")
    bare = Labels(UTTS, LABELS.labels)
    assert (
        draw(bare, Share(1.0 / 20)).told()
        == f"1 of 20 labelled utterances: {min(draw(bare, Share(0.05)).utts)}"
    )
    with pytest.raises(LabelError, match="does not say how long its utterances are"):
        draw(bare, Share(hours=1))


def test_hours_beside_a_share_and_hours_that_are_none_are_refused() -> None:
    for fraction in (0.5, 5):
        with pytest.raises(LabelError, match="exclude each other"):
            Share(fraction, 1.0)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(LabelError, match="`label_hours` is"):
            Share(hours=wrong)
    with pytest.raises(LabelError, match="`label_fraction` is nan"):
        Share(float("nan"))


def test_lengths_and_speakers_lie_beside_the_labels_and_are_read_again(tmp_path: Path) -> None:
    write_labels(tmp_path, "letters", {"train": LABELS}, [("a", 20)], {})
    assert read_labels(tmp_path, "train", "letters") == LABELS
    words = read_words(tmp_path / "train.wrd")
    assert draw(words, Share(hours=0.05)).only().words == tuple(
        f"word {utt}" for utt in UTTS if utt in draw(LABELS, Share(5)).utts
    )
    assert words == replace(LABELS, labels=((),) * 20)
    assert draw(words, Share(2)).only().speakers == tuple(
        speaker
        for utt, speaker in zip(UTTS, LABELS.speakers or (), strict=True)
        if utt in draw(LABELS, Share(2)).utts
    )
    (tmp_path / "train.seconds").write_text("1\n" * 19 + "nan\n")
    with pytest.raises(LabelError, match=r"train\.seconds: holds nan, expected seconds in every line"):
        read_labels(tmp_path, "train", "letters")
    with pytest.raises(LabelError, match=r"is no SPLIT\.wrd of a label folder"):
        read_words(tmp_path / "train.utt")


def test_who_is_drawn_is_the_same_for_ever() -> None:
    """Those with the smallest sums of `printf '1 u0' | b2sum` and so on, of GNU coreutils."""
    assert share_of(UTTS, 3, 1) == draw(LABELS, Share(3)).utts == {"u16", "u4", "u5"}
    assert share_of(UTTS, 3, 2) == {"u14", "u5", "u16"}


def test_eight_speakers_are_named_the_most_frequent_first() -> None:
    who = tuple(f"s{i}" for i in (*range(10), 9, 9, 9))
    utts = tuple(f"u{i}" for i in range(13))
    told = draw(Labels(utts, ((),) * 13, speakers=who), Share()).told()
    assert told.startswith("13 of 13 labelled utterances, of 10 of 10 speakers: s9 4, s0 1, s1 1")
    assert "s6 1" in told and "s7" not in told
