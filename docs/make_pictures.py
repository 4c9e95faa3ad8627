"""Draw the documentation's pictures from the saved runs of the demo.

    transferzoo demo
    python docs/make_pictures.py transferzoo-demo

Nothing is trained: the runs are read back, and the digits come with scikit-learn.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

import transferzoo as tz

DPI = 110


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="the folder that `transferzoo demo` made")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    found = {int(path.name.removeprefix("train-")): path for path in options.study.glob("train-*")}
    sizes = sorted(found)
    studies = tuple(tz.Study.load(found[size]) for size in sizes)
    study = studies[-1]
    best = max(study.results, key=lambda result: result.accuracy)
    data = tz.load_dataset("digits", seed=best.settings["data"]["seed"])

    def save(figure: Figure, name: str) -> None:
        place = options.out / name
        figure.savefig(place, dpi=DPI, pil_kwargs={"optimize": True})
        print(f"{place}: {place.stat().st_size / 1000:.0f} kB")

    figure = Figure(figsize=(7, 4), layout="constrained")
    tz.studies.Sweep(by="train", values=tuple(sizes), studies=studies).plot(ax=figure.subplots())
    save(figure, "transfer.png")

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    best.plot_history(ax=figure.subplots(1, 2))
    save(figure, "history.png")

    for normalize, name in ((None, "confusion.png"), ("true", "confusion_normalized.png")):
        figure = Figure(figsize=(5.4, 5), layout="constrained")
        best.plot_confusion_matrix(normalize=normalize, ax=figure.subplots())
        save(figure, name)

    figure = Figure(figsize=(3.6, 3.9), layout="constrained")
    tz.plots.image_grid(data, ax=figure.subplots())
    save(figure, "images.png")


if __name__ == "__main__":
    main()
