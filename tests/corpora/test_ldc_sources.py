"""TIMIT and WSJ in small folders of their own shape: the standard sets, texts, phones and their times."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import noise

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.audio.reading import read_audio
from vqw2v_plugin.corpora.ctm import read_ctm
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.corpora.sources import KINDS, Entry, Refusal, find_kind, open_folder
from vqw2v_plugin.corpora.sources.timit import CORE_TEST, DEV
from vqw2v_plugin.corpora.sources.wsj import plain_words

PHN = "0 640 h#\n640 1120 sh\n1120 1280 ix\n1280 1600 h#\n"
WRD = "640 1280 she\n"


def sphere(path: Path, samples: int = 1600, shortened: bool = False) -> None:
    """NIST SPHERE as LDC ships it, plain or with the header of one that is packed by shorten."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        soundfile.write(file, noise(samples), 16_000, format="NIST", subtype="PCM_16")
    if shortened:
        head, body = path.read_bytes()[:1024], path.read_bytes()[1024:]
        packed = head.replace(b"-s3 pcm\n", b"-s26 pcm,embedded-shorten-v2.00\n")[:1024]
        path.write_bytes(packed + b"ajkg\2" + body)


def timit(root: Path, *utts: str, name: Callable[[str], str] = str.upper) -> None:
    """Utterances `train/dr1/fcjf0/sx37` with all their files."""
    for utt in utts:
        base = root / name(utt)
        sphere(base.with_name(base.name + name(".wav")))
        base.with_name(base.name + name(".phn")).write_text(PHN)
        base.with_name(base.name + name(".wrd")).write_text(WRD)
        base.with_name(base.name + name(".txt")).write_text("0 1600 She, had?  \n")


TIMIT = ("train/dr1/fcjf0/sx37", "train/dr1/fcjf0/sa1", "test/dr1/faks0/si943", "test/dr1/mdab0/si1039")


@pytest.mark.parametrize("name", [str.upper, str.lower])
def test_timit_gives_the_standard_sets(tmp_path: Path, name: Callable[[str], str]) -> None:
    root = tmp_path / "TIMIT"
    timit(root, *TIMIT, "test/dr2/fcmr0/si1105", name=name)
    sphere(root / name("train/dr1/fcjf0/sx37") / ".." / "SX37.WAV.wav")
    assert main(["manifest", str(root), str(tmp_path / "o")]) == 0
    rows = {split: list(Manifest(tmp_path / "o" / f"{split}.tsv")) for split in ("train", "valid", "test")}
    found = [(split, row.utt, row.speaker) for split, rows_ in rows.items() for row in rows_]
    assert found == [
        ("train", "fcjf0_sx37", "fcjf0"),
        ("valid", "faks0_si943", "faks0"),
        ("test", "mdab0_si1039", "mdab0"),
    ]
    row = rows["train"][0]
    assert row.extra == {"subset": "train/dr1", "text": "She, had?", "words": "she", "phones": "h# sh ix h#"}
    assert len(read_audio(row.path, 16_000)) == row.samples == 1600
    reasons = (tmp_path / "o" / "refused.tsv").read_text()
    for reason in ("is a dialect sentence", "beside the standard sets", "is there as another file, too"):
        assert reasons.count(reason) == 1
    segments = read_ctm(tmp_path / "o" / "valid.phones.ctm")["faks0_si943"]
    assert segments.labels == ("h#", "sh", "ix", "h#") and segments.ends.tolist() == [0.04, 0.07, 0.08, 0.1]
    assert read_ctm(tmp_path / "o" / "test.words.ctm")["mdab0_si1039"].labels == ("she",)


def test_timit_s_sets_have_their_sizes() -> None:
    assert (len(DEV), len(CORE_TEST)) == (50, 24) and not DEV & CORE_TEST
    assert Counter(speaker[0] for speaker in CORE_TEST) == {"m": 16, "f": 8}


