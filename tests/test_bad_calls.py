"""Every public function is called with bad values of each kind of argument: an error of ours, soon, no files.

A function's arguments are sorted into kinds by their names, and each kind has a table of bad values. A public
name that is new must be given a call in `calls`, and an argument that is new a kind in `KINDS` or a place in
`FREE`: two tests hold that, so nothing is added uncovered.
"""

import inspect
import signal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import TransferZooError

# for a call that ends at once; a busy machine may be slow
SECONDS = 30
# what a test environment must not be asked for: no weights can be downloaded here
QUIET = {"weights": None, "verbose": False}


class Anything:
    """What no argument is meant to be."""

    def __repr__(self):
        return "Anything()"


class LateError(BaseException):
    """A call took too long; nothing in it may take this for an error of its own."""


def endless():
    """A generator that must not be read to its end."""
    while True:
        yield Anything()


# fmt: off
BAD = {
    "path": [5, True, b"x", ["a"], "", "a\0b", "\ud800", Anything(), 0.5],
    "count": [-1, 0.5, float("nan"), float("inf"), "3", "²", True, [1], np.array([1]), Fraction(1, 2),
              10**40],
    "number": ["0.5", True, float("nan"), float("inf"), [0.5], 1j, Anything(), np.array([0.5, 1.0])],
    "share": ["0.5", True, float("nan"), -0.1, 1.5, [0.5], 1j, Anything(), 0.0],
    "flag": ["no", "yes", "", 2, 0.5, [], [True], Anything(), np.array([True, False])],
    "choice": [5, "no such choice", b"x", ["a"], 0.5, True, Anything(), "x" * 100_000],
    "size": ["32", -1, 0, 0.5, True, [1, 2, 3], float("nan"), Anything(), 10**7, 10**40],
    "shape": [5, "32", (1, 2), (0, 32, 3), (32, 32, 2), (32, 32, 0.5), Anything(), (10**9, 10**9, 3)],
    "images": [5, "abc", [[1, 2], [3]], {1, 2}, np.zeros((0, 8, 8, 3)), np.zeros(3), Anything(), endless],
    "labels": [5, "abc", [[1], [2, 3]], {1, 2}, [0.5, 1.0], [0, 10**30], Anything(), [], endless],
    "probabilities": [5, "abc", [[1], [2, 3]], {1, 2}, [[0.5, 0.1]], [[np.nan, 1]], Anything(), [], endless],
    "numbers": [5.5j, "abc", [[1], [2, 3]], {1, 2}, ["a"], Anything(), endless],
    "correct": [5, "abc", [[True], [True, False]], {1, 2}, [0.5, 1.0], Anything(), [], endless],
    "class_names": [5, "ab", {"a", "b"}, ["a", "a"], [0.5, 1.5], Anything(), ["only one"], [None, None]],
    "callbacks": [5, "x", Anything(), [Anything()], [None], ["x"], dict],
    "data": [5, None, b"x", "no such dataset", ["a"], Anything(), np.zeros(3)],
    "model": [5, None, b"x", "no such backbone", Anything(), np.zeros(3)],
    "record": [5, "no such record", b"x", Anything(), ["a"], {"a": 1}],
    "mapping": [5, "ab", Anything(), ["a"], 0.5],
    "names": [5, 0.5, Anything(), [5], [Anything()]],
    "axes": [5, "x", Anything(), [1], {"a": 1}],
    "progress": [5, "x", Anything(), [1]],
    "callable": [5, 0.5, b"x", Anything(), [1]],
    "text": [5, b"x", 0.5, Anything(), ["a"]],
    "seeds": [5, "01", [], [0, 0], [0.5], [-1], [10**40], Anything()],
    "trainable": [5, "", "top:", "top:0", "top:²", "top:1.5", "top:200%", ["a"], True, Anything()],
    "weights": [5, b"x", ["a"], True, "no such file.h5", "", "a\0b", Anything()],
}
# fmt: on

