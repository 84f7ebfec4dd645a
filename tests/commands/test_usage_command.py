"""`vqw2v usage` as it is typed: how codes are used, what they say about phones, and what none would."""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqw2v_plugin import Tokenizer, load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.analysis import code_report
from vqw2v_plugin.analysis.phone_codes import code_usage
from vqw2v_plugin.audio.augment import CHANGES
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.commands.usage import _mfcc_clusters
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec

Usage = Callable[..., str]


@pytest.fixture
def network(tiny: Callable[..., VqWav2Vec]) -> VqWav2Vec:
    return tiny(quantizer="kmeans").eval()


@pytest.fixture
def usage(network: VqWav2Vec, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Usage:
    """Three utterances of noise; what the command prints about them."""
    rng, rows, times = np.random.default_rng(0), [], []
    for i in range(3):
        soundfile.write(tmp_path / f"u{i}.wav", rng.normal(0, 0.1, 8_000), 16_000, subtype="PCM_16")
        rows.append({"path": f"u{i}.wav", "samples": 8_000, "utt": f"u{i}"})
        times += [f"u{i} 1 {k / 10} 0.1 {'ab'[k % 2]}\n" for k in range(5)]
    write_manifest(tmp_path / "some.tsv", tmp_path, rows, ("path", "samples", "utt"))
    (tmp_path / "some.ctm").write_text("".join(times))
    (tmp_path / "other.ctm").write_text("nobody 1 0 1 a\n")

    def run(*options: str, manifest: bool = True, code: int = 0) -> str:
        save_checkpoint(Imported(Loaded(network, 16_000, False), False, 0, []), tmp_path / "ours.pt", True)
        named = [str(tmp_path / "some.tsv")] if manifest else []
        options = tuple(str(tmp_path / o) if o.endswith(".ctm") else o for o in options)
        assert main(["usage", str(tmp_path / "ours.pt"), *named, *options]) == code
        shown = capsys.readouterr()
        return shown.err if code else shown.out

    return run


def blocks(shown: str) -> dict[str, list[str]]:
    """The lines under `trained:` and `untrained:`."""
    found: dict[str, list[str]] = {}
    for line in shown.splitlines():
        if name := re.match(r"([\w -]+): [\d,]+ frames", line):
            found[name[1]] = []
        if found:
            found[list(found)[-1]].append(line)
    return found


def test_it_counts_the_codes_of_the_manifest_s_audio(usage: Usage, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(tmp_path / "ours.pt") if usage() else None
    assert tokenizer is not None
    codes = np.concatenate([tokenizer.encode_file(tmp_path / f"u{i}.wav").numpy() for i in range(3)])
    expected = code_usage(codes, 8)
    shown = usage()
    assert "some.tsv: 3 utterances" in shown and list(blocks(shown)) == ["trained"]
    assert f"trained: {len(codes):,} frames, 2 groups of 8 codes" in shown
    for group in range(2):
        used, perplexity = expected.used[group], expected.perplexity[group]
        assert f"  group {group}: {used} of 8 codes used, perplexity {perplexity:.1f}" in shown
    assert f"{expected.joint_used:,} combinations, perplexity {expected.joint_perplexity:.1f}" in shown
    assert "phones" not in shown


def test_what_training_kept_of_its_codes_is_told_without_audio(usage: Usage, network: VqWav2Vec) -> None:
    assert usage(manifest=False).endswith("keeps no counts of how training used its codes\n")
    network.health.window[:] = 1.0
    network.health.window[1, 4:] = 0.0
    network.health.idle[1, 4:] = 49
    network.health.idle[1, 6:] = 50
    assert usage(manifest=False).endswith(
        "at the end of training, perplexity 8.0, 4.0 of 8; 0, 2 codes unused for 50 updates "
        "(group by group)\n"
    )


def test_fresh_weights_of_a_seed_stand_beside_the_trained_ones(usage: Usage) -> None:
    first, again, other = (blocks(usage("--untrained", "--seed", seed)) for seed in ("1", "1", "2"))
    assert list(first) == ["trained", "untrained"] and first == again
    assert first["trained"] == other["trained"] and first["untrained"] != other["untrained"]
    assert first["trained"][1:] != first["untrained"][1:]


def test_phones_are_told_where_their_times_are_known(usage: Usage) -> None:
    shown = usage("--phones", "some.ctm", "--untrained")
    for lines in blocks(shown).values():
        told = re.search(
            r"  phones: the code tells (\S+) of (\S+) bits about the phone \((\S+)%, over 3 utter"
            r"ances (\S+)% to (\S+)%; 2 ph",
            "\n".join(lines),
        )
        assert told is not None and float(told[4]) <= float(told[5])
        assert float(told[3]) == pytest.approx(100 * float(told[1]) / float(told[2]), abs=1)
        assert 0.9 < float(told[2]) <= 1 and float(told[1]) < float(told[2])
    assert "has times for none of the manifest's utterances" in usage("--phones", "other.ctm", code=2)


def test_audio_that_cannot_be_read_is_named_and_the_rest_counted(usage: Usage, tmp_path: Path) -> None:
    whole = usage()
    (tmp_path / "u1.wav").write_bytes(b"RIFF")
    shown = usage()
    assert "skipped: " in shown and "u1.wav" in shown and blocks(shown) != blocks(whole)
    assert usage("--untrained").count("u1.wav") == 2
    table = tmp_path / "some.tsv"
    table.write_text(table.read_text().replace("u1.wav", "u1\x1b[2J.wav"))  # which would clear the screen
    assert "u1\\x1b[2J.wav" in usage()
    for name in ("u0.wav", "u2.wav"):
        (tmp_path / name).unlink()
    assert "none of its 3 utterances gave a code" in usage(code=2)


def test_clusters_of_mfcc_stand_beside_with_as_many_codes(usage: Usage) -> None:
    found = blocks(usage("--mfcc", "--phones", "some.ctm"))
    assert list(found) == ["trained", "MFCC k-means"]
    assert "2 groups of 8 codes" in found["MFCC k-means"][0]
    assert "of 36 dimensions of mfcc:12 are filled" in found["MFCC k-means"][-1]
    assert found == blocks(usage("--mfcc", "--phones", "some.ctm"))
    assert (
        found["MFCC k-means"]
        != blocks(usage("--mfcc", "--phones", "some.ctm", "--seed", "2"))["MFCC k-means"]
    )


def test_clusters_are_found_by_one_thread_and_the_rest_by_as_many_as_before(
    usage: Usage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, seen = torch.get_num_threads(), list[int]()
    encode_file = Tokenizer.encode_file

    def encode(self: Tokenizer, *told: object) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return encode_file(self, *told)  # type: ignore[arg-type]

    monkeypatch.setattr(Tokenizer, "encode_file", encode)
    torch.set_num_threads(3)
    try:
        usage("--mfcc")
        assert seen == [3] * 6 and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_clusters_of_mfcc_hear_audio_at_the_rate_of_what_they_stand_beside(
    usage: Usage, tmp_path: Path
) -> None:
    like = argparse.Namespace(sample_rate=8_000, num_groups=1, num_codes=3)
    found = _mfcc_clusters(like, Manifest(tmp_path / "some.tsv"), 1)  # type: ignore[arg-type]
    assert (found.sample_rate, found.geometry.stride, found.num_codes) == (8_000, 80, 3)


def test_the_rank_is_that_of_what_is_quantized(usage: Usage, network: VqWav2Vec, tmp_path: Path) -> None:
    told = re.search(r"rank: (\S+) of 16 dimensions of z are filled", usage())
    features = load_features("z", str(tmp_path / "ours.pt"))
    z = torch.cat([features.of(tmp_path / f"u{i}.wav") for i in range(3)])
    values = torch.linalg.svdvals(z - z.mean(0))
    shares = values / values.sum()
    assert told is not None and float(told[1]) == pytest.approx(
        float(torch.exp(-(shares * shares.log()).sum())), abs=0.06
    )


def test_voices_are_probed_where_speakers_are_named(usage: Usage, tmp_path: Path) -> None:
    assert "  voices: " not in usage()
    manifest = tmp_path / "some.tsv"
    rows = [Manifest(manifest)[i % 3] for i in range(6)]
    named = [
        {"path": row.path, "samples": 8_000, "utt": f"v{i}", "speaker": "ab"[i % 2]}
        for i, row in enumerate(rows)
    ]
    write_manifest(manifest, tmp_path, named, ("path", "samples", "utt", "speaker"))
    assert re.search(r"voices: \S+% of 2 clips .* \(of 2; chance 50.0%\)", usage())


def test_how_many_tokens_change_is_counted_for_each_change(usage: Usage) -> None:
    assert "tokens that change" not in usage()
    told = re.search(r"tokens that change, in 2 clips, of those before: (.*)", usage("--robust", "2"))
    assert told is not None
    shares = dict(part.rsplit(" ", 1) for part in told[1].split(", "))
    assert list(shares) == list(CHANGES) and 0 < int(shares["noise 20 dB"][:-1]) < int(
        shares["noise 10 dB"][:-1]
    )
    assert "in 3 clips" in usage("--robust", "99")
    assert "--robust" in usage("--robust", "-1", code=2)


def test_all_that_is_asked_of_a_report_reaches_it(usage: Usage, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[object, ...]] = []

    def report(
        name: str, tokenizer: Tokenizer, codes: object, utterances: object, asked: code_report.Asked
    ) -> None:
        found.append((name, asked.robust, asked.seed, sorted(asked.segments or [])))
        raise ValueError("enough")

    monkeypatch.setattr(code_report, "report_codes", report)
    assert "enough" in usage("--robust", "3", "--seed", "7", "--phones", "some.ctm", code=2)
    assert "enough" in usage("--untrained", code=2)
    assert found == [("trained", 3, 7, ["u0", "u1", "u2"]), ("trained", 0, 1, [])]


def test_all_that_is_told_can_be_kept_as_json(usage: Usage, tmp_path: Path) -> None:
    shown = usage(
        "--phones", "some.ctm", "--untrained", "--robust", "1", "--out", str(tmp_path / "usage.json")
    )
    trained, untrained = json.loads((tmp_path / "usage.json").read_text())
    assert (trained["name"], untrained["name"], trained["split"]) == ("trained", "untrained", "some")
    assert trained["checkpoint"] == untrained["checkpoint"] == "ours.pt"
    assert f"({trained['phones']['share']:.1%}, over 3" in shown and trained["usage"]["num_codes"] == 8
    assert list(trained["edits"]) == list(CHANGES) and trained["sure"]["speakers"] == 3
    (tmp_path / "folder").mkdir()
    assert "folder" in usage("--out", str(tmp_path / "folder"), "--device", "tpu9", code=2)  # before all else


def test_codes_are_made_on_the_device_that_is_asked_for(
    usage: Usage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    none = "vqw2v_plugin.analysis.code_sources.encode_each"
    monkeypatch.setattr(none, lambda tokenizer, *_: seen.append(tokenizer.device.type) or ["codes"])
    monkeypatch.setattr(code_report, "report_codes", lambda *_: argparse.Namespace(lines=list))
    monkeypatch.setattr("vqw2v_plugin.commands.usage._health", lambda _: "")  # which reads the weights
    usage("--untrained", "--device", "meta")
    assert seen == ["meta", "meta"]
    assert "device 'tpu9' cannot be used" in usage("--device", "tpu9", code=2)
