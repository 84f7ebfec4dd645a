"""Lengths at another rate: as many samples as resampling leaves, by the rates that are known."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sounds import Sound

from vqw2v_plugin.audio.reading import read_audio
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.corpora.sizes import probe_rate, sizes_at


def listed(folder: Path, rows: Sequence[tuple[str, int, int]], columns: Sequence[str]) -> Manifest:
    made = [{"path": path, "samples": samples, "rate": rate} for path, samples, rate in rows]
    write_manifest(folder / "m.tsv", folder / "c", made, columns)
    return Manifest(folder / "m.tsv")


def test_each_row_has_the_length_that_is_read(tmp_path: Path, wav: Sound) -> None:
    rows = [("a.wav", 4_001, 8_000), ("b.wav", 22_049, 44_100), ("c.wav", 7_777, 16_000)]
    for row in rows:
        wav(*row)
    sizes = sizes_at(listed(tmp_path, rows, ("path", "samples", "rate")), 16_000)
    assert sizes.tolist() == [8_002, 7_999, 7_777]
    assert [len(read_audio(tmp_path / "c" / path, 16_000)) for path, *_ in rows] == sizes.tolist()


def test_without_rates_the_first_file_that_opens_stands_for_all(tmp_path: Path, wav: Sound) -> None:
    rows = [("gone.wav", 10, 0), ("b.wav", 100, 8_000), ("c.wav", 100, 44_100)]
    for row in rows[1:]:
        wav(*row)
    manifest = listed(tmp_path, rows, ("path", "samples"))
    assert probe_rate(manifest) == 8_000 and sizes_at(manifest, 16_000).tolist() == [20, 200, 200]
    nothing = listed(tmp_path, [("gone.wav", 10, 0)], ("path", "samples"))
    assert probe_rate(nothing) == 16_000
    with pytest.raises(ValueError, match="`sample_rate` is 0; expected 1 to 1,000,000"):
        sizes_at(nothing, 0)


def test_ten_files_are_asked_for_their_rate_and_no_more(tmp_path: Path, wav: Sound) -> None:
    wav("there.wav", 100, 8_000)
    for gone, rate in ((9, 8_000), (10, 16_000)):
        rows = [*((f"gone{i}.wav", 10, 0) for i in range(gone)), ("there.wav", 100, 0)]
        assert probe_rate(listed(tmp_path, rows, ("path", "samples"))) == rate
