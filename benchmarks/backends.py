"""How backend, precision, data layout and threads change the speed of MobileNet's steps and predictions.

Each row is a process of its own, with the backend that the environment names; the rows take turns, and each
is compared with float32 of the same turn. What does not run says why.

    KERAS_BACKEND=tensorflow python benchmarks/backends.py --json tensorflow.json
    KERAS_BACKEND=jax python benchmarks/backends.py --json jax.json
    KERAS_BACKEND=torch python benchmarks/backends.py --json torch.json
    python benchmarks/backends.py --only layout --sizes 32 --threads

A training step is one batch of random pixels through every layer, SGD; a prediction the same without
gradients. Steps that compile are not counted.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import parser, spread, table, write_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One row: what is measured, and how."""

    work: str = "training"
    size: int = 32
    batch: int = 32
    policy: str = "float32"
    layout: str = "channels_last"
    threads: int = 0

    @property
    def changed(self):
        """What the row changes, as `--only` names it."""
        if self.work == "prediction":
            return "prediction"
        if self.policy != "float32":
            return "precision"
        if self.layout != "channels_last":
            return "layout"
        return "threads" if self.threads else "nothing"

    def baseline(self):
        """Return the row that this one is compared with."""
        plain = {"policy": "float32", "layout": "channels_last", "threads": 0}
        return dataclasses.replace(self, **plain, batch=32 if self.work == "training" else 128)


CHANGES = ("nothing", "precision", "layout", "threads", "prediction")


def cells(sizes, threads, only=None):
    """Return all rows: for each size a baseline, then one thing changed at a time, or those changes only."""
    found = []
    for size in sizes:
        plain = Cell(size=size)
        found += [plain, dataclasses.replace(plain, policy="mixed_bfloat16")]
        found += [dataclasses.replace(plain, layout="channels_first")]
        found += [dataclasses.replace(plain, threads=count) for count in threads]
        # the baseline of predictions first
        found += [Cell(work="prediction", size=size, batch=batch) for batch in (128, 32, 512)]
    chosen = [cell for cell in found if only is None or cell.changed in only]
    needed = {cell.baseline() for cell in chosen}
    return [cell for cell in found if cell in chosen or cell in needed]


def set_threads(count):
    """Limit the backend to `count` threads an operation."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    elif backend == "torch":
        import torch

        torch.set_num_threads(count)
    else:
        # JAX has no such setting; it starts a thread for each core that it may use
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < count:
            raise RuntimeError(f"only {len(allowed)} cores")
        os.sched_setaffinity(0, allowed[:count])


def measure(cell, steps):
    """Return images per second, one figure per step, and the machine."""
    if cell.threads:
        set_threads(cell.threads)
    import keras
    import numpy as np
    from reporting import machine

    import transferzoo as tz
    from transferzoo.models.prediction import compiles_with_xla

    keras.mixed_precision.set_global_policy(cell.policy)
    keras.backend.set_image_data_format(cell.layout)
    if cell.layout == "channels_first":
        # the library's models take images as they come, so the network alone is measured here
        features = keras.applications.MobileNet(
            include_top=False, weights=None, input_shape=(3, cell.size, cell.size), pooling="avg"
        )
        outputs = keras.layers.Dense(10, activation="softmax", dtype="float32")(features.output)
        model = keras.Model(features.input, outputs)
    else:
        model = tz.build("mobilenet", 10, weights=None, input_shape=(cell.size, cell.size, 3))
    model.compile(
        optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
        loss="categorical_crossentropy",
        jit_compile=compiles_with_xla(),
    )
    rng = np.random.default_rng(0)
    x = rng.random((cell.batch, *model.input_shape[1:]), dtype="float32") * 255
    y = np.eye(10, dtype="float32")[rng.integers(0, 10, cell.batch)]
    rates = []
    for step in range(steps + 2):
        began = time.perf_counter()
        if cell.work == "training":
            # the loss that it returns is read, so the device has finished
            float(model.train_on_batch(x, y))
        else:
            model.predict_on_batch(x)
        if step >= 2:
            rates.append(cell.batch / (time.perf_counter() - began))
    return {"images_per_second": rates, "machine": machine()}


def run(cell, steps, limit):
    """Measure one row in a process of its own; return its figures, or why it has none."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--cell", json.dumps(dataclasses.asdict(cell))]
        try:
            done = subprocess.run(
                [*command, "--steps", str(steps), "--json", str(written)],
                env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
                capture_output=True,
                encoding="utf-8",
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"not done in {limit} s"}
        if done.returncode == 0:
            return json.loads(written.read_text())
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line or "support" in line]
        return {"failed": (errors or lines or ["no message"])[-1][:120].replace("|", "/")}


def main():
    """Take turns, print, and write where that was asked for."""
    made = parser(__doc__)
    made.add_argument("--sizes", type=int, nargs="+", default=[32, 96], help="(default 32 96)")
    made.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="(default 1 2)")
    made.add_argument(
        "--only",
        nargs="+",
        choices=CHANGES,
        metavar="CHANGE",
        help=f"rows: {', '.join(CHANGES)} (default all)",
    )
    made.add_argument("--steps", type=int, default=20, help="timed steps a turn (default 20)")
    made.add_argument("--repeats", type=int, default=3, help="turns (default 3)")
    made.add_argument("--limit", type=int, default=600, help="seconds for one row (default 600)")
    made.add_argument("--cell", help="for the script itself: measure only this row")
    options = made.parse_args()
    if options.cell:
        write_json(options.json, measure(Cell(**json.loads(options.cell)), options.steps))
        return
    rows = cells(options.sizes, options.threads, options.only)
    found = {cell: [] for cell in rows}
    for turn in range(options.repeats):
        for cell in rows:
            failed = [figures for figures in found[cell] if "failed" in figures]
            # what did not run will not run
            found[cell].append(failed[0] if failed else run(cell, options.steps, options.limit))
            print(f"turn {turn + 1}: {cell}", file=sys.stderr, flush=True)
    setting = next((f["machine"] for all_ in found.values() for f in all_ if "machine" in f), "nothing ran")
    setting += f"; {options.repeats} turns of {options.steps} steps: median of the turns (lowest to highest)"
    lines = []
    for cell in rows:
        what = f"{cell.policy}, {cell.layout}" + (f", {cell.threads} threads" if cell.threads else "")
        beginning = (cell.work, cell.size, cell.batch, what.replace(" 1 threads", " 1 thread"))
        if "failed" in found[cell][0]:
            lines.append((*beginning, f"does not run: {found[cell][0]['failed']}", ""))
            continue
        speeds = [statistics.median(figures["images_per_second"]) for figures in found[cell]]
        bases = [figures.get("images_per_second") for figures in found[cell.baseline()]]
        ratios = [speed / statistics.median(base) for speed, base in zip(speeds, bases, strict=True) if base]
        lines.append((*beginning, spread(speeds, 0), spread(ratios)))
    columns = ("work", "image size", "batch", "how", "images/s", "times float32's")
    print(f"{setting}\n\n{table(columns, lines)}")
    record = [{**dataclasses.asdict(cell), "turns": figures} for cell, figures in found.items()]
    write_json(options.json, {"setting": setting, "rows": record})


if __name__ == "__main__":
    main()
