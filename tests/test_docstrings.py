"""The examples in docstrings are run, in processes of their own because some of them register names."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "transferzoo"


WITH_EXAMPLES = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
# a process for each room, and one for the modules outside rooms
ROOMS = sorted({path.relative_to(SOURCE).parts[0] if path.parent != SOURCE else "" for path in WITH_EXAMPLES})


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room or "transferzoo")
def test_every_docstring_example_does_what_it_says(room):
    folder = SOURCE / room
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--doctest-modules",
        "-q",
        "-p",
        "no:cacheprovider",
        *(str(path) for path in WITH_EXAMPLES if (folder in path.parents if room else path.parent == SOURCE)),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=SOURCE.parents[1])
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout
