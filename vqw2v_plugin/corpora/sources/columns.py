"""What tables call the wav, what was said in it and who said it: names of columns that are known."""

from collections.abc import Iterable, Mapping

# Of several that a table has, the first by this order; capitals do not matter.
NAMES: dict[str, tuple[str, ...]] = {
    "path": tuple(
        "path file_name wav audio_filepath audio file filename audio_path wav_path filepath file_path "
        "audio_file wav_file wav_filename".split()
    ),
    "utt": ("utt", "id", "utt_id", "utterance", "utterance_id", "uttid"),
    "text": tuple(
        "text transcription transcript sentence wrd words raw_transcription normalized_text tgt_text".split()
    ),
    "speaker": ("speaker", "spk_id", "speaker_id", "client_id", "spk", "spkid", "speaker_name"),
    "lang": ("lang", "language", "locale", "lang_id"),
    "subset": ("subset",),
    "split": ("split", "set", "partition"),
    "offset": ("offset", "start_time", "begin"),
    "duration": ("duration",),
    "start": ("start",),
    "stop": ("stop", "end", "end_time"),
    "samples": ("samples", "n_samples"),
    "words": ("word_times", "word_timestamps", "word_alignment", "word_alignments"),
    "phones": ("phone_times", "phone_timestamps", "phone_alignment", "phone_alignments"),
    "textgrid": ("textgrid", "textgrid_path", "text_grid"),
}
# Which of a table's names is which, in words for messages.
SHOWN = ("path", "utt", "text", "speaker", "lang", "split", "words", "phones", "textgrid")


def match(columns: Iterable[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """{what: the table's own name of it}, of what is known; `chosen` goes before the known names."""
    own = {name.strip().lower(): name for name in reversed([*columns])}
    found = {
        what: next(own[name] for name in names if name in own)
        for what, names in NAMES.items()
        if any(name in own for name in names)
    }
    for what, name in (chosen or {}).items():
        if name in own.values():
            found[what] = name
    return found


def text_column(columns: Iterable[str], unit: str = "text") -> str | None:
    """The column that transcripts are taken from where none is named."""
    held = list(columns)
    return unit if unit in held else match(held).get("text")
