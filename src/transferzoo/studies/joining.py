"""`join`: help with a study that another process, or another machine, has begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transferzoo.data.catalog import repeat_calls
from transferzoo.errors import InvalidInputError, RecordError
from transferzoo.ground.progress import Progress
from transferzoo.ground.storage.files import check_path
from transferzoo.recipes.recipe import Recipe
from transferzoo.studies.calls import STUDY, read_call
from transferzoo.studies.comparing import compare
from transferzoo.studies.study import Study


def join(folder: str | Path, *, n_jobs: int = 1, verbose: bool | str | Progress = "auto") -> Study:
    """Help with a study that another process has begun, or make one that was interrupted go to its end.

    The study's folder says what was asked for. Each run is made by one process: runs that another process
    works at come last, and one whose process was killed is taken over. On another machine the folder must be
    on a file system that both share and that knows locks, and the data must be found under the same path.

    Parameters
    ----------
    folder : str or Path
        What `compare` was given as `out`.
    n_jobs : int, default 1
        As `compare` takes it.
    verbose : {"auto", True, False}, default "auto"
        As `compare` takes it.

    Returns
    -------
    Study
        All runs, those of other processes too.

    Raises
    ------
    RecordError
        If the folder does not say how its study was begun, as where built models or arrays were given.
    TransferZooError
        As from `compare`.

    Examples
    --------
    >>> import tempfile
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits").subset(train=100, validation=50, test=50)
    >>> options = {"weights": None, "recipe": "linear_probe", "lint": False, "verbose": False}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = tz.compare(["mobilenet_025"], data, out=folder, **options)
    ...     again = tz.studies.join(folder, verbose=False)
    >>> again.names
    ('mobilenet_025',)
    """
    path = check_path("folder", folder, "a study's folder, as text or a Path")
    call = read_call(path)
    try:
        recipe = call.pop("recipe")
        data, options = call.pop("data"), call.pop("options")
        given = {
            **call,
            **options,
            "recipe": _recipe(recipe),
            "data": repeat_calls(data),
        }
        models = given.pop("models")
        if isinstance(models, dict):
            models = {
                name: {**each, "recipe": _recipe(each["recipe"])}
                if isinstance(each, dict) and "recipe" in each
                else each
                for name, each in models.items()
            }
    except (KeyError, TypeError, InvalidInputError) as error:
        raise RecordError(
            f"'{path / STUDY}' cannot be read: {' '.join(str(error).split())}",
            argument="folder",
            value=str(folder),
        ) from error
    return compare(models, **given, out=path, n_jobs=n_jobs, verbose=verbose)


def _recipe(recipe: Any) -> Any:
    return Recipe.from_dict(recipe) if isinstance(recipe, dict) else recipe
