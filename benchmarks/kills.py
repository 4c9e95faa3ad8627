"""Whether a run that is killed at any moment ends as one that was never interrupted.

Kills real processes with SIGKILL at random moments: while features are computed, a head is solved, layers are
trained, checkpoints are written, results are saved, and between two runs of a study. Then the same call is
made again, in a new process. What it leaves is compared with what an uninterrupted process left: weights,
probabilities, history without its seconds, and the names of all files.

    python benchmarks/kills.py --kills 50

The goal: all equal.
"""

import collections
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from reporting import machine, parser, table, write_json

# a small network of two convolutions, so that starting Python takes most of the time
CALL = """
import sys
import keras
from keras import layers
import transferzoo as tz
from transferzoo.training import checkpoints


def small(input_shape):
    x = images = keras.Input(input_shape)
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return keras.Model(images, x)


what, out, weights = sys.argv[1:]
checkpoints.INTERVAL = 0.0
tz.register_backbone("small", small, minimum_size=8, default_size=32, feature_channels=16)
data = tz.load_dataset("digits").subset(train=300, validation=100, test=100)
given = {"cache": False, "lint": False, "verbose": False, "out": out, "image_size": "input"}
print("ready", flush=True)
if what == "compare":
    tz.compare(["small"], data, weights=weights, seeds=(0, 1), epochs=2, **given)
elif what == "from_scratch":
    tz.fit_and_evaluate("small", data, recipe=what, weights=None, epochs=3, batch_size=16, **given)
elif what == "linear_probe":
    tz.fit_and_evaluate("small", data, recipe=what, weights=weights, **given)
else:
    tz.fit_and_evaluate("small", data, recipe=what, weights=weights, epochs=3, batch_size=16, **given)
"""
WEIGHTS = (
    CALL.split("what, out")[0]
    + "keras.utils.set_random_seed(7)\nsmall((32, 32, 3)).save_weights(sys.argv[1])\n"
)
CALLS = ("default", "from_scratch", "linear_probe", "compare")


def start(what, out, weights):
    """Start a process that makes the call, and return it once the call begins."""
    process = subprocess.Popen(
        [sys.executable, "-c", CALL, what, str(out), str(weights)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if process.stdout.readline().strip() != "ready":
        raise SystemExit(process.communicate()[1])
    return process


def finish(process):
    """Wait for a process that is to end well; return its error, or None."""
    said = process.communicate()[1]
    return None if process.returncode == 0 else said.strip().splitlines()[-1][:200]


def left(folder):
    """Return what a call left: the names of its files, and what each run came to."""
    import keras

    files = sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if ".locks" not in each.parts)
    found = {}
    for run in sorted(folder.rglob("run.json")):
        model = keras.models.load_model(run.parent / "model.keras")
        with np.load(run.parent / "predictions.npz") as arrays:
            predictions = arrays["y_prob"].tobytes()
        lines = [line.split(",") for line in (run.parent / "history.csv").read_text().splitlines()]
        seconds = lines[0].index("seconds")
        history = [line[:seconds] + line[seconds + 1 :] for line in lines]
        weights = b"".join(value.tobytes() for value in model.get_weights())
        found[str(run.parent.relative_to(folder))] = (weights, predictions, json.dumps(history))
    return files, found


def main():
    """Kill and compare."""
    made = parser(__doc__)
    made.add_argument("--kills", type=int, default=50, help="(default 50)")
    made.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    options = made.parse_args()
    rng = np.random.default_rng(options.seed)
    print(machine(), flush=True)
    counts = {what: collections.Counter() for what in CALLS}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        weights = scratch / "small.weights.h5"
        subprocess.run([sys.executable, "-c", WEIGHTS, str(weights)], check=True, capture_output=True)
        expected, lasted = {}, {}
        for what in CALLS[: options.kills]:
            process = start(what, scratch / what, weights)
            began = time.perf_counter()
            if error := finish(process):
                raise SystemExit(error)
            lasted[what] = time.perf_counter() - began
            expected[what] = left(scratch / what)
        for number in range(options.kills):
            what = CALLS[number % len(CALLS)]
            out = scratch / f"{what}-{number}"
            process = start(what, out, weights)
            time.sleep(rng.uniform(0, lasted[what]))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed = process.returncode == -signal.SIGKILL
            error = finish(start(what, out, weights))
            same = error is None and left(out) == expected[what]
            counts[what]["killed" if killed else "ended before"] += 1
            counts[what]["equal" if same else "not equal"] += 1
            if not same:
                files = left(out)[0] if out.exists() else []
                print(f"{what}, kill {number}: {error or 'differs'}; {files}", flush=True)
    rows = [
        [what, *(str(counts[what][key]) for key in ("killed", "ended before", "equal", "not equal"))]
        for what in CALLS
    ]
    print(table(["call", "killed", "ended before the kill", "equal", "not equal"], rows))
    write_json(options.json, {what: dict(count) for what, count in counts.items()})


if __name__ == "__main__":
    main()
