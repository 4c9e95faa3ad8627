"""The examples in docstrings are run, in a process of their own because some of them register names."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "transferzoo"


@pytest.mark.slow
def test_every_docstring_example_does_what_it_says():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--doctest-modules",
        "-q",
        "-p",
        "no:cacheprovider",
        str(SOURCE),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=SOURCE.parents[1])
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout
