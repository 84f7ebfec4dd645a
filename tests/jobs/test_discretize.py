"""`vqw2v discretize`: each file's codes are its own, in files that fairseq reads."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import soundfile as sf
import torch
from corpus_runs import FEW, content, corpus, decoded, run

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.common.locks import Rank
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest
from vqw2v_plugin.jobs.discretize import DiscretizeOptions, agreement, discretize
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.symbols import TOKENS
from vqw2v_plugin.stores.tokens import TokenStore


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return corpus(tmp_path)


@pytest.mark.parametrize("workers", [1, 3])
def test_tokens_are_each_file_s_own_codes(
    checkpoint: str, manifest: Path, tmp_path: Path, workers: int
) -> None:
    assert (
        main(["discretize", checkpoint, str(manifest), str(tmp_path / "out"), "--workers", str(workers)]) == 0
    )
    tokenizer = Tokenizer.load(checkpoint)
    found = decoded(tmp_path / "out", "train")
    assert list(found) == [f"train{i}" for i in range(24)]
    for utt, tokens in found.items():
        codes = tokenizer.encode_file(tmp_path / "audio-train" / f"{utt}.flac")
        assert " ".join(tokens) == tokenizer.tokens(codes)
    about = TOKENS.read_about(tmp_path / "out")
    assert about["splits"]["train"]["utterances"] == 24 and about["stride"] == 40
    assert about["splits"]["train"]["frames"] == sum(map(len, found.values()))


def test_processes_that_read_ahead_change_no_byte(checkpoint: str, manifest: Path, tmp_path: Path) -> None:
    """As beside a GPU; a file that cannot be read is named by them too."""
    (tmp_path / "audio-train" / "train3.flac").write_bytes(b"fLaC of no use")
    wanted = Manifest(manifest)
    for name, options in {"alone": {}, "fed": {"readers": 2}}.items():
        asked = DiscretizeOptions(**options)
        tokenizer = Tokenizer.load(checkpoint)
        outcome = discretize(tokenizer, checkpoint, wanted, str(tmp_path / name), asked, Rank())
        assert outcome.state == "published" and [row.utt for row in outcome.refused] == ["train3"]
    assert content(tmp_path / "fed") == content(tmp_path / "alone")


def test_fairseq_reads_the_folder(checkpoint: str, manifest: Path, tmp_path: Path) -> None:
    pytest.importorskip("fairseq")
    from fairseq.data import Dictionary, data_utils

    assert run(checkpoint, manifest, tmp_path / "out") == 0
    dictionary = Dictionary.load(str(tmp_path / "out" / "dict.txt"))
    theirs = data_utils.load_indexed_dataset(str(tmp_path / "out" / "train"), dictionary)
    for item, tokens in zip(theirs, decoded(tmp_path / "out", "train").values(), strict=True):
        assert dictionary.string(item).split() == tokens and int(item[-1]) == dictionary.eos()
    counts = list(zip(dictionary.symbols[4:], dictionary.count[4:], strict=True))
    dictionary.finalize(padding_factor=1)  # fairseq's own order, of equal counts too
    assert counts == list(zip(dictionary.symbols[4:], dictionary.count[4:], strict=True))


def test_segments_of_a_file(checkpoint: str, tmp_path: Path) -> None:
    wav = np.random.default_rng(0).normal(0, 0.1, 16_000)
    sf.write(tmp_path / "long.wav", wav, 16_000)
    rows = [
        {"path": "long.wav", "samples": 4000, "start": start, "utt": f"s{start}"} for start in (0, 3000, 9000)
    ]
    write_manifest(tmp_path / "train.tsv", tmp_path, rows, ("path", "samples", "start", "utt"))
    assert run(checkpoint, tmp_path / "train.tsv", tmp_path / "out") == 0
    tokenizer = Tokenizer.load(checkpoint)
    for utt, tokens in decoded(tmp_path / "out", "train").items():
        codes = tokenizer.encode_file(tmp_path / "long.wav", int(utt[1:]), 4000)
        assert " ".join(tokens) == tokenizer.tokens(codes)


def test_nothing_at_all_is_an_error(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(tmp_path / "train.tsv", tmp_path, [{"path": "a.wav", "samples": 5}])
    assert main(["discretize", checkpoint, str(tmp_path / "train.tsv"), str(tmp_path / "out")]) == 2
    assert "that leaves none" in capsys.readouterr().err
    write_manifest(tmp_path / "empty.tsv", tmp_path, [])
    assert main(["discretize", checkpoint, str(tmp_path / "empty.tsv"), str(tmp_path / "out")]) == 2
    assert "has no utterances" in capsys.readouterr().err


def test_a_dictionary_is_reused_and_what_it_lacks_is_counted(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, valid, out = corpus(tmp_path, files=1), corpus(tmp_path, "valid", 20, seed=5), tmp_path / "out"
    assert main(["discretize", checkpoint, str(train), str(out)]) == 0
    before = (out / "dict.txt").read_bytes()
    assert main(["discretize", checkpoint, str(valid), str(out)]) == 0
    assert (out / "dict.txt").read_bytes() == before
    unknown = sum(tokens.count("<unk>") for tokens in decoded(out, "valid").values())
    row = TOKENS.read_about(out)["splits"]["valid"]
    assert row["unknown"] == unknown > 0 and f"{unknown:,} tokens" in capsys.readouterr().out
    assert sum(row["unknown_symbols"].values()) <= unknown
    other = tmp_path / "other"
    assert main(["discretize", checkpoint, str(valid), str(other), "--dict", str(out / "dict.txt")]) == 0
    assert (other / "dict.txt").read_bytes() == before
    assert (other / "valid.bin").read_bytes() == (out / "valid.bin").read_bytes()
    (tmp_path / "third.txt").write_text("0-0 1\n")
    assert (
        main(["discretize", checkpoint, str(train), str(other), "--dict", str(tmp_path / "third.txt")]) == 2
    )
    assert "differs from `--dict`" in capsys.readouterr().err


def test_a_given_dictionary_outlives_a_refresh(checkpoint: str, tmp_path: Path) -> None:
    train, out, given = corpus(tmp_path, files=2), tmp_path / "out", tmp_path / "given.txt"
    given.write_text("0-0 1\n")
    assert main(["discretize", checkpoint, str(train), str(out), "--dict", str(given)]) == 0
    assert main(["discretize", checkpoint, str(train), str(out), "--refresh"]) == 0
    assert (out / "dict.txt").read_text() == "0-0 1\n"


def test_codes_that_agree_are_counted_over_the_files_that_can_be_read(tmp_path: Path) -> None:
    class Told:
        def __init__(self, last: int) -> None:
            self.last = last

        def encode_file(self, row: Utterance) -> torch.Tensor:
            if row.utt == "b":
                raise ValueError("cannot be read")
            return torch.tensor([[0, 1], [2, self.last]])

    write_manifest(tmp_path / "t.tsv", tmp_path, [{"path": f"{name}.wav", "samples": 9} for name in "abc"])
    pair = [cast(Tokenizer, Told(last)) for last in (3, 4)]
    assert agreement(*pair, Manifest(tmp_path / "t.tsv")) == (2, 8, 6)
    write_manifest(tmp_path / "u.tsv", tmp_path, [{"path": f"{i}.wav", "samples": 9} for i in range(10)])
    heard: list[str] = []
    told = SimpleNamespace(encode_file=lambda row: (heard.append(row.utt), torch.zeros(1, 1))[1])
    assert agreement(cast(Tokenizer, told), pair[0], Manifest(tmp_path / "u.tsv"), files=4)[0] == 4
    assert heard == ["0", "3", "6", "9"]  # from all over the manifest


def made_of(folder: Path, num_codes: int, codes: list[list[int]], **options: Any) -> SimpleNamespace:
    """What is published as `o/t` of one utterance with these codes; answers its tokenizer."""
    allowed: list[int] = []
    tokenizer = SimpleNamespace(
        num_codes=num_codes,
        num_groups=2,
        sample_rate=16_000,
        device=torch.device("cpu"),
        geometry=SimpleNamespace(receptive_field=10, stride=5),
        coder=SimpleNamespace(allow=lambda memory: allowed.append(memory)),
        allowed=allowed,
        encode_file=lambda _: torch.tensor(codes),
    )
    write_manifest(folder / "t.tsv", folder, [{"path": "a.wav", "samples": 9}])
    (folder / "m.pt").touch()
    rest = Manifest(folder / "t.tsv"), str(folder / "o"), DiscretizeOptions(**options), Rank()
    assert discretize(cast(Tokenizer, tokenizer), str(folder / "m.pt"), *rest).state == "published"
    return tokenizer


@pytest.mark.parametrize("num_codes", [1 << 16, (1 << 16) + 1, 100_000])
def test_the_last_code_has_room_in_a_shard(tmp_path: Path, num_codes: int) -> None:
    made = made_of(tmp_path, num_codes, [[num_codes - 1, 0]], memory=123)
    assert decoded(tmp_path / "o", "t") == {"a": [f"{num_codes - 1}-0"]} and made.allowed == [123]


def test_the_twenty_unknown_codes_that_are_most_frequent_are_named(tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_text("0-0 1\n")
    often = [[code, 1] for code in range(30) for _ in range(code // 2 + 1)]  # 28 and 29 fifteen times
    made_of(tmp_path, 30, [*often, [0, 0]], dictionary=str(tmp_path / "dict.txt"))
    row = TOKENS.read_about(tmp_path / "o")["splits"]["t"]
    assert row["unknown"] == len(often) and row["tokens"] == row["frames"] == len(often) + 1
    assert row["unknown_symbols"] == {f"{code}-1": code // 2 + 1 for code in range(10, 30)}


def test_runs_become_tokens_with_durations(checkpoint: str, manifest: Path, tmp_path: Path) -> None:
    assert run(checkpoint, manifest, tmp_path / "all", "--text", "--npy") == 0
    assert run(checkpoint, manifest, tmp_path / "runs", "--run-length", "--text") == 0
    full, reduced = decoded(tmp_path / "all", "train"), decoded(tmp_path / "runs", "train")
    durations = np.load(tmp_path / "runs" / "train.durations.npy", mmap_mode="r")
    place = 0
    for utt, tokens in full.items():
        lengths = durations[place : place + len(reduced[utt])]
        assert np.repeat(reduced[utt], lengths).tolist() == tokens
        assert all(a != b for a, b in zip(reduced[utt], reduced[utt][1:]))  # noqa: B905
        codes = np.load(tmp_path / "all" / "train.codes" / f"{utt}.npy")
        assert ["-".join(map(str, frame)) for frame in codes.tolist()] == tokens
        place += len(lengths)
    assert place == len(durations)
    counted = {name: TOKENS.read_about(tmp_path / name)["splits"]["train"] for name in ("all", "runs")}
    for name, tokens in (("all", int(durations.sum())), ("runs", place)):
        row = {"utterances": 24, "frames": int(durations.sum()), "tokens": tokens, "refused": 0}
        assert row.items() <= counted[name].items()
    for name, utts in (("all", full), ("runs", reduced)):  # the dictionary counts tokens, not frames
        lines = (tmp_path / name / "dict.txt").read_text().splitlines()
        said = Counter(token for tokens in utts.values() for token in tokens)
        assert {(word, int(count)) for word, count in map(str.split, lines)} == set(said.items())
    text = (tmp_path / "all" / "train.txt").read_text().splitlines()
    assert [line.split() for line in text] == list(full.values())
    assert [frames for _, frames in TokenStore(tmp_path / "runs", "train").rows] == list(
        map(len, full.values())
    )


def test_other_settings_are_refused(
    checkpoint: str,
    manifest: Path,
    tmp_path: Path,
    tiny: Callable[..., VqWav2Vec],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(["discretize", checkpoint, str(manifest), str(out)]) == 0
    assert main(["discretize", checkpoint, str(manifest), str(out)]) == 0
    assert "is there already" in capsys.readouterr().out
    assert main(["discretize", checkpoint, str(manifest), str(out), "--dtype", "bf16"]) == 2
    assert "`dtype` was 'fp32' and is now 'bf16'" in capsys.readouterr().err
    assert main(["discretize", checkpoint, str(manifest), str(out), "--dtype", "bf16", "--refresh"]) == 0
    assert "are those of fp32 on the CPU" in capsys.readouterr().out
    network = tiny(quantizer="gumbel", vq_vars=9).eval()
    save_checkpoint(Imported(Loaded(network, 16_000, False), False, 0, []), tmp_path / "other.pt")
    valid = corpus(tmp_path, "valid", 3)
    assert main(["discretize", str(tmp_path / "other.pt"), str(valid), str(out), "--dtype", "bf16"]) == 2
    assert "`checkpoint` was" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--text", "--npy", "--run-length"])
def test_what_lacks_something_that_is_asked_for_is_not_there_already(
    checkpoint: str, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "discretize",
        checkpoint,
        str(corpus(tmp_path, files=2)),
        str(tmp_path / "out"),
        "--workers",
        "1",
    ]
    assert main(words) == 0
    assert main([*words, option]) == 2
    name = option.strip("-").replace("-", "_")
    assert f"`{name}` was False and is now True; say the same as then" in capsys.readouterr().err


def test_a_changed_manifest_is_not_gone_on_with(checkpoint: str, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(checkpoint, manifest, out, *FEW, RANK="0", WORLD_SIZE="2") == 0
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines[:-1]) + "\n")
    assert run(checkpoint, manifest, out, *FEW) == 2
    assert run(checkpoint, manifest, out, *FEW, "--refresh") == 0
    assert len(TokenStore(out, "train")) == 23


def test_another_s_data_set_is_left_alone(checkpoint: str, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.idx").write_bytes(b"of fairseq-preprocess")
    assert run(checkpoint, manifest, tmp_path / "out") == 2
    assert content(tmp_path / "out") == {"train.idx": b"of fairseq-preprocess"}


def test_json_says_what_made_it(checkpoint: str, manifest: Path, tmp_path: Path) -> None:
    import hashlib

    assert run(checkpoint, manifest, tmp_path / "out") == 0
    about = json.loads((tmp_path / "out" / "tokens.json").read_text())
    assert about["checkpoint"]["sha256"] == hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest()
    assert about["splits"]["train"]["manifest_sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert about["dictionary"]["made_by"] == "train" and str(tmp_path) not in json.dumps(about)


@pytest.mark.slow
def test_real_speech_has_stock_s_codes(real_data: Path, tmp_path: Path) -> None:
    """Stock's own network on recorded speech; near-ties may differ, and are few."""
    pytest.importorskip("fairseq")
    from stock_files import stock_model, write_today

    stock, options = stock_model(vq_type="gumbel", vq_vars=320)
    write_today(tmp_path / "stock.pt", stock, options)
    assert main(["import", str(tmp_path / "stock.pt"), str(tmp_path / "ours.pt")]) == 0
    tokenizer = Tokenizer.load(str(tmp_path / "ours.pt"))
    total = differ = 0
    for path in sorted((real_data / "so762_std" / "flac").rglob("*.flac"))[:12]:
        wav = torch.from_numpy(sf.read(path, dtype="float32")[0])
        with torch.no_grad():
            codes = stock.vector_quantizer.forward_idx(stock.feature_extractor(wav[None]))[1][0]
        total, differ = total + codes.numel(), differ + int((codes != tokenizer.encode_file(path)).sum())
    assert total > 5000 and differ <= total / 5000


def test_tf32_is_a_gpu_s_and_its_agreement_is_told(
    checkpoint: str,
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ["--dtype", "tf32"]
    for command in (
        ["discretize", checkpoint, str(manifest), str(tmp_path / "codes")],
        ["features", checkpoint, str(manifest), str(tmp_path / "z"), "--layer", "z"],
        ["encode", checkpoint, "x.wav"],
    ):
        assert main([*command, *asked]) == 2
        assert (
            "is 'tf32', which only a GPU's products are in, and the device is cpu" in capsys.readouterr().err
        )
    assert not (tmp_path / "codes").exists() and not (tmp_path / "z").exists()
    monkeypatch.setattr("vqw2v_plugin.tokenizer.check_numbers", lambda *_: None)
    assert main(["discretize", checkpoint, str(manifest), str(tmp_path / "codes"), *asked]) == 0
    assert "100.00% of the" in capsys.readouterr().out
    assert TOKENS.read_about(tmp_path / "codes")["dtype"] == "tf32"
