"""Energy that the processors took while a block ran, where the system counts it."""

from __future__ import annotations

import logging
from pathlib import Path

from transferzoo.costs.watching import Watch

logger = logging.getLogger("transferzoo")

# Linux' powercap: a folder for each processor package, and one for each of its parts
POWERCAP = Path("/sys/class/powercap")
PACKAGES = "intel-rapl:*"
# a counter starts again from zero after some minutes at full load: it is read more often than that
INTERVAL = 20.0


class Energy(Watch):
    """Counts the energy of the processor packages while a block runs, from Linux' RAPL counters.

    Everything that runs on these processors meanwhile is in it; graphics cards, memory modules outside of the
    packages, disks and the power supply are not, nor are earlier sittings of a run that continues. Many
    systems let only the administrator read the counters, and virtual machines have none: then nothing is
    counted, and `costs` returns nothing.

    Attributes
    ----------
    joules : float or None
        Of the block so far; None where the system does not say.

    Examples
    --------
    >>> with Energy() as energy:
    ...     total = sum(range(1_000_000))
    >>> energy.joules is None or energy.joules >= 0
    True
    """

    def __init__(self) -> None:
        super().__init__("transferzoo-energy", INTERVAL)
        self.joules: float | None = None
        self._last: dict[Path, int] = {}

    def _begin(self) -> bool:
        self._last = _counters()
        self.joules = 0.0 if self._last else None
        return bool(self._last)

    def costs(self) -> dict[str, float]:
        """Return ``train_joules``, or nothing where the system does not say."""
        return {} if self.joules is None else {"train_joules": self.joules}

    def _look(self) -> None:
        now = _counters()
        if self.joules is None or set(now) != set(self._last):
            self.joules = None
            return
        spent = 0
        for package, value in now.items():
            more = value - self._last[package]
            # below zero: it has started again from zero
            more += _range(package) if more < 0 else 0
            if more < 0:
                self.joules = None
                return
            spent += more
        self.joules += spent / 1e6
        self._last = now


def _counters() -> dict[Path, int]:
    """Return microjoules by package, those that can be read."""
    found = {}
    for package in sorted(POWERCAP.glob(PACKAGES)):
        # "intel-rapl:0" is a package, "intel-rapl:0:1" a part of it
        if package.name.count(":") == 1:
            try:
                found[package] = int((package / "energy_uj").read_text())
            except (OSError, ValueError) as error:
                logger.debug("energy is not counted: %s", error)
    return found


def _range(package: Path) -> int:
    try:
        return int((package / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return 0
