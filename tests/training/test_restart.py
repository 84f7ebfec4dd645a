"""What is looked at before a run begins: the newest whole checkpoint, and ranks that know of each other."""

import os
import struct
from pathlib import Path

import pytest
import torch

pytest.importorskip("fairseq")
from vqw2v_plugin.training import restart
from vqw2v_plugin.training.restart import check_ranks, is_whole, mend_last_checkpoint


def test_the_newest_whole_checkpoint_is_gone_on_from_whatever_its_name(tmp_path: Path) -> None:
    for age, name in enumerate(("checkpoint_1_9.pt", "checkpoint_best.pt", "checkpoint9.pt")):
        torch.save({"name": name}, tmp_path / name)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "checkpoint_last.pt").write_bytes((tmp_path / "checkpoint9.pt").read_bytes()[:100])
    mend_last_checkpoint(tmp_path)
    assert torch.load(tmp_path / "checkpoint_last.pt", weights_only=True) == {"name": "checkpoint_1_9.pt"}


def test_processes_that_run_apart_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for alone in ("", "1"):
        monkeypatch.setenv("WORLD_SIZE", alone)
        check_ranks()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE says that 2 processes"):
        check_ranks()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)  # they know of each other
    check_ranks()


def test_where_hydra_has_gone_elsewhere_the_user_s_own_folder_is_named_if_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restart, "to_absolute_path", lambda path: str(tmp_path / "user" / path))
    (tmp_path / "user" / "data").mkdir(parents=True)
    (tmp_path / "user" / "file").touch()
    for folder in ("none", "file"):
        with pytest.raises(ValueError, match=f"data={folder}: is no folder, .* with .*; correct the path"):
            restart.need_folder("data", folder, "SPLIT.tsv files")
    with pytest.raises(ValueError, match=f"hydra has changed the working folder: say {tmp_path}/user/data"):
        restart.need_folder("data", "data", "SPLIT.tsv files")


def test_an_archive_whose_table_of_contents_is_elsewhere_is_not_whole(tmp_path: Path) -> None:
    """As damage may have it: a table on the second of two disks."""
    torch.save({}, tmp_path / "whole.pt")
    assert is_whole(tmp_path / "whole.pt")
    (tmp_path / "a.pt").write_bytes(struct.pack("<4sLQL", b"PK\6\7", 1, 0, 2) + b"PK\5\6" + bytes(18))
    (tmp_path / "b.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-30])
    assert not is_whole(tmp_path / "a.pt") and not is_whole(tmp_path / "b.pt")