KINDS = {
    "path": "path out root folder save_backbone",
    "count": "num_classes stages seed epochs batch_size steps rows columns max_images train_size top_k bins "
    "resamples patience limit max_bytes units n_jobs native_size minimum_size default_size rand_augment "
    "steps_per_epoch samples shortlist folds",
    "number": "minutes lowest highest learning_rate momentum weight_decay temperature power magnitude mixup "
    "cutmix factor minimum layer_decay label_smoothing warmup scale",
    "share": "opacity threshold rope validation test confidence rate rotation zoom shift erase",
    "flag": "activations exact fixed_size features save_model cache lint replace flip_safe nesterov "
    "horizontal_flip rerun faithful",
    "choice": "classifier_activation preprocessing stem normalize strategy resize layout on_error kind fill "
    "optimizer schedule when heads batch_norm keep channels cost by method metric sampling class_weight",
    "size": "image_size",
    "shape": "input_shape",
    "images": "images x_train x_test x_validation",
    "labels": "y_true y_train y_test y_validation labels predicted_a predicted_b y_pred y_pred_or_prob",
    "probabilities": "y_prob",
    "numbers": "p_values costs accuracies successes n mean std",
    "correct": "correct_a correct_b correct",
    "class_names": "class_names",
    "callbacks": "callbacks",
    "data": "data",
    "model": "model",
    "record": "recipe augmentation plateau reading",
    "mapping": "arguments build",
    "names": "ignore backbones models paths phases known_faults faults stems",
    "axes": "ax",
    "progress": "verbose progress",
    "callable": "head loader builder",
    "text": "pattern name title description family licence note paper source top1_source",
    "seeds": "seeds train",
    "trainable": "trainable",
    "weights": "weights",
}
KIND_OF = {argument: kind for kind, arguments in KINDS.items() for argument in arguments.split()}


def prob(n=12, k=3):
    rows = np.random.default_rng(0).random((n, k)) + 0.1
    return rows / rows.sum(axis=1, keepdims=True)


TRUE = np.arange(12) % 3
RIGHT = np.arange(40) % 3 > 0
IMAGES = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
RECORDS = {"accuracy": 0.5, "parameters": 10, "model": "a"}
SPLITS = {
    "x_train": IMAGES,
    "y_train": TRUE,
    "x_validation": IMAGES + 1,
    "y_validation": TRUE,
    "x_test": IMAGES + 2,
    "y_test": TRUE,
}


@pytest.fixture(scope="module")
def data():
    return tz.load_dataset("digits").subset(train=40, validation=20, test=20)


