"""Trainings on mixtures by `fairseq-train`: killed ones end as whole ones, two ranks see what one sees."""

import re
import sys
from pathlib import Path

import pytest
from program_runs import check_killed_is_whole, on_ranks
from small_training import noise_corpus, options

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two languages, of which one is gone through more often; an epoch ends amid passes of both."""
    folder = tmp_path_factory.mktemp("mixed")
    noise_corpus(folder / "de", 5)
    noise_corpus(folder / "en", 16)
    entries = ["{data: de, lang: de}", "{data: en, lang: en}"]
    (folder / "mixture.yaml").write_text(
        f"alpha: 0.3\nepoch_hours: 0.0013\ncorpora: [{', '.join(entries)}]\n"
    )
    return folder / "mixture.yaml"


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_one_left_alone(mixture: Path, tmp_path: Path) -> None:
    """60 updates are many epochs, and each of them begins where the one before ended."""
    given = options(mixture, tmp_path / "none")
    kept = [word for i, word in enumerate(given[1:], 1) if "--save-dir" not in given[i - 1 : i + 1]]
    check_killed_is_whole(mixture, kept, tmp_path)


@pytest.mark.slow
def test_two_ranks_hear_and_tell_what_one_does(mixture: Path, tmp_path: Path) -> None:
    """Negatives are each rank's own, so that losses are alike and not the same."""
    tables = []
    for ranks in (1, 2):
        more = ["--max-epoch", "1", "--update-freq", str(3 - ranks), "--dropout", "0", "--seed", "3"]
        folder = tmp_path / f"ck{ranks}"
        command = [str(BIN / "fairseq-train"), *options(mixture, folder, more)]
        on_ranks([*command, "--ddp-backend", "legacy_ddp"], ranks, folder)
        log = (folder / "train.log").read_text(encoding="utf-8")
        tables.append(re.findall(r"^(?:de|en) +(\d+\.\d%) +(\d+\.\d)", log, re.MULTILINE))
    assert tables[0] == tables[1] and len(tables[0]) == 2 * 2
