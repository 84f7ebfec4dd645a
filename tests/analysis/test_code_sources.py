"""A run's codes: from its token folders, or from a checkpoint that encodes."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_run import FIELD, RATE, STRIDE, make_run, make_tokens, rows_of, save_trained

from vqw2v_plugin.analysis.code_sources import encode_each, find_sources
from vqw2v_plugin.analysis.run_view import PageOptions, RunView
from vqw2v_plugin.checkpoints.files import sha256
from vqw2v_plugin.corpora.manifest import Utterance
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.recipes.folder import LOG, RunFolder
from vqw2v_plugin.stores.frames import FrameTimes
from vqw2v_plugin.stores.symbols import NUM_SPECIAL, TOKENS
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.tokenizer import Tokenizer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_tokens_become_codes_again(run: Path) -> None:
    (source,), troubles = find_sources(RunFolder(run))
    assert not troubles and (source.num_groups, source.num_codes) == (2, 4)
    assert source.times == FrameTimes(STRIDE, FIELD, RATE)
    codes = source.codes(rows_of(run))
    assert len(codes) == 6 and all(rows.shape == (98, 2) for rows in codes.values())
    assert {tuple(row) for rows in codes.values() for row in rows.tolist()} == {
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 1),
    }


def test_runs_of_equal_tokens_are_expanded_to_frames(run: Path, tmp_path: Path) -> None:
    rows = rows_of(run)
    make_tokens(tmp_path / "other/data", [row.utt for row in rows], 16_000, run_length=True)
    (plain,), _ = find_sources(RunFolder(run))
    (merged,), _ = find_sources(RunFolder(tmp_path / "other"))
    for utt, codes in plain.codes(rows).items():
        assert (merged.codes(rows)[utt] == codes).all()


def test_a_folder_of_tokens_that_is_broken_is_named(run: Path) -> None:
    (run / "tokens/data/test.bin").write_bytes(b"short")
    sources, troubles = find_sources(RunFolder(run))
    assert not sources and "RUN/tokens/data/tokens.json" in troubles[0] and "test.bin" in troubles[0]
    assert str(run) not in troubles[0]


@pytest.mark.parametrize(
    "name, value", [("num_groups", 1), ("num_groups", 480), ("num_codes", 3), ("num_codes", 1 << 30)]
)
def test_tokens_of_other_codes_than_their_json_s_are_named(run: Path, name: str, value: int) -> None:
    path = run / "tokens/data/tokens.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    sources, troubles = find_sources(RunFolder(run))
    assert not sources and f"`{name}` {value}" in troubles[0] and "symbols of 2 codes up to 3" in troubles[0]


@pytest.mark.parametrize("name", ["sample_rate", "stride"])
def test_tokens_whose_frames_take_no_time_are_named(run: Path, name: str) -> None:
    path = run / "tokens/data/tokens.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: 0}))
    sources, troubles = find_sources(RunFolder(run))
    assert not sources and f"`{name}` is 0" in troubles[0]
    assert RunView(RunFolder(run), PageOptions()).statistics == []


@pytest.mark.parametrize("symbol", ["99999999999-0", "9" * 5000])
def test_a_symbol_that_is_no_code_is_named(run: Path, symbol: str) -> None:
    (run / "tokens/data/dict.txt").write_text(f"{symbol} 1\n")
    sources, troubles = find_sources(RunFolder(run))
    assert not sources and "is not a code" in troubles[0]


def test_tokens_are_named_for_the_training_that_made_them(run: Path, tiny: Callable[..., VqWav2Vec]) -> None:
    path = save_trained(tiny(quantizer="kmeans"), run)
    about = json.loads((run / "tokens/data/tokens.json").read_text())
    about["checkpoint"]["sha256"] = sha256(path)
    (run / "tokens/data/tokens.json").write_text(json.dumps(about))
    (source,) = RunView(RunFolder(run), PageOptions()).sources  # and the checkpoint is not asked again
    assert source.name == "pretrain" and not source.encodes


def test_of_two_folders_of_one_checkpoint_s_tokens_the_first_has_its_name(
    run: Path, tiny: Callable[..., VqWav2Vec]
) -> None:
    path = save_trained(tiny(quantizer="kmeans"), run)
    utts = [row.utt for row in rows_of(run)]
    make_tokens(run / "ztokens", utts, 16_000)
    for folder in ("tokens/data", "ztokens"):
        about = json.loads((run / folder / "tokens.json").read_text())
        about["checkpoint"]["sha256"] = sha256(path)
        (run / folder / "tokens.json").write_text(json.dumps(about))
    sources, _ = find_sources(RunFolder(run))
    assert sorted(source.name for source in sources) == ["pretrain", "ztokens"]
    assert not any(source.encodes for source in sources)


@pytest.mark.parametrize("said", ["vq_wav2vec", "vq_bert", ""])
def test_a_training_s_log_says_what_it_trains_where_no_settings_lie_beside(
    run: Path, tiny: Callable[..., VqWav2Vec], said: str
) -> None:
    save_trained(tiny(quantizer="kmeans"), run)
    shutil.rmtree(run / "pretrain/.hydra")
    (run / "pretrain" / LOG).write_text(
        "what is loaded before\n" * 500
        + f"[now][fairseq_cli.train][INFO] - {{'model': {{'_name': '{said}'}}}}\n"
    )
    names = [source.name for source in find_sources(RunFolder(run))[0]]
    assert names == (["tokens", "pretrain"] if "wav2vec" in said else ["tokens"])


def test_audio_that_cannot_be_read_is_left_out_and_told(run: Path, tiny: Callable[..., VqWav2Vec]) -> None:
    tokenizer = Tokenizer.load(save_trained(tiny(quantizer="kmeans"), run))
    rows, told = rows_of(run), []
    Path(rows[2].path).write_bytes(b"RIFF")
    found = encode_each(tokenizer, rows, told.append)
    assert list(found) == [row.utt for i, row in enumerate(rows) if i != 2]
    assert len(told) == 1 and rows[2].path in str(told[0])


def test_an_error_that_no_file_is_to_blame_for_is_not_passed_over() -> None:
    def encode_file(row: Utterance) -> object:
        raise RuntimeError("shapes cannot be multiplied")

    tokenizer: Any = SimpleNamespace(encode_file=encode_file)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        encode_each(tokenizer, [Utterance("a.wav", 9, utt="a")])


def test_a_checkpoint_that_breaks_off_is_named(run: Path) -> None:
    (run / "pretrain/checkpoint_last.pt").write_bytes(b"PK\x03\x04 half")
    (run / "pretrain/.hydra").mkdir()
    (run / "pretrain/.hydra/config.yaml").write_text("model:\n  _name: vq_wav2vec\n")
    sources, troubles = find_sources(RunFolder(run))
    assert len(sources) == 1 and "RUN/pretrain/checkpoint_last.pt" in troubles[0]


def test_a_training_without_a_quantizer_is_no_trouble_whatever_the_error_says(
    run: Path, tiny: Callable[..., VqWav2Vec], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_trained(tiny(quantizer="none"), run)
    make = Tokenizer.__init__

    def reworded(self: Tokenizer, *arguments: object) -> None:
        try:
            make(self, *arguments)
        except ValueError as error:
            error.args = ("it cannot be asked for codes",)
            raise

    monkeypatch.setattr(Tokenizer, "__init__", reworded)
    sources, troubles = find_sources(RunFolder(run))
    assert [source.name for source in sources] == ["tokens"] and not troubles


def test_the_largest_split_of_tokens_is_counted_where_its_corpus_is_gone(run: Path) -> None:
    shutil.rmtree(run / "corpus")
    folder = run / "tokens/data"
    with TokenWriter(folder, "train", 9) as writer:
        for number in range(9):
            writer.add(f"other{number}", 5, np.full(5, NUM_SPECIAL))
    TOKENS.write_about(folder, {**TOKENS.read_about(folder), "splits": {"test": {}, "train": {}}})
    (source,), _ = find_sources(RunFolder(run))
    assert {split: len(rows) for split, rows in source.known.items()} == {"test": 6, "train": 9}
    assert {row.samples for row in source.known["train"]} == {5 * STRIDE}
    (each,) = RunView(RunFolder(run), PageOptions()).statistics
    assert (each.split, each.num_utterances) == ("train", 9)


def test_codes_are_those_of_the_split_that_has_the_utterance(run: Path) -> None:
    folder = run / "tokens/data"
    with TokenWriter(folder, "dev", 9) as writer:
        writer.add("other", 3, np.array([0, 3, 2]) + NUM_SPECIAL)
    TOKENS.write_about(folder, {**TOKENS.read_about(folder), "splits": {"test": {}, "dev": {}}})
    (source,), _ = find_sources(RunFolder(run))
    rows = [dataclasses.replace(rows_of(run)[0], utt=utt) for utt in ("other", "nobody")]
    assert {utt: codes.tolist() for utt, codes in source.codes(rows).items()} == {
        "other": [[0, 0], [3, 1], [2, 1]]
    }


def test_a_folder_that_has_no_split_of_tokens_yet_is_no_source(run: Path) -> None:
    folder = run / "tokens/data"
    TOKENS.write_about(folder, {**TOKENS.read_about(folder), "splits": {}})
    for path in folder.glob("test.*"):
        path.unlink()
    assert find_sources(RunFolder(run)) == ([], [])