@pytest.fixture(scope="module")
def calls(data):
    """A call of each public function that is right, as keyword arguments."""
    import matplotlib

    matplotlib.use("Agg")
    network = tz.build("mobilenet_025", 10, weights=None)
    mapped = tz.build("mobilenet_025", 10, weights=None, image_size=96)
    run = {"model": "mobilenet_025", "data": data, **QUIET, "epochs": 1, "lint": False}
    phase = tz.Phase(name="all", epochs=1, learning_rate=0.1)
    return {
        "Augmentation": {},
        "Backbone": {"name": "b", "family": "f", "paper": "p", "builder": make},
        "Dataset": {"name": "d", **SPLITS, "class_names": ("a", "b", "c"), "seed": 0, "source": "s"},
        "FeatureStore": {"folder": "features"},
        "Phase": {"name": "all", "epochs": 1, "learning_rate": 0.1},
        "Plateau": {},
        "Preprocessing": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
        "Recipe": {"name": "r", "description": "d", "phases": (phase,)},
        "build": {"name": "mobilenet_025", "num_classes": 3, "weights": None},
        "calibration.apply_temperature": {"y_prob": prob(), "temperature": 1.5},
        "calibration.brier_score": {"y_true": TRUE, "y_prob": prob()},
        "calibration.expected_calibration_error": {"y_true": TRUE, "y_prob": prob()},
        "calibration.fit_temperature": {"y_true": TRUE, "y_prob": prob()},
        "calibration.reliability": {"y_true": TRUE, "y_prob": prob()},
        "compare": {**{k: v for k, v in run.items() if k != "model"}, "models": ["mobilenet_025"]},
        "count_macs": {"model": network},
        "evaluate": {"y_true": TRUE, "y_prob": prob()},
        "evaluation.confusion": {"y_true": TRUE, "y_pred_or_prob": TRUE},
        "evaluation.per_class": {"y_true": TRUE, "y_prob": prob()},
        "evaluation.predicted_classes": {"y_prob": prob()},
        "extract_features": {"model": network, "images": data.x_train[:2]},
        "find_learning_rate": {"model": "mobilenet_025", "data": data, **QUIET, "steps": 20},
        "fit": run,
        "fit_and_evaluate": run,
        "from_arrays": {"x_train": IMAGES, "y_train": TRUE, "validation": 3, "test": 3},
        "from_batches": {"train": [(IMAGES, TRUE)], "validation": 3, "test": 3},
        "from_directory": {"path": "photos", "validation": 3, "test": 3},
        "from_table": {"table": [{"image": "a.png", "label": "b"}]},
        "grad_cam": {"model": mapped, "images": np.zeros((2, 32, 32, 3), "uint8")},
        "heads.CosineClassifier": {},
        "heads.Dense": {"units": 3},
        "heads.Dropout": {"rate": 0.5},
        "heads.MultiSampleClassifier": {},
        "heads.Normalize": {},
        "heads.Pool": {},
        "lint": {"model": "mobilenet_025", "data": data, "weights": None},
        "list_backbones": {},
        "list_datasets": {},
        "list_heads": {},
        "list_recipes": {},
        "load_dataset": {"name": "digits"},
        "load_model": {"path": "no such file"},
        "measure_costs": {"model": "mobilenet_025", "num_classes": 10, "input_shape": (32, 32, 3)},
        "plots.accuracy_against_cost": {"rows": [RECORDS]},
        "plots.accuracy_by": {"rows": [{"model": "a", "train": 5, "accuracy": 0.5}]},
        "plots.comparison": {"rows": [RECORDS]},
        "plots.confusion_matrix": {"y_true": TRUE, "y_pred": TRUE},
        "plots.flips": {"images": IMAGES, "y_true": TRUE, "predicted_a": TRUE, "predicted_b": TRUE[::-1]},
        "plots.history": {"history": {"loss": [1.0, 0.5]}},
        "plots.mistakes": {"images": IMAGES, "y_true": TRUE, "y_prob": prob()},
        "plots.heat_maps": {"images": np.zeros((2, 8, 8, 3), "uint8"), "maps": np.zeros((2, 8, 8))},
        "plots.class_accuracies": {
            "results": SimpleNamespace(y_true=TRUE, y_prob=prob(), class_names=list("abc"))
        },
        "plots.feature_cloud": {"features": np.random.default_rng(0).normal(size=(12, 4)), "labels": TRUE},
        "plots.histories": {"runs": {"a": {"loss": [1.0], "accuracy": [0.5], "val_accuracy": [0.5]}}},
        "plots.reliability": {"y_true": TRUE, "y_prob": prob(), "temperature": 1.5},
        "plots.risk_coverage": {"y_true": TRUE, "y_prob": prob(), "threshold": 0.5},
        "plots.image_grid": {"images": IMAGES, "labels": TRUE},
        "rank": {"backbones": ["mobilenet_025"], "data": data, **QUIET},
        "read_images": {"paths": ["a.png"], "image_size": 8},
        "register_backbone": {"name": "mine", "builder": make},
        "register_dataset": {"name": "mine", "loader": make},
        "register_head": {"name": "mine", "head": make},
        "register_recipe": {"recipe": tz.recipe_info("head")},
        "statistics.accuracy_interval": {"correct": RIGHT},
        "statistics.difference": {"correct_a": RIGHT, "correct_b": RIGHT[::-1]},
        "statistics.holm": {"p_values": [0.1, 0.2]},
        "statistics.mcnemar": {"correct_a": RIGHT, "correct_b": RIGHT[::-1]},
        "statistics.paired_bootstrap": {"correct_a": RIGHT, "correct_b": RIGHT[::-1], "resamples": 100},
        "statistics.pareto_frontier": {"accuracies": [0.5, 0.6], "costs": [1, 2]},
        "statistics.wilson_interval": {"successes": 3, "n": 10},
        "studies.join": {"folder": "no such folder"},
        "studies.article": {"models": ["mobilenet_025"], "data": data, **QUIET, "train_size": None},
        "studies.successive_halving": {"models": ["mobilenet_025", "resnet20"], "data": data, **QUIET},
        "studies.sweep": {"models": ["mobilenet_025"], "data": data, **QUIET, "train": [20, 40]},
        "verify": {"folder": "no such folder"},
        "weights.bundle": {"names": ["vgg16"], "out": "a.tar"},
        "weights.fetch": {"names": ["alexnet"]},
        "weights.import_file": {"path": "no such file", "name": "vgg16"},
        "weights.status": {},
        "weights.verify": {"names": []},
    }


