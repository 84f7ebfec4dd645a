"""What generator and adversary are fed: draws that come again, clusters that stay with their utterance, text
that tells something; and what is said of both.
"""

import math
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fairseq")
from fairseq.logging import metrics
from fake_languages import PHONES, write_language
from omegaconf import OmegaConf

from vqw2v_plugin.modules.unpaired.network import Step
from vqw2v_plugin.stores.labels import LabelError, Labels, write_labels
from vqw2v_plugin.stores.phone_text import PhoneTextError
from vqw2v_plugin.stores.symbols import TokenError
from vqw2v_plugin.tasks.vq_unpaired import VqUnpairedConfig
from vqw2v_plugin.text.loss_kinds import LOSS_KINDS
from vqw2v_plugin.text.units import make_units
from vqw2v_plugin.training.datasets.labelled import FeatureSource
from vqw2v_plugin.training.datasets.unpaired import Clusters, chosen_rows
from vqw2v_plugin.training.unpaired_alarm import UnpairedAlarm
from vqw2v_plugin.training.unpaired_data import Measured, Unpaired, UnpairedAnswers, text_model
from vqw2v_plugin.training.unpaired_metrics import log_recognised, recognised_logs, reduce_logs, step_logs
from vqw2v_plugin.training.unpaired_recognised import phones_of

UNITS = make_units(LOSS_KINDS["wav2vec_u"], [*PHONES, "<SIL>"], "phones")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_language(tmp_path_factory.mktemp("language"), {"train": 12, "valid": 4}, silence=True)


def unpaired(folders: tuple[Path, Path, Path], clusters: int = 3, **given: Any) -> Unpaired:
    said = {
        "data": str(folders[0]),
        "text": str(folders[1]),
        "seed": 5,
        "gen_subset": "",
        "results_path": None,
    }
    cfg = OmegaConf.structured(VqUnpairedConfig(**{**said, "save_dir": "", "restore_file": "", **given}))
    return Unpaired(cfg, UNITS, clusters)


def test_lines_are_drawn_by_seed_epoch_and_utterance(folders: tuple[Path, Path, Path]) -> None:
    source = FeatureSource(folders[0], "train")

    def drawn(epoch: int, seed: int = 5) -> list[tuple[int, ...]]:
        dataset = unpaired(folders, seed=seed).dataset("train", source, True)
        dataset.set_epoch(epoch)
        backwards = [dataset.load(index).text for index in reversed(range(12))]
        return [tuple(text.tolist()) for text in reversed(backwards) if text is not None]

    once = drawn(1)
    assert drawn(1) == once and drawn(2) != once and drawn(1, seed=6) != once and len(set(once)) > 6
    assert all(line[0] == line[-1] == 5 for line in once)  # silence


def test_a_batch_has_as_many_lines_as_utterances_and_none_of_them_matches(
    folders: tuple[Path, Path, Path],
) -> None:
    dataset = unpaired(folders).dataset("train", FeatureSource(folders[0], "train"), True)
    batch = dataset.collater([dataset[i] for i in range(5)])
    inputs = batch["net_input"]
    assert inputs["source"].shape[0] == inputs["text"].shape[0] == len(batch["utts"]) == 5
    assert inputs["lengths"].tolist() == [int(n) for n in dataset.sizes[:5]]
    assert int(inputs["text_lengths"].max()) == inputs["text"].size(1) and "targets" not in inputs
    valid = unpaired(folders).dataset("valid", FeatureSource(folders[0], "valid"), False)
    assert "text" not in valid.collater([valid[0]])["net_input"]