def test_timit_s_core_test_set_is_that_of_its_documentation() -> None:
    """Of each region, DR1 to DR8, two men and a woman (TIMIT/DOC/TESTSET.DOC)."""
    men = "dab0 wbt0 tas1 wew0 jmp0 lnt0 lll0 tls0 bpm0 klt0 cmj0 jdh0 grt0 njm0 jln0 pam0".split()
    women = "elc0 pas0 pkt0 jlm0 nlp0 mgd0 dhc0 mld0".split()
    assert {*(f"m{name}" for name in men), *(f"f{name}" for name in women)} == CORE_TEST


def test_a_part_of_timit_is_known_by_its_own_path(tmp_path: Path) -> None:
    timit(tmp_path / "TIMIT", *TIMIT)
    folder = open_folder(str(tmp_path / "TIMIT" / "TEST" / "DR1"))
    assert find_kind(folder) == "timit"
    entries = [item for item in KINDS["timit"].read(folder) if isinstance(item, Entry)]
    assert [(entry.utt, entry.split) for entry in entries] == [
        ("faks0_si943", "valid"),
        ("mdab0_si1039", "test"),
    ]


def test_timit_s_broken_files_are_refused_by_name(tmp_path: Path) -> None:
    timit(tmp_path, *(f"train/dr1/fcjf0/sx{i}" for i in range(4)))
    folder = tmp_path / "TRAIN" / "DR1" / "FCJF0"
    (folder / "SX0.PHN").write_text("0 640\n")
    (folder / "SX1.WRD").unlink()
    sphere(folder / "SX2.WAV", shortened=True)
    sphere(tmp_path / "stray.wav")
    items = list(KINDS["timit"].read(open_folder(str(tmp_path))))
    refused = {Path(item.path).name: item.reason for item in items if isinstance(item, Refusal)}
    assert "line 1 is '0 640', expected `begin end label`" in refused["SX0.PHN".replace("PHN", "WAV")]
    assert "has no .WRD beside it" in refused["SX1.WAV"]
    assert "unpack it beside it, with `sph2pipe -f wav" in refused["SX2.WAV"]
    assert "pcm,embedded-shorten-v2.00" in refused["SX2.WAV"]
    assert "does not lie in TRAIN or TEST" in refused["stray.wav"]
    assert [item.utt for item in items if isinstance(item, Entry)] == ["fcjf0_sx3"]


@pytest.mark.parametrize("line", ["1600 0 h#", f"0 {'9' * 400} h#", "0 -1 h#"])
def test_a_phone_of_timit_that_ends_before_it_begins_or_never_is_refused(tmp_path: Path, line: str) -> None:
    timit(tmp_path, "train/dr1/fcjf0/sx1")
    (tmp_path / "TRAIN" / "DR1" / "FCJF0" / "SX1.PHN").write_text(f"0 640 h#\n{line}\n")
    (refused,) = KINDS["timit"].read(open_folder(str(tmp_path)))
    assert isinstance(refused, Refusal) and "line 2 is" in refused.reason


def test_what_timit_s_sets_leave_out_is_named_by_its_file_and_a_sentence_may_be_missing(
    tmp_path: Path,
) -> None:
    timit(tmp_path, "train/dr1/fcjf0/sa1", "train/dr1/fcjf0/sx1", "test/dr2/fcmr0/si1")
    (tmp_path / "TRAIN" / "DR1" / "FCJF0" / "SX1.TXT").unlink()
    items = list(KINDS["timit"].read(open_folder(str(tmp_path))))
    assert [(item.utt, item.text) for item in items if isinstance(item, Entry)] == [("fcjf0_sx1", "")]
    assert [(item.path, item.group) for item in items if isinstance(item, Refusal)] == [
        ("TEST/DR2/FCMR0/SI1.WAV", "is of a speaker of TEST beside the standard sets"),
        ("TRAIN/DR1/FCJF0/SA1.WAV", "is a dialect sentence, the same of every speaker"),
    ]