def make(features):
    return features


NAMES = """
    Augmentation Backbone Dataset FeatureStore Phase Plateau Preprocessing Recipe build
    calibration.apply_temperature calibration.brier_score calibration.expected_calibration_error
    calibration.fit_temperature calibration.reliability compare count_macs evaluate
    evaluation.confusion evaluation.per_class evaluation.predicted_classes extract_features
    find_learning_rate fit grad_cam fit_and_evaluate from_arrays from_batches from_directory from_table
    heads.CosineClassifier heads.Dense heads.Dropout heads.MultiSampleClassifier
    heads.Normalize heads.Pool lint list_backbones list_datasets
    list_heads list_recipes load_dataset load_model measure_costs plots.accuracy_against_cost
    plots.accuracy_by plots.class_accuracies plots.feature_cloud plots.histories plots.comparison
    plots.confusion_matrix plots.flips plots.heat_maps plots.history plots.image_grid plots.mistakes
    plots.reliability plots.risk_coverage
    rank read_images
    register_backbone register_dataset register_head register_recipe statistics.accuracy_interval
    statistics.difference statistics.holm statistics.mcnemar statistics.paired_bootstrap
    statistics.pareto_frontier statistics.wilson_interval studies.article studies.join
    studies.successive_halving studies.sweep verify
    weights.bundle weights.fetch weights.import_file weights.status weights.verify
""".split()  # noqa: SIM905


# options that a signature does not show
OPTIONS = {
    "fit_and_evaluate": "epochs batch_size learning_rate momentum weight_decay nesterov optimizer schedule "
    "label_smoothing warmup mixup batch_norm keep patience rand_augment horizontal_flip augmentation "
    "weights head image_size trainable classifier_activation preprocessing stem faithful steps_per_epoch "
    "class_weight sampling",
    "compare": "epochs batch_size image_size weights",
    "find_learning_rate": "batch_size image_size",
    "lint": "epochs image_size",
    "rank": "image_size weights",
}
# (function, argument) -> values of the tables that are right there
ACCEPTED = {
    ("plots.risk_coverage", "threshold"): [0.0],
    ("plots.heat_maps", "opacity"): [0.0],
    ("Augmentation", "shift"): [0.0],
    ("Augmentation", "rotation"): [0.0, 1.5],
    ("Augmentation", "zoom"): [0.0],
    ("Augmentation", "erase"): [0.0],
    ("heads.Dropout", "rate"): [0.0],
    ("heads.MultiSampleClassifier", "rate"): [0.0],
    # as joblib has it: as many as there are cores
    ("compare", "n_jobs"): [-1],
    ("studies.article", "n_jobs"): [-1],
    ("studies.join", "n_jobs"): [-1],
    ("compare", "rope"): [0.0],
    # every backbone takes images of that side
    ("list_backbones", "image_size"): [10_000_000],
}
# arguments whose bad values are tested where they belong
FREE = {
    *("activation", "background", "calls", "clip_norm", "feature_channels", "history", "image", "label"),
    *(
        "files",
        "groups",
        "layer",
        "least_steps",
        "decay_steps",
        "rate_images",
        "warmup_steps",
        "norm_images",
        "at",
        "left_out",
        "monitor",
        "names",
        "origins",
        "output_stride",
        "classes",
        "maps",
        "titles",
        "max_multiply_adds",
        "max_parameters",
        "multiply_adds",
        "last_convolution",
        "parameters",
        "reduction",
        "top1",
    ),
    *("split", "store", "c_values", "table", "test_index", "results", "runs"),
}
# what is checked by hand below, or is no call: errors, records that only the library makes, and looking up
ELSEWHERE = {
    *(
        "Costs",
        "Finding",
        "Fitted",
        "Head",
        "Prediction",
        "Predictor",
        "Ranking",
        "RateCurve",
        "Result",
        "Study",
        "TransferClassifier",
        "TransferZooError",
        "Weights",
    ),
    *("backbone_info", "dataset_info", "head_info", "recipe_info", "diff"),
}


def reached(name):
    """Return the public callable of a dotted name."""
    found = tz
    for part in name.split("."):
        found = getattr(found, part)
    return found


