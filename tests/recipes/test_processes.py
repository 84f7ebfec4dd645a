"""A recipe's processes: what they see, what is kept of their output, and that none outlives a stop."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from python_code import python

from vqw2v_plugin.recipes import processes as module
from vqw2v_plugin.recipes.processes import Processes, StoppedError, ended_by_signals


def run(processes: Processes, code: str, log: Path, see: Callable[[str], None] = lambda line: None) -> int:
    reader, writer = os.pipe()  # in place of a lock
    try:
        return processes.run(python(code)[0], log, see, writer)
    finally:
        os.close(reader)
        os.close(writer)


def test_each_line_is_seen_and_added_to_the_log_and_the_status_is_the_program_s(tmp_path: Path) -> None:
    log, seen = tmp_path / "log.txt", list[str]()
    log.write_text("before\n")
    code = "import sys; print('out'); sys.stdout.flush(); print('err', file=sys.stderr); sys.exit(7)"
    assert run(Processes({}), code, log, seen.append) == 7
    assert seen == ["out\n", "err\n"] and log.read_text() == "before\nout\nerr\n"


def test_no_program_waits_for_what_is_typed_or_takes_it(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"typed for another program\n")
    own = os.dup(0)
    os.dup2(reader, 0)
    try:
        assert run(Processes({}), "import sys; print(repr(sys.stdin.read(5)))", tmp_path / "log") == 0
    finally:
        os.dup2(own, 0)
        for descriptor in (reader, writer, own):
            os.close(descriptor)
    assert (tmp_path / "log").read_text() == "''\n"


def test_what_a_program_prints_is_seen_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    code = "import os; print(os.environ['PYTHONUNBUFFERED'], os.environ['OWN'], os.environ['HERS'])"
    monkeypatch.setenv("HERS", "the user's")
    run(Processes({"OWN": "ours", "HERS": "ours"}), code, tmp_path / "log")
    assert (tmp_path / "log").read_text() == "1 ours the user's\n"


def test_a_program_that_does_not_listen_is_ended_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    processes = Processes({})
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"

    def stop(line: str) -> None:
        threading.Thread(target=processes.stop).start()

    began = time.monotonic()
    with pytest.raises(StoppedError):
        run(processes, deaf, tmp_path / "log", stop)
    assert time.monotonic() - began < 30


def test_after_a_stop_nothing_begins_and_what_ends_well_is_no_success(tmp_path: Path) -> None:
    processes = Processes({})
    end = "lambda *_: (os.write(1, b'asked to end\\n'), os._exit(0))"  # it may come within the print
    polite = f"import os, signal, time; signal.signal(15, {end}); print(1, flush=True)"

    def stop(line: str) -> None:
        processes.stop()

    with pytest.raises(StoppedError):
        run(processes, f"{polite}; time.sleep(60)", tmp_path / "log", stop)
    assert (tmp_path / "log").read_text().startswith("1\nasked to end\n")
    with pytest.raises(StoppedError):
        run(processes, f"open({str(tmp_path / 'ran')!r}, 'w')", tmp_path / "log")
    assert not (tmp_path / "ran").exists()


def test_what_has_ended_is_not_signalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may be another program's by then."""
    signalled: list[int] = []
    processes = Processes({})
    assert run(processes, "pass", tmp_path / "log") == 0
    monkeypatch.setattr(module, "_PATIENCE", 0)
    monkeypatch.setattr(module.os, "killpg", lambda group, number: signalled.append(group))
    processes.stop()
    assert not signalled


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_kill_and_a_closed_terminal_end_with_the_shell_s_status(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    assert before is signal.SIG_DFL
    with pytest.raises(SystemExit) as ended, ended_by_signals():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert ended.value.code == 128 + number and signal.getsignal(number) is before


@pytest.mark.parametrize("own", [signal.SIG_IGN, lambda number, frame: None])
def test_what_the_user_does_with_a_signal_stays_as_under_nohup(own: Any) -> None:
    before = signal.signal(signal.SIGHUP, own)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is own
        assert signal.getsignal(signal.SIGHUP) is own
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_is_no_text_stays_readable(tmp_path: Path) -> None:
    seen: list[str] = []
    code = "import sys; sys.stdout.buffer.write(bytes([104, 255, 105, 10]))"
    assert run(Processes({}), code, tmp_path / "log", seen.append) == 0
    assert seen == ["h\ufffdi\n"] and (tmp_path / "log").read_text() == "h\ufffdi\n"
