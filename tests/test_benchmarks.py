"""The benchmarks run as their page says, and the port that they compare with is the article's script."""

import ast
import collections
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.backbones.weight_files import SHIPPED_FOLDER

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in BENCHMARKS.glob("*.py") if path.name != "reporting.py")

DIGITS = ("--dataset", "digits", "--weights", "none")
SMALL = (*DIGITS, "--backbone", "mobilenet_025")
FEW = ("--train", "100", "--validation", "50", "--test", "50")
# the least work that each script can do, and how many rows it then prints


def structure_packages():
    """Return the folders of the library's source that hold modules."""
    source = BENCHMARKS.parent / "src/transferzoo"
    return {path.parent for path in source.rglob("*.py")}


CALLS = {
    "article_port.py": ((*DIGITS, "--images", "150", "--epochs", "1"), 1),
    "backends.py": (("--only", "nothing", "--sizes", "32", "--steps", "1", "--repeats", "1"), 1),
    "count_backbones.py": (("resnet2*",), 1),
    "coverage.py": (("--studies", "5", "--images", "200", "--seeds", "2", "--spread", "0", "1"), 3),
    "damages.py": (("--damages", "12"), 4),
    "exports.py": ((*SMALL, *FEW, "--formats", "litert"), 4),
    "features.py": ((*SMALL, *FEW, "--runs", "2", "--image-size", "32"), 2),
    "frontier.py": (
        (*DIGITS, "--backbones", "resnet20", "mobilenet_025", "--train", "60", "--seeds", "1"),
        2,
    ),
    "half_weights.py": ((SHIPPED_FOLDER / "resnet20-cifar10.weights.h5", "half.weights.h5"), 1),
    "head_decay.py": (
        (*DIGITS, "--backbones", "mobilenet_025", "--sizes", "40", "--seeds", "1", "--decays", "3"),
        5,
    ),
    "imbalance.py": ((*SMALL, *FEW, "--seeds", "1"), 3),
    "ingredients.py": ((*SMALL, *FEW, "--epochs", "1", "--only", "no_augmentation"), 2),
    "input_pipeline.py": (("--dataset", "digits", "--images", "256", "--repeats", "1"), 5),
    "kills.py": (("--kills", "1"), 4),
    "lint_quality.py": ((*DIGITS, *FEW, "--backbone", "mobilenet_025"), 15),
    "memory.py": (("--runs", "2"), 2),
    "practised_hand.py": ((*DIGITS, "--train", "120", "--minutes", "0.1"), 1),
    "regret.py": (
        (*DIGITS, *FEW, "--models", "resnet20", "resnet20:40", "--recipe", "head"),
        7,
    ),
    "resolution.py": ((*DIGITS, *FEW, "--backbones", "mobilenet_025", "--sizes", "32", "48"), 2),
    "same_work.py": ((*DIGITS, "--backbone", "mobilenet", "--images", "150", "--repeats", "1"), 3),
    "sizes.py": (
        (*SMALL, "--sizes", "20", "--seeds", "1", "--test", "50", "--rows", "default:1", "head+epochs=1"),
        2,
    ),
    "standardising.py": ((*SMALL, *FEW, "--sizes", "20", "40", "--seeds", "1"), 2),
    "stages.py": (
        (*DIGITS, "--backbones", "mobilenet_025", "--sizes", "40", "--stages", "2", "--seeds", "2"),
        2,
    ),
    "stems.py": ((*SMALL, "--train", "100", "--test", "50", "--sizes", "32"), 2),
    "structure.py": ((), len(structure_packages())),
    "time_to_accuracy.py": (
        (*DIGITS, "--train", "100", "--runs", "port:1", "default:1", "call+train=40+epochs=1", "--stop"),
        3,
    ),
}


def run(command, folder, **variables):
    """Run a command in a folder and return what it printed."""
    environment = {
        **os.environ,
        # nothing is there: whatever would be downloaded is missed
        "KERAS_HOME": str(folder / "keras"),
        "MPLBACKEND": "agg",
        "PYTHONIOENCODING": "utf-8",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **variables,
    }
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def read_table(printed):
    """Return the rows of the one Markdown table in a text, its header first."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in lines)
    header, ruler, *rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    assert set(ruler) == {"---"}
    assert {len(ruler), *map(len, rows)} == {len(header)}
    return [header, *rows]


@pytest.fixture
def script(monkeypatch):
    """Import a script by its name, without its ending."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in ("reporting.py", *SCRIPTS):
        sys.modules.pop(name.removesuffix(".py"), None)


# ---- all scripts alike


def test_every_script_is_run_by_a_test_and_named_on_the_page():
    page = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert sorted(CALLS) == SCRIPTS
    assert sorted(set(re.findall(r"^\| `(\w+\.py)` \|", page, re.MULTILINE))) == SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_the_docstring_and_needs_no_backend(name, tmp_path):
    asked = (
        "import runpy, sys\n"
        "folder, script = sys.argv[1:]\n"
        "sys.path.insert(0, folder)\n"
        "sys.modules.update(keras=None, tensorflow=None, jax=None, torch=None)\n"
        "sys.argv = [script, '--help']\n"
        "runpy.run_path(f'{folder}/{script}', run_name='__main__')\n"
    )
    printed = run(["-c", asked, BENCHMARKS, name], tmp_path)
    docstring = ast.get_docstring(ast.parse((BENCHMARKS / name).read_text(encoding="utf-8")))
    assert docstring in printed
    assert f"python benchmarks/{name}" in docstring
    assert "--json" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_from_end_to_end(name, tmp_path):
    options, rows = CALLS[name]
    printed = run([BENCHMARKS / name, *options, "--json", tmp_path / "figures.json"], tmp_path)
    assert len(read_table(printed)) == 1 + rows
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures.pop("setting") in printed
    assert any(figures.values())
    assert not list(tmp_path.glob("keras/*/*"))


@pytest.mark.slow
def test_published_weights_and_real_images_reach_the_rows(tmp_path, shared_home):
    call = ["--backbones", "mobilenet_v2_035", "--sizes", "32", "96"]
    few = ["--train", "500", "--validation", "100", "--test", "500"]
    printed = run([BENCHMARKS / "resolution.py", *call, *few], tmp_path, KERAS_HOME=str(shared_home))
    header, small, enlarged = read_table(printed)
    column = header.index("test accuracy")
    small, enlarged = (float(row[column].rstrip("%")) for row in (small, enlarged))
    # at 32 pixels one cell is left of the map
    assert small < 40 < enlarged


# ---- the port of the article's script

# dense units, and dropout rates
HEADS = {
    "mobilenet": [1024, 512, 256, 128, 10],
    "resnet50": [1024, 512, 0.4, 256, 0.3, 128, 0.2, 10],
}


def coded_images(count):
    """Return images whose left half tells which they are and whose right half is black."""
    images = np.zeros((count, 32, 32, 3), "uint8")
    digits = np.arange(count)[:, None] // (100, 10, 1) % 10
    images[:, :, :16] = (50 + 20 * digits)[:, None, None]
    return images


def codes(images):
    """Return which images these are, after whatever was done to them."""
    digits = np.rint((images.max(axis=(1, 2)) - 50) / 20)
    return (digits @ (100, 10, 1)).astype(int)


def mirrored(images):
    """Return the share of images whose bright half is on the right."""
    return np.mean(images[:, 16, 24].sum(axis=-1) > images[:, 16, 8].sum(axis=-1))


@pytest.fixture(scope="module")
def asked():
    """What the port asks of `fit`, for 700 training and 300 validation images."""
    import keras

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        port = importlib.import_module("article_port")
        found = {}

        def fit(model, batches, **options):
            found.update(options, model=model, batches=batches)
            return keras.callbacks.History()

        patch.setattr(keras.Sequential, "fit", fit)
        x, y = coded_images(1000), np.arange(1000) % 10
        found["parts"] = x_train, _, y_train, _ = port.split(x, y, seed=0)
        assert (x_train.shape, y_train.shape) == ((700, 32, 32, 3), (700,))
        port.train_parts("mobilenet", *found["parts"], weights=None, seed=0)
        sys.modules.pop("article_port")
    return found


@pytest.mark.medium
@pytest.mark.parametrize("name", HEADS)
def test_the_port_has_the_article_s_layers_and_so_has_the_recipe(script, name):
    port = script("article_port").build(name, weights=None)
    recipe = tz.recipe_info("article").with_options(name, faithful=True)
    options = recipe.build_options(name, pretrained=False)
    ours = tz.build(name, 10, input_shape=(32, 32, 3), weights=None, **options)

    def parts(layers):
        read = {"Dense": lambda layer: layer.units, "Dropout": lambda layer: layer.rate}
        return [read[kind](layer) for layer in layers if (kind := type(layer).__name__) in read]

    assert parts(port.layers[1:]) == parts(ours.get_layer("head").layers) == HEADS[name]
    assert [layer.activation.__name__ for layer in port.layers if hasattr(layer, "activation")] == [
        *["relu"] * 4,
        "softmax",
    ]
    # all of the backbone learns
    shapes = [[weight.shape for weight in model.trainable_weights] for model in (port, ours)]
    assert shapes[0] == shapes[1]


@pytest.mark.medium
def test_the_port_s_network_computes_what_the_faithful_recipe_s_does(script):
    port = script("article_port").build("mobilenet", weights=None)
    recipe = tz.recipe_info("article").with_options("mobilenet", faithful=True)
    options = recipe.build_options("mobilenet", pretrained=False)
    ours = tz.build("mobilenet", 10, input_shape=(32, 32, 3), weights=None, **options)
    ours.set_weights(port.get_weights())
    images = tz.load_dataset("digits").x_test[:16].astype("float32")
    # as in training: with the batch's own statistics, as random weights die away without them
    theirs = np.asarray(port(images, training=True))
    assert theirs.std(axis=0).min() > 1e-4
    np.testing.assert_allclose(np.asarray(ours(images, training=True)), theirs, rtol=1e-3, atol=1e-5)


def test_the_port_s_optimizer_is_the_article_s_and_the_recipe_s(asked):
    model, (phase,) = asked["model"], tz.recipe_info("article").phases
    settings = model.optimizer.get_config()
    wanted = {"momentum": 0.9, "nesterov": False, "weight_decay": None, "clipnorm": None}
    assert type(model.optimizer).__name__ == "SGD"
    assert {key: settings[key] for key in wanted} == wanted
    assert settings["learning_rate"] == pytest.approx(1e-3)
    assert (phase.optimizer, phase.learning_rate, phase.momentum) == ("sgd", 1e-3, 0.9)
    assert (phase.nesterov, phase.weight_decay, phase.schedule) == (False, 0, "constant")
    assert model.loss == "categorical_crossentropy"
    assert phase.label_smoothing == 0


def test_the_port_s_plateau_is_the_article_s_and_the_recipe_s(asked):
    (plateau,) = asked["callbacks"]
    (phase,) = tz.recipe_info("article").phases
    theirs = (plateau.monitor, plateau.factor, plateau.patience, plateau.min_lr)
    ours = (phase.plateau.monitor, phase.plateau.factor, phase.plateau.patience, phase.plateau.minimum)
    assert theirs == ours == ("val_accuracy", 0.01, 3, 1e-5)


def test_the_port_s_epochs_and_steps_are_the_article_s_and_the_recipe_s(script, asked):
    port = script("article_port")
    for name, epochs in {"mobilenet": 100, "resnet50": 30}.items():
        assert port.EPOCHS[name] == epochs
        assert tz.recipe_info("article").with_options(name).phases[-1].epochs == epochs
    assert port.BATCH_SIZE == tz.recipe_info("article").phases[-1].batch_size == 100
    assert port.steps_for(35_000, port.STEPS) == 350
    assert port.steps_for(15_000, port.VALIDATION_STEPS) == 250
    assert (asked["epochs"], asked["steps_per_epoch"], asked["validation_steps"]) == (100, 7, 5)


def test_the_port_shows_each_training_image_once_raw_and_augmented(asked):
    batches = [asked["batches"][index] for index in range(asked["steps_per_epoch"])]
    assert {len(images) for images, _ in batches} == {100}
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert sorted(codes(images)) == sorted(codes(asked["parts"][0]))
    # not scaled, and each still with its own label
    assert images.max() == 230
    assert (labels.argmax(axis=1) == codes(images) % 10).all()
    assert 0.4 < mirrored(images) < 0.6
    generator = asked["batches"].image_data_generator
    augmentation = tz.recipe_info("article").phases[-1].augmentation
    assert generator.rotation_range == augmentation.rotation == 2
    assert generator.zoom_range == [1 - augmentation.zoom, 1 + augmentation.zoom] == [0.9, 1.1]
    assert generator.horizontal_flip is augmentation.horizontal_flip is True
    untouched = ("vertical_flip", "rescale", "preprocessing_function", "width_shift_range", "shear_range")
    assert [name for name in untouched if getattr(generator, name)] == []


def test_the_port_validates_on_an_endless_augmented_stream_that_repeats_images(asked):
    stream = asked["validation_data"]
    images = np.concatenate([next(stream)[0] for _ in range(asked["validation_steps"])])
    seen = collections.Counter(codes(images).tolist())
    assert sorted(seen) == sorted(codes(asked["parts"][1]))
    assert sorted(seen.values()) == [1] * 100 + [2] * 200
    assert 0.4 < mirrored(images) < 0.6
    # turned or zoomed: some column is neither bright nor black
    assert len(np.unique(images)) > 100
    assert len(next(stream)[0]) == 100
    # Keras would end it where a PyDataset's images are used up
    assert not hasattr(stream, "num_batches")


