"""What is handed out: the wheel and the source distribution hold what they should, and nothing else."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import ozelot
from tests.folders import ROOT

pytestmark = pytest.mark.slow


def kept(*folders: str) -> set[str]:
    """The files of the repository in some folders, as git knows them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name in found if (ROOT / name).is_file()}


def test_the_wheel_holds_the_package_and_the_examples(tmp_path: Path) -> None:
    path = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    assert names == {name.removeprefix("src/") for name in kept("src")} | {
        f"ozelot/{name}" for name in kept("examples")
    }
    assert f"\nVersion: {ozelot.__version__}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata


def test_the_source_distribution_holds_all_that_the_tests_need(tmp_path: Path) -> None:
    path = next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    files = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", ".gitignore"}
    assert names == kept("src", "tests", "docs", "examples") | files | {"PKG-INFO"}
