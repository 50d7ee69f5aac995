"""One process at a time in a run folder, by ``flock``: the kernel lets go when the process dies, however it dies."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from fgvr.errors import RunError

_NAME = ".lock"


class FolderLock:
    """A held lock; made by ``acquire``."""

    def __init__(self, folder: Path, handle: int) -> None:
        self._folder = folder
        self._handle: int | None = handle

    @classmethod
    def acquire(cls, folder: Path) -> FolderLock:
        """Make the folder if need be and lock it. Raises ``RunError`` naming the process that holds it."""
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / _NAME
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _flock(handle, folder)
                if _same_file(handle, file):  # else the folder was moved aside while we waited at its door
                    os.ftruncate(handle, 0)
                    os.pwrite(handle, f"pid {os.getpid()} on {_host()}\n".encode(), 0)
                    return cls(folder, handle)
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def move_folder(self, target: Path) -> None:
        """Rename the locked folder; the lock goes with it."""
        os.rename(self._folder, target)
        self._folder = target

    def release(self) -> None:
        """Let go; harmless when done twice. The lock file stays: removing it would open a race."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _flock(handle: int, folder: Path) -> None:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise _held(handle, folder) from error
    else:
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise _held(handle, folder) from error
            raise


def _held(handle: int, folder: Path) -> RunError:
    try:
        holder = os.read(handle, 200).decode("utf-8", "replace").strip()
    except OSError:
        holder = ""
    return RunError(
        f"another process is at work in this run folder: {holder or 'unknown'}",
        remedy="Wait until it has finished, or stop it and run the same command again.",
        path=str(folder),
    )


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _host() -> str:
    import socket

    return socket.gethostname()
