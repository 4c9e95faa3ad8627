"""What a user's callbacks see, and that what they save is what the run would return."""

import csv
import subprocess
import sys

import keras
import numpy as np
import pytest

import transferzoo as tz
from transferzoo.errors import InvalidInputError
from transferzoo.training.user_callbacks import check_callbacks

PREDICT = """
import sys
sys.modules["transferzoo"] = None
import keras, numpy as np
x = np.load(sys.argv[2])
np.save(sys.argv[3], keras.models.load_model(sys.argv[1]).predict(x, verbose=0))
"""


class Predicts(keras.callbacks.Callback):
    """Keeps what its model predicts at the end of each epoch."""

    def __init__(self, images):
        super().__init__()
        self.images = images
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.predict(self.images, verbose=0))


CASES = {
    "head": {"recipe": "head", "epochs": 2, "keep": "last"},
    "mlp head": {"recipe": "head", "head": "mlp", "epochs": 2, "keep": "last"},
    "linear_probe": {"recipe": "linear_probe"},
    "fine_tune": {"recipe": "fine_tune", "epochs": 2, "patience": None, "keep": "last"},
    "default": {"epochs": 2, "keep": "last"},
    "from_scratch": {"recipe": "from_scratch", "epochs": 2, "weights": None},
}


@pytest.fixture
def fit(tiny, tiny_weights, tiny_digits):
    def call(case, callbacks, **options):
        given = {
            "weights": tiny_weights,
            "image_size": "input",
            "cache": False,
            "verbose": False,
            "lint": False,
        }
        return tz.fit_and_evaluate(
            tiny, tiny_digits, **{**given, **CASES[case], **options}, callbacks=callbacks
        )

    return call


@pytest.mark.medium
@pytest.mark.parametrize("case", CASES)
def test_what_is_saved_last_is_what_the_run_returns(fit, tiny_digits, tmp_path, case):
    path = tmp_path / "last.keras"
    weights = tmp_path / "last.weights.h5"
    watch = Predicts(tiny_digits.x_test)
    result = fit(
        case,
        [
            keras.callbacks.ModelCheckpoint(path),
            keras.callbacks.ModelCheckpoint(weights, save_weights_only=True),
            watch,
        ],
    )
    expected = result.model.predict(tiny_digits.x_test, verbose=0)
    loaded = keras.models.load_model(path)
    assert loaded.input_shape == result.model.input_shape
    assert np.abs(loaded.predict(tiny_digits.x_test, verbose=0) - expected).max() < 1e-5
    assert np.abs(watch.seen[-1] - expected).max() < 1e-5
    result.model.load_weights(weights)
    assert np.abs(result.model.predict(tiny_digits.x_test, verbose=0) - expected).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("case", ["head", "from_scratch"])
def test_what_is_saved_loads_where_transferzoo_is_not_installed(fit, tiny_digits, tmp_path, case):
    path, images, found = (tmp_path / name for name in ("m.keras", "x.npy", "p.npy"))
    result = fit(case, [keras.callbacks.ModelCheckpoint(path)])
    np.save(images, tiny_digits.x_test)
    subprocess.run([sys.executable, "-c", PREDICT, path, images, found], check=True, capture_output=True)
    assert np.abs(np.load(found) - result.y_prob).max() < 1e-5


@pytest.mark.medium
@pytest.mark.parametrize("case", ["mlp head", "fine_tune"])
def test_a_callback_that_only_looks_changes_nothing(fit, tiny_digits, case):
    class Looks(Predicts):
        def on_train_batch_end(self, batch, logs=None):
            assert self.model.output_shape == (None, 10)
            self.model.get_weights()

    plain, watched = fit(case, []), fit(case, [Looks(tiny_digits.x_test)])
    assert np.array_equal(plain.y_prob, watched.y_prob)


@pytest.mark.medium
@pytest.mark.parametrize("case", ["mlp head"])
def test_early_stopping_gives_the_best_weights_back(fit, tiny_digits, case):
    watch = Predicts(tiny_digits.x_validation)

    # no fall is large enough, so that the first epoch is the best, and the third the last
    best = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=2, min_delta=1e6, restore_best_weights=True
    )
    result = fit(case, [watch, best], epochs=6)
    assert result.epochs == 3
    best = 0
    found = result.model.predict(tiny_digits.x_validation, verbose=0)
    assert np.abs(found - watch.seen[best]).max() < 1e-4


