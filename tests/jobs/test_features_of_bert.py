"""`vqw2v features --layer bert`: a state a frame, of a BERT that has learnt these very codes."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from corpus_runs import corpus, saved

from vqw2v_plugin import Tokenizer
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.checkpoints.bert import build_bert, load_bert, save_bert
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.modules.bert.network import bert_features
from vqw2v_plugin.modules.bert.vocabulary import Symbols
from vqw2v_plugin.modules.wav2vec.network import VqWav2Vec
from vqw2v_plugin.stores.features import FeatureStore

Tiny = Callable[..., VqWav2Vec]


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    return str(corpus(tmp_path, files=6))


@pytest.mark.parametrize("run_length", [False, True])
@pytest.mark.parametrize("layer", ["bert", "bert:0", "bert:1"])
def test_bert_s_states_are_a_row_a_frame(
    tiny: Tiny, manifest: str, tmp_path: Path, run_length: bool, layer: str
) -> None:
    checkpoint, out = saved(tiny(quantizer="gumbel"), tmp_path), tmp_path / "out"
    symbols = Symbols(tuple(f"{i}-{j}" for i in range(8) for j in range(7)))  # 7 as second code is unknown
    sizes = {
        "encoder_layers": 2,
        "encoder_embed_dim": 16,
        "encoder_ffn_embed_dim": 32,
        "encoder_attention_heads": 2,
    }
    torch.manual_seed(0)
    save_bert(tmp_path / "bert.pt", build_bert(sizes, symbols))
    options = ["--layer", layer, "--bert", str(tmp_path / "bert.pt"), "--store", "fp32"]
    options += ["--run-length"] if run_length else []
    assert main(["features", checkpoint, manifest, str(out), *options]) == 0
    bert, tokenizer, store = (
        load_bert(tmp_path / "bert.pt"),
        Tokenizer.load(checkpoint),
        FeatureStore(out, "train"),
    )
    for i, (utt, frames) in enumerate(store.rows):
        words = tokenizer.tokens(tokenizer.encode_file(tmp_path / "audio-train" / f"{utt}.flac")).split()
        kept = [n for n in range(len(words)) if not run_length or n == 0 or words[n] != words[n - 1]]
        ids = torch.tensor([symbols.ids.get(words[n], 3) for n in kept])
        with torch.no_grad():
            states = bert_features(bert, [ids], int(layer[5:]) if layer[5:] else -1)[0]
        lengths = torch.tensor([*kept[1:], len(words)]) - torch.tensor(kept)
        assert frames == len(words)
        expected = states.repeat_interleave(lengths, 0)
        torch.testing.assert_close(torch.from_numpy(store[i].copy()), expected, atol=1e-5, rtol=1e-5)


def save_small_bert(path: Path, symbols: tuple[str, ...]) -> str:
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_attention_heads": 2}
    save_bert(path, build_bert(sizes, Symbols(symbols)))
    return str(path)


@pytest.mark.parametrize(
    ("symbols", "says"),
    [
        (("1-2-3", "3-2-1"), "has learnt other codes than this checkpoint gives: its dictionary has '1-2-3'"),
        (("0-0", "300-2"), "its dictionary has '300-2'; expected 2 codes from 0 to 7, as in '0-0'"),
        (("hello", "world"), "has learnt none of the codes that this checkpoint gives"),
    ],
)
def test_a_bert_of_other_codes_is_refused_before_anything_is_read(
    tiny: Tiny,
    manifest: str,
    tmp_path: Path,
    symbols: tuple[str, ...],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in (tmp_path / "audio-train").iterdir():
        path.unlink()
    bert = save_small_bert(tmp_path / "other.pt", symbols)
    arguments = [
        saved(tiny(quantizer="gumbel"), tmp_path),
        manifest,
        str(tmp_path / "out"),
        "--layer",
        "bert",
    ]
    assert main(["features", *arguments, "--bert", bert]) == 2
    error = capsys.readouterr().err
    assert bert in error and says in error
    assert len(error.splitlines()) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("run_length", [False, True])
def test_codes_that_bert_does_not_know_are_counted_and_named(
    tiny: Tiny,
    manifest: str,
    tmp_path: Path,
    run_length: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint, tokens = saved(tiny(quantizer="gumbel"), tmp_path), Counter[str]()
    tokenizer, rows = Tokenizer.load(checkpoint), Manifest(manifest)
    for row in (rows[i] for i in range(len(rows))):
        tokens.update(tokenizer.tokens(tokenizer.encode_file(row)).split())
    (rare, count), *_ = sorted(tokens.items(), key=lambda item: item[1])
    known = save_small_bert(tmp_path / "bert.pt", tuple(tokens))
    lacking = save_small_bert(tmp_path / "lacking.pt", tuple(s for s in tokens if s != rare))
    more = ["--run-length"] if run_length else []
    for bert, says in ((known, False), (lacking, True)):
        out = str(tmp_path / Path(bert).stem)
        arguments = ["features", checkpoint, manifest, out, "--layer", "bert", "--bert", bert]
        assert main([*arguments, *more]) == 0
        share = f"{count:,} of {tokens.total():,} frames ({count / tokens.total():.2%})"
        sentence = f"{share} have codes that are not in BERT's dictionary and became <unk>: {rare}\n"
        assert (sentence in capsys.readouterr().out) == says
