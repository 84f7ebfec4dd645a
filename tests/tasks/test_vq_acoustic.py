"""Task `vq_acoustic`: joins features and labels, trains, and decodes through `fairseq-generate`."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("fairseq")
from fairseq import options
from fairseq.criterions import CRITERION_REGISTRY
from fake_speech import SYMBOLS, generate, spell, train, write_features, write_speech
from omegaconf import OmegaConf

import vqw2v_plugin
from vqw2v_plugin import Transcriber
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.stores.emissions import read_emissions
from vqw2v_plugin.stores.labels import LabelError, Labels, write_labels
from vqw2v_plugin.tasks.vq_acoustic import VqAcousticConfig, VqAcousticTask
from vqw2v_plugin.text.loss_kinds import LOSS_KINDS
from vqw2v_plugin.training.acoustic_data import Learning
from vqw2v_plugin.training.generator import decoding_defaults
from vqw2v_plugin.training.resumed import ResumeError, changes
from vqw2v_plugin.training.task import TrainingTask

vqw2v_plugin.register()
LEXICON = "lexicon.ltr.txt"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_speech(tmp_path_factory.mktemp("speech"), {"train": 60, "valid": 8, "test": 10})


@pytest.fixture(scope="module")
def checkpoints(speech: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each loss, trained for a second or two."""
    folder = tmp_path_factory.mktemp("runs")
    few = ["--validate-interval", "25", "--max-update"]
    updates = {"vq_ctc": "80", "asg": "110"}
    return {name: train(*speech, folder / name, name, *few, count) for name, count in updates.items()}


def task_of(data: Path, labels: Path | None = None, **given: object) -> VqAcousticTask:
    known = {
        "criterion_name": "vq_ctc",
        "train_subset": "train",
        "seed": 1,
        "save_dir": "",
        "restore_file": "",
    }
    known |= {"gen_subset": "test", "results_path": None, "labels": None if labels is None else str(labels)}
    cfg = OmegaConf.structured(VqAcousticConfig(data=str(data), **{**known, **given}))
    return VqAcousticTask.setup_task(cfg)


def wer(text: str) -> float:
    line = next(line for line in text.splitlines() if line.startswith("Generate test with beam"))
    return float(line.split("WER ")[1].split(" %")[0])


