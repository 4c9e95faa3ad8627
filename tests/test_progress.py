import io
import sys

import pytest

from transferzoo.errors import InvalidInputError
from transferzoo.ground.progress import Progress, TerminalProgress, choose_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_silent_by_default_where_no_terminal_listens(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(choose_progress("auto")) is Progress


def test_progress_is_shown_by_default_in_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(choose_progress("auto"), TerminalProgress)


@pytest.mark.parametrize(("verbose", "kind"), [(True, TerminalProgress), (False, Progress)])
def test_progress_is_shown_or_not_as_asked(verbose, kind):
    assert type(choose_progress(verbose)) is kind


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
