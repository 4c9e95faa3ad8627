"""What metrics and costs are called, what they are measured in, and which way is better: one table."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

# what a value is, and how it is written
KINDS = ("fraction", "number", "count", "bytes", "seconds", "milliseconds", "joules")
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
UNITS = {"bytes": "B", "seconds": "s", "milliseconds": "ms", "joules": "J"}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric or a cost.

    Parameters
    ----------
    name : str
        Its key in `Result.metrics`, `Result.costs` or a history.
    title : str
        In words, for an axis.
    kind : {"fraction", "number", "count", "bytes", "seconds", "milliseconds", "joules"}
        Fractions are shown as percentages, bytes with decimal prefixes (1 MB is 10⁶ bytes).
    less_is_better : bool
    """

    name: str
    title: str
    kind: str = "number"
    less_is_better: bool = False

    def show(self, value: float) -> str:
        """Return `value` as a person would write it: ``81.2%``, ``3.2 M``, ``13 MB``, ``41.5 s``."""
        if not math.isfinite(value):
            return "n/a"
        if self.kind == "fraction" and 0 <= value <= 1:
            return f"{value:.1%}"
        if self.name.endswith("loss"):
            return f"{value:.3f}"
        unit = UNITS.get(self.kind, "")
        if unit not in ("s", "ms") and abs(value) >= 1000:
            for power, prefix in PREFIXES:
                # 999.6 k would read 1e+03 k: round up to the next prefix instead
                if abs(value) >= 0.9995 * power:
                    return f"{value / power:.3g} {prefix}{unit}"
        number = f"{value:,.0f}" if abs(value) >= 99.95 or value == int(value) else f"{value:.3g}"
        return f"{number} {unit}".rstrip()


def _more(name: str, title: str, kind: str = "fraction") -> Metric:
    return Metric(name=name, title=title, kind=kind)


def _less(name: str, title: str, kind: str = "number") -> Metric:
    return Metric(name=name, title=title, kind=kind, less_is_better=True)


METRICS = {
    metric.name: metric
    for metric in (
        _more("accuracy", "Accuracy"),
        _more("balanced_accuracy", "Balanced accuracy"),
        _more("macro_f1", "Macro F1"),
        _more("f1", "F1"),
        _more("precision", "Precision"),
        _more("recall", "Recall"),
        _less("loss", "Loss"),
        _less("log_loss", "Log loss"),
        _less("nll", "Log loss"),
        _less("brier_score", "Brier score"),
        _less("brier", "Brier score"),
        _less("ece", "Calibration error (ECE)"),
        _less("ece_equal_mass", "Calibration error (ECE, equal mass)"),
        _less("mce", "Largest calibration error (MCE)"),
        _less("seed_deviation", "Standard deviation over seeds"),
        Metric(name="temperature", title="Temperature"),
        Metric(name="epochs", title="Epochs", kind="count"),
        _less("parameters", "Parameters", "count"),
        _less("trainable_parameters", "Trainable parameters", "count"),
        _less("macs", "Multiply-accumulates, one image", "count"),
        _less("size_bytes", "Weights", "bytes"),
        _less("file_bytes", "Saved file", "bytes"),
        _less("peak_memory_bytes", "Peak memory", "bytes"),
        _less("peak_memory_growth_bytes", "Growth of memory", "bytes"),
        _less("train_seconds", "Training time", "seconds"),
        _less("reused_feature_seconds", "Time of features from the cache", "seconds"),
        _less("train_joules", "Energy of training, processors", "joules"),
        _less("latency_ms", "Latency, one image", "milliseconds"),
        _less("joules_per_image", "Energy of a prediction, processors", "joules"),
        _more("images_per_second", "Images per second", "number"),
        Metric(name="throughput_batch_size", title="Batch size of the throughput", kind="count"),
    )
}
_BEFORE = (("calibrated_", ", calibrated"), ("val_", ", validation"))
_AFTER = (
    ("_low", ", lower end"),
    ("_high", ", upper end"),
    ("_q1", ", first quartile"),
    ("_q3", ", third quartile"),
    ("_min", ", least"),
    ("_max", ", most"),
)
# how a metric that is not in the table is taken, by the end of its name
_LESS = ("loss", "error", "latency", "deviation", "flops", "parameters", "macs")
_ENDINGS = (("_bytes", "bytes"), ("seconds", "seconds"), ("_ms", "milliseconds"), ("joules", "joules"))


def metric_info(name: str) -> Metric:
    """Return what is known of a metric or cost; of one that is not in the table, what its name says.

    Parameters
    ----------
    name : str
        ``"top5_accuracy"``, ``"val_loss"``, ``"calibrated_ece"``, ``"latency_ms_q1"`` and the like follow
        from the table's entries.

    Examples
    --------
    >>> metric_info("file_bytes").show(13_100_000), metric_info("macs").show(834_688)
    ('13.1 MB', '835 k')
    >>> [metric_info(name).less_is_better for name in ("nll", "ece", "accuracy", "images_per_second")]
    [True, True, False, False]
    """
    if name in METRICS:
        return METRICS[name]
    if top := re.fullmatch(r"top(\d+)_accuracy", name):
        return Metric(name=name, title=f"Top-{top[1]} accuracy", kind="fraction")
    for start, words in _BEFORE:
        if name.startswith(start):
            known = metric_info(name.removeprefix(start))
            return replace(known, name=name, title=known.title + words)
    for end, words in _AFTER:
        if name.endswith(end) and (rest := name.removesuffix(end)) in METRICS:
            return replace(METRICS[rest], name=name, title=METRICS[rest].title + words)
    words = name.replace("_", " ")
    kind = next((kind for end, kind in _ENDINGS if name.endswith(end)), "number")
    if kind == "number" and any(word in name for word in ("accuracy", "f1", "precision", "recall")):
        kind = "fraction"
    less = name.endswith(_LESS) or kind in UNITS or "latency" in name
    return Metric(name=name, title=words[:1].upper() + words[1:], kind=kind, less_is_better=less)


def less_is_better(metric: str) -> bool:
    """Return whether a lower value of `metric` is the better one.

    Examples
    --------
    >>> less_is_better("log_loss"), less_is_better("accuracy")
    (True, False)
    """
    return metric_info(metric).less_is_better


def is_fraction(metric: str) -> bool:
    """Return whether `metric` is one of those given as a fraction and shown as a percentage."""
    return metric_info(metric).kind == "fraction"


def readable(metric: str, value: float) -> str:
    """Return `value` as a person would write it: ``81.2%``, ``3.2 M``, ``13 MB``, ``41.5 s``.

    Examples
    --------
    >>> readable("accuracy", 0.8117), readable("train_seconds", 41.53)
    ('81.2%', '41.5 s')
    """
    return metric_info(metric).show(value)


def metric_title(metric: str) -> str:
    """Return a metric or cost in words, for an axis."""
    return metric_info(metric).title


def bytes_in_words(count: float) -> str:
    """Return bytes with a decimal prefix.

    Examples
    --------
    >>> bytes_in_words(31_900), bytes_in_words(5)
    ('31.9 kB', '5 B')
    """
    return METRICS["file_bytes"].show(count)
