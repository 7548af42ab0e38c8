"""The data folder belongs to one running instance.

Owns the folder's creation and `lock` inside it. Two instances on one folder would share a SQLite writer and overwrite
each other's objects, so the second is refused before it opens anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from social.embedded import StartupRefused

LOCK_FILE = "lock"


class DataLock:
    """An exclusive lock on a data folder, freed by `release`, by leaving the `with` block, or by the process's death.

    It is an flock: the kernel frees it even after `kill -9`, so no stale lock ever has to be removed by hand. Children
    made by fork alone share it for as long as they live; guarded engines do not (the descriptor closes at exec).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Creates the folder (mode 0700) when absent and locks it. Raises StartupRefused; idempotent while held."""
        if self._descriptor is not None:
            return
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise StartupRefused(
                f"Another instance{holder} already uses the data folder {self.directory}. "
                "Stop it, or choose another folder with --data."
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise StartupRefused(
                f"The data folder {self.directory} is on a file system without locks ({error.strerror}). "
                "Choose a local folder with --data."
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Frees the folder. The file stays: removing it would let two instances lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.release()

    def _open(self) -> int:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartupRefused(
                f"The data folder {self.directory} cannot be written to ({error.strerror}). "
                "Make it writable, or choose another folder with --data."
            ) from error


def _holder(descriptor: int) -> str:
    """` (process 123)`, or '' while the other instance has not written its number yet."""
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int(os.pread(descriptor, 32, 0))})"
    return ""
