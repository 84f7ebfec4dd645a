"""Shards of a killed run that are damaged: made anew, or refused in a sentence, and never other data."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_runs import FEW, content, corpus

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.jobs.split_job import SplitJob

ONE = ["--workers", "1", *FEW]


def damaged_shards(whole: Path, copy: Path) -> Iterator[str]:
    """Every way in which a file of the shards may be wrong, one after the other."""
    names = sorted(path.name for path in whole.iterdir())
    jsons, rows = ([name for name in names if name.endswith(end)] for end in (".json", ".rows"))
    shards = [name for name in jsons if name != "settings.json"]

    def fresh() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)

    for name in (*jsons[:2], "settings.json", rows[1]):
        content = (whole / name).read_bytes()
        changed = content[:9] + bytes([content[9] ^ 4]) + content[10:]
        ends = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
        for what, data in {
            "empty": b"",
            "cut short": content[:-1],
            "longer": content + b"0",
            "changed": changed,
            "changed at its end": ends,
            "zeros": bytes(len(content)),
            "a list": b"[1]",
            "not UTF-8": b"\xff" + content,
        }.items():
            fresh()
            (copy / name).write_bytes(data)
            yield f"{name}: {what}"
    for ours in (shards, rows):
        fresh()
        first, second = (copy / name for name in ours[1:3])
        held = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(held)
        yield f"{ours[1]} and {ours[2]} exchanged"
    for name in (shards[1], rows[1]):
        fresh()
        (copy / name).unlink()
        yield f"{name}: gone"
    fresh()
    text = (copy / shards[1]).read_text().partition(" ")[2]
    (copy / shards[1]).write_text(json.dumps({**json.loads(text), "frames": [3]}))
    yield f"{shards[1]}: other frames, without a checksum"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["discretize", "features"])
def test_damaged_shards_are_made_anew_or_refused_in_a_sentence(
    checkpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    manifest = corpus(tmp_path, files=12)
    source = [checkpoint] if command == "discretize" else ["-"]
    layer = [] if command == "discretize" else ["--layer", "logmel"]

    def arguments(out: str) -> list[str]:
        return [command, *source, str(manifest), str(tmp_path / out), *layer, *ONE]

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    assert main(arguments("whole")) == 0
    whole = content(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(SplitJob, "_publish", die)
        assert main(arguments("cut")) == 130
    out = tmp_path / "out"
    tries = 0
    for what in damaged_shards(tmp_path / "cut" / ".train.parts", tmp_path / "copy"):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        shutil.copytree(tmp_path / "copy", out / ".train.parts")
        capsys.readouterr()
        status, tries = main(arguments("out")), tries + 1
        if status == 2:
            err = capsys.readouterr().err
            assert "out/.train." in err and "\n" not in err.partition("vqw2v: error: ")[2][:-1], what
            again = ["--refresh"] if "--refresh" in err else []
            assert again or "run the same command again" in err, f"{what}: {err}"
            assert main([*arguments("out"), *again]) == 0, what
        assert content(out) == whole, what
    assert tries == 37
