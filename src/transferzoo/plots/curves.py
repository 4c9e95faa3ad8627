"""What happens over epochs and over rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.metrics import readable
from transferzoo.plots.axes import (
    BLUE,
    GREY,
    VERMILLION,
    check_axes,
    finite_number,
    new_axes,
    titled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def history(history: Any, *, title: str | None = None, ax: Any = None) -> NDArray[Any]:
    """Loss and accuracy over the epochs, in two panels.

    Parameters
    ----------
    history : mapping of str to list, or an object whose ``history`` is one
        One entry per epoch: ``loss`` and ``accuracy``; where there are, ``val_loss``, ``val_accuracy`` and
        ``phase`` (str). Accuracies are fractions in ``[0, 1]``. Where there is a finite ``strength``, a head
        was solved in one go, which is no epoch. Other keys are not drawn.
    title : str, optional
        What stands above the left panel. Default: nothing.
    ax : pair of matplotlib Axes, optional
        Where to draw loss and accuracy; by default a new figure.

    Returns
    -------
    ndarray of Axes, shape (2,)
        The loss panel and the accuracy panel. A thin line marks where a phase begins. A head that was solved
        in one go is a dotted line at its validation figure; where nothing else was trained, its training
        and validation figures are two bars.

    Raises
    ------
    InvalidInputError
        If a key is missing, the lists differ in length, or `ax` is not a pair.

    Examples
    --------
    >>> loss, accuracy = history({"loss": [1.2, 0.8], "accuracy": [0.5, 0.7]})
    >>> accuracy.lines[0].get_xydata().tolist()
    [[1.0, 0.5], [2.0, 0.7]]
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    series, phases, solved = _history_series(history)
    if ax is None:
        axes = new_axes(10, 3.8, columns=2)
    else:
        axes = np.asarray(ax, dtype=object).ravel()
        if axes.shape != (2,) or not all(hasattr(one, "plot") for one in axes):
            raise invalid("ax", "a pair of matplotlib Axes, for loss and accuracy", ax)
    # above the legend, where there is one
    titled(axes[0], title, above=6.0 if solved.all() else 22.0)
    if solved.all():
        for panel, name in zip(axes, ("loss", "accuracy"), strict=True):
            _bars(panel, series, name)
        return np.asarray(axes)
    heads = {name: values[solved] for name, values in series.items()}
    solvers = [phase for phase, without in zip(phases, solved, strict=False) if without]
    series = {name: values[~solved] for name, values in series.items()}
    phases = [phase for phase, without in zip(phases, solved, strict=False) if not without]
    epochs = np.arange(1, len(series["loss"]) + 1)
    marker = "o" if len(epochs) <= 30 else ""
    for panel, name in zip(axes, ("loss", "accuracy"), strict=True):
        panel.plot(epochs, series[name], color=BLUE, marker=marker, markersize=4, label="training")
        if f"val_{name}" in series:
            panel.plot(
                epochs,
                series[f"val_{name}"],
                color=VERMILLION,
                linestyle="--",
                marker=marker and "s",
                markersize=4,
                label="validation",
            )
        for number, value in enumerate(heads.get(f"val_{name}", [])):
            label = f"{solvers[number]}, validation" if solvers else "solved head, validation"
            panel.axhline(value, color=VERMILLION, linestyle=":", linewidth=1.2, label=label)
        _mark_phases(panel, phases, at_top=name == "loss")
        panel.set_xlabel("Epoch")
        panel.set_ylabel(name.capitalize())
        panel.set_xlim(0.5, len(epochs) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        # above the panel, where neither a curve nor a phase's name can lie under it
        ncols = 2 if not solved.any() else 3
        panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=ncols, frameon=False, fontsize="small")
    axes[1].yaxis.set_major_formatter(PercentFormatter(1))
    return np.asarray(axes)


def _bars(panel: Axes, series: Mapping[str, NDArray[np.float64]], name: str) -> None:
    """Draw the figures of a head that was solved in one go."""
    from matplotlib.ticker import PercentFormatter

    sources = {"training": name, "validation": f"val_{name}"}
    known = {word: series[key][-1] for word, key in sources.items() if key in series}
    colours = [BLUE, VERMILLION][: len(known)]
    bars = panel.bar(list(known), list(known.values()), width=0.5, color=colours)
    panel.bar_label(bars, [readable(name, value) for value in known.values()], padding=3, fontsize=9)
    panel.set_xlim(-0.75, len(known) - 0.25)
    if name == "accuracy":
        panel.set_ylim(0, 1)
        panel.yaxis.set_major_formatter(PercentFormatter(1))
    else:
        panel.margins(y=0.12)
    panel.set_ylabel(name.capitalize())
    panel.spines[["top", "right"]].set_visible(False)


