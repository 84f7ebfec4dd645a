"""From recorded digits to error rates: the stages that compare.py and sweep.py are made of.

All audio is used at 8 kHz. Pretraining has the digits of the training speakers and whatever unlabelled
speech is given.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plan import CORPORA, Input, Plan, Row, checkpoint, corpus_data, corpus_splits, shortened

from vqw2v_plugin.recipes import stages as pipeline
from vqw2v_plugin.recipes.runner import Stage

HERE = Path(__file__).resolve().parent
SPEEDS = (0.8, 0.9, 1.12, 1.25)
PHONES = ("--text", "phones", "--unit", "phones", "--no-boundary")  # word boundaries cannot be heard


def stages(plan: Plan) -> Iterator[Stage]:
    """The stages of all rows, shared ones when first needed, so that the first rows finish early."""
    yield prepare(plan)
    made: set[str] = {"digits"}
    for row in plan.rows:
        for stage in [*shared_stages(plan, row), *row_stages(plan, row)]:
            if stage.name not in made:
                made.add(stage.name)
                yield stage


def prepare(plan: Plan) -> Stage:
    command = [sys.executable, str(HERE / "prepare.py"), str(plan.fsdd), str(corpus_data(plan, "digits"))]
    command += ["--speeds", *map(str, SPEEDS)]
    # The tenth is always there, so that rows added later find the same digits.
    command += [
        "--shares",
        *map(str, sorted({0.1, *(row.fraction for row in plan.rows if row.fraction < 1)})),
    ]
    if plan.unlabelled:
        command += ["--unlabelled", *map(str, plan.unlabelled)]
    return Stage("digits", [command], "Connected digits, and all audio for pretraining", 0.2, shown=".")


def shared_stages(plan: Plan, row: Row) -> Iterator[Stage]:
    """The stages from audio to a corpus' features and labels."""
    run, corpus = plan.run, row.corpus
    data, splits, chosen = corpus_data(plan, corpus), corpus_splits(plan, corpus), plan.inputs[row.features]
    needs = ["digits"]
    if chosen.model:
        yield pretraining(plan, chosen)
        needs.append(chosen.model)
    if chosen.layer == "bert":
        yield from bert_stages(plan, chosen.model)
        needs.append(f"{chosen.model}_bert")
    yield pipeline.features(
        run,
        f"features_{corpus}_{chosen.name}",
        chosen.layer,
        data,
        splits,
        minutes=1,
        needs=needs,
        **_made_of(plan, chosen),
    )
    yield labels(plan, row)
    if corpus == "digits":
        yield pipeline.language_model(run, "lm", data / "lm.txt", 4, ["digits"])


def _made_of(plan: Plan, chosen: Input) -> dict[str, Any]:
    """The files that make the features, and how; spectra are of what 8 kHz has."""
    if chosen.given is not None:
        given = chosen.given
        return {"checkpoint": given.checkpoint or "-", "bert": given.bert, "options": given.options}
    if not chosen.model:
        return {"options": ["--sample-rate", "8000", "--bands", "40"]}
    bert = checkpoint(plan, f"{chosen.model}_bert") if chosen.layer == "bert" else None
    return {"checkpoint": checkpoint(plan, chosen.model), "bert": bert}


def labels(plan: Plan, row: Row) -> Stage:
    """Labels of the share, for digits, where a string's faster copies count as one; else of the corpus."""
    data, splits = corpus_data(plan, row.corpus), corpus_splits(plan, row.corpus)
    name = labels_name(row)
    if row.corpus == "speech":
        return pipeline.labels(plan.run, name, data, splits, PHONES, [])
    stage = pipeline.labels(plan.run, name, data, splits, ["--text", "text", "--unit", "letters"], ["digits"])
    if row.fraction < 1:
        command = [*stage.commands[0]]
        command[command.index(str(data / "train.tsv"))] = str(data / f"share_{row.fraction:g}" / "train.tsv")
        stage = replace(stage, commands=[command])
    return stage


