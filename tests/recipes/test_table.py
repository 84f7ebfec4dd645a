"""A recipe that ends in a table: it grows with the stages that its rows are of."""

from collections.abc import Set
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from python_code import python

from vqw2v_plugin.recipes import table
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.recipes.table import finish, spread


def test_the_table_has_what_is_finished_before_the_first_stage_and_behind_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    plan = SimpleNamespace(run=tmp_path, jobs=1)
    threads = python("import os; print(os.environ['OMP_NUM_THREADS'])")
    stages = [Stage(name, threads, name, 0.1) for name in ("one", "two")]
    seen: list[list[str]] = []

    def write(given: Any, done: Set[str]) -> None:
        assert given is plan
        seen.append(sorted(done))
        (tmp_path / "table.md").write_text(f"rows: {len(done)}")

    for times in (1, 2):  # the second time all of them are there
        assert finish("x.py", "table.md", lambda: plan, lambda _: iter(stages), write) == 0
        assert capsys.readouterr().out.endswith("rows: 2\n")
        assert seen[:3] == [[], ["one"], ["one", "two"]] and len(seen) == 2 + times
    assert (tmp_path / "one/log.txt").read_text() == "1\n"  # a core each


def test_as_many_stages_run_side_by_side_as_are_planned_a_core_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(table, "run_recipe", lambda *_, after, **how: told.append(how))
    (tmp_path / "table.md").touch()
    plan = SimpleNamespace(run=tmp_path, jobs=3)
    assert finish("x.py", "table.md", lambda: plan, lambda _: [], lambda *_: None) == 0
    assert told == [{"jobs": 3, "threads": 1}]


def test_what_cannot_be_planned_is_told_by_the_script_s_name(capsys: pytest.CaptureFixture[str]) -> None:
    def planned() -> Any:
        raise ValueError("`--seeds` is 0")

    assert finish("x.py", "table.md", planned, lambda _: [], lambda *_: None) == 1
    assert capsys.readouterr().err.startswith("x.py: `--seeds` is 0; ")


def test_rates_of_several_seeds_have_their_mean_and_deviation() -> None:
    assert [spread(rates) for rates in ([], [5.25], [1, 2, 6])] == ["", "5.2", "3.0 ± 2.6"]