@pytest.mark.medium
def test_a_callback_sees_a_keras_model_with_an_optimizer(fit):
    seen = {}

    class Asks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen["model"] = isinstance(self.model, keras.Model)
            seen["rate"] = float(self.model.optimizer.learning_rate)
            seen["layers"] = [layer.name for layer in self.model.layers][-2:]
            self.model.stop_training = True

    result = fit("from_scratch", [Asks()])
    assert seen["model"]
    assert seen["rate"] >= 0
    assert seen["layers"] == ["backbone", "head"]
    assert result.epochs == 1
    assert not result.model.compiled


@pytest.mark.medium
def test_keras_csv_logger_works(fit, tmp_path):
    rows = tmp_path / "log.csv"
    fit("from_scratch", [keras.callbacks.CSVLogger(rows)])
    with rows.open() as stream:
        assert len(list(csv.DictReader(stream))) == 2


def test_tensorboard_works(fit, tmp_path):
    pytest.importorskip("tensorboard")
    fit("from_scratch", [keras.callbacks.TensorBoard(tmp_path / "logs")])
    assert list((tmp_path / "logs").rglob("events.*"))


@pytest.mark.slow
def test_weights_and_biases_logs_each_epoch(fit, tmp_path, monkeypatch):
    # offline: nothing is sent, and no account is asked for
    wandb = pytest.importorskip("wandb")
    from wandb.integration.keras import WandbMetricsLogger

    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=tmp_path, project="test") as run:
        result = fit("from_scratch", [WandbMetricsLogger()])
        logged = dict(run.summary)
    assert logged["epoch/epoch"] == 1
    assert logged["epoch/val_accuracy"] == pytest.approx(result.history["val_accuracy"][-1])


class TestRates:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: keras.callbacks.ReduceLROnPlateau(patience=1),
            lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.01 / (epoch + 1)),
        ],
    )
    @pytest.mark.parametrize("case", ["fine_tune", "default", "from_scratch", "head"])
    def test_they_are_refused_beside_a_schedule_with_the_option_to_use(self, fit, make, case):
        with pytest.raises(InvalidInputError, match="Pass schedule='constant'"):
            fit(case, [make()])

    @pytest.mark.medium
    @pytest.mark.parametrize("case", ["fine_tune", "from_scratch", "head", "default"])
    def test_the_option_works(self, fit, case):
        schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.01 / (epoch + 1))
        result = fit(case, [schedule], schedule="constant", warmup=0)
        assert result.history["learning_rate"][-2:] == pytest.approx([0.01, 0.005])

    @pytest.mark.medium
    def test_a_plateau_lowers_the_rate(self, fit):
        plateau = keras.callbacks.ReduceLROnPlateau(patience=1, min_delta=1e6, monitor="val_loss")
        result = fit("from_scratch", [plateau], schedule="constant", epochs=4, learning_rate=0.01)
        assert result.history["learning_rate"][-1] < 0.01

    def test_they_have_nothing_to_set_where_a_head_is_solved(self, fit):
        with pytest.raises(InvalidInputError, match="solves the head in one go"):
            fit("linear_probe", [keras.callbacks.ReduceLROnPlateau()])

    @pytest.mark.medium
    def test_a_callback_of_ones_own_gets_the_same_advice(self, fit):
        class Sets(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.model.optimizer.learning_rate = 0.1

        with pytest.raises(InvalidInputError, match=r"Sets set the learning rate.*schedule='constant'"):
            fit("from_scratch", [Sets()])
        assert fit("from_scratch", [Sets()], schedule="constant").history["learning_rate"][
            0
        ] == pytest.approx(0.1)

    def test_compare_refuses_before_any_training(self, tiny, tiny_digits, tmp_path):
        with pytest.raises(InvalidInputError, match="Pass schedule='constant'"):
            tz.compare(
                {"a": tiny},
                tiny_digits,
                weights=None,
                callbacks=[keras.callbacks.ReduceLROnPlateau()],
                out=tmp_path / "study",
            )
        assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (None, "Got None"),
        ("stop", "Got 'stop'"),
        (keras.callbacks.TerminateOnNaN(), r"Pass \[callback\]"),
        ([keras.callbacks.TerminateOnNaN], r"Pass an object: TerminateOnNaN\(\)"),
        ([print], "Got <built-in function print>"),
    ],
)
def test_what_is_no_callback_is_refused(given, part):
    with pytest.raises(InvalidInputError, match=part):
        check_callbacks(given)


@pytest.mark.medium
def test_an_error_of_a_callback_keeps_its_kind(fit):
    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        fit("mlp head", [Fails()])
