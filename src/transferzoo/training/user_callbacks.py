"""A user's callbacks: what they see as their model, and which of them a training can serve."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras

from transferzoo.errors import InvalidInputError, invalid
from transferzoo.recipes.phase import Phase

# Keras' own that set the rate themselves
RATE_CALLBACKS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)
HOOKS = ("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end")
RARE_HOOKS = (
    *("on_train_batch_begin", "on_train_batch_end"),
    *("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end"),
)
# what belongs to the network that Keras fits, not to the model that the user gets back
OF_THE_FITTED = frozenset({"stop_training", "metrics", "metrics_names", "loss", "history", "jax_state_sync"})


def check_callbacks(callbacks: Any, main: Phase | None = None) -> list[keras.callbacks.Callback]:
    """Return callbacks as a list, or raise for one that the main phase cannot serve.

    Parameters
    ----------
    callbacks : iterable of keras.callbacks.Callback
    main : Phase, optional
        The last phase. Callbacks that set the learning rate act in it alone, and only if its schedule is
        constant.
    """
    accepted = "a list of keras.callbacks.Callback objects"
    if isinstance(callbacks, keras.callbacks.Callback):
        raise invalid("callbacks", accepted, callbacks, remedy="Pass [callback].")
    if isinstance(callbacks, str) or not isinstance(callbacks, Iterable):
        raise invalid("callbacks", accepted, callbacks)
    every = list(callbacks)
    for callback in every:
        if not isinstance(callback, keras.callbacks.Callback):
            made = isinstance(callback, type) and issubclass(callback, keras.callbacks.Callback)
            remedy = f"Pass an object: {callback.__name__}()." if made else ""
            raise invalid("callbacks", accepted, callback, remedy=remedy)
        if main is None or not isinstance(callback, RATE_CALLBACKS):
            continue
        name = type(callback).__name__
        if main.optimizer == "lbfgs":
            raise InvalidInputError(
                f"{name} sets a learning rate, and phase '{main.name}' solves the head in one go, "
                "without one. Leave it out, or use recipe='head'.",
                argument="callbacks",
                value=name,
            )
        if main.schedule != "constant":
            raise InvalidInputError(
                f"{name} sets the learning rate, and so does the schedule of phase '{main.name}', "
                f"'{main.schedule}'. Pass schedule='constant' with it, or leave it out.",
                argument="callbacks",
                value=name,
            )
    return every


class ModelView:
    """Stands for the model that the user gets back, while another network on the same weights is fitted.

    Everything is that of `model`, but for what only the fitted network has: the optimizer, metrics, and
    `stop_training`.

    Parameters
    ----------
    model : keras.Model
        What the run returns in the end.
    network : keras.Model
        What Keras fits.
    """

    _model: keras.Model
    _trained: keras.Model

    def __init__(self, model: keras.Model, network: keras.Model) -> None:
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_trained", network)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        # callbacks ask whether their model is a keras.Model
        return type(self._model)

    @property
    def optimizer(self) -> Any:
        """The optimizer that is at work; None where a head is solved in one go."""
        return getattr(self._trained, "optimizer", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trained if name in OF_THE_FITTED else self._model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._trained if name in OF_THE_FITTED else self._model, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the user's model."""
        return self._model(*args, **kwargs)


class UserCallbacks(keras.callbacks.Callback):
    """Hands Keras' calls on to a user's callbacks, whose `self.model` is the model they know.

    Parameters
    ----------
    callbacks : sequence of Callback
    model : keras.Model
        The user's.
    as_returned : callable
        Returns a context within which the model's weights are those that the run would return now. A head
        may learn on standardised features, and its weights are then other ones.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        as_returned: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        super().__init__()
        self._callbacks = list(callbacks)
        self._users_model = model
        self._as_returned = as_returned
        for hook in HOOKS:
            setattr(self, hook, self._forward(hook))
        for hook in RARE_HOOKS:
            # Keras skips what nobody overrides, and on JAX that is worth much
            if any(_overrides(callback, hook) for callback in self._callbacks):
                setattr(self, hook, self._forward(hook))

    def set_params(self, params: Any) -> None:
        """Hand the parameters on."""
        super().set_params(params)
        for callback in self._callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        """Show the callbacks the user's model in place of the fitted one."""
        super().set_model(model)
        view = ModelView(self._users_model, model)
        for callback in self._callbacks:
            callback.set_model(view)

    def _forward(self, hook: str) -> Callable[..., None]:
        def forward(*args: Any, **kwargs: Any) -> None:
            if not self._callbacks:
                return
            # jax: asking for `self.model` brings its variables up to date
            assert self.model is not None
            with self._as_returned():
                for callback in self._callbacks:
                    try:
                        getattr(callback, hook)(*args, **kwargs)
                    except Exception as error:
                        known = ("LearningRateSchedule", "learning rate is not settable")
                        if not any(words in str(error) for words in known):
                            error.add_note(
                                f"It was raised in {hook} of your callback {type(callback).__name__}."
                            )
                            raise
                        raise InvalidInputError(
                            f"The callback {type(callback).__name__} set the learning rate, and so does this "
                            "phase's own schedule. Pass schedule='constant', or leave the callback out.",
                            argument="callbacks",
                            value=type(callback).__name__,
                        ) from error

        return forward


def _overrides(callback: keras.callbacks.Callback, hook: str) -> bool:
    names = (hook, hook.replace("_train_batch", "_batch"))
    methods = [getattr(callback, name) for name in names if hasattr(callback, name)]
    return any(not getattr(method, "_is_default", False) for method in methods)