# ---- what single scripts reckon


@pytest.mark.medium
def test_few_timed_steps_end_training_and_validation_of_the_same_epoch(script):
    import keras

    same_work = script("same_work")
    counted = collections.Counter()

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            counted["training"] += 1

        def on_test_batch_end(self, batch, logs=None):
            counted["validation"] += 1

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    x, y = np.zeros((40, 2)), np.zeros((40, 1))
    timed = same_work.clock(3)
    model.fit(x, y, batch_size=2, epochs=2, validation_data=(x, y), callbacks=[Count(), timed], verbose=0)
    assert counted == {"training": same_work.WARMING_STEPS + 3, "validation": 3}
    assert len(timed.seconds) == 1
    too_short = same_work.clock(16)
    model.fit(x, y, batch_size=2, epochs=2, validation_data=(x, y), callbacks=[too_short], verbose=0)
    assert too_short.seconds == []


@pytest.mark.medium
def test_whole_epochs_are_timed_without_their_validation(script):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    timed = script("same_work").clock()
    x, y = np.zeros((40, 2)), np.zeros((40, 1))
    model.fit(x, y, epochs=3, validation_data=(x, y), callbacks=[timed], verbose=0)
    assert len(timed.seconds) == 3


def test_the_sides_of_a_turn_are_compared_with_each_other(script):
    def side(*runs):
        return [{"images_per_second": speeds, "peak_bytes": peak} for speeds, peak in runs]

    runs = {"port": side(([100, 110, 90], 200), ([50], 200)), "library": side(([120], 100), ([55], 150))}
    assert script("same_work").summarise(runs) == {"speed": [1.2, 1.1], "memory": [0.5, 0.75]}


def test_a_run_s_name_holds_recipe_epochs_and_options(script):
    parts_of = script("time_to_accuracy").parts_of
    assert parts_of("port") == ("port", None, {})
    assert parts_of("default:2") == ("default", 2, {})
    assert parts_of("head:5+head=mlp+learning_rate=1e-3+trainable=top:75%") == (
        "head",
        5,
        {"head": "mlp", "learning_rate": 0.001, "trainable": "top:75%"},
    )


def test_a_run_is_compared_with_the_port_of_its_own_repeat(script):
    runs = ["port:5", "default", "port:5", "default"]
    records = [
        [("epoch 1", 100.0, 0.5), ("epoch 2", 200.0, 0.7)],
        [("before the first step", 10.0, 0.66), ("epoch 1", 700.0, 0.8)],
        [("epoch 1", 300.0, 0.7)],
        [("before the first step", 10.0, 0.6), ("epoch 1", 30.0, 0.7)],
    ]
    port, default = script("time_to_accuracy").rows(runs, records, 0.65)
    assert port[:3] == ("port:5", "250.0 (200.0 to 300.0)", "")
    assert default[:3] == ("default", "20.0 (10.0 to 30.0)", "15.0 (10.0 to 20.0)")
    assert default[3:] == ("70.0%", "70.0%", "70.0%", "70.0% (30 s)")


def test_a_row_that_is_asked_for_brings_its_baseline(script):
    backends = script("backends")
    every = backends.cells([32, 96], [1])
    assert {cell.baseline() for cell in every} <= set(every)
    assert {cell.changed for cell in every} == set(backends.CHANGES)
    layout = backends.cells([32], [1], ["layout"])
    assert [cell.changed for cell in layout] == ["nothing", "layout"]
    assert [cell.batch for cell in backends.cells([32], [], ["prediction"])] == [128, 32, 512]


def test_the_median_comes_with_the_lowest_and_the_highest(script):
    spread = script("reporting").spread
    assert spread([3, 1, 2000], 0) == "3 (1 to 2,000)"
    assert spread([1.234]) == "1.23"
    assert spread([]) == "n/a"


def test_figures_are_written_whole(script, tmp_path):
    write_json = script("reporting").write_json
    write_json(None, {})
    write_json(tmp_path / "new" / "figures.json", {"a": [1]})
    with pytest.raises(TypeError):
        write_json(tmp_path / "new" / "figures.json", {"a": object()})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["figures.json"]
    assert json.loads((tmp_path / "new" / "figures.json").read_text()) == {"a": [1]}
