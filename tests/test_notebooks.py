"""The notebooks run from their first cell to their last, without a network."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "examples" / "notebooks").glob("*.ipynb"))
# what is changed in the cell of parameters, so that nothing is downloaded
QUICK = {"article_study.ipynb": {"QUICK = False": "QUICK = True"}, "your_photos.ipynb": {}}


def parameters_of(notebook):
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]


def test_every_notebook_is_known_here():
    assert [path.name for path in NOTEBOOKS] == sorted(QUICK)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_holds_no_output(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert len(parameters_of(notebook)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_without_a_network(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(path, as_version=4)
    (cell,) = parameters_of(notebook)
    for old, new in QUICK[path.name].items():
        assert old in cell.source
        cell.source = cell.source.replace(old, new)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "accuracy" in printed
    drawn = [output for output in outputs if "image/png" in output.get("data", ())]
    assert len(drawn) == 3
