"""What a check found, as a record; and the table of all that can be found."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from transferzoo.errors import invalid
from transferzoo.ground.arguments import check_sequence

logger = logging.getLogger("transferzoo")

SEVERITIES = ("error", "warning", "note")
# how sure it is that what a finding says is so: read off the settings or the bytes; measured, and right nine
# times of ten or more (benchmarks/lint_quality.py) or by a test at p < 0.001; a guess, to be looked at
CONFIDENCES = ("certain", "likely", "possible")
LIKELY = ("TZ102", "TZ105", "TZ202", "TZ208", "TZ212", "TZ213", "TZ214", "TZ215", "TZ306", "TZ308")
POSSIBLE = ("TZ216", "TZ217")
WIDTH = 80

# code -> name, and what it stands for
CODES: dict[str, tuple[str, str]] = {
    "TZ101": ("raw-pixels", "a backbone is given pixels that it was not made for"),
    "TZ102": ("scaled-pixels", "the images are scaled already, and the model scales them again"),
    "TZ103": ("doubled-preprocessing", "the model scales pixels twice"),
    "TZ104": ("one-cell-map", "the last feature map is 1×1"),
    "TZ105": ("no-scaling", "a model of one's own gets 0 to 255 unscaled"),
    "TZ106": ("far-size", "images are of another size than those the weights saw"),
    "TZ107": ("last-activation", "the outputs are neither probabilities nor logits"),
    "TZ108": ("random-layers", "the model changes images at random itself"),
    "TZ201": ("copies-in-test", "test images are among the training images"),
    "TZ202": ("near-copies-in-test", "test images are almost the same as training images"),
    "TZ203": ("selected-on-test", "the validation images are test images"),
    "TZ204": ("contradicting-labels", "the same image has different labels"),
    "TZ205": ("class-imbalance", "some classes have several times the images of others"),
    "TZ206": ("missing-class", "a class has no validation or test image"),
    "TZ207": ("few-test-images", "the test set is too small for differences of a few points"),
    "TZ208": ("shifted-classes", "splits differ in their shares of classes by more than chance"),
    "TZ209": ("single-class", "all images of a split have one label"),
    "TZ210": ("copies-in-validation", "validation images are among the training images"),
    "TZ211": ("scarce-class", "a class has too few images to learn from or to be tested on"),
    "TZ212": ("brightness-tells-class", "brightness alone tells a class from the others"),
    "TZ213": ("files-tell-class", "the files' format or size alone tells the classes"),
    "TZ214": ("drift", "splits differ in brightness, contrast, format or size"),
    "TZ215": ("empty-images", "images are nearly black, nearly white, of one colour or blurred"),
    "TZ216": ("grouped-files", "file names say that images belong together, in different splits"),
    "TZ217": ("likely-label-errors", "images look like another class than the one they are labelled as"),
    "TZ218": ("enlarged-files", "files are much smaller than the images made of them"),
    "TZ301": ("augmented-validation", "validation images are changed at random"),
    "TZ302": ("repeated-validation", "some validation images count twice"),
    "TZ303": ("carried-rate", "training begins at the rate that another model's ended with"),
    "TZ304": ("plateau-floor", "a plateau has the rate at its floor at once"),
    "TZ305": ("long-warmup", "the warm-up takes most of the training"),
    "TZ306": ("high-rate", "the rate is high enough to undo pretrained weights"),
    "TZ307": ("small-batches", "BatchNorm learns from few images per batch"),
    "TZ308": ("unsettled-statistics", "BatchNorm's moving statistics have too few steps"),
    "TZ309": ("lone-image", "the last batch is a single image, and BatchNorm learns from it"),
    "TZ310": ("random-backbone", "random weights that never learn, or with a BatchNorm that never does"),
    "TZ311": ("few-validation-images", "few validation images choose epochs, rates or penalties"),
    "TZ312": ("weights-saw-images", "the weights were trained on this dataset's training images"),
    "TZ401": ("unequal-heads", "the models compared have different heads"),
    "TZ402": ("unequal-epochs", "the models compared train for different numbers of epochs"),
    "TZ403": ("unequal-settings", "the models compared are trained with different settings"),
    "TZ404": ("unequal-sizes", "the models compared see images of different sizes"),
    "TZ405": ("unequal-weights", "pretrained models are compared with random ones"),
    "TZ406": ("different-data", "the models compared are given different images"),
    "TZ407": ("unequal-seeds", "the models compared have different seeds"),
    "TZ408": ("one-run", "each model compared is trained once"),
}
# models.build says these in its own words
SAID_ELSEWHERE = ("TZ104",)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A likely problem of a training, found before it starts.

    Parameters
    ----------
    code : str
        Such as ``"TZ101"``; each has a section in the documentation.
    name : str
        The code in words, such as ``"raw-pixels"``.
    severity : {"error", "warning", "note"}
        ``"error"``: what comes out will be wrong or misleading. ``"warning"``: it may be, or could be
        better. ``"note"``: worth knowing.
    what : str
        What was found, with its numbers.
    why : str
        Why it matters, with a source where there is one.
    how : str
        How to correct it, as a call.
    subject : str, default ""
        The model or run that it is about; empty for the data and for a comparison as a whole.
    images : tuple of (str, int), default ()
        Split and place of each image that it is about, such as ``("test", 27)``: copies, contradicting or
        unlikely labels (the least likely first), images that show little, files that were enlarged. Empty
        where it is about settings, or about more than half of the images.
        `tz.plots.image_grid(data, at=finding.images)` draws them.
    confidence : {"certain", "likely", "possible"}
        How sure it is that what was found is so; by default what belongs to the code. ``"certain"``: read off
        the settings, or the same to the last bit. ``"likely"``: a test or a measure with few false alarms.
        ``"possible"``: look before you act.

    Raises
    ------
    InvalidInputError
        For a code or severity that does not exist.

    Examples
    --------
    >>> finding = Finding(
    ...     code="TZ408",
    ...     name="one-run",
    ...     severity="note",
    ...     what="One run each.",
    ...     why="Chance.",
    ...     how="seeds=(0, 1, 2)",
    ... )
    >>> print(finding)
    note TZ408 one-run
      what  One run each.
      why   Chance.
      how   seeds=(0, 1, 2)
    """

    code: str
    name: str
    severity: str
    what: str
    why: str
    how: str
    subject: str = ""
    images: tuple[tuple[str, int], ...] = ()
    confidence: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise invalid("code", "one of transferzoo.linting.findings.CODES", self.code, candidates=CODES)
        if self.severity not in SEVERITIES:
            accepted = " or ".join(map(repr, SEVERITIES))
            raise invalid("severity", accepted, self.severity, candidates=SEVERITIES)
        object.__setattr__(self, "images", tuple((str(split), int(place)) for split, place in self.images))
        usual = "possible" if self.code in POSSIBLE else "likely" if self.code in LIKELY else "certain"
        object.__setattr__(self, "confidence", self.confidence or usual)
        if self.confidence not in CONFIDENCES:
            accepted = " or ".join(map(repr, CONFIDENCES))
            raise invalid("confidence", accepted, self.confidence, candidates=CONFIDENCES)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "images": [list(each) for each in self.images]}

    def record(self) -> dict[str, Any]:
        """Return what stands in the record of a run: code, severity, what was found, and about what.

        Of images, the places of those in the test split: a run's accuracy without copies needs them.
        """
        told = {name: getattr(self, name) for name in ("code", "severity", "what", "subject")}
        images = [place for split, place in self.images if split == "test"]
        return {**told, "images": images} if images else told

    def __str__(self) -> str:
        unsure = "" if self.confidence == "certain" else f" ({self.confidence})"
        about = f": {self.subject}" if self.subject else ""
        lines = [f"{self.severity} {self.code} {self.name}{unsure}{about}"]
        for label in ("what", "why", "how"):
            lines += textwrap.wrap(
                getattr(self, label),
                WIDTH,
                initial_indent=f"  {label:<4}  ",
                subsequent_indent=" " * 8,
                # a call or a number of a paper stays in one piece
                break_long_words=False,
                break_on_hyphens=False,
            )
        return "\n".join(lines)


