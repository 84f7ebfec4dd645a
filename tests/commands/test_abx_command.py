"""`vqw2v abx`: from folders and phone times to errors; what cannot be compared is said."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from feature_folders import write_frames

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.analysis.abx import AbxScore
from vqw2v_plugin.analysis.abx_items import PhoneItems, find_items, with_vectors
from vqw2v_plugin.checkpoints.files import checkpoint_hash
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.commands import abx as abx_module
from vqw2v_plugin.corpora.ctm import Segments
from vqw2v_plugin.corpora.manifest import write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.features import FeatureError
from vqw2v_plugin.stores.frames import open_frames
from vqw2v_plugin.stores.symbols import TOKENS, runs, write_dict
from vqw2v_plugin.stores.token_extras import TokenExtras
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.tokenizer import Tokenizer

ABOUT = {"layer": "z", "stride": 160, "receptive_field": 480, "sample_rate": 16_000}
PHONES = ("a", "b", "c")


class Corpus:
    """2 speakers say `SIL x p y SIL` for each of 3 phones p, twice; frames name phone and speaker."""

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        self.rows, self.codes, lines = [], {}, []
        for number in range(12):
            utt, speaker, phone = f"u{number:02}", f"s{number % 2}", PHONES[number // 2 % 3]
            sizes = rng.integers(3, 8, 5)
            place, codes = 0.0, []
            for label, size in zip(("SIL", "x", phone, "y", "SIL"), sizes, strict=True):
                lines.append(f"{utt} 1 {place:.3f} {size / 100:.3f} {label}")
                place += size / 100
                codes += [[ord(label[0]) % 5, number % 2]] * size
            self.codes[utt] = np.array(codes)[1:-1]  # frame t's centre is at 15 ms + 10 ms · t
            self.rows.append({"path": f"{utt}.wav", "samples": 1, "utt": utt, "speaker": speaker})
        self.phones = folder / "train.phones.ctm"
        self.phones.write_text("".join(f"{line}\n" for line in lines))
        self.manifest = folder / "train.tsv"
        write_manifest(self.manifest, folder, self.rows, ("path", "samples", "utt", "speaker"))

    def features(
        self, name: str = "z", split: str = "train", utts: list[str] | None = None, noise: float = 0.0
    ) -> Path:
        out, rng = self.folder / name, np.random.default_rng(0)
        utts = list(self.codes) if utts is None else utts
        frames = {}
        for utt in utts:
            named = np.eye(5)[self.codes[utt][:, 0]]
            frames[utt] = (named + noise * rng.normal(size=named.shape)).astype(np.float16)
        write_frames(out, split, frames, ABOUT)
        return out

    def tokens(self, name: str, run_length: bool = False, **about: object) -> Path:
        out, symbols = self.folder / name, [f"{p}-{s}" for p in range(5) for s in range(2)]
        with TokenWriter(out, "train") as writer:
            extras = TokenExtras(out, "train", run_length, text=False, npy=False)
            for utt, codes in self.codes.items():
                length = runs(codes) if run_length else np.ones(len(codes), dtype=int)
                kept = codes[length.cumsum() - length]
                writer.add(utt, len(codes), 4 + 2 * kept[:, 0] + kept[:, 1])
                extras.add(utt, codes, kept, length)
        extras.publish()
        write_dict(out / "dict.txt", [(symbol, 1) for symbol in symbols])
        TOKENS.write_about(out, {**ABOUT, "run_length": run_length, **about})
        return out


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def result(folder: Path, name: str = "abx.json") -> dict[str, object]:
    found = json.loads((folder / name).read_text())
    assert isinstance(found, dict)
    return found


def abx(*arguments: object) -> int:
    return main(["abx", *map(str, arguments)])


def test_features_that_name_phones_have_no_errors(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    folder = corpus.features()
    assert abx(folder, "--phones", corpus.phones, "--manifest", corpus.manifest) == 0
    found = result(folder)
    assert (found["layer"], found["distance"], found["context"]) == ("z", "angular", "triphone")
    assert found["within"] == found["across"] == 0
    # 3 phones between x and y, each twice a speaker: 3 · 2 pairs, 2 speakers, 2 · 1 · 2 and 2 · 2 · 2 triples
    assert (found["triples_within"], found["triples_across"], found["phones"]) == (48, 96, 3)
    shown = capsys.readouterr().out
    assert "48 triples, 6 pairs of phones in 1 contexts" in shown and "abx.json" in shown
    assert "are left out" not in shown


def test_a_folder_in_the_figures_place_is_named_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert abx(tmp_path / "none", "--phones", tmp_path / "none.ctm", "--out", tmp_path) == 2
    assert str(tmp_path) in (said := capsys.readouterr().err) and "none" not in said


def test_phones_behind_the_last_frame_are_told(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    corpus.phones.write_text(corpus.phones.read_text() + "u00 1 5.0 0.1 c\nu00 1 5.1 0.1 c\n")
    assert abx(corpus.features(), "--phones", corpus.phones, "--manifest", corpus.manifest) == 0
    shown = capsys.readouterr().out
    assert "  2 phones are too short for the middle of a frame" in shown and "have no speaker" not in shown


def test_figures_on_standard_output_stand_there_alone(
    corpus: Corpus, capfd: pytest.CaptureFixture[str]
) -> None:
    assert abx(corpus.features(), "--phones", corpus.phones, "--out", "/dev/stdout") == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["within"] == 0 and "48 triples" not in shown.out
    assert "within" in shown.err and "/dev/stdout" in shown.err


def test_without_contexts_more_is_compared(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = corpus.features(), corpus.folder / "o" / "any.json"
    assert abx(folder, "--phones", corpus.phones, "--context", "none", "--items", 9, "--out", out) == 0
    found, shown = result(out.parent, "any.json"), capsys.readouterr().out
    assert "phones between any neighbours" in shown and " contexts" not in shown
    assert found["phones"] == 5 and not (folder / "abx.json").exists()
    assert found["within"] == 0 and found["across"] is None and found["triples_across"] == 0


def test_another_device_finds_the_same(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    folder, found = corpus.features(noise=3.0), []
    for device in ("cpu", "cpu:0"):  # the latter by torch
        asked = ["--manifest", corpus.manifest, "--context", "none", "--device", device]
        assert abx(folder, "--phones", corpus.phones, *asked) == 0
        found.append(result(folder))
    assert found[0] == found[1] and 0 < found[0]["within"] < 1
    assert abx(folder, "--phones", corpus.phones, "--device", "abacus") == 2
    assert "device 'abacus' cannot be used" in capsys.readouterr().err


def test_no_more_is_drawn_than_was_asked_for_and_by_the_seed(corpus: Corpus) -> None:
    folder, many = corpus.features(noise=3.0), ["--manifest", corpus.manifest, "--context", "none"]
    arguments = ["--phones", corpus.phones, *many]
    found = {}
    for seed in (1, 1, 2):
        assert abx(folder, *arguments, "--items", 2, "--seed", seed) == 0
        again = found.setdefault(seed, result(folder))
        assert again == result(folder) and again["max_items"] == 2
    # 5 · 4 pairs of phones, 2 speakers, 2 · 1 · 2 triples
    assert found[1]["triples_within"] == found[2]["triples_within"] == 160
    assert found[1]["within"] != found[2]["within"]
    assert abx(folder, *arguments) == 0
    # of the two at the ends 3 a speaker, of the three between them 2: 2 · (2 · 6 · 9 + 3 · 2 · 10)
    assert (result(folder)["max_items"], result(folder)["triples_within"]) == (3, 336)
    assert abx(folder, "--phones", corpus.phones, *many[:2]) == 0
    assert result(folder)["max_items"] == 10  # between the same neighbours there are fewer


def test_the_pairs_that_are_told_apart_least_are_shown_first(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    for codes in corpus.codes.values():
        codes[codes[:, 0] == ord("b") % 5, 0] = ord("a") % 5  # nothing tells these two apart
    assert abx(corpus.features(), "--phones", corpus.phones) == 0
    assert "of frequent pairs the worst: a/b 50%, a/c 0%, b/c 0%" in capsys.readouterr().out


def test_of_frequent_pairs_the_five_worst_are_shown_in_either_order() -> None:
    rows = {(0, k): (0.1 * k, 100) for k in range(1, 8)} | {(1, 2): (0.99, 1)}
    rows |= {(0, 7): (0.7, 50), (7, 0): (0.1, 50)}
    score = AbxScore(0.3, sum(count for _, count in rows.values()), 1, rows)
    found = cast(PhoneItems, SimpleNamespace(phones=tuple("abcdefgh")))
    shown = abx_module._worst(score, found)  # a/h: the mean of 70 % and 10 %; b/c is too rare
    assert shown == "of frequent pairs the worst: a/g 60%, a/f 50%, a/e 40%, a/h 40%, a/d 30%"


@pytest.mark.parametrize(
    ("name", "manifest", "speakers", "says"),
    [
        ("across", None, ("",), "without `--manifest` all utterances are one speaker's"),
        ("across", "a.tsv", ("s0",), "needs two speakers, and s0 is the only one"),
        ("across", "a.tsv", ("s0", "s1"), "no phone is there twice beside another"),
        ("within", None, ("",), "no phone is there twice beside another"),
        ("within", "a.tsv", ("s0",), "no phone is there twice beside another"),
    ],
)
def test_why_there_is_no_error_is_told(
    name: str, manifest: str | None, speakers: tuple[str, ...], says: str
) -> None:
    found = cast(PhoneItems, SimpleNamespace(speakers=speakers))
    assert abx_module._why_not(name, argparse.Namespace(manifest=manifest), found).startswith(says)


def test_the_result_says_what_was_drawn_and_of_how_many(corpus: Corpus) -> None:
    folder = corpus.features()
    options = ["--seed", 4, "--speakers", 3, "--items", 7]
    assert abx(folder, "--phones", corpus.phones, "--manifest", corpus.manifest, *options) == 0
    found = result(folder)
    told = {"seed": 4, "max_items": 7, "max_speakers": 3, "speakers": 2, "items": 36, "split": "train"}
    assert {name: found[name] for name in told} == told


def test_tokens_are_compared_as_vectors_only_with_the_checkpoint_that_has_them(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert abx(corpus.tokens("t"), "--phones", corpus.phones, "--distance", "angular") == 2
    assert "holds codes; expected codes, or give `--checkpoint`" in capsys.readouterr().err


def test_the_order_of_utterances_does_not_matter(corpus: Corpus) -> None:
    arguments = ["--phones", corpus.phones, "--manifest", corpus.manifest, "--context", "none", "--items", 2]
    one, other = corpus.features("one"), corpus.features("other", utts=sorted(corpus.codes, reverse=True))
    for folder in (one, other):
        assert abx(folder, *arguments) == 0
    assert result(one) == result(other)


def test_codes_are_compared_by_groups(corpus: Corpus) -> None:
    """The first group names the phone and the second the speaker, so A is nearer than B by a half."""
    plain, short = corpus.tokens("plain"), corpus.tokens("short", run_length=True)
    for folder in (plain, short):
        assert abx(folder, "--phones", corpus.phones, "--manifest", corpus.manifest) == 0
    found = result(plain)
    assert (found["layer"], found["distance"]) == ("codes", "codes")
    assert found["within"] == found["across"] == 0
    assert result(short) == found


def test_codes_outside_the_dictionary_are_like_no_other(corpus: Corpus) -> None:
    folder = corpus.tokens("few")
    write_dict(folder / "dict.txt", [(f"{p}-{s}", 1) for p in range(1) for s in range(2)])
    assert abx(folder, "--phones", corpus.phones, "--manifest", corpus.manifest) == 0
    assert result(folder)["within"] == 0.5  # nobody is nearer than anybody


def test_codes_are_compared_by_a_checkpoint_s_vectors(
    corpus: Corpus, tiny: Callable[..., VqWav2Vec], capsys: pytest.CaptureFixture[str]
) -> None:
    path = corpus.folder / "m.pt"
    save_checkpoint(Imported(Loaded(tiny(quantizer="gumbel").eval(), 16_000, False), False, 0, []), path)
    folder = corpus.tokens("t", checkpoint={"sha256": checkpoint_hash(str(path))})
    arguments = ["--phones", corpus.phones, "--manifest", corpus.manifest, "--checkpoint", path]
    assert abx(folder, *arguments) == 0
    found = result(folder)
    assert (found["layer"], found["distance"], found["within"]) == ("codewords", "angular", 0)
    TOKENS.write_about(folder, {**ABOUT, "checkpoint": {"sha256": "other"}})
    assert abx(folder, *arguments) == 2
    assert "give the checkpoint that made it" in capsys.readouterr().err
    TOKENS.write_about(folder, ABOUT)  # where nobody wrote down what made them, whoever asks must know
    assert abx(folder, *arguments) == 0 and result(folder)["distance"] == "angular"


def test_unknown_codes_have_zeros_among_a_checkpoint_s_vectors(
    corpus: Corpus, tiny: Callable[..., VqWav2Vec]
) -> None:
    path = corpus.folder / "m.pt"
    save_checkpoint(Imported(Loaded(tiny(quantizer="gumbel").eval(), 16_000, False), False, 0, []), path)
    folder = corpus.tokens("t")
    write_dict(folder / "dict.txt", [(f"{p}-{s}", 1) for p in range(5) for s in range(2)][:-1])  # not 4-1
    source = open_frames(folder, None, [])
    segments = {utt: Segments(np.array([0.0]), np.array([1.0]), ("a",)) for utt in corpus.codes}
    frames = with_vectors(find_items(source, segments, None, "none"), source, path).items.frames
    codes = np.concatenate([corpus.codes[utt] for utt in sorted(corpus.codes)])
    unknown = (codes == [4, 1]).all(1)
    assert 0 < unknown.sum() < len(codes) and not frames[unknown].any()
    vectors = Tokenizer.load(path).decode(torch.from_numpy(codes[~unknown])).numpy()
    assert vectors.any(1).all() and np.array_equal(frames[~unknown], vectors)


def test_frames_are_those_whose_centre_lies_in_the_phone(corpus: Corpus) -> None:
    source = open_frames(corpus.features(), None, [])
    assert source.span(0.0, 0.016) == (0, 1)  # frame t's centre is at 15 ms + 10 ms · t
    assert source.span(0.015, 0.035) == (0, 2)
    assert source.span(0.0151, 0.016) == (1, 1)
    centres = [round(0.015 + 0.01 * t, 3) for t in range(2000)]  # whatever their products are rounded to
    assert [source.span(at, at + 0.01) for at in centres] == [(t, t + 1) for t in range(2000)]


def test_phones_without_a_frame_and_utterances_without_a_speaker_are_counted_and_left_out(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    source = open_frames(corpus.features(), None, [])
    num_frames = len(corpus.codes["u00"])
    last = 0.015 + 0.01 * (num_frames - 1)
    # between two centres, of one frame, half behind the last frame, and all behind it
    starts = np.array([0.016, 0.02, last - 0.006, last + 0.02])
    ends = np.array([0.018, 0.03, last + 0.02, last + 0.09])
    segments = {"u00": Segments(starts, ends, ("a", "b", "c", "d")), "u01": Segments(*(starts[:0],) * 2, ())}
    found = find_items(source, segments, {"u00": "s"}, "none")
    assert [found.phones[i] for i in found.items.phones] == ["b", "c"]
    assert found.items.sizes.tolist() == [1, 1] and len(found.items.frames) == 2
    assert (found.num_utterances, found.without_frames, found.without_speaker) == (1, 2, 1)
    with pytest.raises(FeatureError, match="2 utterances, 2 without a speaker, 0 phones"):
        find_items(source, segments, {}, "none")


def test_contexts_are_neighbours_and_silence_at_gaps_and_ends(corpus: Corpus) -> None:
    source = open_frames(corpus.features(), None, [])
    starts = np.array([0.0, 0.03, 0.06, 0.1])
    segments = {"u00": Segments(starts, np.array([0.03, 0.06, 0.08, 0.13]), ("a", "h#", "b", "c"))}
    found = find_items(source, segments, None, "triphone")
    assert [found.phones[i] for i in found.items.phones] == ["a", "b", "c"]
    assert len(set(found.items.contexts.tolist())) == 1  # silence on both sides of each
    segments["u00"].starts[3] = 0.08
    assert len(set(find_items(source, segments, None, "triphone").items.contexts.tolist())) == 3
    named = find_items(source, segments, None, "none", silences=("b",))  # and no others
    assert named.phones == ("a", "c", "h#")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--split", "test"], "`--split` is 'test'; the splits there are: train"),
        (["--checkpoint", "m.pt"], "`--checkpoint` gives vectors to tokens"),
        (["--distance", "codes"], "expected angular, cosine or euclidean"),
        (["--items", "1"], "`--items` is 1"),
        (["--items", "0"], "`--items` is 0"),
        (["--silence", "SIL,x,a,b,c"], "no two phones stand between the same neighbours"),
    ],
)
def test_what_cannot_be_is_said(
    corpus: Corpus, capsys: pytest.CaptureFixture[str], extra: list[str], message: str
) -> None:
    assert abx(corpus.features(), "--phones", corpus.phones, *extra) == 2
    assert message in capsys.readouterr().err


def test_times_of_other_utterances_and_manifests_without_speakers_are_refused(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, other = corpus.features(), corpus.folder / "other.ctm"
    other.write_text("elsewhere 1 0.0 0.1 a\n")
    assert abx(folder, "--phones", other) == 2
    assert "of none of the 12 utterances" in capsys.readouterr().err
    write_manifest(corpus.manifest, corpus.folder, corpus.rows, ("path", "samples", "utt"))
    assert abx(folder, "--phones", corpus.phones, "--manifest", corpus.manifest) == 2
    assert "has no column 'speaker'" in capsys.readouterr().err
    assert abx(corpus.folder, "--phones", corpus.phones) == 2
    assert "neither features nor tokens" in capsys.readouterr().err


def test_one_speaker_is_within_only_and_said(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in corpus.rows if row["speaker"] == "s0"]
    write_manifest(corpus.manifest, corpus.folder, rows, ("path", "samples", "utt", "speaker"))
    folder = corpus.features()
    assert abx(folder, "--phones", corpus.phones, "--manifest", corpus.manifest) == 0
    shown = capsys.readouterr().out
    assert "needs two speakers, and s0 is the only one" in shown and "6 utterances have no speaker" in shown
    assert result(folder)["across"] is None and result(folder)["within"] == 0


def test_phones_that_each_speaker_says_once_are_compared_across_alone(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(corpus.manifest, corpus.folder, corpus.rows[:6], ("path", "samples", "utt", "speaker"))
    folder = corpus.features()
    assert abx(folder, "--phones", corpus.phones, "--manifest", corpus.manifest, "--context", "none",
               "--silence", "SIL,x,y") == 0  # fmt: skip
    assert "no phone is there twice beside another" in capsys.readouterr().out
    found = result(folder)
    assert (found["within"], found["across"], found["triples_within"]) == (None, 0, 0)
    assert found["triples_across"] == 12 and found["phones"] == 3  # 2 speakers, 3 phones, 2 others of each


def test_the_split_is_the_manifest_s_or_the_ctm_s(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    folder = corpus.features()
    corpus.features(split="valid")
    assert abx(folder, "--phones", corpus.phones) == 0
    assert result(folder)["split"] == "train"
    valid = corpus.manifest.rename(corpus.folder / "valid.tsv")
    assert abx(folder, "--phones", corpus.phones, "--manifest", valid) == 0
    assert result(folder)["split"] == "valid"  # times may be those of several splits
    renamed = corpus.phones.rename(corpus.folder / "times.ctm")
    assert abx(folder, "--phones", renamed) == 2
    assert (
        "it is not clear which split is meant; the splits there are: train, valid" in capsys.readouterr().err
    )
