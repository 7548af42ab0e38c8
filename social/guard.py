"""Starts engine children that cannot outlive their starter, not even a starter that dies of `kill -9`.

Owns both sides: `spawn` and `stop` for the starter, and, run as `python -I guard.py -- command...`, the process in
between. It depends on nothing but the standard library and never imports the rest of the product, so that it starts
in milliseconds.

Two ways, the first that the system has:

- Linux: ask the kernel for SIGKILL at the death of the parent (PR_SET_PDEATHSIG), check that the parent did not die
  before the asking, then *become* the command by exec. Nothing stands between the starter and the engine.
- elsewhere, or with `--watch`: stay as the command's parent and read standard input, a pipe whose other end only the
  starter holds. End of file = the starter is gone = kill the command. Signals and the exit code are passed on.

The kernel counts the death of the *thread* that forked, not of the process: a child started from a worker thread
would be killed when that thread ends. Hence `spawn` refuses to run outside the main thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

STOP_GRACE = 2.0  # seconds between SIGTERM and SIGKILL: an engine without persistence has nothing to finish
CANNOT_EXECUTE = 127  # what a shell answers for a command that it cannot find
ORPHANED = 125  # the parent was gone before the command was started
PR_SET_PDEATHSIG = 1  # from linux/prctl.h

Output = int | IO[bytes]


def spawn(
    command: Sequence[str | os.PathLike[str]],
    *,
    stdout: Output = subprocess.DEVNULL,
    stderr: Output = subprocess.DEVNULL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    watch: bool = False,
) -> subprocess.Popen[bytes]:
    """Starts `command` so that it dies with this process, and returns its handle; end it with `stop`.

    The child leads a session of its own: Ctrl-C in the terminal reaches this process alone, which then stops its
    engines last. Its standard input is taken by the guard. `watch` forces the pipe variant (tests).
    Raises RuntimeError outside the main thread, OSError when no process can be made; a command that cannot be
    executed ends with code 127.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("An engine must be started from the main thread: the kernel ties its life to the thread.")
    words = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "--parent", str(os.getpid())]
    words += ["--watch"] if watch else []
    return subprocess.Popen(  # noqa: S603  (the command is the caller's own, no shell is involved)
        [*words, "--", *(os.fspath(word) for word in command)],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )


def stop(child: subprocess.Popen[bytes], grace: float = STOP_GRACE) -> int:
    """Ends a child of `spawn`: SIGTERM, after `grace` seconds SIGKILL to its whole group. Returns its exit code.

    May be called from any thread and more than once.
    """
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            # the group, because in the pipe variant the command is the guard's child and would be left behind
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    code = child.wait()
    if child.stdin is not None:
        child.stdin.close()
    return code


def main(arguments: Sequence[str]) -> int:
    """`[--parent PID] [--watch] -- command...`; returns only when the command was not executed, or was watched."""
    if "--" not in arguments or arguments[-1] == "--":
        print("usage: guard.py [--parent PID] [--watch] -- command [argument...]", file=sys.stderr)
        return 2
    cut = list(arguments).index("--")
    options, command = list(arguments[:cut]), list(arguments[cut + 1 :])
    # The starter names itself: when it died before this line, getppid() already answers somebody else.
    parent = int(options[options.index("--parent") + 1]) if "--parent" in options else os.getppid()
    if "--watch" not in options and _die_with_parent():
        if os.getppid() != parent:
            return ORPHANED
        _become(command)
    return _watch(command)


def _die_with_parent() -> bool:
    """Asks the kernel for SIGKILL at the parent's death; False where no such call exists."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # only here: 10 ms that the pipe variant does not need

    return bool(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)


def _become(command: list[str]) -> NoReturn:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # the pipe is the guard's, an engine must not read it
    os.close(nothing)
    try:
        os.execvp(command[0], command)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}.", file=sys.stderr)
        os._exit(CANNOT_EXECUTE)


def _watch(command: list[str]) -> int:
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    # before the child exists, or a signal in between would end the guard and leave the child
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}.", file=sys.stderr)
        return CANNOT_EXECUTE
    for arrived in early:
        child.send_signal(arrived)
    threading.Thread(target=_kill_at_end_of_file, args=(child,), daemon=True).start()
    code = child.wait()
    if code < 0:  # die of the same signal, so that the starter reads the same exit code
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)  # SIGKILL cannot be set, and need not
        os.kill(os.getpid(), -code)
    return code


def _kill_at_end_of_file(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 512):
        pass
    child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
