"""The stages around a grid of wav2vec-U: what goes in, and what is made of the trial that was chosen."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pseudo import read_hypotheses

from vqw2v_plugin.decoding.scoring import Errors, count_errors
from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes import unpaired_stages as unpaired
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.stores.labels import read_labels
from vqw2v_plugin.text.units import SILENCES

HERE = Path(__file__).resolve().parent
ACOUSTIC = HERE.parent / "few_labels" / "acoustic.yaml"  # phones by CTC
SPLITS = ("train", "valid")


@dataclass(frozen=True)
class Inputs:
    """Audio, text and what is made of them; `needs` are stages that make these."""

    run: Path
    data: Path  # manifests
    text: Path
    checkpoint: str
    layer: tuple[str, ...]  # `--layer` and what else says which frames
    prepared: tuple[str, ...]  # slopes, mean and scale
    phones: tuple[str, ...]  # how text becomes phones
    clusters: int = 128
    clustered: tuple[str, ...] = ()  # options of `vqw2v cluster` besides
    pca: int | None = None
    silence: str | None = None
    spans: str | None = None  # a CTM with {split} in its name, in place of clusters
    measure: Path | None = None  # labels
    measured: str = "valid"  # whose errors are counted
    needs: tuple[str, ...] = ()

    @property
    def has_words(self) -> bool:
        return bool({"--lexicon", "--espeak"} & set(self.phones))

    @property
    def segments(self) -> Path:
        return self.run / "segments" / "data"

    @property
    def phone_text(self) -> Path:
        return self.run / "phones" / "data"


def going_in(inputs: Inputs) -> list[Stage]:
    """Segments, phones, language models, and what was read without an adversary."""
    run, needs = inputs.run, list(inputs.needs)
    listed = []
    options = [*inputs.layer, *inputs.prepared]
    options += [] if inputs.pca is None else ["--pca", str(inputs.pca)]
    options += [] if inputs.silence is None else ["--silence", inputs.silence]
    before = needs
    if inputs.spans is None:
        asked = [*inputs.layer, "--codes", str(inputs.clusters), *inputs.clustered]
        manifest = inputs.data / "train.tsv"
        listed.append(unpaired.clusters(run, "clusters", inputs.checkpoint, manifest, asked, needs))
        options += ["--clusters", str(run / "clusters" / "data")]
        before = ["clusters"]
    where = (run, "segments", inputs.checkpoint, inputs.data, SPLITS)
    listed.append(unpaired.segments(*where, options, before, inputs.spans))
    listed.append(unpaired.phones(run, "phones", inputs.text, inputs.phones, needs))
    listed.append(unpaired.phone_models(run, "phone_lm", inputs.phone_text, ["phones"]))
    if inputs.has_words:
        words = inputs.phone_text / "train.wrd"
        listed.append(pipeline.language_model(run, "word_lm", words, 3, ["phones"]))
    measured = [] if inputs.measure is None else ["--measure", str(inputs.measure)]
    folders = (inputs.segments, inputs.phone_text)
    listed.append(
        unpaired.decipher(run, "decipher", *folders, inputs.measured, measured, ["segments", "phones"])
    )
    return listed


def settings(inputs: Inputs) -> list[str]:
    """Of every trial of the grid."""
    found = [f"task.data={inputs.segments}", f"task.text={inputs.phone_text}"]
    found.append(f"task.lm={inputs.run / 'phone_lm' / 'score.arpa'}")
    return found + ([] if inputs.measure is None else [f"task.measure={inputs.measure}"])


def coming_out(inputs: Inputs, chosen: Path, trial: str, updates: int) -> list[Stage]:
    """The chosen trial's phones, by itself and through the phone model, and what learns from the latter.

    Nothing does in no updates.
    """
    run, search = inputs.run, inputs.run / "phone_lm" / "search.arpa"
    free = ["free", "--lm", str(search), "--beam", "50"]
    needs = [trial, "phone_lm"]
    names = {"greedy": ["greedy"], "searched": free}
    listed = [
        unpaired.read(
            *(run, name, chosen, inputs.segments, SPLITS, decoder),
            f"Phones of the chosen trial: {name}",
            needs,
        )
        for name, decoder in names.items()
    ]
    if not updates:
        return listed
    said = [run / "searched" / f"hypotheses-{split}.jsonl" for split in SPLITS]
    listed.append(_pseudo_labels(inputs, said))
    frames = ["--workers", "1", *inputs.prepared]
    listed.append(
        pipeline.features(
            *(run, "features", inputs.layer[1], inputs.data, SPLITS, 0.5, list(inputs.needs)),
            *(inputs.checkpoint, None, [*inputs.layer[2:], *frames]),
        )
    )
    data, labels = run / "features" / "data", run / "pseudo" / "labels"
    listed.append(
        pipeline.train(
            *(run, "taught", ACOUSTIC),
            [f"task.data={data}", f"task.labels={labels}", f"optimization.max_update={updates}"],
            title="A model of frames learns from what the chosen trial said",
            minutes=3,
            needs=["features", "pseudo"],
        )
    )
    best = run / "taught" / "checkpoint_best.pt"
    task = ("vq_acoustic", "--labels", str(run / "pseudo" / "unscored"))
    ways = {"taught_greedy": ["greedy"], "taught_searched": free}
    if inputs.has_words:
        lexicon = inputs.phone_text / "lexicon.phn.txt"
        words = run / "word_lm" / "lm.arpa"
        ways["words"] = ["lexicon", "--lexicon", str(lexicon), "--lm", str(words), "--beam", "50"]
    for name, decoder in ways.items():
        more = ["word_lm"] if name == "words" else []
        title = f"What it says itself: {name}"
        where = (run, name, best, data, [inputs.measured], decoder, title, ["taught", "phone_lm", *more])
        listed.append(unpaired.read(*where, task))
    return listed


def _pseudo_labels(inputs: Inputs, said: Sequence[Path]) -> Stage:
    """And those of train alone, so that what is decoded is not scored by what is no truth."""
    out = inputs.run / "pseudo"
    text = str(out / "said.txt")
    how = ["--unit", "phones", "--text", text, "--dict", str(inputs.phone_text / "dict.phn.txt")]
    commands = [[sys.executable, str(HERE / "pseudo.py"), text, *map(str, said)]]
    for name, splits in (("labels", SPLITS), ("unscored", SPLITS[:1])):
        manifests = [str(inputs.data / f"{split}.tsv") for split in splits]
        commands.append([*pipeline.VQW2V, "labels", *manifests, str(out / name), *how])
    return Stage("pseudo", commands, "What was said, as labels", 0.1, ["searched", "phones"], result=str(out))


WAYS = {
    "unigram guess": "",
    "decipherment": "",
    "wav2vec-U, greedy": "greedy",
    "wav2vec-U, phone LM": "searched",
    "self-trained, greedy": "taught_greedy",
    "self-trained, phone LM": "taught_searched",
}


def errors(inputs: Inputs) -> dict[str, float]:
    """The true error of every way that is there, in %; only where labels are given for measuring."""
    if inputs.measure is None:
        return {}
    held = read_labels(inputs.measure, inputs.measured, "phones")
    true = {
        utt: [phone for phone in phones if phone not in SILENCES]
        for utt, phones in zip(held.utts, held.labels, strict=True)
    }
    found = {}
    deciphered = inputs.run / "decipher" / "data" / "decipher.json"
    for way, stage in WAYS.items():
        path = inputs.run / stage / f"hypotheses-{inputs.measured}.jsonl"
        if not stage and deciphered.is_file():
            rows = json.loads(deciphered.read_text())["splits"][inputs.measured]
            found[way] = float(rows[way]["per"])
        elif stage and path.is_file():
            counted = Errors()
            for utt, phones in read_hypotheses(path):
                counted += count_errors(true[utt], phones)
            found[way] = counted.rate
    return found
