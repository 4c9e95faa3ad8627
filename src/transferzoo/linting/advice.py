"""`lint`: likely problems, before a second is spent on training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transferzoo.data.catalog import resolve_data
from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_flag, check_seed, check_seeds
from transferzoo.linting.checks import findings_between, findings_for
from transferzoo.linting.findings import Finding, check_codes, worst_first
from transferzoo.planning import RunPlan, plan_run

if TYPE_CHECKING:
    import keras

    from transferzoo.data.dataset import Dataset
    from transferzoo.recipes.recipe import Recipe


def lint(
    model: str | keras.Model | Sequence[Any] | Mapping[str, Any],
    data: str | Dataset,
    recipe: str | Recipe = "default",
    *,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    ignore: Sequence[str] = (),
    features: bool = False,
    **options: Any,
) -> list[Finding]:
    """Find what would make a training's result wrong, misleading or weak, before it begins.

    Nothing is trained and, unless `features` is True, no weights are fetched or read. A dataset given by its
    name is loaded.

    Parameters
    ----------
    model : str, keras.Model, or sequence or mapping of them
        What `fit_and_evaluate` would be given, or, for a comparison, `compare`: names, models, or dicts
        with one under ``"model"`` beside options that are its alone.
    data : str or Dataset
        A dataset's name, or a dataset.
    recipe : str or Recipe, default "default"
    seed : int, default 0
        Of the run.
    seeds : sequence of int, optional
        Of a comparison, as `compare` takes them.
    ignore : sequence of str, default ()
        Codes that are left out, such as ``["TZ207"]``.
    features : bool, default False
        Also compute the features of the first model's backbone, which takes as long as predicting all images
        once, and look for likely label errors in them. They are kept on disk for the training.
    **options
        As `fit_and_evaluate` takes them: `weights`, `head`, `epochs`, `learning_rate`, ….

    Returns
    -------
    list of Finding
        Errors first, then warnings, then notes; empty where nothing was found. ``finding.to_dict()`` gives
        plain strings.

    Raises
    ------
    TransferZooError
        As from `fit_and_evaluate`, for a bad call.

    Examples
    --------
    >>> import transferzoo as tz
    >>> data = tz.load_dataset("digits")
    >>> [finding.code for finding in lint("mobilenet", data, preprocessing="none", image_size=96)]
    ['TZ101', 'TZ207']
    """
    numbers = [check_seed(seed)] if seeds is None else check_seeds(seeds)
    ignored, features = check_codes(ignore), check_flag("features", features)
    data = resolve_data(data, seed=seed)
    runs: list[RunPlan] = []
    for name, one, own in _entries(model):
        given = {"recipe": recipe, **options, **own}
        how, before = given.pop("recipe"), runs[-1].name if runs else None
        runs.append(
            plan_run(
                one,
                data,
                recipe=how,
                seed=numbers[0],
                out=None,
                options=given,
                name=name,
                after=before,
                for_training=False,
                for_testing=False,
            )
        )
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        remedy = "A mapping gives them names: {'first': …, 'second': …}."
        raise invalid("model", "models of different names", names, remedy=remedy)
    found = [finding for run in runs for finding in findings_for(run)]
    found += findings_between(runs, seeds=len(numbers))
    if features and "TZ217" not in ignored:
        from transferzoo.linting.feature_checks import feature_findings

        found += feature_findings(runs[0])
    return worst_first(each for each in found if each.code not in ignored)


def _entries(model: Any) -> list[tuple[str | None, Any, dict[str, Any]]]:
    """Return each model with a name, where the caller gave one, and with the options that are its alone."""
    if isinstance(model, Mapping):
        given = list(model.items())
    elif isinstance(model, Sequence) and not isinstance(model, str):
        given = [(None, each) for each in model]
    else:
        given = [(None, model)]
    if not given:
        raise invalid("model", "a backbone's name, a keras.Model, or one or more of them", model)
    entries = []
    for name, one in given:
        own = dict(one) if isinstance(one, Mapping) else {"model": one}
        if "model" not in own:
            accepted = "a backbone's name, a keras.Model, or a dict with one under 'model'"
            raise invalid(f"model[{name!r}]", accepted, own)
        entries.append((name, own.pop("model"), own))
    return entries
