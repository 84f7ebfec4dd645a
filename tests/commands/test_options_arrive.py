"""What `manifest`, `transcribe`, `cluster` and `abx` are told arrives where their work begins."""

import argparse
import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import soundfile
from sounds import noise

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.analysis.abx import Plan
from vqw2v_plugin.analysis.group_codes import MapOptions
from vqw2v_plugin.commands import (
    cluster,
    decipher,
    discretize,
    features,
    labels,
    phones,
    segment,
    usage,
    usage_by,
)
from vqw2v_plugin.common.locks import Rank
from vqw2v_plugin.corpora.collect import CollectOptions
from vqw2v_plugin.corpora.gather import Sources
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.corpora.rows import Limits
from vqw2v_plugin.corpora.splits import SplitPlan
from vqw2v_plugin.decoding.settings import PART_SECONDS, DecoderSettings
from vqw2v_plugin.features.base import FeatureOptions
from vqw2v_plugin.jobs.cluster import ClusterOptions
from vqw2v_plugin.jobs.discretize import DiscretizeOptions
from vqw2v_plugin.jobs.drawn_frames import DrawOptions
from vqw2v_plugin.jobs.featurize import FeaturizeOptions
from vqw2v_plugin.jobs.labels import LabelSettings
from vqw2v_plugin.jobs.phones import PhoneTextSettings
from vqw2v_plugin.jobs.split_job import Outcome
from vqw2v_plugin.modules.quantizers.clusters import ClustersConfig
from vqw2v_plugin.modules.unpaired.decipher import Effort


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a function of ours an end where its arguments are kept."""

    def catch(name: str) -> list[tuple[Any, ...]]:
        seen: list[tuple[Any, ...]] = []

        def caught(*arguments: Any) -> None:
            seen.append(arguments)
            raise ValueError("caught")

        monkeypatch.setattr(f"vqw2v_plugin.{name}", caught)
        return seen

    return catch


def test_a_corpus_is_collected_as_it_was_asked_for(arrived: Any) -> None:
    seen = arrived("corpora.collect.collect")
    assert main("manifest c o".split()) == 2
    assert seen[0] == (["c"], "o", CollectOptions(Sources(columns={})))
    listed = "--kind table --ext .FLAC,wav --column text=said --column utt=who --audio a --times t"
    splits = "--valid 0.1 --test 0.2 --seed 4 --speaker-disjoint --resplit --speaker-from 1 --split-from 2"
    rest = "--min 0.5 --max 9 --workers 3 --strict --trim 0.2"
    assert main(f"manifest c d o {listed} {splits} {rest}".split()) == 2
    columns = {"text": "said", "utt": "who"}
    sources = Sources("table", ("flac", "wav"), columns, "a", "t", speaker_from="1", split_from="2")
    plan = SplitPlan(0.1, 0.2, 4, speaker_disjoint=True, anew=True)
    assert seen[1] == (["c", "d"], "o", CollectOptions(sources, Limits(0.5, 9), plan, 3, True, 0.2))
    for one in ("--speaker-disjoint", "--resplit"):
        assert main(["manifest", "c", "o", one]) == 2
    assert [options.plan for _, _, options in seen[2:]] == [
        SplitPlan(speaker_disjoint=True),
        SplitPlan(anew=True),
    ]


def test_files_are_transcribed_as_it_was_asked_for(arrived: Any) -> None:
    seen = arrived("transcriber.Transcriber.load")
    assert main("transcribe a.pt f.wav".split()) == 2
    assert seen[0] == ("a.pt", DecoderSettings(), None, None, "cpu", PART_SECONDS, None, None)
    words = "--front f.pt --bert b.pt --pieces p --pca c --device cuda:1 --limit 7.5"
    assert main(f"transcribe a.pt f.wav {words}".split()) == 2
    assert seen[1] == ("a.pt", DecoderSettings(), "f.pt", "b.pt", "cuda:1", 7.5, "p", "c")


def test_clusters_are_found_as_it_was_asked_for(arrived: Any, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    seen, out = arrived("jobs.cluster.ClusterJob"), tmp_path / "out"
    begun = ["cluster", "-", str(tmp_path / "m.tsv"), str(out), "--layer", "mfcc:12"]
    sizes = "--codes 7 --groups 2 --deltas 1 --standardize none --bands 20 --sample-rate 8000 --dtype bf16"
    effort = "--frames 99 --passes 8 --seed 6 --workers 3 --shard-minutes 2.5 --refresh --strict --memory 0.5"
    assert main([*begun, *sizes.split(), *effort.split()]) == 2
    ((features, asked, config, manifest, folder, options),) = seen
    assert asked == FeatureOptions("mfcc:12", bands=20, sample_rate=8000, dtype="bf16", memory=2**29)
    assert config == ClustersConfig(7, 2, 1, "none") and folder == out and features.dim == 12
    assert manifest.path == str(tmp_path / "m.tsv")
    assert options == ClusterOptions(
        3, shard_minutes=2.5, refresh=True, strict=True, frames=99, passes=8, seed=6
    )
    for beyond in (-1, 2**63):
        assert main([*begun, "--seed", str(beyond)]) == 2
    assert len(seen) == 1  # which no generator takes


def test_phones_are_compared_as_it_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Plan] = []

    def caught(items: object, distance: str, plan: Plan, far: object) -> None:
        seen.append(plan)
        raise ValueError(distance)

    class Source:
        layer, split = "z", "train"

    monkeypatch.setattr("vqw2v_plugin.stores.frames.open_frames", lambda *_: Source)
    monkeypatch.setattr("vqw2v_plugin.corpora.ctm.read_ctm", lambda path: {})
    looked: list[tuple[Any, ...]] = []

    def items(source: object, segments: object, *rest: Any) -> Any:
        looked.append(rest)
        return type("Found", (), {"items": None})

    monkeypatch.setattr("vqw2v_plugin.analysis.abx_items.find_items", items)
    monkeypatch.setattr("vqw2v_plugin.analysis.abx.abx", caught)
    begun = ["abx", str(tmp_path), "--phones", "p.ctm"]
    assert main(begun) == 2 and main([*begun, "--context", "none"]) == 2
    words = "--context none --items 6 --speakers 3 --seed 9 --silence a,b --distance cosine"
    assert main([*begun, *words.split()]) == 2
    assert seen == [Plan(10, 5, 1), Plan(3, 5, 1), Plan(6, 3, 9)]
    assert [context for _, context, _ in looked] == ["triphone", "none", "none"]
    assert looked[2][0] is None and looked[2][2] == ["a", "b"]


def test_components_are_found_as_it_was_asked_for(arrived: Any, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    seen, out = arrived("jobs.principal.find_principal"), tmp_path / "out"
    begun = ["features", "-", str(tmp_path / "m.tsv"), str(out), "--layer", "mfcc:5", "--pca", "3"]
    assert main([*begun, "--workers", "1"]) == 2
    assert main([*begun, *"--frames 99 --seed 6 --workers 3 --shard-minutes 2.5 --strict".split()]) == 2
    assert [(features.dim, dim, folder, rank) for features, dim, _, folder, _, rank in seen] == [
        (5, 3, out, Rank())
    ] * 2
    assert [options for *_, options, _ in seen] == [
        DrawOptions(1, frames=100_000, seed=1),
        DrawOptions(3, shard_minutes=2.5, strict=True, frames=99, seed=6),
    ]


def test_segments_are_made_as_it_was_asked_for(arrived: Any, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    seen, out = arrived("jobs.segment.segment"), str(tmp_path / "out")
    begun = ["segment", "-", str(tmp_path / "m.tsv"), out, "--layer", "mfcc:5", "--workers", "1"]
    many = "--store fp32 --workers 3 --shard-minutes 2.5 --refresh --strict"
    for words in (many, "--deltas 1", "--standardize utterance", "--silence keep", ""):
        assert main([*begun, *words.split()]) == 2
    assert [(manifest.path, folder, rank, spans) for _, manifest, folder, _, rank, spans in seen] == [
        (str(tmp_path / "m.tsv"), out, Rank(), None)
    ] * 5
    assert [options for *_, options, _, _ in seen[:2]] == [
        FeaturizeOptions(3, 2.5, refresh=True, strict=True, store="fp32"),
        FeaturizeOptions(),
    ]
    specs = [features.spec for features, *_ in seen[1:]]
    assert [features.dim for features, *_ in seen[1:]] == [10, 5, 5, 5]
    assert [spec.meaning("standardize") for spec in specs] == ["none", "utterance", "none", "none"]
    assert [spec.meaning("silence") for spec in specs] == ["energy", "energy", "keep", "energy"]


def test_components_of_segments_are_found_of_prepared_frames_that_fit(
    arrived: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What does not fit is refused before anything is looked for."""
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    (tmp_path / "p.ctm").write_text("a 1 0 0.1 x\n")
    seen = arrived("jobs.principal.find_principal")
    begun = [
        "segment",
        "-",
        str(tmp_path / "m.tsv"),
        str(tmp_path / "out"),
        "--layer",
        "mfcc:5",
        "--pca",
        "3",
    ]
    assert main([*begun, "--spans", str(tmp_path / "p.ctm"), "--silence", "energy"]) == 2
    assert "`--spans` are times of the whole audio" in capsys.readouterr().err and not seen
    assert main([*begun, "--deltas", "1"]) == 2
    assert [(features.dim, dim) for features, dim, *_ in seen] == [(10, 3)]


