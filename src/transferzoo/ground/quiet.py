"""Keeps off the terminal what TensorFlow says that is no news to a user."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# "I0000 00:00:1795969968.607619 9077 port.cc:153] …", "2026-11-29 16:10:09.1: W external/…", absl's own line
_LOG_LINE = re.compile(
    rb"^(WARNING: All log messages before absl|[IWE]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IWE] "
    # LiteRT's interpreter and converter
    rb"|INFO: |fully_quantize: )"
)


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Hold standard error back while the block runs, then pass on all but TensorFlow's log lines.

    If the block fails, all is passed on: the lines may say why.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, ValueError):
        # no standard error, or none with a number: there is nothing to hold back
        yield
        return
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            heard.seek(0)
            for line in heard:
                if failed or not _LOG_LINE.match(line):
                    os.write(2, line)


def load_keras() -> None:
    """Import Keras and its backend, without TensorFlow's log lines; nothing where that is done already."""
    if "keras" not in sys.modules:
        with quiet_import():
            import keras  # noqa: F401


class _NotOfTraces(logging.Filter):
    """Drops the warning that one function is traced again and again.

    TensorFlow counts traces by the place in the code where a function was made. All of Keras' models have
    their step from one place, so that a few models in one process, each traced once, set it off.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def traces_expected() -> Iterator[None]:
    """Trace several models in the block without TensorFlow's warning of repeated traces."""
    told = _NotOfTraces()
    logger = logging.getLogger("tensorflow")
    logger.addFilter(told)
    try:
        yield
    finally:
        logger.removeFilter(told)
