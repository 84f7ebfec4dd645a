"""fairseq's programs on our checkpoints: `fairseq-generate` makes tokens, `fairseq-validate` measures."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fairseq_cli.generate
import fairseq_cli.validate
import pytest
from corpus_runs import content
from forked import Ended, in_child
from small_training import PLUGIN, noise_corpus

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.files import read_pickle
from vqw2v_plugin.checkpoints.wav2vec import Imported, Loaded, save_checkpoint
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.symbols import write_dict

EARLIER = Path(__file__).resolve().parents[1] / "checkpoints" / "earlier"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_corpus(tmp_path_factory.mktemp("noise"), clips=4)


@pytest.fixture
def checkpoint(tiny: Callable[..., VqWav2Vec], tmp_path: Path) -> Path:
    loaded = Loaded(tiny(quantizer="kmeans"), 16_000, False)
    save_checkpoint(Imported(loaded, False, 0, []), tmp_path / "m.pt")
    return tmp_path / "m.pt"


def program(module: object, folder: Path, *words: object) -> Ended:
    def call() -> None:
        sys.argv = ["fairseq", *map(str, words), "--user-dir", str(PLUGIN), "--cpu"]
        module.cli_main()  # type: ignore[attr-defined]

    return in_child(call, folder, seconds=100)


def generate(corpus: Path, folder: Path, *more: object) -> Ended:
    task = ["--task", "vq_audio_pretraining", "--gen-subset", "train"]
    return program(fairseq_cli.generate, folder, corpus, *task, *more)


def test_generate_writes_what_discretize_writes_and_goes_on_where_it_was(
    corpus: Path, checkpoint: Path, tmp_path: Path
) -> None:
    named = ["--path", checkpoint, "--results-path", tmp_path / "tokens"]
    first = generate(corpus, tmp_path, *named)
    assert first.status == 0 and "tokens/train: made" in first.said, first.said
    assert main(["discretize", str(checkpoint), str(corpus / "train.tsv"), str(tmp_path / "ours")]) == 0
    theirs, ours = content(tmp_path / "tokens"), content(tmp_path / "ours")
    listing = theirs.pop("generate-train.txt")
    assert theirs == ours and {"train.bin", "train.idx", "dict.txt", "tokens.json"} <= set(ours)
    assert b"H-0" not in listing
    again = generate(corpus, tmp_path, *named)
    assert again.status == 0 and "tokens/train: is there already" in again.said


def test_what_is_missing_is_named(corpus: Path, checkpoint: Path, tmp_path: Path) -> None:
    alone = generate(corpus, tmp_path, "--path", checkpoint)
    assert alone.status and "`--results-path` is not given; expected `--path CHECKPOINT" in alone.said
    other = generate(tmp_path, tmp_path, "--path", checkpoint, "--results-path", tmp_path / "t")
    assert other.status and "holds no train.tsv" in other.said and not (tmp_path / "t" / "train.bin").exists()


@pytest.mark.parametrize("name", ["gumbel", "none", "wav2vec2"])
def test_validate_measures_on_the_folder_that_is_named(name: str, corpus: Path, tmp_path: Path) -> None:
    words = ["--task", "vq_audio_pretraining", "--path", EARLIER / f"{name}.pt", "--max-tokens", "20000"]
    ended = program(fairseq_cli.validate, tmp_path, corpus, *words, "--valid-subset", "valid")
    assert ended.status == 0, ended.said
    assert "valid on 'valid' subset" in ended.said and "accuracy" in ended.said


@pytest.mark.parametrize("name", ["bert", "speech"])
def test_validate_measures_models_of_tokens(name: str, corpus: Path, tmp_path: Path) -> None:
    """Of an earlier file, whose options were fewer."""
    tokens, state = tmp_path / "tokens", read_pickle(EARLIER / f"{name}.pt")
    for split in ("train", "valid"):
        given = [] if name == "speech" else ["--dict", str(_dictionary(state, tmp_path))]
        source = str(EARLIER / "kmeans.pt")
        assert main(["discretize", source, str(corpus / f"{split}.tsv"), str(tokens), *given]) == 0
    task = {"bert": "vq_token_pretraining", "speech": "vq_speech_pretraining"}[name]
    data = [tokens] if name == "bert" else [corpus, "--tokens", tokens]
    words = [*data, "--task", task, "--path", EARLIER / f"{name}.pt", "--max-tokens", "20000"]
    ended = program(fairseq_cli.validate, tmp_path, *words, "--valid-subset", "valid")
    assert ended.status == 0, ended.said
    assert "valid on 'valid' subset" in ended.said and "accuracy" in ended.said


def _dictionary(state: Mapping[str, Any], folder: Path) -> Path:
    """The symbols that a BERT was trained with."""
    write_dict(folder / "dict.txt", [(symbol, 1) for symbol in state["task_state"]["symbols"]])
    return folder / "dict.txt"
