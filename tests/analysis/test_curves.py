import json

import pytest

from vqw2v_plugin.analysis.curves import best_log, parse_log

HYDRA = "[2026-01-02 03:04:05,678]"


def inner(updates: int, loss: float, more: str = "") -> str:
    values = f"loss={loss}, wps=2.6e+06, num_updates={updates}{more}"
    return f"{HYDRA}[train_inner][INFO] - epoch 002:     24 / 26 {values}"


def valid(updates: int, loss: float) -> str:
    values = f"loss {loss} | accuracy 0.1 | num_updates {updates}"
    return f"{HYDRA}[valid][INFO] - epoch 005 | valid on 'valid' subset | {values}"


def test_the_lines_of_fairseq_hydra_train() -> None:
    curves = parse_log("\n".join(["noise", inner(50, 3.5, ", lr=1e-05"), valid(60, 3.2), inner(100, 3.1)]))
    assert curves.series("loss") == {"training": [(50, 3.5), (100, 3.1)], "valid": [(60, 3.2)]}
    assert curves.series("lr") == {"training": [(50, 1e-5)]}
    assert curves.metrics == ["loss", "accuracy", "lr"] and curves.updates == 100
    assert parse_log("\n".join([inner(50, 3.5), valid(60, 3.2)])).updates == 60  # of whatever was logged


def test_the_lines_of_fairseq_train() -> None:
    time = "2026-01-02 03:04:05 | INFO"
    text = (
        f"{time} | train_inner | epoch 001:      5 / 26 loss=3.5, num_updates=5\n"
        f"{time} | valid | epoch 001 | valid on 'valid' subset | loss 3.2 | num_updates 26\n"
        f"{time} | train | epoch 001 | loss 3.3 | num_updates 26\n"
    )
    assert parse_log(text).series("loss") == {"training": [(5, 3.5)], "valid": [(26, 3.2)]}


def test_json_lines_say_the_same_as_simple_ones() -> None:
    rows = [
        (
            "train_inner",
            {"epoch": 1, "update": 0.3, "loss": "3.5", "group_share": "[0.9, 0.5]", "num_updates": "50"},
        ),
        ("valid", {"epoch": 1, "valid_loss": "3.2", "valid_num_updates": "60"}),
    ]
    text = "\n".join(f"{HYDRA}[{tag}][INFO] - {json.dumps(row)}" for tag, row in rows)
    curves = parse_log(text)
    assert curves.series("loss") == {"training": [(50, 3.5)], "valid": [(60, 3.2)]}
    assert curves.series("group_share") == {"group 0": [(50, 0.9)], "group 1": [(50, 0.5)]}


def test_a_loss_below_zero_is_a_loss() -> None:
    curves = parse_log("\n".join([inner(50, -3.5), valid(60, -2e-05)]))
    assert curves.series("loss") == {"training": [(50, -3.5)], "valid": [(60, -2e-05)]}


def test_without_lines_between_epochs_those_of_the_epochs_are_shown() -> None:
    text = f"{HYDRA}[train][INFO] - epoch 001 | loss 3.3 | num_updates 26"
    assert parse_log(text).series("loss") == {"training": [(26, 3.3)]}


def test_updates_done_again_after_a_kill_count_once() -> None:
    first = [inner(50, 3.5), valid(60, 3.2), inner(100, 3.1), valid(120, 3.0), inner(150, 2.9)]
    again = [inner(100, 3.11), valid(120, 3.01), inner(150, 2.91)]
    curves = parse_log("\n".join([*first, *again]))
    assert curves.series("loss") == {
        "training": [(50, 3.5), (100, 3.11), (150, 2.91)],
        "valid": [(60, 3.2), (120, 3.01)],
    }


def test_an_update_that_is_logged_twice_in_a_row_counts_once() -> None:
    curves = parse_log("\n".join([inner(50, 3.5), inner(100, 3.1), inner(100, 3.11)]))
    assert curves.series("loss") == {"training": [(50, 3.5), (100, 3.11)]}