def test_labels_of_timit_are_folded(tmp_path: Path) -> None:
    timit(tmp_path / "TIMIT", *TIMIT)
    out = tmp_path / "o"
    assert main(["manifest", str(tmp_path / "TIMIT"), str(out)]) == 0
    tsvs = [str(out / f"{split}.tsv") for split in ("train", "valid", "test")]
    arguments = ["--text", "phones", "--unit", "phones", "--fold", "39", "--no-boundary"]
    assert main(["labels", *tsvs, str(tmp_path / "l"), *arguments]) == 0
    assert (tmp_path / "l" / "train.phn").read_text() == "sil sh ih sil\n"


def wsj(root: Path, audio: dict[str, str], dots: dict[str, str], indices: dict[str, str]) -> None:
    """Audio files by their suffix; texts."""
    for place, suffix in audio.items():
        if suffix == ".wv1":
            sphere(root / f"{place}{suffix}", shortened=place.endswith("x"))
        else:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(root / f"{place}{suffix}", noise(1600), 16_000)
    for name, text in {**dots, **indices}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


AUDIO = {
    "11-1.1/wsj0/si_tr_s/011/011c0201": ".wv1",
    "11-1.1/wsj0/si_tr_s/011/011c020x": ".wv1",
    "11-2.1/wsj0/si_tr_s/401/401c0201": ".wv1",
    "13-1.1/wsj1/si_tr_s/46n/46nc0201": ".wav",
    "13-16.1/WSJ1/SI_DT_20/4K0/4K0C0301": ".flac",
    "13-16.1/WSJ1/SI_DT_20/4K0/4K0C0302": ".flac",
    "11-14.1/wsj0/si_et_20/440/440c0401": ".wav",
    "11-14.1/wsj0/si_et_20/440/440v0401": ".wav",
    "11-14.1/wsj0/si_et_05/440/440c0201": ".wav",
}
DOTS = {
    "11-13.1/wsj0/transcrp/dots/si_tr_s/011/011c0200.dot": "The sale (011c0201)\nAgain (011c020x)\n",
    "13-34.1/wsj1/trans/wsj1/si_tr_s/46n/46nc0200.dot": "Mr. Vinken ,COMMA (46nc0201)\n",
    "13-34.1/wsj1/trans/wsj1/si_dt_20/4k0/4k0c0300.lsn": "A B (4K0C0301)\nC (4k0c0302)\n",
    "11-14.1/wsj0/si_et_20/440/440c0400.dot": "[cough] D~ (440c0401)\nE (440v0401)\n",
}
INDICES = {
    "11-13.1/wsj0/doc/indices/train/tr_s_wv1.ndx": "; a comment\n11_1_1:wsj0/si_tr_s/011/011c0201.wv1\n"
    "11_1_1:wsj0/si_tr_s/011/011c020x.wv1\n11_2_1:wsj0/si_tr_s/401/401c0201.wv1\n",
    "13-34.1/wsj1/doc/indices/h1_p0.ndx": "13_16_1:wsj1/si_dt_20/4k0/4k0c0301.wv1\n",
    "13-34.1/wsj1/doc/indices/wsj1/eval/h1_p0.ndx": "13_33_1:wsj1/si_et_h1/4k0/4k0c0302.wv1\n",
    "11-13.1/wsj0/doc/indices/test/nvp/si_et_20.ndx": "11_14_1:wsj0/si_et_20/440/440c0401\n"
    "11_14_1:wsj0/si_et_20/440/440c0402\n",
}


