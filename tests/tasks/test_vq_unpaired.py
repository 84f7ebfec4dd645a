"""Task `vq_unpaired`: learnt from text that nobody said, resumed to the bit, decoded, and told no label."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fairseq")
from fake_languages import DIM, PHONES, arguments, generate, train, write_language
from fake_speech import STAMP, called
from feature_folders import write_frames
from forked import in_child
from omegaconf import OmegaConf

import vqw2v_plugin
from vqw2v_plugin.checkpoints.files import CheckpointError
from vqw2v_plugin.checkpoints.unpaired import seconds_of
from vqw2v_plugin.stores.emissions import read_emissions
from vqw2v_plugin.stores.feature_spec import FeatureSpec
from vqw2v_plugin.stores.phone_text import PhoneTextError
from vqw2v_plugin.tasks import vq_unpaired as module
from vqw2v_plugin.tasks.vq_unpaired import VqUnpairedConfig, VqUnpairedTask
from vqw2v_plugin.text.units import Units
from vqw2v_plugin.training.look_first import look_at
from vqw2v_plugin.training.task import TrainingTask

vqw2v_plugin.register()
SIZES = {"train": 40, "valid": 8, "test": 8}
Folders = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return write_language(tmp_path_factory.mktemp("language"), SIZES)


@pytest.fixture(scope="module")
def trained(language: Folders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data, text, labels = language
    more = ["--measure", str(labels), "--max-update", "6", "--max-epoch", "9"]
    return train(data, text, tmp_path_factory.mktemp("ck"), *more)


def task_of(data: Path, text: Path | None, **given: object) -> VqUnpairedTask:
    known = {"gen_subset": "test", "results_path": None, "seed": 1, "save_dir": "", "restore_file": ""}
    said = {"data": str(data), "text": None if text is None else str(text), **known, **given}
    return VqUnpairedTask.setup_task(OmegaConf.structured(VqUnpairedConfig(**said)))


def test_a_training_tells_its_terms_its_score_and_the_error_beside_it(
    language: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, text, labels = language
    with caplog.at_level("INFO"):
        train(data, text, tmp_path, "--max-update", "2", "--measure", str(labels))
    for name in ("loss_dense_g", "loss_code_pen", "loss_smoothness", "loss_dense_d", "loss_token_d"):
        assert f"| {name} " in caplog.text
    for name in ("loss_grad_pen", "accuracy_token", "code_ppl", "weighted_lm_ppl", "vocab_seen_pct", "uer"):
        assert f"| {name} " in caplog.text
    assert (
        "on lines of text that it has not seen, and" in caplog.text
        and "what is recognised should come near the first" in caplog.text
    )
    best = torch.load(tmp_path / "checkpoint_best.pt", weights_only=True)
    assert best["extra_state"]["val_loss"] == best["extra_state"]["best"] > 1  # of the score


def test_segments_come_at_no_even_times_and_are_counted() -> None:
    spec = FeatureSpec.from_json({**STAMP, "dim": DIM})
    assert seconds_of(spec, 2) == pytest.approx(0.02)
    for uneven in ({"segments": "runs"}, {"silence": "energy"}, {"stride": None}):
        assert seconds_of(replace(spec, **uneven), 2) == 2.0


def test_a_resumed_training_equals_a_whole_one(language: Folders, tmp_path: Path) -> None:
    """Draws of text, of runs, of dropout, and of an adversary that began anew; both optimizers."""
    few = [
        "--generator-bias",
        "--skipgram-weight",
        "2",
        "--disable-validation",
        "--reset-discriminator",
        "5",
        "--max-update",
    ]
    whole = train(*language[:2], tmp_path / "whole", *few, "8")
    train(*language[:2], tmp_path / "parts", *few, "6")
    parts = train(*language[:2], tmp_path / "parts", *few, "8")
    one, other = (torch.load(path, weights_only=True) for path in (whole, parts))
    for name, value in one["model"].items():
        assert torch.equal(value, other["model"][name]), name
    for group, steps in (
        ("generator", 4),
        ("discriminator", 2),
    ):  # the adversary's are counted since update 5
        states = [each["last_optimizer_state"][group]["state"] for each in (one, other)]
        assert states[0].keys() == states[1].keys() and {held["step"] for held in states[0].values()} == {
            steps
        }
        for number, held in states[0].items():
            assert torch.equal(held["exp_avg"], states[1][number]["exp_avg"])


def test_no_label_is_opened_in_training_or_choosing(language: Folders, tmp_path: Path) -> None:
    """Labels lie in the very folder of the features; a hook of Python's sees every file that is opened."""
    data = shutil.copytree(language[0], tmp_path / "data")
    for path in language[2].iterdir():
        shutil.copy(path, data)
    opened: list[str] = []

    def work() -> None:
        def note(event: str, args: tuple[Any, ...]) -> None:
            if event == "open" and str(args[0]).startswith(str(tmp_path)):
                opened.append(str(args[0]))

        sys.addaudithook(note)
        train(data, language[1], tmp_path / "ck", "--max-update", "3")
        (tmp_path / "opened.json").write_text(json.dumps(opened))

    ended = in_child(work, tmp_path, seconds=300)
    assert ended.status == 0, ended.said[-2000:]
    names = {Path(path).name for path in json.loads((tmp_path / "opened.json").read_text())}
    assert {"train.npy", "valid.npy", "checkpoint_last.pt"} <= {name.strip(".") for name in names} | names
    assert "weighted_lm_ppl" in ended.said and "| uer " not in ended.said
    labels = {path.name for path in language[2].iterdir()}
    assert labels >= {"train.phn", "valid.phn", "valid.utt"} and not names & labels


