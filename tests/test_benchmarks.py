"""The comparisons with others, at sizes that take seconds: that their figures are of what was really done."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.folders import ROOT

pytestmark = pytest.mark.slow

BENCHMARKS = ROOT / "benchmarks"


def table(*arguments: str, of: str = "engine") -> str:
    command = [sys.executable, str(BENCHMARKS / f"{of}.py"), "--repeat", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_each_peer_gets_a_row_of_figures_and_is_asked_what_it_knows_after_a_kill() -> None:
    told = table("--sizes", "20", "--shapes", "layered", "--peers", "luigi", "ozelot_by_luigi")

    for peer in ("luigi", "ozelot_by_luigi"):
        assert re.search(rf"^{peer} +20( +[\d.]+){{5}}$", told, re.M), told
        assert re.search(rf"^{peer} +50$", told, re.M), told


def test_a_peer_that_is_over_its_time_is_not_asked_for_larger_sizes() -> None:
    told = table("--sizes", "20", "40", "--shapes", "deep", "--peers", "luigi", "--cap", "0.01")

    assert re.search(r"^luigi +20  over 0.01 s$", told, re.M), told
    assert not re.search(r"^luigi +40", told, re.M), told


def test_each_way_to_a_frame_gets_a_row_of_figures() -> None:
    told = table("--rows", "1000", "--databases", "sqlite", "--ways", "ozelot", "pandas", of="frames")

    for way, form in (("ozelot", "arrow"), ("ozelot", "pandas"), ("pandas", "pandas")):
        assert re.search(rf"^{way} +{form} +[\d,]+( +[\d.]+){{3}}$", told, re.M), told


def test_all_ways_of_loading_load_the_same_rows() -> None:
    told = table("--rows", "500", "--databases", "sqlite", "--ways", "raw", "ozelot", "core", "pandas", of="loading")

    forms = "tuples|64 MB|frame|dataframe|arrow|polars|generator"
    assert len(re.findall(rf"^\w+ +(?:{forms}) +[\d,]+ +[\d.]+ +[\d.]+ +\d+$", told, re.M)) == 9, told
    assert "differ" not in told


def test_checks_are_measured_beside_a_scan_of_their_table() -> None:
    told = table("--rows", "500", "--databases", "sqlite", of="checks")

    assert re.search(r"^20 checks on 500 rows", told, re.M), told
    assert re.search(r"^sqlite( +[\d.]+){7}$", told, re.M), told