def labels_name(row: Row) -> str:
    if row.corpus == "speech":
        return "labels_speech"
    return "labels_digits" + (f"_{row.fraction:g}" if row.fraction < 1 else "")


def pretraining(plan: Plan, chosen: Input) -> Stage:
    audio = plan.run / "digits" / "data" / "pretrain"
    overrides = [f"task.data={audio}", f"+task.audio_cache={plan.run / 'digits' / 'cache'}", *chosen.settings]
    return pipeline.train(
        plan.run,
        chosen.model,
        HERE / "pretrain.yaml",
        [*overrides, *shortened(plan)],
        title=f"Pretraining {chosen.model} without labels",
        minutes=5,
        needs=["digits"],
    )


def tokens(plan: Plan, model: str, audio: Path, splits: Sequence[str], name: str) -> Stage:
    return pipeline.tokens(plan.run, name, checkpoint(plan, model), audio, splits, minutes=1, needs=[model])


def bert_stages(plan: Plan, model: str) -> Iterator[Stage]:
    audio = plan.run / "digits" / "data" / "pretrain"
    yield tokens(plan, model, audio, ("train", "valid"), f"{model}_tokens")
    yield pipeline.train(
        plan.run,
        f"{model}_bert",
        HERE / "bert.yaml",
        [f"task.data={plan.run / f'{model}_tokens' / 'data'}", *shortened(plan)],
        title=f"Training BERT on the tokens of {model}",
        minutes=5,
        needs=[f"{model}_tokens"],
    )


def row_stages(plan: Plan, row: Row) -> Iterator[Stage]:
    """The stages of one training, and of decoding the test set with it."""
    chosen = plan.inputs[row.features]
    data = plan.run / f"features_{row.corpus}_{chosen.name}" / "data"
    labels = plan.run / labels_name(row) / "data"
    speech = row.corpus == "speech"
    fraction = row.fraction if speech else 1
    overrides = [
        *(f"task.data={data}", f"task.labels={labels}", f"+task.label_fraction={fraction:g}"),
        *(f"common.seed={row.seed}", f"+task.label_seed={row.seed}"),
        *([] if speech else [f"criterion._name={chosen.criterion}"]),
        *(f"dataset.valid_subset={corpus_splits(plan, row.corpus)[1]}", *chosen.training),
    ]
    yield pipeline.train(
        plan.run,
        row.name,
        HERE / ("phones.yaml" if speech else "acoustic.yaml"),
        [*overrides, *shortened(plan)],
        title=f"{CORPORA[row.corpus]}: {chosen.called}, {row.fraction:.0%} of labels, seed {row.seed}",
        minutes=3,
        needs=[f"features_{row.corpus}_{chosen.name}", labels_name(row)],
    )
    commands: list[Sequence[str]] = []
    for name, decoder in decoders(plan, row).items():
        stage = pipeline.decode(
            plan.run,
            f"scores_{row.name}/{name}",
            plan.run / row.name / "checkpoint_best.pt",
            data,
            labels,
            "test",
            decoder,
            title="",
            minutes=0,
            needs=[],
        )
        commands += stage.commands
    needs = [row.name, *(["lm"] if row.corpus == "digits" else [])]
    yield Stage(f"scores_{row.name}", commands, "Its errors on the test set", 0.4, needs, shown="^Generate ")


def decoders(plan: Plan, row: Row) -> dict[str, list[str]]:
    """By name, the options of fairseq-generate."""
    if row.corpus == "speech":
        return {"greedy": ["greedy", "--error-unit", "phones"]}
    lexicon = plan.run / labels_name(row) / "data" / "lexicon.ltr.txt"
    lm = plan.run / "lm" / "lm.arpa"
    return {"greedy": ["greedy"], "lexicon": ["lexicon", "--lexicon", str(lexicon), "--lm", str(lm)]}