@pytest.mark.parametrize("indices", [INDICES, {}], ids=["indices", "folders"])
def test_wsj_gives_the_standard_sets(tmp_path: Path, indices: dict[str, str]) -> None:
    wsj(tmp_path / "WSJ", AUDIO, DOTS, indices)
    assert main(["manifest", str(tmp_path / "WSJ"), str(tmp_path / "o"), "--workers", "1"]) == 0
    rows = {split: list(Manifest(tmp_path / "o" / f"{split}.tsv")) for split in ("train", "valid", "test")}
    found = [(s, row.utt, row.speaker, row.extra["text"]) for s, rows_ in rows.items() for row in rows_]
    wanted = [
        ("train", "011c0201", "011", "the sale"),
        ("train", "46nc0201", "46n", "mr. vinken comma"),
        ("valid", "4k0c0301", "4k0", "a b"),
        ("valid", "4k0c0302", "4k0", "c"),
        ("test", "440c0401", "440", "d"),
    ]
    assert found == [row for row in wanted if row[1] != "4k0c0302" or not indices]
    lines = (tmp_path / "o" / "refused.tsv").read_text().splitlines()[1:]
    refused = {Path(path).stem: reason for path, reason in (line.split("\t") for line in lines)}
    assert "sph2pipe" in refused["011c020x"]
    assert "of none of the sets si284" in refused["401c0201"]
    assert refused["440c0201"].startswith("is of wsj0/si_et_05") and "440v0401" in refused
    assert ("440c0402" in refused) == bool(indices)  # listed, and not there
    assert not any("comment" in name for name in refused)
    first = rows["train"][0]
    assert len(read_audio(first.path, 16_000)) == first.samples == 1600


def test_wsj_s_detailed_transcript_is_taken_before_the_reduced_one(tmp_path: Path) -> None:
    texts = {"wsj0/a.dot": ";; of 1992\nThe [cough] sale (011c0201)\n", "wsj0/a.lsn": "REDUCED (011c0201)\n"}
    wsj(tmp_path, {"wsj0/si_tr_s/011/011c0201": ".wav"}, texts, {})
    (entry,) = KINDS["wsj"].read(open_folder(str(tmp_path)))
    assert isinstance(entry, Entry) and entry.text == "the sale"


def test_an_index_of_wsj_is_of_its_own_discs(tmp_path: Path) -> None:
    """wsj1 may have an utterance of the same name; a speaker's other recordings stay where they are."""
    audio = {"wsj0/si_tr_s/011/011c0201": ".wav", "wsj1/si_tr_x/011/011c0201": ".wav"}
    index = {"wsj0/doc/indices/train/tr_s_wv1.ndx": "11_1_1:wsj0/si_tr_s/011/011c0201.wv1\n"}
    wsj(tmp_path, audio, {"wsj0/a.dot": "The sale (011c0201)\n"}, index)
    entry, refusal = KINDS["wsj"].read(open_folder(str(tmp_path)))
    assert isinstance(entry, Entry) and entry.subset == "wsj0/si_tr_s" and isinstance(refusal, Refusal)
    assert refusal.group == "is of wsj1/si_tr_x and of none of the sets si284, dev93, eval92"


@pytest.mark.parametrize("subset", ["wsj1/si_dt_20", "wsj0/si_et_20"])
def test_of_wsj_s_held_out_folders_only_what_is_read_without_punctuation_is_taken(
    tmp_path: Path, subset: str
) -> None:
    """Where no index says so: by the fourth letter of a name."""
    names = [f"4k0{letter}0301" for letter in "cv"]
    texts = {f"{subset}/4k0.dot": "".join(f"a ({name})\n" for name in names)}
    wsj(tmp_path, {f"{subset}/4k0/{name}": ".wav" for name in names}, texts, {})
    entry, refusal = KINDS["wsj"].read(open_folder(str(tmp_path)))
    assert isinstance(entry, Entry) and entry.utt == "4k0c0301" and isinstance(refusal, Refusal)
    assert refusal.group == f"is of {subset} and of none of the sets si284, dev93, eval92"


def test_wsj_unpacked_beside_the_original_is_taken_once(tmp_path: Path) -> None:
    place = "wsj0/si_tr_s/011/011c020x"
    wsj(tmp_path, {place: ".wv1"}, DOTS, {})
    soundfile.write(tmp_path / f"{place}.wav", noise(1600), 16_000)
    items = list(KINDS["wsj"].read(open_folder(str(tmp_path))))
    assert [item.path for item in items if isinstance(item, Entry)] == [f"{place}.wav"]
    assert [item.path for item in items if isinstance(item, Refusal)] == [f"{place}.wv1"]


