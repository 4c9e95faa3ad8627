"""Heads, composed from small parts: from a backbone's features to one logit per class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transferzoo.errors import InvalidInputError, TransferZooError, invalid, printable
from transferzoo.ground.registry import Registry
from transferzoo.head_parts import (
    ACTIVATIONS,
    RECORDS,
    Classifier,
    CosineClassifier,
    Dense,
    Dropout,
    Flatten,
    MultiSampleClassifier,
    Normalize,
    Pool,
)

__all__ = [
    "ACTIVATIONS",
    "HEADS",
    "RECORDS",
    "Classifier",
    "CosineClassifier",
    "Dense",
    "Dropout",
    "Flatten",
    "Head",
    "MultiSampleClassifier",
    "Normalize",
    "Pool",
    "apply_head",
    "head_info",
    "head_name",
    "is_linear",
    "list_heads",
    "register_head",
    "resolve_head",
]


@dataclass(frozen=True)
class Head:
    """A head: parts in order, the last a `Classifier`.

    Parameters
    ----------
    *parts : callable
        Parts of this module, Keras layers, or any function from a Keras tensor to a Keras tensor. Give
        functions that make new layers where one head serves several models.

    Raises
    ------
    InvalidInputError
        If the last part is no `Classifier`, one stands elsewhere, or a part cannot be called.

    Examples
    --------
    >>> Head(Pool("avg"), Dropout(0.2), Classifier())
    Head(Pool('avg'), Dropout(0.2), Classifier())
    """

    parts: tuple[Callable[..., Any], ...]

    def __init__(self, *parts: Callable[..., Any]) -> None:
        for part in parts:
            if not callable(part) or isinstance(part, type):
                raise invalid("A head's part", "a part such as Pool('avg') or a function of a tensor", part)
        if not parts or not isinstance(parts[-1], Classifier):
            raise InvalidInputError(
                "A head must end in Classifier(), or one of its kinds: Head(Pool(), Classifier())."
            )
        if any(isinstance(part, Classifier) for part in parts[:-1]):
            raise InvalidInputError(
                "A head must hold one Classifier(), as its last part. Got another before it."
            )
        object.__setattr__(self, "parts", parts)

    def __call__(self, features: Any, num_classes: int) -> Any:
        """Apply the parts: features, a Keras tensor, to logits ``(batch, num_classes)``."""
        *body, classifier = self.parts
        for part in body:
            features = part(features)
        return classifier(features, num_classes)

    def __repr__(self) -> str:
        words = []
        for part in self.parts:
            values = [repr(value) for value in vars(part).values()] if hasattr(part, "__dict__") else []
            known = type(part) in RECORDS
            words.append(f"{type(part).__name__}({', '.join(values)})" if known else head_name(part))
        return f"Head({', '.join(words)})"


HEADS: Registry[Callable[..., Any]] = Registry("head", callable)

HEADS.register("linear", Head(Pool("avg"), Classifier()))
HEADS.register("mlp", Head(Pool("avg"), Dropout(0.2), Dense(512), Dropout(0.5), Classifier()))
HEADS.register("alexnet", Head(Flatten(), Dropout(0.5), Dense(4096), Dropout(0.5), Dense(4096), Classifier()))
HEADS.register(
    "article_resnet50",
    Head(
        Flatten(),
        Dense(1024),
        Dense(512),
        Dropout(0.4),
        Dense(256),
        Dropout(0.3),
        Dense(128),
        Dropout(0.2),
        Classifier(),
    ),
)
HEADS.register(
    "article_mobilenet", Head(Flatten(), Dense(1024), Dense(512), Dense(256), Dense(128), Classifier())
)


def list_heads(pattern: str = "*") -> list[str]:
    """Names of the heads that `build` knows, sorted.

    Parameters
    ----------
    pattern : str, default "*"
        Shell-style wildcards; case does not matter.

    Examples
    --------
    >>> list_heads("article*")
    ['article_mobilenet', 'article_resnet50']
    """
    return HEADS.names(pattern)


def head_info(name: str) -> Callable[..., Any]:
    """Return the head behind a name; printing it shows its parts.

    Examples
    --------
    >>> head_info("linear")
    Head(Pool('avg'), Classifier())
    """
    return HEADS.get(name)


def register_head(name: str, head: Callable[..., Any], *, replace: bool = False) -> None:
    """Make a head of your own a first-class name.

    Parameters
    ----------
    name : str
        The new name; no spaces, slashes or wildcards.
    head : Head or callable
        A `Head`, or any function from features, a Keras tensor, to logits ``(batch, num_classes)``. One
        that has a parameter `num_classes` is given it.
    replace : bool, default False
        Whether to replace a head that has this name already.

    Raises
    ------
    NameTakenError
        If the name is taken and `replace` is False.
    InvalidInputError
        If `head` cannot be called.

    Examples
    --------
    >>> register_head("small_mlp", Head(Pool("max"), Dense(64), Classifier()), replace=True)
    """
    if not callable(head):
        raise invalid("head", "a tz.Head, or a function from features to logits", head)
    HEADS.register(name, head, replace=replace)


def resolve_head(head: Any) -> Callable[..., Any]:
    """Return the callable behind a head's name, or the callable itself."""
    if isinstance(head, str):
        return HEADS.get(head)
    if not callable(head) or isinstance(head, type):
        raise invalid("head", "a head's name, a tz.Head, or a function from features to logits", head)
    return head


def head_name(head: Any) -> str:
    """Return a head's name for records: what was given, or the callable's own name."""
    if isinstance(head, str):
        return head
    if isinstance(head, Head):
        return repr(head)
    name = getattr(head, "__qualname__", None) or getattr(head, "name", None) or type(head).__name__
    return f"{getattr(head, '__module__', '')}.{name}".lstrip(".")


def is_linear(head: Any) -> bool:
    """Tell whether a head, or the head behind a name, is pooling and one Dense layer at most."""
    head = resolve_head(head)
    if not isinstance(head, Head) or type(head.parts[-1]) is not Classifier:
        return False
    return all(
        isinstance(part, Flatten | Dropout) or (isinstance(part, Pool) and part.kind in ("avg", "max"))
        for part in head.parts[:-1]
    )


def apply_head(head: Callable[..., Any], features: Any, num_classes: int) -> Any:
    """Return the logits of `head` on the Keras tensor `features`, with their shape checked."""
    try:
        takes_count = "num_classes" in inspect.signature(head).parameters
    except (TypeError, ValueError):
        takes_count = False
    try:
        logits = head(features, num_classes=num_classes) if takes_count else head(features)
    except TransferZooError:
        raise
    except Exception as error:
        # a stranger's function may raise anything
        raise InvalidInputError(
            f"head '{head_name(head)}' failed on features of shape {tuple(features.shape)}: "
            f"{type(error).__name__}: {printable(error)[:300]}",
            argument="head",
            value=head_name(head),
        ) from error
    shape = getattr(logits, "shape", None)
    given = tuple(shape) if shape is not None else type(logits).__name__
    if shape is None or len(shape) != 2 or shape[-1] != num_classes:
        raise InvalidInputError(
            f"head must turn features into logits of shape (batch, {num_classes}). "
            f"'{head_name(head)}' turned {tuple(features.shape)} into {given}. "
            f"End it in a layer of {num_classes} units without activation.",
            argument="head",
            value=head_name(head),
        )
    return logits
