"""Who speaks where, and what of it a speaker's mean and scale are of: of the same clips, whoever asks."""

from pathlib import Path

import pytest
import torch
from sounds import Sound, noise

from vqw2v_plugin.audio.clip import Clip
from vqw2v_plugin.corpora.manifest import Manifest, write_manifest
from vqw2v_plugin.features.speakers import FileVoices, ManifestVoices, RowClip, RowVoices, Said, Speakers

COLUMNS = ("path", "samples", "start", "rate", "speaker")


def manifest(folder: Path, name: str, *rows: tuple[str, int, int, str]) -> Path:
    """Of (file, samples, start, speaker) at 8 kHz."""
    made = [
        dict(zip(COLUMNS, (path, samples, start, 8_000, who), strict=True))
        for path, samples, start, who in rows
    ]
    write_manifest(folder / name, folder, made, COLUMNS)
    return folder / name


class Told:
    """One speaker, who has said five things of 100 s each."""

    def speaker_of(self, clip: Clip) -> str | None:
        return None if clip.path == "nobody" else "someone"

    def said(self, speaker: str) -> list[Said]:
        return [Said(name, Clip(name), 100.0) for name in "abcde"]


def test_five_minutes_of_a_speaker_are_heard_once_in_the_order_of_their_names_sums() -> None:
    """By CRC-32: of a it is e8b7be43, of b 71beeff9, of c 06b9df6f, of d 98dd4acc, of e efda7a5a."""
    heard: list[str] = []

    def frames_of(clip: Clip) -> torch.Tensor:
        heard.append(clip.path)
        return torch.full((2, 1), float(len(heard)))

    speakers = Speakers(Told(), frames_of)
    for _ in range(2):
        moments = speakers.of(Clip("x"))
        assert moments is not None and moments.mean == 2 and heard == ["c", "b", "d"]
    assert speakers.of(Clip("nobody")) is None


def test_a_file_is_its_speaker_s_unless_two_speak_in_it(tmp_path: Path) -> None:
    rows = [("a.wav", 8_000, 0, "ann"), ("b.wav", 4_000, 0, "ann"), ("b.wav", 4_000, 4_000, "bob")]
    held = Manifest(manifest(tmp_path, "m.tsv", *rows, ("c.wav", 9, 0, "")))
    voices = ManifestVoices(held)
    (tmp_path / "a.wav").touch()
    (tmp_path / "link.wav").symlink_to("a.wav")
    named = {name: voices.speaker_of(Clip(str(tmp_path / f"{name}.wav"))) for name in ("a", "b", "c", "link")}
    assert named == {"a": "ann", "b": None, "c": None, "link": "ann"}
    assert [voices.speaker_of(held[i]) for i in range(4)] == ["ann", "ann", "bob", None]
    assert [(said.name, said.seconds) for said in voices.said("ann")] == [
        ("a_0-8000", 1.0),
        ("b_0-4000", 0.5),
    ]


def test_speakers_of_two_manifests_are_two_though_their_names_are_one(tmp_path: Path) -> None:
    paths = [str(manifest(tmp_path, f"{n}.tsv", (f"{n}.wav", 800, 0, "ann"))) for n in ("one", "two")]
    voices = RowVoices()
    who = [voices.speaker_of(RowClip("x.wav", manifest=path, row=0)) for path in paths]
    assert who[0] != who[1]
    assert [[said.name for said in voices.said(str(each))] for each in who] == [["one_0-800"], ["two_0-800"]]
    assert voices.speaker_of(Clip(str(tmp_path / "one.wav"))) is None


def test_a_file_is_a_speaker_but_for_those_that_have_one_together(sound: Sound, tmp_path: Path) -> None:
    short, long = sound("short.wav", noise(4_000), 8_000), sound("long.wav", noise(20_000), 8_000)
    gone = tmp_path / "gone.wav"
    voices = FileVoices(2.0, 0.01, [str(long), str(gone), str(short), str(long)])
    assert voices.speaker_of(Clip(str(short))) == "" and voices.speaker_of(Clip("other.wav")) == "other.wav"
    assert [said.name for said in voices.said(str(short))] == ["short"]
    parts = voices.said("")  # each once, and none of what cannot be read
    assert [said.name.partition("_")[0] for said in parts] == ["long", "long", "short"]
    assert parts[0].name == "long_0" and parts[1].name == f"long_{parts[1].clip.start}"
    assert sum(said.seconds for said in parts) == pytest.approx(3.0) and parts[2].seconds == 0.5
