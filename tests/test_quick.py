"""What a forked command sees and gives back is the same as with a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import quick

SCRIPT = """
import os, sys
def fails():
    raise ValueError("on purpose")
print(sys.argv, sys.path[0], __name__, __file__, sys.stdin.read(), os.getcwd())
fails()
"""
SEES = "import sys; print(sys.argv, sys.path[0], __name__, sys.stdin.read())"
WARNS = "import warnings; warnings.warn('of the script')"
LUIGI = "import luigi; print(luigi.configuration.get_config().get('core', 'log_level'))"


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["-c", SEES, "a", "-b"], {}),
        (["folder/script.py", "a", "-b"], {}),
        (["-m", "script", "a", "-b"], {"PYTHONPATH": "folder"}),
        (["-c", "raise SystemExit('a reason')"], {}),
        (["-c", "raise SystemExit(3)"], {}),
        (["-c", "import os; os._exit(4)"], {}),
        (["-c", "raise KeyboardInterrupt"], {}),
        (["-c", "import os; os.kill(os.getpid(), 15)"], {}),
        (["-c", "import os; os.kill(os.getpid(), 9)"], {}),
        (["-c", "import atexit; atexit.register(print, 'at the end')"], {}),
        (["-c", WARNS], {}),
        (["-c", WARNS], {"PYTHONWARNINGS": "ignore"}),
        (["-W", "error", "-c", WARNS], {}),
        (["-c", "import os, time; print(os.environ['ANY'], time.tzname)"], {"ANY": "thing", "TZ": "Asia/Tokyo"}),
        (["-c", "print(hash('text'))"], {"PYTHONHASHSEED": "1"}),
        (["-V"], {}),
        (["-W", "ignore", "-c", LUIGI], {"LUIGI_CONFIG_PATH": "luigi.cfg"}),
    ],
)
def test_a_fork_does_the_same_as_a_new_interpreter(words: list[str], settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "script.py").write_text(SCRIPT)
    (tmp_path / "luigi.cfg").write_text("[core]\nlog_level: ERROR\n")

    def called(command: list[str]) -> tuple[int, str, list[str]]:
        environment = {**os.environ, **settings}
        done = subprocess.run(command, input="typed", capture_output=True, text=True, env=environment, check=False)
        lines = done.stderr.splitlines()
        return done.returncode, done.stdout, [line for line in lines if "<frozen runpy>" not in line]

    assert called(quick.python(*words)) == called([sys.executable, *words])


@pytest.mark.parametrize("ignored", ["", "INT", "TERM HUP"])
def test_a_fork_ignores_the_signals_that_its_caller_ignores(ignored: str) -> None:
    code = "from signal import *; print(*map(getsignal, (SIGINT, SIGTERM, SIGHUP)))"

    def called(command: list[str]) -> str:
        trap = f"trap '' {ignored}; exec \"$@\"" if ignored else 'exec "$@"'
        return subprocess.run(["sh", "-c", trap, "sh", *command], capture_output=True, text=True, check=True).stdout

    assert re.sub("0x.*?>", "", called(quick.python("-c", code))) == re.sub(
        "0x.*?>", "", called([sys.executable, "-c", code])
    )


# A test that runs in the background may have been told to ignore signals.
WAITS = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
print("waiting", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_a_fork(number: int) -> None:
    with subprocess.Popen(quick.python("-c", WAITS), stdin=-1, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        assert process.stdout.read() == ""  # nobody can write to it any more
        assert process.wait(60) == -number


def test_a_fork_that_handles_a_signal_goes_on() -> None:
    code = WAITS.replace("signal.SIG_DFL", "lambda *_: print('handled', flush=True)") + "print('done')"
    with subprocess.Popen(quick.python("-c", code), stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "handled\n"  # only then the end of its input
        assert process.communicate(timeout=60)[0] == "done\n"
    assert process.returncode == 0
