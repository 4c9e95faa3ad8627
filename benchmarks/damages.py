"""What happens to files that were damaged: a run's folder, a checkpoint, kept features, a dataset.

Real files are made once and damaged at random, one damage at a time: bits turned over, bytes cut off at the
end or from the middle, bytes put in, a file emptied or put in another's place, a pickle in its place, and, in
JSON, one value replaced by another. Then the library reads them. It may refuse with an error of its own, or
read the very same values (a damage of white space, say); for kept features it may also compute them again.
Reading other values, or an error that is not the library's, is a failure. So is a file that runs code: the
pickle would make one.

    python benchmarks/damages.py
    python benchmarks/damages.py --damages 200 --seed 1

The goal: no failure.
"""

import collections
import json
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
from reporting import machine, parser, table, write_json

VALUES = (None, True, -1, 0, 10**12, 0.25, "", "text", [], {}, [1], {"a": 1})


class Boom:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def turned(content, rng):
    """Turn over one to eight bits."""
    changed = bytearray(content)
    for place in rng.integers(0, len(changed), rng.integers(1, 9)):
        changed[place] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def cut(content, rng):
    """Cut off the end, or take out a piece."""
    start, end = sorted(int(each) for each in rng.integers(0, len(content), 2))
    return content[:start] if rng.random() < 0.5 else content[:start] + content[end:]


def longer(content, rng):
    """Put bytes in."""
    place = int(rng.integers(0, len(content) + 1))
    return content[:place] + rng.bytes(int(rng.integers(1, 65))) + content[place:]


def emptied(content, rng):
    """Leave nothing."""
    del content, rng
    return b""


def replaced_value(content, rng):
    """Put another value into a JSON file; other files are turned over."""
    try:
        record = json.loads(content)
    except ValueError:
        return turned(content, rng)
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(record)
    node, key = places[int(rng.integers(0, len(places)))]
    node[key] = VALUES[int(rng.integers(0, len(VALUES)))]
    return json.dumps(record).encode()


WAYS = (turned, cut, longer, emptied, replaced_value)


def damage(folder, rng, mark):
    """Damage one file of a folder; return which and how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    path = files[int(rng.integers(0, len(files)))]
    number = int(rng.integers(0, len(WAYS) + 2))
    if number == len(WAYS):
        path.write_bytes(pickle.dumps(Boom(mark)))
        return f"{path.name}: a pickle"
    if number > len(WAYS):
        other = files[int(rng.integers(0, len(files)))]
        content, path_content = other.read_bytes(), path.read_bytes()
        path.write_bytes(content if content != path_content else content[::-1])
        return f"{path.name}: another file"
    content = path.read_bytes()
    path.write_bytes(WAYS[number](content, rng) if content else b"x")
    return f"{path.name}: {WAYS[number].__name__}"


def run_values(folder):
    """Return all that a saved run says."""
    import transferzoo as tz

    result = tz.Result.load(folder)
    weights = [each.tolist() for each in result.model.get_weights()]
    parts = (result.metrics, result.costs, result.settings, result.history, result.provenance)
    return repr((result.name, *parts, result.y_prob.tolist(), result.y_true.tolist(), weights))


def checkpoint_values(folder):
    """Return all that a checkpoint says."""
    from transferzoo.training.checkpoints import Checkpoints

    state = vars(Checkpoints(folder, {}, {}).load())
    arrays = {name: array.tolist() for name, array in state["arrays"].items()}
    return repr({**state, "arrays": arrays})


def feature_values(folder):
    """Return the kept features, computed again where their file is damaged."""
    import transferzoo as tz

    store = tz.FeatureStore(folder)
    return repr(store.get_or_compute({"what": "test"}, (50, 8), "float32", lambda: [FEATURES]).tolist())


def data_values(folder):
    """Return the images of a dataset's file."""
    import transferzoo as tz

    data = tz.load_dataset("cifar10", path=folder / "cifar10.npz", validation=0.25)
    return data.content_hash()


FEATURES = np.random.default_rng(0).normal(size=(50, 8)).astype("float32")


def make(folder):
    """Make one of each; return their folders with the functions that read them."""
    import transferzoo as tz
    from transferzoo.training.checkpoints import CHECKPOINT

    data = tz.load_dataset("digits").subset(train=40, validation=20, test=20)
    given = {"weights": None, "lint": False, "verbose": False, "cache": False}
    tz.fit_and_evaluate("mobilenet_025", data, recipe="linear_probe", out=folder / "run", **given)

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    from transferzoo import runs

    before, runs._judged = runs._judged, stop
    try:
        tz.fit_and_evaluate("mobilenet_025", data, epochs=1, out=folder / "checkpoint", **given)
    except Stop:
        pass
    finally:
        runs._judged = before
    assert (folder / "checkpoint" / CHECKPOINT).is_file()
    feature_values(folder / "features")
    rng = np.random.default_rng(1)
    (folder / "data").mkdir()
    x = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    y = np.arange(60) % 10
    np.savez(folder / "data" / "cifar10.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    readers = {"run": run_values, "checkpoint": checkpoint_values, "features": feature_values}
    return readers | {"data": data_values}


def trial(name, whole, reader, expected, scratch, rng):
    """Return what became of one damage, and what it was."""
    import transferzoo as tz

    folder, mark = scratch / name, scratch / "code-ran"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    what = damage(folder, rng, mark)
    try:
        outcome = "the same values" if reader(folder) == expected else "OTHER VALUES"
    except tz.TransferZooError as error:
        outcome = "refused" if str(error) else "AN EMPTY MESSAGE"
    except Exception as error:
        outcome = f"{type(error).__name__.upper()}"
    if mark.exists():
        mark.unlink()
        outcome = "CODE RAN"
    return outcome, what


def main():
    """Damage, read, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--damages", type=int, default=1304, help="of each kind together (default 1304)")
    made.add_argument("--seed", type=int, default=0, help="of the damages (default 0)")
    options = made.parse_args()
    import logging

    logging.getLogger("transferzoo").setLevel(logging.ERROR)
    setting = f"{machine()}; {options.damages:,} damages, seed {options.seed}"
    print(f"{setting}\n", flush=True)
    rng = np.random.default_rng(options.seed)
    counts = collections.defaultdict(collections.Counter)
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        whole, scratch = Path(folder) / "whole", Path(folder) / "scratch"
        readers = make(whole)
        scratch.mkdir()
        expected = {name: reader(whole / name) for name, reader in readers.items()}
        # a run's folder has most files, and every second damage
        names = ["run", "checkpoint", "run", "features", "run", "data"]
        for number in range(options.damages):
            name = names[number % len(names)]
            outcome, what = trial(name, whole / name, readers[name], expected[name], scratch, rng)
            counts[name][outcome] += 1
            if outcome.isupper():
                failures.append(f"{name}, {what}: {outcome}")
    for failure in failures:
        print(failure)
    outcomes = sorted({outcome for each in counts.values() for outcome in each}, key=str.isupper)
    rows = [(name, *(counts[name][outcome] for outcome in outcomes)) for name in counts]
    print(f"\n{table(('damaged', *outcomes), rows)}")
    write_json(options.json, {"setting": setting, "counts": counts, "failures": failures})


if __name__ == "__main__":
    main()