def found(
    code: str,
    severity: str,
    what: str,
    why: str,
    how: str,
    subject: str = "",
    images: Iterable[tuple[str, int]] = (),
) -> Finding:
    """Return a finding, with the name that belongs to its code."""
    return Finding(
        code=code,
        name=CODES[code][0],
        severity=severity,
        what=what,
        why=why,
        how=how,
        subject=subject,
        images=tuple(images),
    )


def check_codes(codes: Any) -> frozenset[str]:
    """Return codes of findings as a set, or raise with the nearest one."""
    accepted = "codes of findings, such as ['TZ207']"
    if isinstance(codes, str):
        raise invalid("ignore", accepted, codes, remedy=f"Pass [{codes!r}].")
    for code in check_sequence("ignore", accepted, codes):
        if not isinstance(code, str) or code not in CODES:
            raise invalid("ignore", accepted, code, candidates=CODES)
    return frozenset(codes)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, each once, the gravest first."""
    distinct = dict.fromkeys(findings)
    return sorted(distinct, key=lambda each: (SEVERITIES.index(each.severity), each.code))


def points(share: float) -> str:
    """Return a share in percent, as text."""
    return f"{100 * share:.3g} %"


_SAID: set[Finding] = set()


def log_findings(findings: Iterable[Finding]) -> None:
    """Say each finding once a process: notes as information, the others as warnings."""
    for finding in worst_first(findings):
        if finding in _SAID or finding.code in SAID_ELSEWHERE:
            continue
        _SAID.add(finding)
        level = logging.INFO if finding.severity == "note" else logging.WARNING
        about = f"{finding.subject}: " if finding.subject else ""
        logger.log(level, "%s %s: %s%s %s", finding.code, finding.name, about, finding.what, finding.how)
