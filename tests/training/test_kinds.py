"""Tables of languages and domains: what was summed, in columns that stay readable; a training has them."""

import re
from pathlib import Path

import pytest
import torch
from fairseq.logging import metrics
from small_training import noise_corpus, options, train

from vqw2v_plugin.modules.layers.apart import Apart
from vqw2v_plugin.training.kinds import KindTable, asked_of, kind_logs

KINDS = [("de", "phone"), ("de", "read"), ("en", "read")]
BITS = 0.6931471805599453  # nats


def logs_of(kinds: list[int], losses: list[float], codes: int = 2, num_kinds: int = 3) -> dict:
    """Two predictions of each utterance, of which one is right; the first code is the only one used."""
    sums = torch.tensor([[loss * BITS, 1.0, 2.0] for loss in losses])
    counts = torch.zeros(len(kinds), 1, codes)
    counts[:, :, 0] = 5
    return kind_logs({"kinds": kinds, "num_kinds": num_kinds}, Apart(sums, counts))


def test_sums_are_of_each_kind_over_batches_and_ranks() -> None:
    table = KindTable("mix:train", KINDS)
    with metrics.aggregate(new_root=True) as agg:
        table.add([logs_of([0, 2, 0], [2, 4, 6]), logs_of([1], [10])])
    lines = table.lines()
    assert [line.split() for line in lines[:4]] == [
        ["mix:train,", "by", "lang:"],
        ["lang", "of", "all", "loss", "accuracy", "perplexity", "codes", "in", "use"],
        ["de", "75.0%", "3.000", "0.5000", "1.0", "50.0%"],
        ["en", "25.0%", "2.000", "0.5000", "1.0", "50.0%"],
    ]
    assert [line.split()[:3] for line in lines[4:]] == [
        ["mix:train,", "by", "domain:"],
        ["domain", "of", "all"],
        ["phone", "50.0%", "2.000"],
        ["read", "50.0%", "3.500"],
    ]
    values = agg.get_smoothed_values()
    assert float(values["even_loss"]) == 2.5 and float(values["even_accuracy"]) == 0.5
    assert not any(name.startswith("kind") for name in values)


def test_fifty_languages_are_a_table_of_few_columns() -> None:
    kinds = [(f"l{i:02}", "") for i in range(53)]
    table = KindTable("mixture.yaml:valid", kinds)
    with metrics.aggregate(new_root=True):
        table.add([logs_of(list(range(52)), [1.0] * 52, num_kinds=53)])
    lines = table.lines()
    assert len(lines) == 2 + 53 and max(map(len, lines)) < 80
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[-1].split()[:3] == ["l52", "0.0%", "0.000"]  # not heard


def test_nothing_is_asked_or_shown_where_there_is_one_kind() -> None:
    assert asked_of({"id": [1]}) == {} and kind_logs({}, None) == {}
    assert KindTable.of(object()) is None
    assert KindTable("none", KINDS).lines() == []


def test_one_kind_has_no_table_but_columns_to_choose_by() -> None:
    """A subset such as `valid_de`, which fairseq too asks for `best_checkpoint_metric=even_loss`."""
    table = KindTable("mix:valid_de", KINDS[:1])
    with metrics.aggregate(new_root=True) as agg:
        table.add([logs_of([0, 0], [2, 4], num_kinds=1)])
    assert table.lines() == [] and float(agg.get_smoothed_values()["even_loss"]) == 1.5


def test_of_one_language_the_columns_count_domains_alike() -> None:
    """Those alone that were heard: of three domains two, and twice as often one of them."""
    table = KindTable("mix:valid", [("de", "phone"), ("de", "read"), ("de", "tv")])
    with metrics.aggregate(new_root=True) as agg:
        table.add([logs_of([0, 1, 1], [2, 6, 6])])
    assert float(agg.get_smoothed_values()["even_loss"]) == 2  # of two predictions each
    assert [line.split()[0] for line in table.lines()] == ["mix:valid,", "domain", "phone", "read", "tv"]


def test_codes_are_not_told_apart_where_there_would_be_too_many() -> None:
    assert set(logs_of([0], [1.0], 40_000, 3)) == {"kind_sums", "kind_counts"}
    assert set(logs_of([0], [1.0], 40_000, 4)) == {"kind_sums"}


def test_a_training_tells_of_each_language(tmp_path: Path) -> None:
    for lang in ("de", "en"):
        noise_corpus(tmp_path / lang, 4)
    text = "corpora: [{data: de, lang: de}, {data: en, lang: en, domain: phone}]"
    (tmp_path / "mixture.yaml").write_text(text)
    more = ["--max-epoch", "2", "--valid-subset", "valid,valid_phone"]
    ended = train(options(tmp_path / "mixture.yaml", tmp_path / "ck", more), tmp_path / "run")
    assert ended.status == 0, ended.said[-3000:]
    said = ended.said
    assert said.count("mixture.yaml:train, by lang:") == 2 == said.count("mixture.yaml:valid, by lang:")
    assert said.count("valid_phone, by") == 0 and "valid on 'valid_phone' subset" in said
    rows = re.findall(r"^(de|en) +([45]\d\.\d)% +[\d.]+ +[01]\.\d{4} ", said, re.MULTILINE)
    assert [lang for lang, _ in rows] == ["de", "en"] * 4
    assert float(rows[0][1]) + float(rows[1][1]) == pytest.approx(100)
    assert " h are heard an epoch, and there will be 2.0 epochs" in said
    assert "even_accuracy" in said
