"""Names of utterances: all that can be written come through, the others are refused first."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from corpus_runs import corpus, decoded

from vqw2v_plugin import Tokenizer, load_features
from vqw2v_plugin.__main__ import main
from vqw2v_plugin.corpora.manifest import Manifest
from vqw2v_plugin.stores.features import FeatureStore
from vqw2v_plugin.stores.symbols import read_dict
from vqw2v_plugin.stores.tokens import TokenStore


def named(folder: Path, utts: list[str]) -> str:
    sf.write(folder / "a.wav", np.random.default_rng(0).normal(0, 0.1, 1600), 16_000)
    rows = [{"path": "a.wav", "samples": 1600, "utt": utt} for utt in utts]
    lines = [str(folder), "# path\tsamples\tutt", *(f"{r['path']}\t{r['samples']}\t{r['utt']}" for r in rows)]
    (folder / "named.tsv").write_bytes("\n".join(lines).encode(errors="surrogateescape") + b"\n")
    return str(folder / "named.tsv")


@pytest.mark.parametrize(
    ("utts", "options", "says"),
    [
        (["a", ""], [], "row 2 names the utterance ''; expected names that differ"),
        (["a", "b\rc"], [], "row 2 names the utterance 'b\\rc'; expected"),
        (["a\udcff", "b", r"a\xff"], [], r"row 3 names the utterance 'a\\xff', as in row 1; expected names"),
        (["a/b", "a//b"], ["--npy"], "the codes of 'a/b' and of 'a//b' into one file, a/b.npy; rename one"),
        (["/a/b", "a/b"], ["--npy"], "the codes of '/a/b' and of 'a/b' into one file, a/b.npy"),
        (["a/", "a"], ["--npy"], "into one file, a.npy"),
        (["a", "a.npy/b"], ["--npy"], "a.npy a file for 'a' and a folder for 'a.npy/b'; rename one"),
        (["a", "b" * 252], ["--npy"], "a NUL or more than 251 bytes between slashes; rename it"),
        (["a", "b\0"], ["--npy"], "holds a NUL"),
        ([".", "%2E"], ["--npy"], "into one file, %2E.npy"),
    ],
)
def test_names_that_cannot_be_written_are_refused_before_anything_is_encoded(
    checkpoint: str,
    tmp_path: Path,
    encoded: list[str],
    capsys: pytest.CaptureFixture[str],
    utts: list[str],
    options: list[str],
    says: str,
) -> None:
    out = tmp_path / "out"
    assert main(["discretize", checkpoint, named(tmp_path, utts), str(out), *options]) == 2
    err = capsys.readouterr().err
    assert says in err and len(err.splitlines()) == 1
    assert not encoded and not list(out.rglob("*.rows"))


def test_names_of_every_character_come_through(checkpoint: str, tmp_path: Path) -> None:
    utts = [f"a{c}b" for c in "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\x1f\xa0\ufeff"] + [
        "../up",
        "a/./b",
        "..",
        "A",
        "a",
    ]
    out, manifest = tmp_path / "out", named(tmp_path, utts)
    assert main(["discretize", checkpoint, manifest, str(out), "--npy", "--text"]) == 0
    found = decoded(out, "named")
    assert list(found) == utts and len(set(map(tuple, found.values()))) == 1
    assert len([path for path in (out / "named.codes").rglob("*") if path.is_file()]) == len(utts)
    assert main(["features", "-", manifest, str(tmp_path / "f"), "--layer", "logmel"]) == 0


def test_a_disk_that_does_not_tell_names_apart_is_an_error(tmp_path: Path) -> None:
    from vqw2v_plugin.stores.symbols import TokenError
    from vqw2v_plugin.stores.token_extras import TokenExtras

    extras, codes = (
        TokenExtras(tmp_path, "a", run_length=False, text=False, npy=True),
        np.zeros((2, 1), np.int64),
    )
    extras.add("u", codes, codes, np.ones(2, np.int64))
    with pytest.raises(TokenError, match=r"u\.npy: is another utterance's than 'u' on this disk"):
        extras.add("u", codes, codes, np.ones(2, np.int64))


def test_utterances_stand_in_the_manifest_s_order_over_all_shards(checkpoint: str, tmp_path: Path) -> None:
    """In what is published and in what was refused, whatever the order of the shards' files."""
    bad, manifest = [3, 12], corpus(tmp_path, files=16)
    for i in bad:
        (tmp_path / "audio-train" / f"train{i}.flac").write_bytes(b"")
    good = [f"train{i}" for i in range(16) if i not in bad]
    layer, shards = ["--layer", "logmel"], ["--shard-minutes", "0.001"]
    assert main(["discretize", checkpoint, str(manifest), str(tmp_path / "t"), *shards, "--text"]) == 1
    assert main(["features", "-", str(manifest), str(tmp_path / "f"), *layer, *shards]) == 1
    assert len(list((tmp_path / "t" / ".train.parts").glob("*.rows"))) > 10
    tokens, features = TokenStore(tmp_path / "t", "train"), FeatureStore(tmp_path / "f", "train")
    assert [utt for utt, _ in tokens.rows] == good == [utt for utt, _ in features.rows]
    rows = [row for row in Manifest(manifest) if row.utt in good]
    names = read_dict(tmp_path / "t" / "dict.txt")
    tokenizer, logmel = Tokenizer.load(checkpoint), load_features("logmel")
    for i, row in enumerate(rows):
        expected = tokenizer.tokens(tokenizer.encode_file(row)).split()
        assert [names[number - 4] for number in tokens[i]] == expected
        assert np.array_equal(features[i], logmel.of(row).numpy().astype(np.float16))
    for out in ("t", "f"):
        lines = (tmp_path / out / "train.refused.tsv").read_text().split("\n")[1:-1]
        assert [line.split("\t")[0] for line in lines] == [f"train{i}" for i in bad]
