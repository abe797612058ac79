"""What all tests share: how far hypothesis looks, how many rounds a test makes, an environment that reports nothing."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from _pytest.unraisableexception import collect_unraisable  # no public name

ROOT = Path(__file__).resolve().parent.parent
SELDOM = (20_000, 20, 50)

# "ci" finds the same examples in every run, so a failure is the change's and never the day's.
# Deadlines and the "too slow" check measure the machine, and a shared one is slow at random.
# A quarter of the usual examples here; "soak" makes thousands.
hypothesis.settings.register_profile(
    "ci",
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "soak",
    max_examples=2_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# The frameworks send traces and usage reports when these say so; tests must not depend on the developer's shell.
os.environ.update(LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false", ANONYMIZED_TELEMETRY="False")
# What is read must not depend on whether an OCR is installed; its own tests switch it on.
os.environ["MEMVID_OCR"] = "off"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let long tests begin first, and measure coverage in the first case of each test function, not in its rounds.

    So no worker is alone with a long test when the others have nothing left. The tracer of Python 3.11 doubles the time
    of a test: it is off in tests of many examples or rounds, which run the same lines with other values.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    seen: set[object] = set()
    for item in items:
        function = getattr(item, "function", None)
        if function is None:
            continue  # an example in a docstring
        case = (item.parent, function)
        rounds = hypothesis.is_hypothesis_test(function) or "effort" in getattr(item, "fixturenames", ())
        if case in seen or rounds:
            item.add_marker("no_cover")
        seen.add(case)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what collection made: a million objects that live until the end.

    This process and those that the tests start search for garbage seldom: it took a sixth of the time of the tests.
    """
    gc.freeze()
    gc.set_threshold(*SELDOM)
    first = str(ROOT / "tests" / "started")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [first, os.environ.get("PYTHONPATH")]))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Search for garbage at the end of a test that leaves some, while what it is allowed to leave is no error."""
    if any("Unraisable" in text for mark in item.iter_markers("filterwarnings") for text in mark.args):
        gc.collect()
        collect_unraisable(item.config)  # pytest did so before; or the next test is told, which may leave nothing


@pytest.fixture(scope="session")
def effort() -> Callable[[int], int]:
    """How many rounds to make: the number given in the test command, a multiple of it in ``make soak ARGS="tests"``."""
    factor = int(os.environ.get("MEMVID_SOAK", "1"))
    return lambda rounds: rounds * factor


@pytest.fixture(scope="session")
def sized() -> Callable[[int, int], int]:
    """How many rows or rounds: the first number in the test command, the second in the soak."""
    return lambda here, soaked: soaked if "MEMVID_SOAK" in os.environ else here


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