@pytest.mark.parametrize("name", ["vq_ctc", "asg"])
def test_it_learns_and_a_lexicon_helps(
    name: str, speech: tuple[Path, Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    data, labels = speech
    greedy = wer(generate(data, labels, checkpoints[name], tmp_path / "greedy"))
    pytest.importorskip("flashlight.lib.text.decoder")
    chosen = ["--decoder", "lexicon", "--lexicon", str(labels / LEXICON), "--nbest", "3"]
    text = generate(data, labels, checkpoints[name], tmp_path / "lexicon", *chosen, "--decode-workers", "2")
    assert wer(text) < 35 and wer(text) < greedy < 100
    tags = [line.partition("\t")[0] for line in text.splitlines() if line[:2] in ("T-", "H-", "D-")]
    assert tags.count("T-3") == 1 and 1 <= tags.count("H-3") <= 3 and len(set(tags)) == 30


def test_our_files_stand_beside_fairseq_s(
    speech: tuple[Path, Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    data, labels = speech
    out, saved = tmp_path / "out", tmp_path / "emissions"
    more = ["--emissions", str(saved), "--error-unit", "characters", "--scoring", "vq_error"]
    text = generate(data, labels, checkpoints["asg"], out, *more)
    lines = [json.loads(line) for line in (out / "hypotheses-test.jsonl").read_text().splitlines()]
    assert [line["utt"] for line in lines] == [f"test{i}" for i in range(10)]
    ctm = (out / "hypotheses-test.ctm").read_text().splitlines()
    assert len(ctm) == sum(len(line["words"]) for line in lines) and ctm[0].startswith("test0 1 ")
    counted = json.loads((out / "errors-test.json").read_text())
    assert counted["name"] == "CER" and f"CER {counted['rate']:.2f} %" in text
    emissions = read_emissions(saved, "test")
    assert sorted(emissions.utts) == sorted(line["utt"] for line in lines)
    assert emissions.transitions is not None and emissions.frame_seconds == 0.01
    frames = dict(line.split("\t") for line in (data / "test.ids").read_text().splitlines())
    assert all(len(emissions[i]) == int(frames[utt]) for i, utt in enumerate(emissions.utts))
    printed = {line.split("\t")[0]: line.split("\t")[2] for line in text.splitlines() if line[:2] == "H-"}
    said = printed["H-0"].replace(" ", "").replace("|", " ").split()
    assert said == lines[0]["text"].split()


def test_without_labels_it_decodes_and_does_not_score(
    speech: tuple[Path, Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    data, labels = speech
    whole = generate(data, labels, checkpoints["vq_ctc"], tmp_path / "whole")
    text = generate(data, tmp_path, checkpoints["vq_ctc"], tmp_path / "none")
    assert "Generate test" not in text and "T-0" not in text
    hypotheses = {line for line in text.splitlines() if line[:2] == "H-"}
    assert len(hypotheses) == 10
    assert hypotheses == {line for line in whole.splitlines() if line[:2] == "H-"}

    said = Labels(("test3", "test7"), (spell("cab"), spell("bad")), ("cab", "bad"))
    write_labels(tmp_path / "few", "letters", {"test": said}, [(s, 1) for s in SYMBOLS], {})
    text = generate(data, tmp_path / "few", checkpoints["vq_ctc"], tmp_path / "two")
    assert text.count("\nH-") + text.startswith("H-") == 10 and text.count("T-") == 2
    assert "of 2 utterances wrong" in text


def test_labels_outside_of_the_dictionary_count_as_errors(
    speech: tuple[Path, Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    data, _ = speech
    said = Labels(("test0",), (("<unk>", "a", "|"),), ("ea",))
    write_labels(tmp_path / "strange", "letters", {"test": said}, [(s, 1) for s in SYMBOLS], {})
    text = generate(data, tmp_path / "strange", checkpoints["vq_ctc"], tmp_path / "out")
    assert "T-0\t<<unk>> a |" in text and "1 of 1 utterances wrong" in text


def test_a_split_in_shards_is_written_by_each(
    speech: tuple[Path, Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    data, labels = speech
    found = []
    for rank in ("0", "1"):
        out = tmp_path / rank
        more = ["--distributed-world-size", "2", "--distributed-rank", rank, "--batch-size", "3"]
        generate(data, labels, checkpoints["vq_ctc"], out, *more)
        lines = (out / "hypotheses-test.jsonl").read_text().splitlines()
        found += [json.loads(line)["utt"] for line in lines]
    assert sorted(found) == sorted(f"test{i}" for i in range(10))


def test_a_resumed_training_equals_a_whole_one(speech: tuple[Path, Path], tmp_path: Path) -> None:
    import torch

    long, short = ["--max-update", "9"], ["--max-update", "4"]
    every = ["--save-interval-updates", "4", "--label-fraction", "0.5"]
    whole = train(*speech, tmp_path / "whole", "asg", *long, *every)
    train(*speech, tmp_path / "parts", "asg", *short, *every)
    parts = train(*speech, tmp_path / "parts", "asg", *long, *every)
    states = [torch.load(path, weights_only=True)["model"] for path in (whole, parts)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_other_features_or_labels_than_the_checkpoint_s_are_refused(
    speech: tuple[Path, Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    data, labels = speech
    write_features(tmp_path / "c", "test", ["test0"], ["ab|"], layer="c")
    with pytest.raises(ValueError, match="`layer` is 'logmel', here it is 'c'"):
        generate(tmp_path / "c", labels, checkpoints["asg"], tmp_path / "out")
    made = {"test": Labels(("test0",), (("x",),), ("x",))}
    write_labels(tmp_path / "other", "letters", made, [("|", 1), ("x", 1)], {})
    with pytest.raises(LabelError, match=r"dict\.ltr\.txt: differs from the dictionary.*\| a b c d"):
        generate(data, tmp_path / "other", checkpoints["asg"], tmp_path / "out")
    restored = ["--restore-file", str(checkpoints["vq_ctc"])]
    with pytest.raises(ResumeError, match=r"another training: `criterion\._name` was vq_ctc and is asg"):
        train(data, labels, tmp_path / "ck", "asg", *restored)
    with pytest.raises(Exception, match="Cannot load model parameters") as refused:  # fairseq's own
        train(data, labels, tmp_path / "ck", "asg", *restored, "--resume-changed")
    assert "the checkpoint's `loss` are 'ctc', here they are 'asg'" in str(refused.value.__context__)
    with pytest.raises(ValueError, match=r"data=.*nowhere: is no folder"):
        generate(tmp_path / "nowhere", labels, checkpoints["asg"], tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--decoder", "lexicon"], "`lexicon` names no file; `vqw2v labels` writes one"),
        (["--decoder", "lexicon", "--lexicon", "none.txt"], "none.txt: .*expected a lexicon"),
        (["--lm", "x.arpa"], "`lm` is of no use to the decoder 'greedy'"),
        (["--decode-workers", "0"], "`workers` is 0"),
    ],
)
def test_wrong_decoders_are_explained(
    options: list[str],
    message: str,
    speech: tuple[Path, Path],
    checkpoints: dict[str, Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=message):
        generate(*speech, checkpoints["asg"], tmp_path / "out", *options)


def test_a_missing_language_model_is_explained(
    speech: tuple[Path, Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    pytest.importorskip("kenlm")
    with pytest.raises(ValueError, match=r"none\.arpa: no such file.*`vqw2v lm` trains one"):
        more = ["--decoder", "free", "--lm", "none.arpa"]
        generate(*speech, checkpoints["vq_ctc"], tmp_path / "out", *more)


def test_audio_goes_in_where_the_model_has_a_front(tmp_path: Path) -> None:
    folder, rng = tmp_path / "wav", np.random.default_rng(0)
    folder.mkdir()
    made = {}
    for split in ("train", "valid", "test"):
        names = [f"{split}{i}" for i in range(4)]
        for name in names:
            soundfile.write(folder / f"{name}.flac", rng.normal(0, 0.1, rng.integers(6000, 12000)), 16_000)
        sizes = [soundfile.info(folder / f"{name}.flac").frames for name in names]
        rows = [
            {"path": f"{name}.flac", "samples": size, "speaker": f"{i % 2}"}
            for i, (name, size) in enumerate(zip(names, sizes, strict=True))
        ]
        write_manifest(tmp_path / f"{split}.tsv", folder, rows, ("path", "samples", "speaker"))
        made[split] = Labels(tuple(names), (spell("ab"), spell("ba"), spell("d"), spell("c d")))
    write_labels(tmp_path / "labels", "letters", made, [(s, 1) for s in SYMBOLS], {})
    few = ["--max-update", "1", "--max-tokens", "40000", "--front-standardize", "speaker"]
    checkpoint = train(tmp_path, tmp_path / "labels", tmp_path / "ck", "vq_ctc", *few)
    text = generate(tmp_path, tmp_path / "labels", checkpoint, tmp_path / "out", "--batch-size", "2")
    assert "of 4 utterances wrong" in text
    lines = [
        json.loads(line) for line in (tmp_path / "out" / "hypotheses-test.jsonl").read_text().splitlines()
    ]
    assert [line["utt"] for line in lines] == list(made["test"].utts)
    transcriber = Transcriber.load(checkpoint)
    transcriber.know(Manifest(tmp_path / "test.tsv"))
    assert [transcriber(folder / f"{line['utt']}.flac").text for line in lines] == [
        line["text"] for line in lines
    ]


def test_several_models_are_refused(
    speech: tuple[Path, Path], checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    both = Path(f"{checkpoints['asg']}:{checkpoints['asg']}")
    with pytest.raises(ValueError, match="`path` names 2 models; expected one"):
        generate(*speech, both, tmp_path / "out")


def test_the_label_folder_says_what_is_learnt(speech: tuple[Path, Path], tmp_path: Path) -> None:
    data, labels = speech
    task = task_of(data, labels)
    assert task.units.symbols == ("<blank>", *SYMBOLS) and task.feature_dim == 8
    assert task.feature_spec.layer == "logmel" and task_of(labels).labels == labels
    assert task_of(data, labels, criterion_name="asg").units.symbols == (*SYMBOLS, "1", "2")
    with pytest.raises(LabelError, match="`criterion` is cross_entropy; expected one of vq_ctc, asg"):
        _ = task_of(data, labels, criterion_name="cross_entropy").units
    assert len(task_of(data, labels, criterion_name="asg", asg_repeats=100).units) == len(SYMBOLS) + 100
    for number in (0, 101, 2**31):
        with pytest.raises(LabelError, match=f"`asg_repeats` is {number}; expected 1 to 100"):
            _ = task_of(data, labels, criterion_name="asg", asg_repeats=number).units
    with pytest.raises(LabelError, match="holds no dictionary"):
        _ = task_of(data, data).units
    with pytest.raises(ValueError, match=r"labels=.*x: is no folder"):
        _ = task_of(data, tmp_path / "x").units
    made = {"train": Labels(("u",), (("A",),))}
    write_labels(tmp_path / "two", "letters", {"train": Labels(("u",), (("a",),))}, [("a", 1)], {})
    write_labels(tmp_path / "two", "phones", made, [("A", 1)], {})
    with pytest.raises(LabelError, match="dictionaries of letters and phones: say `unit`"):
        _ = task_of(data, tmp_path / "two").units
    assert task_of(data, tmp_path / "two", unit="phones").units.symbols == ("<blank>", "A")


def test_what_cannot_be_learnt_is_named_before_training(
    speech: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, labels = speech
    write_features(tmp_path / "mel", "train", ["train0", "extra"], ["ab|", "a|"])
    write_features(tmp_path / "mel", "valid", ["valid0", "valid1"], ["ab|", "a|"])
    few = ["--max-update", "1", "--max-tokens", "9000"]
    with caplog.at_level(logging.WARNING):
        train(tmp_path / "mel", labels, tmp_path / "ck", "vq_ctc", *few)
    assert "mel/train: 1 utterances have no labels and are left out: extra" in caplog.text
    assert "59 utterances have labels but nothing to be heard" in caplog.text
    with pytest.raises(LabelError, match="`strict_labels` is set"):
        train(tmp_path / "mel", labels, tmp_path / "ck2", "vq_ctc", *few, "--strict-labels")
    write_features(tmp_path / "other", "train", ["x", "y"], ["ab|", "a|"])
    write_features(tmp_path / "other", "valid", ["x", "y"], ["ab|", "a|"])
    with pytest.raises(LabelError, match="not one utterance is left to learn from"):
        train(tmp_path / "other", labels, tmp_path / "ck3", "vq_ctc", *few)


def test_it_decodes_until_there_is_a_criterion_and_then_it_learns(speech: tuple[Path, Path]) -> None:
    task = task_of(*speech)
    task.load_dataset("test")
    assert task.datasets["test"].columns is None and len(task.datasets["test"].printed) == 10
    with pytest.raises(ValueError, match=r"nothing to decode; ask the task for batches"):
        task.build_generator([None], None)
    task.model = SimpleNamespace(frames=lambda n: n)
    task.build_criterion(OmegaConf.create({"_name": "vq_ctc", "sentence_avg": False}))
    task.load_dataset("test")
    assert task.datasets["test"].printed is None and len(task.datasets["test"].columns) == 10


def test_a_share_of_the_labels_is_of_training_alone(speech: tuple[Path, Path]) -> None:
    task = task_of(*speech, label_fraction=0.2)
    task.learning = Learning(task.cfg, task.labels, task.units, lambda n: n)
    for split in ("train", "valid"):
        task.load_dataset(split)
    assert len(task.datasets["train"]) == 12 and len(task.datasets["valid"]) == 8
    task.cfg.train_subset = "train,valid_2"
    task.load_dataset("valid")
    assert len(task.datasets["valid"]) == 8  # which is another one
    task.cfg.train_subset = "train,valid"
    task.load_dataset("valid")
    assert len(task.datasets["valid"]) == 2  # now it is one of those trained on
    again = task_of(*speech, label_fraction=0.2, seed=99)
    again.learning = Learning(again.cfg, again.labels, again.units, lambda n: n)
    again.load_dataset("train")
    assert np.array_equal(task.datasets["train"].rows, again.datasets["train"].rows)


@pytest.mark.parametrize("strict", [False, True])
def test_the_task_s_settings_reach_what_is_learnt_from_and_what_is_decoded(
    speech: tuple[Path, Path], strict: bool
) -> None:
    task = task_of(*speech, strict_audio=strict)
    task.load_dataset("test")
    assert task.datasets["test"].strict is strict
    sizes = sorted(task.datasets["test"].sizes.tolist())
    limits = SimpleNamespace(**{**dict(task.cfg), "min_frames": sizes[1], "max_frames": sizes[-2]})
    task.learning = Learning(limits, task.labels, task.units, lambda n: n)
    task.load_dataset("test")
    assert task.datasets["test"].strict is strict
    assert sorted(task.datasets["test"].sizes.tolist()) == [s for s in sizes if sizes[1] <= s <= sizes[-2]]


def test_another_label_seed_draws_another_share(speech: tuple[Path, Path]) -> None:
    drawn = []
    for seed in (1, 2, 3):
        task = task_of(*speech, label_fraction=0.2, label_seed=seed)
        task.learning = Learning(task.cfg, task.labels, task.units, lambda n: n)
        task.load_dataset("train")
        drawn.append(tuple(task.datasets["train"].rows.tolist()))
    assert len(set(drawn)) == 3 and {len(rows) for rows in drawn} == {12}


def test_every_kind_of_loss_has_a_criterion_of_its_name() -> None:
    for kind in LOSS_KINDS.values():
        assert kind.criterion in CRITERION_REGISTRY


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        *((name, False) for name in ("data", "labels", "strict_labels", "train_subset", "lm", "word_score")),
        *((name, True) for name in ("label_fraction", "label_hours", "label_seed", "unit", "min_frames")),
    ],
)
def test_folders_and_decoding_may_change_and_what_is_learnt_from_may_not(name: str, parts: bool) -> None:
    """What is in another folder is looked at by itself."""
    then, now = ({"task": {name: value}} for value in (1, 2))
    found = list(changes(then, now, VqAcousticTask.may_change))
    assert [change.parts for change in found] == ([True] if parts else [])


@pytest.mark.parametrize(("draws", "seed"), [(True, 7), (False, None)])
def test_a_model_that_draws_masks_does_so_by_the_training_s_seed(
    speech: tuple[Path, Path], draws: bool, seed: int | None
) -> None:
    task = task_of(*speech, seed=7)
    task.model = SimpleNamespace(frames=int, draws=draws)
    task.build_criterion(OmegaConf.create({"_name": "vq_ctc", "sentence_avg": False}))
    assert task.learning.mask_seed == seed


@pytest.mark.parametrize(("network", "sees"), [({"receptive_field": 9}, 9), ({}, 0)])
def test_what_a_validation_says_is_looked_at_behind_its_epoch(
    speech: tuple[Path, Path], network: dict[str, int], sees: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, told = task_of(*speech), list[Any]()
    task.model = SimpleNamespace(network=SimpleNamespace(**network))
    task.hypotheses = SimpleNamespace(begin=lambda: told.append("begin"), look=lambda *at: told.append(at))
    monkeypatch.setattr(TrainingTask, "begin_valid_epoch", lambda *_: told.append("valid"))
    monkeypatch.setattr(TrainingTask, "end_epoch", lambda *_: told.append("epoch"))
    task.begin_valid_epoch(1, None)
    task.end_epoch(50, 100)
    assert told == ["valid", "begin", "epoch", (50, 100, sees)]


def test_a_model_that_goes_by_speaker_hears_which_clips_and_strangers_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_manifest(tmp_path / "test.tsv", tmp_path, [{"path": "a.wav", "samples": 4000}])
    write_labels(tmp_path, "letters", {"test": Labels(("a",), (("a",),))}, [("a", 1)], {})
    task = task_of(tmp_path, tmp_path)
    for wants in (False, True):
        task.model = SimpleNamespace(wants_clips=wants)
        task.load_dataset("test")
        assert task.datasets["test"].tells_clips is wants
        assert ("test.tsv: has no column speaker" in caplog.text) is wants


@pytest.mark.parametrize("task", ["vq_acoustic", "vq_unpaired"])
def test_fairseq_generate_searches_as_we_do_and_not_as_translation_does(task: str) -> None:
    words = ["data", "--task", task, "--path", "x.pt"]
    args = options.parse_args_and_arch(options.get_generation_parser(), words)
    assert (args.beam, args.lm_weight, args.scoring) == (500, 2.0, "vq_error")
    own = options.parse_args_and_arch(options.get_generation_parser(), [*words, "--beam", "7"])
    assert (own.beam, own.lm_weight) == (7, 2.0)


def test_who_says_nothing_learns_from_all_and_decodes_without_a_search() -> None:
    cfg = VqAcousticConfig()
    assert (cfg.unit, cfg.asg_repeats, cfg.labels, cfg.sample_rate) == (None, 2, None, 16_000)
    assert (cfg.label_fraction, cfg.label_hours, cfg.label_seed) == (1.0, None, 1)
    assert (cfg.min_frames, cfg.max_frames, cfg.strict_labels, cfg.strict_audio) == (1, None, False, False)
    assert (cfg.decoder, cfg.answer, cfg.decode_workers) == ("greedy", "auto", 1)
    assert (cfg.word_score, cfg.sil_score, cfg.log_add) == (0.0, 0.0, False)
    assert (cfg.beam_threshold, cfg.beam_tokens) == (50.0, None)
    assert (cfg.lexicon, cfg.lm, cfg.weights, cfg.emissions) == (None,) * 4
    assert decoding_defaults() == {"beam": 500, "lm_weight": 2.0, "scoring": "vq_error"}
