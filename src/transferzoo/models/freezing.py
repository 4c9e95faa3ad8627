"""Which layers of a backbone learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transferzoo.errors import InvalidInputError, invalid, nearest

if TYPE_CHECKING:
    import keras

POLICIES = (
    "'all', 'none', 'top:N' (the last N layers that hold weights), 'top:N%' (their upper share), "
    "or the beginning of layer names"
)


def set_trainable(network: keras.Model, policy: str) -> None:
    """Set which layers of a backbone learn; a frozen BatchNorm also stops updating its statistics.

    Parameters
    ----------
    network : keras.Model
        A backbone, such as ``model.get_layer("backbone")``.
    policy : str
        As `build` takes it in `trainable`.
    """
    check_policy_form(policy)
    network.trainable = True
    if policy == "all":
        return
    if policy == "none":
        # the network's own flag too: Keras ignores `network.trainable = True` where it is True already
        network.trainable = False
        return
    weighted = [layer for layer in network.layers if layer.weights]
    if policy.startswith("top:"):
        share = policy[4:]
        # one at least: nothing at all has a word of its own, 'none'
        count = max(1, round(len(weighted) * int(share[:-1]) / 100)) if share.endswith("%") else int(share)
        chosen: set[int] = {id(layer) for layer in weighted[max(0, len(weighted) - count) :]}
    else:
        chosen = {id(layer) for layer in weighted if layer.name.startswith(policy)}
        if not chosen:
            names = [layer.name for layer in weighted]
            close = nearest(policy, names)
            raise InvalidInputError(
                f"trainable must be {POLICIES}. No layer's name begins with '{policy}'."
                + (f" Did you mean '{close}'?" if close else ""),
                argument="trainable",
                value=policy,
                suggestion=close,
            )
    for layer in network.layers:
        layer.trainable = id(layer) in chosen


def check_policy_form(policy: Any) -> None:
    """Raise unless `policy` has a form that `set_trainable` takes; looks at no layers."""
    if not isinstance(policy, str) or not policy:
        raise invalid("trainable", POLICIES, policy)
    if policy.startswith("top:"):
        number = policy[4:].removesuffix("%")
        # not isdigit: it takes superscripts, which int refuses
        if not (number.isdecimal() and int(number) > 0) or (policy.endswith("%") and int(number) > 100):
            raise invalid("trainable", POLICIES, policy, remedy="N is a whole number of 1 or more.")
