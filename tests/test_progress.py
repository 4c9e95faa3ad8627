import contextlib
import io
import os
import re
import subprocess
import sys
import types

import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError
from transferzoo.ground.progress import LineProgress, Progress, TerminalProgress, choose_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("verbose", ["auto", True])
def test_progress_is_lines_where_no_terminal_listens(monkeypatch, verbose):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(choose_progress(verbose)) is LineProgress


def test_progress_is_shown_by_default_in_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(choose_progress("auto"), TerminalProgress)


def test_no_progress_is_shown_where_that_is_asked_for():
    assert type(choose_progress(False)) is Progress


def test_a_display_of_ones_own_is_used_as_it_is():
    mine = Progress()
    assert choose_progress(mine) is mine


@pytest.mark.parametrize("verbose", ["atuo", 2, None])
def test_anything_else_is_refused_with_what_is_accepted(verbose):
    with pytest.raises(InvalidInputError, match="verbose must be 'auto', True or False"):
        choose_progress(verbose)


def test_a_silent_task_prints_nothing(capfd):
    with Progress().task("training", 3) as task:
        task.advance()
        task.describe("half way")
    assert capfd.readouterr() == ("", "")


def test_a_bar_says_what_it_is_for_on_standard_error(monkeypatch):
    heard = Terminal()
    monkeypatch.setattr(sys, "stderr", heard)
    with TerminalProgress().task("training", 3) as task:
        task.advance(2)
        task.describe("nearly there")
    assert "nearly there" in heard.getvalue()


def test_a_bar_leaves_standard_output_alone(capsys):
    with TerminalProgress().task("training", 3) as task:
        task.advance()
    assert capsys.readouterr().out == ""


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("transferzoo.ground.progress.time", made)
    return made


def test_a_short_task_prints_no_line(clock, capsys):
    with LineProgress().task("reading", 10) as task:
        for _ in range(10):
            clock.now += 1
            task.advance()
    assert capsys.readouterr() == ("", "")


def test_a_long_task_prints_a_line_every_30_seconds_with_the_time_left(clock, capsys):
    with LineProgress().task("features", 100, unit="batches") as task:
        for _ in range(100):
            clock.now += 2
            task.advance()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "features: 15 of 100 batches, 3 min left"
    assert len(err.splitlines()) == 6


def test_bytes_are_counted_with_their_prefix(clock, capsys):
    with LineProgress().task("downloading", None, unit="bytes") as task:
        clock.now += 40
        task.advance(5_000_000)
    assert capsys.readouterr().err == "downloading\ndownloading: 5 MB\n"


@pytest.mark.medium
def test_a_run_in_a_pipe_says_what_it_is_and_how_each_epoch_ended(tiny, quick, tiny_digits, capsys):
    tz.fit_and_evaluate(tiny, tiny_digits, weights=None, recipe=quick, epochs=2, lint=False)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == (
        "tiny, recipe quick: all (2 epochs); 100 training, 50 validation and 50 test images of 32×32 in 10 "
        "classes"
    )
    assert lines[1] == "all: 2 epochs of 2 steps; compiling first"
    figures = r"loss \d\.\d+, validation accuracy \d+\.\d%, \d+ s"
    assert re.fullmatch(rf"all, epoch 1 of 2: {figures}; \d+ s left", lines[2])
    assert re.fullmatch(rf"all, epoch 2 of 2: {figures}", lines[3])
    assert lines[4].startswith("tiny: accuracy ")
    assert "95 % interval" in lines[4]


@pytest.mark.medium
def test_a_quiet_run_says_nothing(tiny, quick, tiny_digits, capsys):
    tz.fit_and_evaluate(tiny, tiny_digits, weights=None, recipe=quick, lint=False, verbose=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("found", "kind"), [(object(), TerminalProgress), (None, LineProgress)])
def test_a_notebook_has_bars_where_it_can_draw_them_and_lines_elsewhere(monkeypatch, capsys, found, kind):
    kernel = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    progress = choose_progress("auto")
    assert type(progress) is kind
    progress.say("a line")
    out, err = capsys.readouterr()
    assert (out.strip(), err) == ("a line", "")


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are of POSIX systems")
def test_a_line_stands_above_the_bar_of_a_terminal():
    code = (
        "import time\nfrom transferzoo.ground.progress import TerminalProgress\n"
        "progress = TerminalProgress()\n"
        "with progress.task('training', 3) as task:\n"
        "    for number in range(3):\n"
        "        task.advance(); progress.say(f'epoch {number} [of] 3'); time.sleep(0.2)\n"
    )
    reader, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=terminal, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(terminal)
        shown = ""
        # read while it is written: a terminal holds a few kilobytes, and then lets its writer wait
        with contextlib.suppress(OSError):
            while part := os.read(reader, 4096):
                shown += part.decode(errors="replace")
    os.close(reader)
    assert process.returncode == 0
    assert [f"epoch {number} [of] 3" in shown for number in range(3)] == [True] * 3
    assert "3/3 steps" in re.sub(r"\x1b\[[\d;]*m", "", shown)
