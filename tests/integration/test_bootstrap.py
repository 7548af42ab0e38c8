"""`./run` and `./test` on a machine that has only Python: real environments, real pip, a product of four lines.

The checkout under test holds the real launchers beside a stand-in project that builds itself, so nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from social import bootstrap

ROOT = Path(__file__).parents[2]
LAUNCHERS = ("run", "test", "social/bootstrap.sh", "social/bootstrap.py")
PREPARING = "Preparing the environment"
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "stand-in"
"""
# The least that pip accepts as an editable build. Its modules stand for the product, ruff, mypy and pytest: each
# prints what it was asked, and ends with the code that the environment names.
BACKEND = """
import os, zipfile
TOOL = "import os, sys\\nprint(%r, *sys.argv[1:], flush=True)\\nsys.exit(int(os.environ.get(%r, 0)))\\n"
SOCIAL = "import os, sys\\ndef main():\\n    print('social', os.getpid(), *sys.argv[1:])\\n    return 3\\n"
def build_editable(folder, config_settings=None, metadata_directory=None):
    info = "stand_in-1.dist-info/"
    requires = "".join(f"Requires-Dist: {name}\\n" for name in os.environ.get("STAND_IN_REQUIRES", "").split())
    files = {f"{name}.py": TOOL % (name, name.upper() + "_CODE") for name in ("ruff", "mypy", "pytest")}
    files |= {
        "stand_in.py": SOCIAL,
        info + "METADATA": "Metadata-Version: 2.1\\nName: stand-in\\nVersion: 1\\n"
        "Provides-Extra: embedded\\nProvides-Extra: dev\\n" + requires,
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "entry_points.txt": "[console_scripts]\\nsocial = stand_in:main\\n",
    }
    files[info + "RECORD"] = "".join(f"{name},,\\n" for name in [*files, info + "RECORD"])
    name = "stand_in-1-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""


def make_checkout(folder: Path) -> Path:
    for name in LAUNCHERS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "constraints.txt").write_text("")
    (folder / "backend.py").write_text(BACKEND)
    return folder


def launch(checkout: Path, command: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Calls a launcher from another folder, as people do, with no index to fetch from."""
    return subprocess.run(
        [checkout / command, *arguments],
        env=surroundings(**environment),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def surroundings(**changes: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("PIP_", "SOCIAL_"))}
    # pip is told of no index and of no file of settings; the Python of these tests comes first
    return kept | {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PATH": python_first()} | changes


def python_first() -> str:
    return f"{Path(sys._base_executable).parent}:{os.environ['PATH']}"  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose first start has happened."""
    checkout = make_checkout(tmp_path_factory.mktemp("check out"))  # a space, because people have them
    first = launch(checkout, "run", "--help")
    assert PREPARING in first.stderr, first.stderr
    assert first.stdout.split()[2:] == ["up", "--help"]
    return checkout


def test_the_next_start_is_quick_and_is_the_product_itself(installed: Path) -> None:
    started = time.monotonic()
    with subprocess.Popen(
        [installed / "run", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        words, complaints = child.communicate(timeout=50)
    assert words.split() == ["social", str(child.pid), "up", "--port", "0"]  # the same process: signals arrive
    assert child.returncode == 3
    assert complaints == ""
    assert time.monotonic() - started < 2  # seen 0.1, half of it the product's


def test_the_developers_tools_come_with_the_first_test_and_serve_the_next_run(installed: Path) -> None:
    (installed / "tests.py").touch()
    first = launch(installed, "test", "-k", "word")
    assert PREPARING in first.stderr
    checks = ["ruff check .", "ruff format --check .", "mypy"]
    assert first.stdout.splitlines() == [*checks, "pytest -k word --ignore=tests/chaos"]
    assert first.returncode == 0
    assert launch(installed, "test", "tests.py::test_x", "-x").stdout.splitlines() == ["pytest tests.py::test_x -x"]
    # what was installed for `dev` vouches for `embedded` as well
    (installed / ".venv" / "installed-embedded").unlink(missing_ok=True)
    assert launch(installed, "run").stderr == ""


def test_a_failing_check_fails_the_whole_and_pytest_still_has_the_last_word(installed: Path) -> None:
    launch(installed, "test")
    failed = launch(installed, "test", "--all", MYPY_CODE="1")
    assert failed.returncode == 1
    assert "Failed, see above: mypy." in failed.stdout
    assert failed.stdout.splitlines()[-1] == "pytest"
    assert launch(installed, "test", PYTEST_CODE="5").returncode == 5


def test_all_is_handed_on_to_the_fixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, words: executed.append(words))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    monkeypatch.setattr(os, "chdir", lambda _: None)
    monkeypatch.setenv("SOCIAL_TEST_ALL", "")
    bootstrap.check(["--all", "tests"])
    assert os.environ["SOCIAL_TEST_ALL"] == "1"
    assert executed[0][1:] == ["-m", "pytest", "tests"]


def test_a_change_of_the_pins_installs_again_without_a_new_environment(installed: Path) -> None:
    kept = installed / ".venv" / "kept"
    kept.touch()
    with (installed / "constraints.txt").open("a") as pins:
        pins.write("# changed\n")
    assert PREPARING in launch(installed, "run").stderr
    assert kept.exists()
    assert PREPARING not in launch(installed, "run").stderr


def test_an_interrupted_installation_is_made_anew(installed: Path) -> None:
    left = installed / ".venv" / "left"
    left.touch()
    (installed / ".venv" / "installing").touch()
    again = launch(installed, "run")
    assert PREPARING in again.stderr
    assert again.returncode == 3
    assert not left.exists()


def test_a_checkout_that_was_moved_makes_its_environment_anew(installed: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(installed, moved, symlinks=True)
    again = launch(moved, "run")
    assert PREPARING in again.stderr
    assert again.returncode == 3
    assert str(moved) in (moved / ".venv" / "bin" / "pip").read_text()


def test_two_first_starts_install_once(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    starts = [
        subprocess.Popen(
            [checkout / "run"], env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [start.communicate(timeout=50) for start in starts]
    assert [start.returncode for start in starts] == [3, 3]
    complaints = "".join(error for _, error in said)
    assert complaints.count(PREPARING) == 1
    assert complaints.count("Waiting for another start") == 1


def test_pips_last_words_are_shown_when_it_fails(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    failed = launch(checkout, "run", STAND_IN_REQUIRES="no-such-package")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "No matching distribution found for no-such-package" in failed.stderr
    assert "The packages could not be installed: pip ended with code 1, see " in failed.stderr.splitlines()[-1]
    assert launch(checkout, "run").returncode == 3


# refusals


def only_python_on_path(folder: Path, script: str) -> str:
    """A PATH with `dirname` and a python3 of our making, and nothing else."""
    folder.mkdir()
    (folder / "dirname").symlink_to(shutil.which("dirname") or "/usr/bin/dirname")
    (folder / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "python3").chmod(0o755)
    return str(folder)


def test_an_old_python_is_refused_in_one_sentence(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    path = only_python_on_path(tmp_path / "bin", "exit 1  # what 3.10 answers to the question for 3.11")
    refused = launch(checkout, "run", PATH=path)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "Python 3.11 or newer is needed and none was found on PATH. Install it, for instance from python.org."
    ]
    assert not (checkout / ".venv").exists()


def test_an_environment_of_a_python_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(tmp_path / "gone")
    assert launch(checkout, "run").returncode == 3


def test_a_python_without_ensurepip_is_refused_with_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else real(name))
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    (tmp_path / ".venv").mkdir()
    with pytest.raises(bootstrap.Refused, match=r"its module ensurepip is missing.*apt install python3-venv"):
        bootstrap._make_environment()
    assert not (tmp_path / ".venv").exists()


def test_a_checkout_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    (checkout / ".venv").write_text("a file where the folder has to be; permissions do not stop root")
    refused = launch(checkout, "run")
    assert refused.returncode == 1
    assert "cannot be written (Not a directory): make the checkout writable, or copy it." in refused.stderr
    if os.geteuid() != 0:
        (checkout / ".venv").unlink()
        checkout.chmod(0o555)
        assert "cannot be written (Permission denied)" in launch(checkout, "run").stderr
        checkout.chmod(0o755)