def test_wsj_without_words_is_refused_by_name(tmp_path: Path) -> None:
    places = {f"wsj0/si_tr_s/011/011c020{n}": ".wav" for n in (1, 2, 3)}
    wsj(tmp_path, places, {"wsj0/a.dot": "The sale (011c0201)\n[cough] . (011c0202)\n"}, {})
    entry, *refused = KINDS["wsj"].read(open_folder(str(tmp_path)))
    assert isinstance(entry, Entry) and entry.utt == "011c0201"
    assert [(Path(item.path).stem, item.reason) for item in refused] == [
        ("011c0202", "has a transcript without a word ([cough] .)"),
        ("011c0203", "has no transcript in any .dot or .lsn file (011c0203); restore it"),
    ]


def test_wsj_that_is_all_packed_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wsj(tmp_path / "w", {"wsj0/si_tr_s/011/011c020x": ".wv1"}, DOTS, {})
    assert main(["manifest", str(tmp_path / "w"), str(tmp_path / "o")]) == 2
    assert (
        "1 × is NIST SPHERE packed by shorten: unpack it beside it, with `sph2pipe" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("dot", "words"),
    [
        ('"DOUBLE-QUOTE No ,COMMA "CLOSE-QUOTE .PERIOD', "double-quote no comma close-quote period"),
        ("a --DASH b -HYPHEN c (LEFT-PAREN d )RIGHT-PAREN", "a dash b hyphen c left-paren d right-paren"),
        ("five \\.POINT two \\%PERCENT \\, so", "five point two percent so"),
        ("'SINGLE-QUOTE 'em U. S. Mr. O'Neill", "single-quote 'em u. s. mr. o'neill"),
        ("*Kuala* [loud_breath] [<door_slam] <the> [door_slam>] end", "kuala the end"),
        ("[phone_ring/] one . two [/phone_ring] ~", "one two"),
        ("inter(national) frag- ninety-five le:ngthened !loud", "inter frag ninety-five lengthened loud"),
        ("!EXCLAMATION-POINT ?QUESTION-MARK", "exclamation-point question-mark"),
        (":COLON ;SEMI-COLON", "colon semi-colon"),
        ("&AMPERSAND %PERCENT $DOLLAR-SIGN /SLASH", "ampersand percent dollar-sign slash"),
        ("{LEFT-BRACE }RIGHT-BRACE (PAREN )CLOSE_PAREN", "left-brace right-brace paren close-paren"),
        ("...ELLIPSIS .DECIMAL #SHARP-SIGN 'QUOTE \"UNQUOTE", "ellipsis decimal sharp-sign quote unquote"),
        ("period comma dash", "period comma dash"),
        ("[noise] ~ .", ""),
    ],
)  # fmt: skip
def test_wsj_s_marks_go_and_words_stay(dot: str, words: str) -> None:
    assert plain_words(dot) == words


def test_times_of_a_manifest_are_those_of_abx(tmp_path: Path) -> None:
    """TIMIT's path from the folder to a figure: manifest, log-mels, ABX."""
    speakers = ("train/dr1/fcjf0", "train/dr1/mcpm0")
    timit(tmp_path / "TIMIT", *(f"{speaker}/sx{i}" for speaker in speakers for i in range(3)))
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "TIMIT").rglob("*.PHN")):
        middle = rng.choice(["ix", "iy"])
        path.write_text(f"0 1600 h#\n1600 4800 sh\n4800 8000 {middle}\n8000 11200 sh\n11200 16000 h#\n")
        with open(path.with_suffix(".WAV"), "wb") as file:
            soundfile.write(file, noise(16_000), 16_000, format="NIST", subtype="PCM_16")
    out, features = tmp_path / "o", tmp_path / "f"
    assert main(["manifest", str(tmp_path / "TIMIT"), str(out), "--valid", "0"]) == 0
    tsv, ctm = str(out / "train.tsv"), str(out / "train.phones.ctm")
    assert main(["features", "-", tsv, str(features), "--layer", "logmel"]) == 0
    arguments = ["--phones", ctm, "--manifest", tsv, "--context", "none"]
    assert main(["abx", str(features), *arguments]) == 0
    assert json.loads((features / "abx.json").read_text())["speakers"] == 2