def _history_series(
    history: Any,
) -> tuple[dict[str, NDArray[np.float64]], list[str], NDArray[np.bool_]]:
    lists = history if isinstance(history, Mapping) else getattr(history, "history", None)
    accepted = "a mapping of lists with 'loss' and 'accuracy', or an object whose history is one"
    if not isinstance(lists, Mapping):
        raise invalid("history", accepted, history)
    series = {}
    for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
        if lists.get(key) is None:
            if key in ("loss", "accuracy"):
                raise invalid("history", accepted, sorted(map(str, lists)))
            continue
        try:
            series[key] = np.asarray(lists[key], dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise invalid(f"history[{key!r}]", "a list of numbers, one for each epoch", lists[key]) from None
    phases = [str(phase) for phase in lists.get("phase") or []]
    lengths = {key: len(values) for key, values in series.items()}
    if phases:
        lengths["phase"] = len(phases)
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise invalid("history", "lists of one length, one entry for each epoch", lengths)
    strengths = [finite_number(each) for each in lists.get("strength") or []]
    if len(strengths) != len(series["loss"]):
        strengths = [math.nan] * len(series["loss"])
    solved = np.isfinite(strengths)
    return series, phases, solved


def _mark_phases(panel: Axes, phases: list[str], *, at_top: bool) -> None:
    for index in range(1, len(phases)):
        if phases[index] == phases[index - 1]:
            continue
        panel.axvline(index + 0.5, color=GREY, linewidth=0.8, linestyle=":")
        panel.text(
            index + 0.5,
            0.98 if at_top else 0.02,
            f" {phases[index]} ",
            transform=panel.get_xaxis_transform(),
            rotation=90,
            ha="right",
            va="top" if at_top else "bottom",
            fontsize=8,
            color=GREY,
            parse_math=False,
        )


def learning_rates(curve: Any, ax: Axes | None = None) -> Axes:
    """Loss against a rising learning rate, with the rate that is suggested.

    Parameters
    ----------
    curve : object
        With ``rates``, ``losses`` and ``raw_losses``, each a sequence of float, shape (n,), and
        ``suggestion`` (float); such as `find_learning_rate` returns. Rates are above 0.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib Axes
        The batches' own losses faint behind the smoothed ones, over a logarithmic axis of rates; a dashed
        line stands at the suggestion. Losses far above the smoothed ones are cut off.

    Raises
    ------
    InvalidInputError
        If an attribute is missing or does not hold what it must.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> rates, losses = [1e-4, 1e-3, 1e-2, 1e-1], [2.3, 2.1, 1.4, 5.0]
    >>> ax = learning_rates(
    ...     SimpleNamespace(rates=rates, losses=losses, raw_losses=losses, suggestion=1e-3)
    ... )
    >>> ax.get_xscale()
    'log'
    """
    rates, losses, raw = (_curve_part(curve, name) for name in ("rates", "losses", "raw_losses"))
    suggestion = finite_number(getattr(curve, "suggestion", None))
    if not len(rates) == len(losses) == len(raw) > 0:
        raise invalid(
            "curve", "with rates, losses and raw_losses of one length", (len(rates), len(losses), len(raw))
        )
    if rates.min() <= 0:
        raise invalid("curve.rates", "above 0", float(rates.min()))
    if not suggestion > 0:
        raise invalid("curve.suggestion", "a rate above 0", getattr(curve, "suggestion", None))
    check_axes(ax)
    if ax is None:
        ax = new_axes(7, 4)
    ax.plot(rates, raw, color=BLUE, alpha=0.25, linewidth=1, label="each batch")
    ax.plot(rates, losses, color=BLUE, linewidth=2, label="smoothed")
    ax.axvline(suggestion, color=VERMILLION, linestyle="--", linewidth=1.5)
    ax.set_xscale("log")
    # one wild batch at the end must not flatten the valley
    lowest, highest = min(losses.min(), raw.min()), losses.max()
    room = 0.08 * max(highest - lowest, 1e-3 * max(abs(highest), 1.0))
    ax.set_ylim(lowest - room, highest + 2 * room)
    left, right = (math.log(limit) for limit in ax.get_xlim())
    place = (math.log(suggestion) - left) / (right - left)
    near_left = place < 0.5
    # both stand above the panel, on either side of each other, where no curve can lie under them
    ax.annotate(
        f"suggested: {suggestion:.2g}",
        (suggestion, 1),
        xycoords=ax.get_xaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        # away from the legend, unless that would leave the panel
        ha="left" if place < 0.3 or 0.5 <= place < 0.7 else "right",
        va="bottom",
        color=VERMILLION,
        annotation_clip=False,
        parse_math=False,
    )
    side = 1 if near_left else 0
    ax.legend(
        loc="lower right" if near_left else "lower left", bbox_to_anchor=(side, 1), ncols=2, frameon=False
    )
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Training loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.3)
    return ax


def _curve_part(curve: Any, name: str) -> NDArray[np.float64]:
    accepted = "a sequence of finite numbers"
    try:
        values = np.asarray(getattr(curve, name, None), dtype=np.float64)
    except (TypeError, ValueError):
        raise invalid(f"curve.{name}", accepted, getattr(curve, name, None)) from None
    if values.ndim != 1 or not np.isfinite(values).all():
        raise invalid(f"curve.{name}", accepted, getattr(curve, name, None))
    return values