def test_losses_come_first_then_rates_and_what_only_keeps_books_is_no_curve() -> None:
    more = ", lr=1, per=1, wer=1, accuracy=1, nll_loss=1, loss_1=1, loss_0=1, zeal=1, extra=1, gnorm=1"
    books = ", best_loss=1, best_wer=1, _hidden=1, ppl=2, clip=0, skipped_updates=1, train_wall=3"
    wanted = [
        "loss",
        "loss_0",
        "loss_1",
        "nll_loss",
        "accuracy",
        "wer",
        "per",
        "lr",
        "gnorm",
        "extra",
        "zeal",
    ]
    assert parse_log(inner(50, 3.5, more + books)).metrics == wanted


def test_a_training_and_a_validation_after_the_same_update_are_both_kept() -> None:
    curves = parse_log("\n".join([inner(50, 3.5), valid(50, 3.2)]))
    assert set(curves.series("loss")) == {"training", "valid"}


def test_the_groups_shares_are_the_codebooks_and_no_learning_curve() -> None:
    curves = parse_log(inner(50, 3.5, ", group_share=[0.957, 0.891], dead_codes=0.0, code_perplexity=7"))
    assert curves.metrics == ["loss"]
    assert curves.codebook_metrics == ["code_perplexity", "group_share", "dead_codes"]
    assert curves.series("group_share") == {"group 0": [(50, 0.957)], "group 1": [(50, 0.891)]}


def test_numbers_that_are_none_and_infinite_ones_are_left_out() -> None:
    text = "\n".join(
        [inner(50, float("nan")), inner(100, float("inf")), inner(150, 2.5), inner(200, 2.4)[:-40]]
    )
    assert parse_log(text).series("loss") == {"training": [(150, 2.5)]}


def test_settings_warnings_and_the_wanted_updates_are_read() -> None:
    settings = {"optimization": {"max_update": 500}, "model": {"_name": "vq_wav2vec"}, "common": {"seed": 3}}
    text = (
        f"{HYDRA}[fairseq_cli.train][INFO] - {settings}\n"
        f"{HYDRA}[vqw2v_plugin.training.collapse_alarm][WARNING] - the codebook collapses\n"
        f"{HYDRA}[py.warnings][WARNING] - somebody else's\n"
    )
    curves = parse_log(text)
    assert curves.settings == settings and curves.max_update == 500
    assert curves.warnings == ("the codebook collapses",)


def test_a_training_that_goes_on_is_one_of_its_last_settings_and_warns_once_of_each_thing() -> None:
    warned = f"{HYDRA}[vqw2v_plugin.training.collapse_alarm][WARNING] - the codebook collapses\n"
    text = "".join(
        f"{HYDRA}[fairseq_cli.train][INFO] - {{'optimization': {{'max_update': {n}}}}}\n{warned}"
        for n in (500, 900)
    )
    later = f"{HYDRA}[fairseq_cli.train][INFO] - {{'broken\n"
    curves = parse_log(text + warned.replace("21:", "22:") + later)
    assert curves.max_update == 900 and curves.warnings == ("the codebook collapses",)


@pytest.mark.parametrize("count", ["nan", "inf", "-inf", "1e999"])
def test_a_line_of_no_number_of_updates_is_no_point(count: str) -> None:
    line = inner(50, 3.5)
    assert "num_updates=50" in line
    curves = parse_log("\n".join([line.replace("num_updates=50", f"num_updates={count}"), inner(60, 3.2)]))
    assert curves.series("loss") == {"training": [(60, 3.2)]}


def test_settings_of_other_shapes_than_fairseq_s_say_nothing() -> None:
    odd = "{'model': {1, 2}, 'task': {'_name': ['x']}, 'criterion': {'_name': 'ctc'}, 'common': None, "
    curves = parse_log(f"{HYDRA}[fairseq_cli.train][INFO] - {odd}'optimization': {{'max_update': 1e999}}}}\n")
    assert [curves.name_of(section) for section in ("model", "task", "criterion", "common")] == [
        "",
        "",
        "ctc",
        "",
    ]
    assert curves.section("common") == curves.section("model") == {} and curves.max_update == 0