def test_it_decodes_and_is_scored_where_it_is_measured(
    language: Folders, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, _, labels = language
    more = ["--measure", labels, "--emissions", tmp_path / "em"]
    text = generate(data, trained, tmp_path / "out", *more)
    rows = [
        json.loads(line) for line in (tmp_path / "out" / "hypotheses-test.jsonl").read_text().splitlines()
    ]
    assert [row["utt"] for row in rows] == [f"test{i}" for i in range(8)]
    about = json.loads((tmp_path / "out" / "errors-test.json").read_text())
    assert about["utterances"] == 8 and "PER" in text and "vqw2v transcribe" not in capsys.readouterr().out
    saved = read_emissions(tmp_path / "em", "test")
    assert Units.from_json(saved.units).symbols == PHONES and saved.frame_seconds == pytest.approx(0.01)
    again = generate(data, trained, tmp_path / "runs", "--joined-runs", *more[:2])
    said = [[line for line in each.splitlines() if line.startswith("D-")] for each in (text, again)]
    hypotheses = [sorted(line.split("\t")[0] + line.split("\t")[2] for line in each) for each in said]
    assert hypotheses[0] == hypotheses[1]  # a run has its frames' best phone
    unscored = generate(data, trained, tmp_path / "none")
    assert "PER" not in unscored and "H-0" in unscored


def test_a_lexicon_and_a_model_of_phones_decode_too(language: Folders, trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder")
    pytest.importorskip("kenlm")
    from vqw2v_plugin.text.ngram import train_ngram, write_arpa
    from vqw2v_plugin.text.ngram_counts import number_words

    data, text, _ = language
    lines = (text / "train.phn").read_bytes().splitlines()
    write_arpa(train_ngram(number_words(lines), 2), tmp_path / "phones.arpa")
    free = generate(data, trained, tmp_path / "free", "--decoder", "free", "--lm", tmp_path / "phones.arpa")
    (tmp_path / "lexicon.txt").write_text("ab\ta b\nad\ta d\ne\te\nc\tc\n")
    words = generate(
        data, trained, tmp_path / "words", "--decoder", "lexicon", "--lexicon", tmp_path / "lexicon.txt"
    )
    assert free.count("H-") == words.count("H-") == 8
    said = {
        word for line in words.splitlines() if line.startswith("D-") for word in line.split("\t")[2].split()
    }
    assert said <= {"ab", "ad", "e", "c"}


def test_what_does_not_go_with_a_checkpoint_is_refused(
    language: Folders, trained: Path, tmp_path: Path
) -> None:
    data, text, _ = language
    frames = {"u": np.zeros((5, DIM), np.float16)}
    write_frames(tmp_path / "other", "test", frames, {**STAMP, "dim": DIM, "stride": 320})
    with pytest.raises(CheckpointError, match="trained on features whose `stride` is 160, here it is 320"):
        generate(tmp_path / "other", trained, tmp_path / "out")
    shutil.copytree(text, tmp_path / "text")
    (tmp_path / "text" / "dict.phn.txt").write_text("a 1\nb 1\n")
    with pytest.raises(
        PhoneTextError, match="differs from the dictionary that the checkpoint was trained with"
    ):
        generate(data, trained, tmp_path / "out", "--text", tmp_path / "text")
    state = torch.load(trained, weights_only=True)
    state["cfg"]["model"]["discriminator_dim"] = 9
    torch.save(state, tmp_path / "changed.pt")
    with pytest.raises(CheckpointError, match="`discriminator_dim` is 9, and the network has 8"):
        look_at(tmp_path / "changed.pt")


def test_what_is_missing_is_said_before_anything_is_built(language: Folders, tmp_path: Path) -> None:
    data, text, labels = language
    with pytest.raises(ValueError, match="`text` names no folder"):
        _ = task_of(data, None).units
    with pytest.raises(PhoneTextError, match=r"text=.*none: is no folder, expected one with train\.phn"):
        _ = task_of(data, tmp_path / "none").units
    with pytest.raises(ValueError, match="holds no features; make some with `vqw2v segment`"):
        _ = task_of(labels, text).feature_dim
    with pytest.raises(ValueError, match="`reset_discriminator` is -1; expected 0 or more"):
        task_of(data, text, reset_discriminator=-1)
    with pytest.raises(ValueError, match="`mmi_weight` is 0 and `aux` is there"):
        train(data, text, tmp_path, "--aux", "there")
    with pytest.raises(
        ValueError, match=r"`mmi_weight` is 0\.5 and `aux` is None; expected a token folder for"
    ):
        learning(language, True, [], 0.5)
    assert task_of(data, text).units.symbols == PHONES


def test_an_optimizer_of_both_at_once_is_refused(language: Folders, tmp_path: Path) -> None:
    words = arguments(*language[:2], tmp_path)
    words[words.index("two_adams")] = "adam"
    place = words.index("--discriminator-lr")
    del words[place : place + 2]
    with pytest.raises(ValueError, match="steps generator and adversary at once; take two_adams"):
        called("fairseq_cli.train", ["fairseq-train", *words, "--max-update", "1"])


def test_who_says_nothing_gets_stock_s_settings(language: Folders) -> None:
    """Of fairseq's `unpaired_audio_text` and `w2vu_generate`."""
    cfg = task_of(*language[:2]).cfg
    assert (cfg.min_frames, cfg.max_frames, cfg.target_downsample_rate) == (3, None, 2)
    assert (cfg.vocab_usage_power, cfg.reset_discriminator) == (2.0, 0)
    assert (cfg.joined_runs, cfg.decode_stride, cfg.strict_audio) == (False, None, False)


def test_decoding_s_options_reach_the_model(language: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    for runs, stride in ((True, 2), (False, None)):
        task, strides = task_of(*language[:2], joined_runs=runs, decode_stride=stride), []
        monkeypatch.setattr(task.answering, "generator", lambda models, args: models)
        (model,) = task.build_generator([SimpleNamespace(stride_by=strides.append)], None)
        assert model.decodes_runs is runs and strides == ([] if stride is None else [stride])


def test_the_adversary_begins_anew_every_so_many_updates_by_a_draw_of_its_own(language: Folders) -> None:
    task, seeds, forgotten = task_of(*language[:2], reset_discriminator=3, seed=-7), [], []
    steps: list[Any] = []
    looks: list[int] = []
    task.alarm = SimpleNamespace(look=looks.append)
    optimizer = SimpleNamespace(supports_groups=True, step=lambda groups: steps.append(groups))
    network = SimpleNamespace(discriminator=SimpleNamespace(begin_anew=seeds.append))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "forget_steps", lambda of, group: forgotten.append(group))
        for update in range(7):
            learns = ("generator", "discriminator")[update % 2]
            task.take_step(optimizer, SimpleNamespace(learns=learns, network=network), update)
    assert looks == list(range(1, 8))
    assert seeds == [7 + 3, 7 + 6] and forgotten == ["discriminator"] * 2
    assert steps == [{("generator", "discriminator")[i % 2]} for i in range(7)]


def learning(
    language: Folders, begins: bool, told: list[str], mmi_weight: float = 0.0, **given: object
) -> VqUnpairedTask:
    """With a criterion, of a model that compares with pairs of phones."""
    task = task_of(*language[:2], **given)
    config = SimpleNamespace(mmi_weight=mmi_weight, target_dim=0, skipgram_weight=1.0)
    vars(config).update(skipgram_reach=2, skipgram_repeats=1.0)
    network = SimpleNamespace(
        config=config,
        compare_with=lambda _: told.append("compares"),
        begin_near=lambda _: told.append("near"),
    )
    task.model, task.begins = SimpleNamespace(network=network), begins
    task.build_criterion(OmegaConf.create({"_name": "vq_adversarial"}))
    return task


def test_only_a_new_generator_begins_near_the_text_which_is_told_of_at_once(
    language: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    for begins, wanted in ((True, ["compares", "near"]), (False, ["compares"])):
        told: list[str] = []
        caplog.clear()
        with caplog.at_level("INFO"):
            learning(language, begins, told)
        assert told == wanted and "on lines of text that it has not seen" in caplog.text


def test_text_goes_with_what_is_trained_on_alone(language: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    task, decoding = learning(language, True, []), task_of(*language[:2])
    task.trained_on = frozenset({"train", "valid"})
    for splits, there in (("train", True), ("train,valid", True), ("test", False), ("train,test", False)):
        task.load_dataset(splits)
        assert (task.datasets[splits].lines is not None) is there
    batches = SimpleNamespace(frozen_batches=[[0, 1], [2], [3, 4, 5]])
    monkeypatch.setattr(TrainingTask, "get_batch_iterator", lambda *_, **__: batches)
    for each in (task, decoding):
        each.get_batch_iterator(None, num_shards=2, shard_id=0)
    assert decoding.answering.num_expected == 5
    with pytest.raises(ValueError, match="there is nothing to decode"):
        _ = task.answering.num_expected


def test_what_a_training_is_scored_and_measured_by_is_what_was_asked_for(
    language: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    powers: list[float] = []
    monkeypatch.setattr(TrainingTask, "reduce_metrics", lambda *_: None)
    monkeypatch.setattr(module, "log_recognised", lambda logs, units, power: powers.append(power))
    plain = task_of(*language[:2])
    measured = task_of(*language[:2], measure=str(language[2]), vocab_usage_power=0.5)
    for task in (plain, measured):
        task.reduce_metrics([], None)
    assert powers == [2.0, 0.5]
    sample = {"split": "valid", "utts": ["valid1", "nobody"]}
    (known, unknown) = measured.true_phones(sample) or []
    assert plain.true_phones(sample) is None and unknown is None and known and {*known} <= {*PHONES}


def test_a_checkpoint_of_another_task_is_refused_with_or_without_a_text(language: Folders) -> None:
    data, text, _ = language
    state = {"acoustic": {"symbols": list(PHONES)}}
    for task in (task_of(data, text), task_of(data, None)):
        task.check_state(state)
        with pytest.raises(PhoneTextError, match="the checkpoint is of another task"):
            task.check_state({})
