"""Loss and accuracy over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from transferzoo.errors import invalid
from transferzoo.ground.metrics import readable
from transferzoo.plots.axes import BLUE, GREY, VERMILLION, finite_number, new_axes, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, eq=False)
class HistoryData:
    """What `history` draws.

    Parameters
    ----------
    epochs : mapping of str to ndarray of float64, shape (e,)
        ``loss``, ``accuracy`` and, where known, ``val_loss`` and ``val_accuracy`` of the epochs.
    phases : tuple of str
        The phase of each epoch; empty where unknown.
    solved : mapping of str to ndarray of float64, shape (s,)
        The same figures of heads that were solved in one go, which is no epoch.
    solvers : tuple of str
        The phases that solved them; empty where unknown.
    """

    epochs: Mapping[str, NDArray[np.float64]]
    phases: tuple[str, ...]
    solved: Mapping[str, NDArray[np.float64]]
    solvers: tuple[str, ...]

    @property
    def begins(self) -> dict[int, str]:
        """Epochs, from 1, that end a phase, and the phase that begins after each."""
        pairs = enumerate(zip(self.phases, self.phases[1:], strict=False), 1)
        return {number: after for number, (before, after) in pairs if before != after}


def history_data(history: Any) -> HistoryData:
    """Return what `history` draws of a run's history, checked."""
    series, phases, solved = _history_series(history)
    return HistoryData(
        epochs={name: values[~solved] for name, values in series.items()},
        phases=tuple(phase for phase, alone in zip(phases, solved, strict=False) if not alone),
        solved={name: values[solved] for name, values in series.items()},
        solvers=tuple(phase for phase, alone in zip(phases, solved, strict=False) if alone),
    )


def history(history: Any, *, title: str | None = None, ax: Any = None) -> NDArray[Any]:
    """Loss and accuracy over the epochs, in two panels.

    Parameters
    ----------
    history : mapping of str to list, or an object whose ``history`` is one
        One entry per epoch: ``loss`` and ``accuracy``; where there are, ``val_loss``, ``val_accuracy`` and
        ``phase`` (str). Accuracies are fractions in ``[0, 1]``. Where there is a finite ``C``, a head
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

    found = history_data(history)
    only_solved = not len(found.epochs["loss"])
    if ax is None:
        axes = new_axes(10, 3.8, columns=2)
    else:
        axes = np.asarray(ax, dtype=object).ravel()
        if axes.shape != (2,) or not all(hasattr(one, "plot") for one in axes):
            raise invalid("ax", "a pair of matplotlib Axes, for loss and accuracy", ax)
    # above the legend, where there is one
    titled(axes[0], title, above=6.0 if only_solved else 22.0)
    if only_solved:
        for panel, name in zip(axes, ("loss", "accuracy"), strict=True):
            _bars(panel, found.solved, name)
        return np.asarray(axes)
    series = found.epochs
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
        for number, value in enumerate(found.solved.get(f"val_{name}", [])):
            label = f"{found.solvers[number]}, validation" if found.solvers else "solved head, validation"
            panel.axhline(value, color=VERMILLION, linestyle=":", linewidth=1.2, label=label)
        _mark_phases(panel, found.begins, at_top=name == "loss")
        panel.set_xlabel("Epoch")
        panel.set_ylabel(name.capitalize())
        panel.set_xlim(0.5, len(epochs) + 0.5)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        # above the panel, where neither a curve nor a phase's name can lie under it
        ncols = 2 if not len(found.solved["loss"]) else 3
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
    c_values = [finite_number(each) for each in lists.get("C") or []]
    if len(c_values) != len(series["loss"]):
        c_values = [math.nan] * len(series["loss"])
    solved = np.isfinite(c_values)
    return series, phases, solved


def _mark_phases(panel: Axes, begins: Mapping[int, str], *, at_top: bool) -> None:
    for epoch, phase in begins.items():
        panel.axvline(epoch + 0.5, color=GREY, linewidth=0.8, linestyle=":")
        panel.text(
            epoch + 0.5,
            0.98 if at_top else 0.02,
            f" {phase} ",
            transform=panel.get_xaxis_transform(),
            rotation=90,
            ha="right",
            va="top" if at_top else "bottom",
            fontsize=8,
            color=GREY,
            parse_math=False,
        )