def arguments_of(name):
    known = [
        parameter.name
        for parameter in inspect.signature(reached(name)).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    return [*known, *OPTIONS.get(name, "").split()]


@pytest.fixture
def bell():
    """Ends a call that does not end itself."""

    def late(number, frame):
        raise LateError

    before = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def what_happens(call, arguments):
    signal.alarm(SECONDS)
    try:
        call(**arguments)
    except TransferZooError as error:
        return None if str(error) else "an empty message"
    except LateError:
        return f"more than {SECONDS} seconds"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return "accepted"


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.filterwarnings("ignore")
def test_a_bad_value_gets_an_error_of_ours_and_leaves_nothing(name, calls, bell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = []
    for argument in arguments_of(name):
        for value in BAD.get(KIND_OF.get(argument), ()):
            if any(value is known or value == known for known in ACCEPTED.get((name, argument), ())):
                continue
            given = value() if value is endless else value
            found = what_happens(reached(name), {**calls[name], argument: given})
            if found:
                wrong.append(f"{argument}={value!r:.60}: {found:.200}")
    assert not wrong, "\n".join(wrong)
    assert list(tmp_path.iterdir()) == []


def test_every_public_function_has_a_call_here():
    public = {
        name for name in tz.__all__ if callable(getattr(tz, name)) and not inspect.ismodule(getattr(tz, name))
    }
    assert public - set(NAMES) - ELSEWHERE == set()


def test_every_argument_is_of_a_kind():
    arguments = {argument for name in NAMES for argument in arguments_of(name)}
    assert arguments - set(KIND_OF) == FREE


def test_the_calls_are_right(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        if name.split(".")[0] in ("statistics", "calibration", "evaluation", "heads"):
            reached(name)(**calls[name])
    assert set(calls) == set(NAMES)


# --- the command line

TEXTS = {
    "count": ["-1", "0.5", "x", "²", "1e3", str(10**40), ""],
    "number": ["x", "nan", "inf", "-1", ""],
    "choice": ["no such choice", "", "x" * 5_000],
    "path": ["", "/proc/none/run", "x" * 5_000],
    "seeds": ["x", "", "0,0", "0,-1", "²"],
}
# command -> what it is right with, and the kind of each option that takes a value
COMMANDS = {
    "fit mobilenet_025 -d digits --weights none --epochs 1": {
        **{
            f"--{name}": "count"
            for name in ("seed", "epochs", "batch-size", "patience", "image-size", "stages")
        },
        **{f"--{name}": "number" for name in ("learning-rate", "minutes", "weight-decay", "label-smoothing")},
        **{
            f"--{name}": "choice"
            for name in ("recipe", "head", "weights", "keep", "stem", "schedule", "sampling", "class-weight")
        },
        **{f"--{name}": "choice" for name in ("batch-norm", "augmentation", "trainable")},
        "--out": "path",
        "--validation": "number",
    },
    "compare mobilenet_025 mobilenet_v2_035 -d digits --weights none --epochs 1": {
        "--seeds": "seeds",
        "--out": "path",
        "--epochs": "count",
        "--recipe": "choice",
        "--minutes": "number",
    },
    "find-rate mobilenet_025 -d digits --weights none": {"--steps": "count", "--seed": "count"},
    "lint mobilenet_025 -d digits": {"--recipe": "choice", "--seed": "count"},
    "rank mobilenet_025 -d digits --weights none": {"--max-images": "count", "--seed": "count"},
}


@pytest.mark.medium
@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_option_is_exit_code_2_and_one_sentence(command, calls, capsys, bell, tmp_path, monkeypatch):
    from transferzoo.cli import run

    monkeypatch.chdir(tmp_path)
    wrong = []
    for option, kind in COMMANDS[command].items():
        for value in TEXTS[kind]:
            signal.alarm(SECONDS)
            try:
                code = run([*command.split(), option, value])
            except LateError:
                code = "late"
            finally:
                signal.alarm(0)
            said = capsys.readouterr().err
            if code != 2 or "Traceback" in said or "transferzoo: " not in said:
                wrong.append(f"{option} {value!r:.40}: {code}, {said[-200:]}")
    assert not wrong, "\n".join(wrong)
    assert list(tmp_path.iterdir()) == []