def test_clusters_stay_with_their_utterance_where_others_are_left_out(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FeatureSource(folders[0], "train")
    held = {
        utt: np.full(2 * size, i % 3)
        for i, (utt, size) in enumerate(zip(source.utts, source.sizes, strict=True))
    }

    class Held:
        folder, split, places = tmp_path, "train", {utt: i for i, utt in enumerate(held)}

        def __init__(self, *_: Any) -> None: ...

        def check_codes(self, groups: int, codes: int) -> None:
            assert (groups, codes) == (1, 3)

        def __getitem__(self, utt: str) -> Any:
            return held[utt][:, None]

    monkeypatch.setattr("vqw2v_plugin.training.unpaired_data.TokenFrames", Held)
    middle = int(np.median(source.sizes))
    dataset = unpaired(folders, aux="there", min_frames=middle).dataset("train", source, True)
    assert 0 < len(dataset) < 12
    for index in range(len(dataset)):
        item = dataset.load(index)
        assert item.clusters is not None and len(item.clusters) == len(item.source)
        assert {*item.clusters.tolist()} == {source.utts.index(item.utt) % 3}
    valid = unpaired(folders, aux="there").dataset("valid", FeatureSource(folders[0], "valid"), False)
    assert valid.clusters is None  # nothing is learnt by it
    batch = dataset.collater([dataset[i] for i in range(len(dataset))])["net_input"]
    assert (batch["targets"] == -1).sum() == batch["targets"].numel() - int(batch["lengths"].sum())
    with pytest.raises(TokenError, match="`target_downsample_rate` 1; expected as many"):
        unpaired(folders, aux="there", target_downsample_rate=1).dataset("train", source, True).load(0)
    del Held.places["train3"]
    with pytest.raises(TokenError, match=r"has no clusters of 1 of the 12 utterances in .* \(train3\)"):
        unpaired(folders, aux="there").dataset("train", source, True)


def test_what_is_left_by_length_is_told_and_none_is_refused(folders: tuple[Path, Path, Path]) -> None:
    with pytest.raises(ValueError, match="no utterance is left; change `min_frames`"):
        unpaired(folders, min_frames=10_000).dataset("train", FeatureSource(folders[0], "train"), True)


def test_a_text_without_order_is_said_to_tell_nothing(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    told = text_model(folders[1], None)
    assert told.tells and told.of_text < 0.8 * told.of_phones and "come near the first" in told.describe()
    assert told.is_text(1.1 * told.of_text) and not told.is_text(0.9 * told.of_phones)
    rng = np.random.default_rng(0)
    (tmp_path / "dict.phn.txt").write_text("".join(f"{phone} 1\n" for phone in PHONES))
    for split in ("train", "valid"):
        lines = [" ".join(rng.choice(PHONES, 8)) for _ in range(300)]
        (tmp_path / f"{split}.phn").write_text("\n".join(lines) + "\n")
    flat = text_model(tmp_path, None)
    assert (
        not flat.tells and not flat.is_text(1.0) and "neither an adversary nor the score" in flat.describe()
    )
    (tmp_path / "dict.phn.txt").write_text("".join(f"{phone} 1\n" for phone in [*PHONES, "<SIL>"]))
    for split in ("train", "valid"):  # silence is no phone of the text
        lines = [
            line.replace(" ", " <SIL> ") for line in (tmp_path / f"{split}.phn").read_text().splitlines()
        ]
        (tmp_path / f"{split}.phn").write_text("\n".join(lines) + "\n")
    assert text_model(tmp_path, None).describe() == flat.describe()
    (tmp_path / "valid.phn").write_text("a z\n")
    with pytest.raises(PhoneTextError, match=r"valid\.phn:1: the phone 'z' is not in dict\.phn\.txt"):
        text_model(tmp_path, None)


def test_a_training_warns_of_a_text_that_tells_nothing_and_passes_over_lines_without_phones(
    folders: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert unpaired(folders).model.tells
    assert [record.levelname for record in caplog.records] == ["INFO"]
    caplog.clear()
    (tmp_path / "dict.phn.txt").write_text("".join(f"{phone} 1\n" for phone in [*PHONES, "<SIL>"]))
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        lines = [" ".join(rng.choice(PHONES, 8)) for _ in range(300)]
        (tmp_path / f"{split}.phn").write_text("\n\n".join(lines) + "\n")
    flat = unpaired((folders[0], tmp_path, folders[2]))
    assert not flat.model.tells and [record.levelname for record in caplog.records] == ["WARNING"]
    assert len(flat.lines) == 300 and {len(flat.lines[i]) for i in range(300)} == {8}


def test_the_score_is_perplexity_by_use_of_phones_and_the_error_stands_beside_it() -> None:
    """10^(−Σ log10 P / (N + sentences)) / (share of phones seen)², over two batches."""
    tenth = lambda words: -(len(words) + 1.0)  # noqa: E731 (a perplexity of 10)
    batches = [[["a", "b"], ["a"]], [["a", "c", "b"]]]
    logs = [recognised_logs(said, tenth, UNITS, said[::-1]) for said in batches]
    with metrics.aggregate("valid") as aggregate:
        for log in logs:
            reduce_logs([log])
            log_recognised([log], UNITS, 2.0)
    shown = aggregate.get_smoothed_values()
    assert float(shown["lm_ppl"]) == pytest.approx(10)
    assert float(shown["vocab_seen_pct"]) == pytest.approx(0.6)  # silence is no phone
    assert float(shown["weighted_lm_ppl"]) == pytest.approx(10 / 0.36, abs=1e-3)
    assert float(shown["phones_an_utterance"]) == 2 and float(shown["loss"]) == pytest.approx(
        math.log2(10), abs=1e-3
    )
    assert float(shown["uer"]) == pytest.approx(100 * 2 / 6, abs=0.01)
    some = recognised_logs([["a"], ["b"]], tenth, UNITS, [None, ["a", "b"]])
    assert (some["phone_errors"], some["phones"]) == (1, 2)  # of whom it is known
    silent = recognised_logs([["a", "b"]], tenth, UNITS, [[]])
    assert (silent["phone_errors"], silent["phones"]) == (2, 0)  # it is known that nothing was said
    nothing = recognised_logs([[]], tenth, UNITS, None)
    with metrics.aggregate("none") as aggregate:
        log_recognised([nothing], UNITS, 2.0)
    values = aggregate.get_smoothed_values()
    assert float(values["weighted_lm_ppl"]) == math.inf and "uer" not in values


def test_steps_are_logged_by_their_terms() -> None:
    terms = {"dense_d": torch.tensor(4.0), "token_d": torch.tensor(2.0), "idle": torch.tensor(0.0)}
    log = step_logs(Step(terms, {"accuracy_dense": torch.tensor(0.5)}), 2, 9)
    with metrics.aggregate("train") as aggregate:
        reduce_logs([log])
    shown = aggregate.get_smoothed_values()
    assert (float(shown["loss"]), float(shown["loss_dense_d"]), float(shown["accuracy_dense"])) == (3, 2, 0.5)
    assert "loss_idle" not in shown


def test_a_training_that_has_ended_to_learn_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    alarm = UnpairedAlarm(40)

    def updates(first: int, dense: float, used: float) -> None:
        for number in range(first, first + 50):
            alarm.add({"accuracy_dense": dense, "accuracy_token": 1.0} if number % 2 else {"code_ppl": used})
            alarm.look(number)

    with caplog.at_level("INFO"):
        updates(1, 1.0, 1.0)
        assert not caplog.records  # at first this means nothing
        updates(350, 0.8, 30.0)
        updates(400, 1.0, 30.0)
        updates(450, 1.0, 30.0)
        assert caplog.text.count("the adversary tells 100.0% of text and output apart") == 1
        updates(500, 0.8, 30.0)
        updates(550, 0.8, 30.0)
        assert "learn from each other again by update" in caplog.text
        updates(600, 0.8, 3.0)
        updates(650, 0.8, 3.0)
        assert "the generator says 3.0 of 40 phones: raise `model.code_penalty`" in caplog.text


def test_lengths_are_limited_where_it_is_learnt_and_both_bounds_are_kept(
    folders: tuple[Path, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    source = FeatureSource(folders[0], "train")
    low, high = np.sort(source.sizes)[[3, 8]].tolist()
    with caplog.at_level("INFO"):
        dataset = unpaired(folders, min_frames=low, max_frames=high).dataset("train", source, True)
    assert (dataset.sizes.min(), dataset.sizes.max()) == (low, high)
    kept = (source.sizes >= low) & (source.sizes <= high)
    assert dataset.rows.tolist() == np.flatnonzero(kept).tolist()
    assert dataset.digest() != unpaired(folders).dataset("train", source, True).digest()
    nothing = SimpleNamespace(sizes=np.array([0, 3, 1]))  # an empty utterance is never heard
    assert chosen_rows(nothing, 0, None).tolist() == [1, 2] and chosen_rows(nothing, 0, 1).tolist() == [2]
    assert f"left out {12 - kept.sum()} utterances by their length" in caplog.text
    assert len(unpaired(folders, min_frames=low, max_frames=high).dataset("train", source, False)) == 12


@pytest.mark.parametrize(
    ("frames", "held"), [(4, [0, 1, 2, 3]), (6, [0, 1, 2, 3, 4, 5]), (8, [*range(6), -1, -1])]
)
def test_two_clusters_more_or_fewer_than_frames_are_a_matter_of_rounding(
    frames: int, held: list[int], tmp_path: Path
) -> None:
    class Held(dict[str, np.ndarray]):
        folder, split = tmp_path, "train"

        def check_codes(self, *sizes: int) -> None:
            assert sizes == (1, 6)

    clusters = Clusters(Held(u=np.arange(12)[:, None] // 2), 2, 6)  # type: ignore[arg-type]
    assert clusters.of("u", frames).tolist() == held
    for far in (3, 9):
        with pytest.raises(TokenError, match=f"has 6 clusters of 'u', whose features are {far} frames"):
            clusters.of("u", far)
    with pytest.raises(ValueError, match="`target_downsample_rate` is 0; expected 1 or more"):
        Clusters(Held(), 0, 6)  # type: ignore[arg-type]


def test_what_is_recognised_ends_with_its_utterance_and_has_no_silence() -> None:
    said = [
        [UNITS.symbols.index(symbol) for symbol in line] for line in (["a", "<SIL>", "b"], ["c", "d", "e"])
    ]
    emissions = torch.nn.functional.one_hot(torch.tensor(said), len(UNITS)).float()
    out = SimpleNamespace(emissions=emissions, lengths=torch.tensor([3, 1]))
    assert phones_of(out, UNITS) == [["a", "b"], ["c"]]


def test_what_is_measured_has_no_silence_and_is_read_of_the_split(tmp_path: Path) -> None:
    labels = {split: Labels((f"{split}0",), (("<SIL>", "a", "<SIL>", "b"),)) for split in ("valid", "test")}
    write_labels(tmp_path, "phones", labels, [(phone, 1) for phone in ("<SIL>", "a", "b")], {})
    assert Measured(str(tmp_path)).of("test") == {"test0": ["a", "b"]} and Measured(None).of("test") == {}
    measured = Measured(str(tmp_path))
    assert [[*measured.of(split)] for split in ("valid", "test", "valid")] == [
        ["valid0"],
        ["test0"],
        ["valid0"],
    ]
    with pytest.raises(LabelError, match=r"measure=.*gone: is no folder, expected one with SPLIT\.phn"):
        Measured(str(tmp_path / "gone")).of("test")


@pytest.mark.parametrize(
    ("phones", "used", "dense", "token", "rings"),
    [
        *((40, 5.9, 0.8, 0.8, True), (40, 6.1, 0.8, 0.8, False)),  # 15 % of the phones
        *((5, 1.4, 0.8, 0.8, True), (5, 1.6, 0.8, 0.8, False)),  # of few phones more than one
        *((40, 30.0, 0.996, 0.996, True), (40, 30.0, 0.996, 0.994, False), (40, 30.0, 0.994, 1.0, False)),
    ],
)
def test_few_phones_or_an_adversary_that_is_right_of_both_is_an_alarm(
    phones: int, used: float, dense: float, token: float, rings: bool, caplog: pytest.LogCaptureFixture
) -> None:
    alarm = UnpairedAlarm(phones)
    for number in (399, 400):
        alarm.add({"code_ppl": used, "accuracy_dense": dense, "accuracy_token": token})
        alarm.look(number)
        assert len(caplog.records) == (rings and number == 400)


def test_it_is_said_again_after_a_thousand_updates(caplog: pytest.LogCaptureFixture) -> None:
    alarm = UnpairedAlarm(40)
    for number in range(1, 1451):
        alarm.add({"code_ppl": 1.0})
        alarm.look(number)
    assert [record.message.split()[2] for record in caplog.records] == ["400", "1400"]


def test_only_the_last_updates_are_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    alarm = UnpairedAlarm(40)
    for number in range(1, 451):
        alarm.add({"code_ppl": 2.0 if number <= 350 else 30.0})
        alarm.look(number)
    assert not caplog.records


def test_steps_of_several_batches_are_one_mean() -> None:
    """A loss counts by utterances, what tells of a batch by batches."""
    logs = []
    for loss, size, accuracy in ((4.0, 2, 0.5), (12.0, 6, 0.9)):
        step = Step({"dense_g": torch.tensor(loss)}, {"accuracy_dense": torch.tensor(accuracy)})
        logs.append(step_logs(step, size, 10 * size))
    with metrics.aggregate(new_root=True) as found:
        reduce_logs(logs)
    shown = found.get_smoothed_values()
    assert float(shown["loss"]) == float(shown["loss_dense_g"]) == 2
    assert float(shown["accuracy_dense"]) == pytest.approx(0.7)
    assert (shown["ntokens"], shown["nsentences"]) == (80, 8)


def test_silence_is_no_part_of_what_an_answer_is_held_against() -> None:
    cfg = SimpleNamespace(measure="m", answer="auto", decoder="greedy", lexicon=None)
    answers, labels = UnpairedAnswers(cfg), Labels(("u", "v"), (("<SIL>", "a", "<SIL>", "b"), ("a", "b")))
    for phone in ("a", "b", "<SIL>"):
        answers.dictionary.add_symbol(phone)
    one, other = (row.tolist() for row in answers.targets("test", labels, "phones"))
    assert one == other and answers.dictionary.string(torch.tensor(one)) == "a b"


def test_answers_are_words_unless_phones_are_counted() -> None:
    for unit, words in (("phones", False), ("words", True)):
        task = {"measure": "m", "answer": "auto", "decoder": "lexicon", "lexicon": None}
        whole = OmegaConf.create({"task": task, "scoring": {"_name": "vq_error", "error_unit": unit}})
        answers = UnpairedAnswers(whole.task)
        (row,) = answers.targets("test", Labels(("u",), (("a", "<SIL>", "b"),), ("ab",)), "phones")
        assert answers.answers.words is words and row is not None and len(row) == (2 if words else 3)


def test_pairs_of_phones_are_of_the_text_that_is_learnt_from(folders: tuple[Path, Path, Path]) -> None:
    lines = [line.split() for line in (folders[1] / "train.phn").read_text().splitlines()]
    far = Counter(pair for line in lines for pair in zip(line, line[2:], strict=False))
    found = unpaired(folders).skipgrams(2, 1.0)
    assert found.pairs.shape == (2, len(UNITS), len(UNITS))
    for (one, other), count in far.items():
        share = float(found.pairs[1][UNITS.symbols.index(one), UNITS.symbols.index(other)])
        assert share == pytest.approx(count / sum(far.values()), rel=1e-4)
    assert not torch.equal(unpaired(folders).skipgrams(2, 3.0).pairs, found.pairs)  # phones that last longer


def test_another_text_is_other_data_and_lengths_are_mixed(
    folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    source = FeatureSource(folders[0], "train")
    shutil.copytree(folders[1], tmp_path / "text")
    path = tmp_path / "text" / "train.phn"
    lines = path.read_text().splitlines()
    other, digests = (folders[0], tmp_path / "text", folders[2]), list[str]()
    for held in (lines, lines[::-1]):
        path.write_text("\n".join(held) + "\n")
        digests.append(unpaired(other).dataset("train", source, True).digest())
    dataset = unpaired(folders).dataset("train", source, True)
    assert digests[0] == dataset.digest() != digests[1]
    sizes = dataset.sizes[dataset.ordered_indices()].tolist()
    assert sizes != sorted(sizes) and sizes != sorted(sizes, reverse=True)