def test_targets_are_made_as_it_was_asked_for(
    arrived: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    loaded: list[tuple[Any, ...]] = []
    monkeypatch.setattr("vqw2v_plugin.features.clusters.load_coder", lambda *told: loaded.append(told))
    monkeypatch.setattr("vqw2v_plugin.tokenizer.Tokenizer", lambda coder, device: "coder")
    seen, out = arrived("jobs.segment.TargetsJob"), tmp_path / "out"
    many = "--dtype bf16 --memory 0.5 --workers 3 --shard-minutes 2.5 --refresh --strict --targets c"
    begun = ["segment", "-", str(tmp_path / "m.tsv"), str(out), "--layer", "mfcc:5"]
    assert main([*begun, *many.split()]) == 2
    ((features, tokenizer, checkpoint, manifest, folder, options),) = seen
    assert loaded == [("c", "bf16", 2**29, "targets")] and (tokenizer, checkpoint) == ("coder", "c")
    assert (features.dim, manifest.path, folder) == (5, str(tmp_path / "m.tsv"), out)
    assert options == DiscretizeOptions(
        3, shard_minutes=2.5, refresh=True, strict=True, dtype="bf16", memory=2**29
    )


@pytest.mark.parametrize(("missing", "status"), [(True, 1), (False, 0)])
def test_a_target_that_is_missing_is_in_the_status_too(
    missing: bool, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    monkeypatch.setattr(segment, "_targets", lambda *_: missing)
    monkeypatch.setattr("vqw2v_plugin.jobs.segment.segment", lambda *_: Outcome("there"))
    words = ["segment", "-", str(tmp_path / "m.tsv"), str(tmp_path / "out"), "--layer", "mfcc:5"]
    assert main([*words, "--targets", "c"]) == status


def test_components_go_by_speaker_where_features_do(arrived: Any, tmp_path: Path) -> None:
    """Those of one clip alone have no mean that is zero."""
    rows = []
    for i, (loud, speaker) in enumerate(((0.3, "s"), (0.01, "s"), (0.1, "other"))):
        soundfile.write(tmp_path / f"{i}.wav", noise(8_000, i) * loud, 16_000)
        rows.append({"path": f"{i}.wav", "samples": 8_000, "speaker": speaker})
    write_manifest(tmp_path / "m.tsv", tmp_path, rows, ("path", "samples", "speaker"))
    seen, clips = arrived("jobs.principal.find_principal"), Manifest(tmp_path / "m.tsv")
    begun = ["features", "-", str(tmp_path / "m.tsv"), str(tmp_path / "out"), "--layer", "mfcc:5"]
    assert main([*begun, "--pca", "3", "--standardize", "speaker", "--workers", "1"]) == 2
    means = [seen[0][0].of(clip).mean(0) for clip in clips]
    assert all(float(mean.abs().max()) > 0.1 for mean in means[:2])
    assert float((means[0] + means[1]).abs().max()) < 1e-3 and float(means[2].abs().max()) < 1e-3


@pytest.mark.parametrize("command", ["features", "segment"])
def test_who_has_no_speaker_is_counted_once_though_components_are_found_of_them_before(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", noise(8_000, i) * 0.1, 16_000)
    rows = [{"path": f"{i}.wav", "samples": 8_000} for i in range(3)]
    write_manifest(tmp_path / "m.tsv", tmp_path, rows)
    begun = [command, "-", str(tmp_path / "m.tsv"), str(tmp_path / "out"), "--layer", "mfcc:5"]
    assert main([*begun, "--pca", "2", "--standardize", "speaker", "--workers", "1"]) == 0
    assert "  3 utterances went by their own mean and scale: nobody says" in capsys.readouterr().out


def test_segments_are_deciphered_as_it_was_asked_for(arrived: Any, tmp_path: Path) -> None:
    seen, begun = (
        arrived("analysis.decipherment.decipher_folder"),
        ["decipher", "f", "t", str(tmp_path / "o")],
    )
    assert main(begun) == 2
    assert main([*begun, *"--split dev --codes 9 --restarts 7 --seed 5".split()]) == 2
    assert seen == [("f", "train", "t", Effort(), None), ("f", "dev", "t", Effort(restarts=7, seed=5), 9)]


def test_a_toy_corpus_is_made_as_it_was_asked_for(arrived: Any) -> None:
    seen = arrived("toy.corpus.make_corpus")
    words = [
        "--minutes",
        "1.5",
        "--speakers",
        "3",
        "--languages",
        " en, de,",
        "--seed",
        "5",
        "--workers",
        "2",
    ]
    assert main(["toy", "o", *words]) == 2 and main(["toy", "o", "--minutes", "2"]) == 2
    assert seen == [("o", 1.5, 3, ("en", "de"), 5, 2), ("o", 2.0, 4, ("en",), 1, None)]


def test_groups_are_counted_as_it_was_asked_for(arrived: Any, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", tmp_path, [{"path": "a.wav", "samples": 9}])
    seen, parser = arrived("analysis.group_codes.map_groups"), argparse.ArgumentParser()
    usage.add_arguments(parser)
    told = "--group-minutes 2 --least-seconds 3 --least-frames 4 --seed 6"
    for words in ("", told):
        args = parser.parse_args(["c.pt", str(tmp_path / "m.tsv"), "--by", "lang", *words.split()])
        usage_by.check_group_arguments(args)
        with pytest.raises(ValueError, match="caught"):
            usage_by.map_groups_of(args, None)  # type: ignore[arg-type]
    assert [options for _, _, options, _ in seen] == [MapOptions("lang"), MapOptions("lang", 2, 3, 6, 4)]
    assert [manifest.path for manifest in seen[0][1]] == [str(tmp_path / "m.tsv")]


def parsed(command: ModuleType, words: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return vars(parser.parse_args(words.split()))


@pytest.mark.parametrize(
    ("command", "words", "settings"),
    [
        (features, "- m out --layer mfcc", FeaturizeOptions()),
        (segment, "- m out --layer mfcc", FeaturizeOptions()),
        (discretize, "c m out", DiscretizeOptions()),
        (cluster, "- m out --layer mfcc", ClusterOptions()),
        (features, "- m out --layer mfcc", FeatureOptions("mfcc", "-")),
        (segment, "- m out --layer mfcc", FeatureOptions("mfcc", "-")),
        (phones, "t --save-dir out", PhoneTextSettings()),
        (labels, "m out --unit letters", LabelSettings(None, "letters")),
        (decipher, "f t out", Effort()),
    ],
)
def test_who_says_nothing_gets_what_python_gives(command: ModuleType, words: str, settings: Any) -> None:
    """But for how many work and with how much memory, which commands say in other units."""
    told = parsed(command, words)
    usual = {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}
    both = (told.keys() & usual.keys()) - {"workers", "memory"}
    assert len(both) > 1 and {name: told[name] for name in both} == {name: usual[name] for name in both}


def test_the_usual_settings_are_those_of_the_pages() -> None:
    told = parsed(features, "- m out --layer mfcc")
    assert (told["shard_minutes"], told["memory"], told["store"], told["dtype"]) == (10, 1, "fp16", "fp32")
    assert (told["bands"], told["sample_rate"], told["standardize"]) == (80, 16_000, "none")
    told = parsed(phones, "t --save-dir out")
    assert (told["sil_prob"], told["valid"], told["min_count"], told["seed"]) == (0.25, 0.01, 1, 1)
    assert parsed(decipher, "f t out")["restarts"] == 256
