"""The example trains and infers, and mines where there is work."""
import pathlib
import re
import subprocess
import sys

from hosts import DEADLINE_S, work

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "transformer" / "transformer.py"


def run(*arguments):
    command = [sys.executable, EXAMPLE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=4 * DEADLINE_S, check=False)


def test_the_transformer_mines_while_it_trains_and_infers(host):
    host.say(work(1, 1 << 120))
    result = run("--steps", 1, "--layers", 1)
    assert result.returncode == 0, result.stderr
    agree = re.search(r"the same guess for ([0-9.]+)% of bytes", result.stdout)
    mined = re.search(r"mined: [0-9,]+ GMAC, ([0-9.]+)% of all, ([0-9.]+)% of those", result.stdout)
    assert agree and float(agree[1]) > 90, result.stdout
    # How much depends on when work comes: the first products may run before it.
    assert mined and float(mined[1]) > 0, result.stdout


def test_too_little_text_is_said(tmp_path):
    (tmp_path / "short").write_text("abc")
    result = run("--text", tmp_path / "short")
    assert result.returncode == 1 and "3 bytes of text; at least 512 are needed" in result.stderr
