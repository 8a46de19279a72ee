"""Examples whose models are called as those of many tests are: their tests run in a process of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.folders import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("folder", ["examples/employees", "examples/flights", "tests/apart"])
def test_the_tests_of_an_example_pass(folder: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if "skipped" in done.stdout:
        pytest.skip(done.stdout.splitlines()[-2])