def test_settings_are_read_and_never_run() -> None:
    text = f"{HYDRA}[fairseq_cli.train][INFO] - {{'a': __import__('os').getcwd(), 'unit': letters, 'n': -1}}"
    assert parse_log(text).settings == {"a": "__import__('os').getcwd()", "unit": "letters", "n": -1}
    text = f"{HYDRA}[fairseq_cli.train][INFO] - {{'unit': Kind.letters}}"  # of an enumeration
    assert parse_log(text).settings == {"unit": "Kind.letters"}


def test_the_last_exception_is_what_ended_it() -> None:
    text = (
        inner(50, 3.5)
        + "\nTraceback (most recent call last):\n  File x\n    y()\nValueError: no such codebook\n"
    )
    assert parse_log(text).failure == "ValueError: no such codebook"
    assert parse_log(text + inner(100, 3.4)).failure == ""  # it went on
    hint = "\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n"
    assert parse_log(text + hint).failure == "ValueError: no such codebook"


def test_an_error_of_ours_is_what_ended_it() -> None:
    told = "fairseq-hydra-train: error: {}\n(VQW2V_LOUD=1 shows where in the program)\n"
    traceback = "Traceback (most recent call last):\n  File x\nKeyError: 'a'\n"
    begun = inner(50, 3.5) + "\n"
    assert (
        parse_log(begun + traceback + told.format("first") + told.format("no manifest")).failure
        == "no manifest"
    )
    assert parse_log(begun + told.format("no manifest") + inner(100, 3.4)).failure == ""  # it went on
    assert parse_log(begun + told.format("no manifest") + begun + traceback).failure == "KeyError: 'a'"


@pytest.mark.parametrize(
    "program", ["fairseq-train", "fairseq-generate", "hydra_train", "train", "generate", "validate"]
)
def test_an_error_is_told_by_whichever_of_fairseq_s_programs_ended(program: str) -> None:
    assert parse_log(f"{inner(50, 3.5)}\n{program}: error: no manifest\n").failure == "no manifest"


def test_hydras_hidden_error_is_found() -> None:
    text = (
        "DEBUG:hydra.core.utils:Setting JobRuntime:name=hydra_train\nCould not override 'task.data'.\n"
        "Key 'data' is not in struct\n    full_key: task.data\n\n"
        "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n"
    )
    assert parse_log(text).failure == "Could not override 'task.data'. Key 'data' is not in struct"


def test_how_long_it_took_is_what_its_clock_says_at_last() -> None:
    log = "\n".join([inner(50, 3.5, ", wall=61"), inner(100, 3.1, ", wall=118"), valid(100, 3.0)])
    assert parse_log(log).seconds == 118 and parse_log(inner(50, 3.5)).seconds is None
    assert parse_log(inner(50, 3.5, ", wall=nan")).seconds is None


def test_of_two_logs_the_one_that_goes_further_counts() -> None:
    long, short = "\n".join([inner(50, 3.5), inner(100, 3.1)]), inner(100, 3.1)
    assert best_log([short, long]).points == parse_log(long).points
    assert best_log(["", ""]).updates == 0


def test_settings_are_those_of_another_log_where_the_longest_has_none() -> None:
    settings = {"optimization": {"max_update": 500}}
    said = f"{HYDRA}[fairseq_cli.train][INFO] - {settings}\n"
    long = "\n".join([inner(50, 3.5), inner(100, 3.1)])
    for texts in ([said + inner(50, 3.5), long], [long, said], [said + long, ""]):
        found = best_log(texts)
        assert (found.max_update, found.updates) == (500, 100)


def test_the_last_log_that_failed_says_how_it_ended() -> None:
    failed = "Traceback (most recent call last):\nValueError: {}\n"
    texts = [inner(100, 3.1), failed.format("first"), failed.format("second"), ""]
    assert best_log(texts).failure == "ValueError: second" and best_log(texts).updates == 100
    assert best_log(texts[:1]).failure == ""


@pytest.mark.parametrize("text", ["", "\x00\x01", "[train_inner]", f"{HYDRA}[train_inner][INFO] - {{broken"])
def test_what_is_no_log_gives_no_points(text: str) -> None:
    assert not parse_log(text).points
