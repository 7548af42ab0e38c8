"""Prepares `.venv` and becomes the command: `bootstrap.py run ARGS...` or `bootstrap.py test [--all] ARGS...`.

Owns the environment's folder and its stamps. It runs before anything is installed, hence the standard library only,
and at every start, hence no import that a start without work would not need. It refuses in one sentence, exit code 1.

A stamp says which inputs an installation came from: pyproject.toml, constraints.txt, the Python, the folder. `dev`
holds everything that `embedded` holds, so its stamp serves ./run as well. A marker stands while an installation is
under way; one that is found later belonged to an interrupted installation, and the environment is made anew.
"""

import fcntl
import hashlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
MARKER = VENV / "installing"
LOG_NAME = "install.log"
OLDEST = (3, 11)
LENGTHY = ("tests/chaos",)  # minutes of real time: only with --all, or when named
CHECKS = ("ruff check .", "ruff format --check .", "mypy")
LOG_TAIL = 15  # lines of pip's log that are shown when it fails
STAMPS = {"embedded": ("embedded", "dev"), "dev": ("dev",)}  # extra -> the stamps that vouch for it


class Refused(Exception):
    """The one sentence that the person reads."""


def main(arguments: list[str]) -> int:
    """Returns only when the command was not executed."""
    command, *rest = arguments
    try:
        if command == "run":
            prepare("embedded")
            os.execv(VENV / "bin" / "social", ["social", "up", *rest])  # noqa: S606  (no shell: its signals, its code)
        prepare("dev")
        return check(rest)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def prepare(extra: str) -> None:
    """Makes sure that `.venv` holds the product with `extra`; costs two small file reads when it does."""
    if _is_current(extra):
        return
    if sys.version_info < OLDEST:
        raise Refused(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}.")
    lock = os.open(ROOT, os.O_RDONLY)  # the folder itself: two starts at once must not install into each other
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Waiting for another start that is installing ...", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Another start may have made the environment since bootstrap.sh looked for it: ask the Python in there.
        if not _is_vouched_for(extra, _fingerprint_inside()):
            _install(extra)
    except OSError as error:
        raise Refused(
            f"The environment {VENV} cannot be written ({error.strerror}): make the checkout writable, or copy it."
        ) from error
    finally:
        os.close(lock)


def check(arguments: list[str]) -> int:
    """ruff, ruff format, mypy, pytest; the last word is pytest's. With a path among the arguments, pytest alone."""
    import subprocess

    os.chdir(ROOT)
    if "--all" in arguments:
        arguments = [word for word in arguments if word != "--all"]
        os.environ["SOCIAL_TEST_ALL"] = "1"
    elif not any(_is_path(word) for word in arguments):
        arguments = [*arguments, *(f"--ignore={folder}" for folder in LENGTHY)]
    checks = () if any(_is_path(word) for word in arguments) else CHECKS
    failed = [
        name
        for name in checks
        if subprocess.run([PYTHON, "-m", *name.split()], check=False).returncode  # noqa: S603
    ]
    pytest = [str(PYTHON), "-m", "pytest", *arguments]
    if not failed:
        sys.stdout.flush()
        os.execv(PYTHON, pytest)  # noqa: S606
    print(f"Failed, see above: {', '.join(failed)}. The tests run all the same; the exit code will not be 0.")
    sys.stdout.flush()
    return subprocess.run(pytest, check=False).returncode or 1  # noqa: S603


def _is_path(word: str) -> bool:
    return not word.startswith("-") and Path(word.split("::")[0]).exists()


def _is_current(extra: str) -> bool:
    return _is_ours() and _is_vouched_for(extra, _fingerprint())


def _is_vouched_for(extra: str, fingerprint: str) -> bool:
    return not MARKER.exists() and any(_read(VENV / f"installed-{name}") == fingerprint != "" for name in STAMPS[extra])


def _is_ours() -> bool:
    """True when the environment's own Python runs this: bootstrap.sh takes it whenever it works and is new enough."""
    return Path(sys.executable).parent == PYTHON.parent


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes() + b"\0")
    # the folder, because the scripts in an environment that was moved point to where it was
    digest.update(f"{sys.version}\0{ROOT}".encode())
    return digest.hexdigest()


def _fingerprint_inside() -> str:
    """What the environment's own Python, which is the one that asks at every start, takes for current; '' if none."""
    import subprocess

    try:
        return subprocess.run(  # noqa: S603
            [PYTHON, "-I", "-S", __file__, "fingerprint"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _install(extra: str) -> None:
    import shutil
    import subprocess

    print("Preparing the environment in .venv, about a minute ...", file=sys.stderr, flush=True)
    if VENV.exists() and (MARKER.exists() or not _is_ours() or _was_moved()):
        shutil.rmtree(VENV)
    VENV.mkdir(exist_ok=True)
    MARKER.touch()
    if not PYTHON.exists():
        _make_environment()
    for stamp in VENV.glob("installed-*"):
        stamp.unlink()
    log = VENV / LOG_NAME
    with log.open("wb") as output:
        words = ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--editable", f".[{extra}]"]
        code = subprocess.run(  # noqa: S603
            [PYTHON, "-m", "pip", *words, "--constraint", "constraints.txt"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        MARKER.unlink()  # pip ended in order, so the next try can go on from here
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL:])
        raise Refused(f"{tail}\nThe packages could not be installed: pip ended with code {code}, see {log}.")
    (VENV / f"installed-{extra}").write_text(_fingerprint_inside(), encoding="utf-8")
    MARKER.unlink()


def _was_moved() -> bool:
    """True for an environment that was made in another folder: its scripts would start the Python over there."""
    script = _read(VENV / "bin" / "pip")
    return bool(script) and str(VENV) not in "".join(script.splitlines()[:3])


def _make_environment() -> None:
    import shutil
    import subprocess
    from importlib.util import find_spec

    missing = [name for name in ("venv", "ensurepip") if find_spec(name) is None]
    words = "" if not missing else f"its module {missing[0]} is missing"
    if not missing:
        base = getattr(sys, "_base_executable", sys.executable)  # this one, when it lies in .venv, is about to go
        made = subprocess.run(  # noqa: S603
            [base, "-I", "-m", "venv", str(VENV)], capture_output=True, text=True, check=False
        )
        if made.returncode == 0:
            return
        words = " ".join((made.stderr or made.stdout).split())
    shutil.rmtree(VENV)
    raise Refused(
        f"{sys.executable} cannot make environments: {words}. On Debian and Ubuntu: apt install python3-venv."
    )


if __name__ == "__main__":
    if sys.argv[1:] == ["fingerprint"]:
        sys.stdout.write(_fingerprint())
        sys.exit()
    sys.exit(main(sys.argv[1:]))
