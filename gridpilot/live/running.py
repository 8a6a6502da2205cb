"""The engines that run on this machine: each is entered in a folder that every other program of its kind looks into.

An entry is a small file of JSON that is locked for the engine's life, so that one whose engine was killed is known to be stale. It lies in
the first of these folders that there is:

    $GRIDPILOT_RUNTIME_DIR       where it is set, it is the only one that is looked into
    $RUNTIME_DIRECTORY           as systemd sets it for a unit with RuntimeDirectory=
    $XDG_RUNTIME_DIR/gridpilot   of whoever is logged in
    <temp>/gridpilot-<uid>       a folder that nobody else can read

Engines are looked for in all of them and in ``/run/gridpilot``, that of the service; root looks into everybody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from gridpilot.errors import LiveError
from gridpilot.live.lock import is_locked

__all__ = ["RUNTIME_VARIABLE", "RunningEngine", "fingerprint", "registered", "running_engines"]

RUNTIME_VARIABLE: Final = "GRIDPILOT_RUNTIME_DIR"
SERVICE: Final = Path("/run/gridpilot")  # of a unit with RuntimeDirectory=gridpilot
USERS: Final = Path("/run/user")


@dataclass(frozen=True)
class RunningEngine:
    """An engine that runs, as it entered itself."""

    pid: int
    journal: str  # absolute path
    site: str  # host and port of its API, or the name of its venue
    mode: str  # live or shadow
    keys: tuple[str, ...]  # fingerprints of its sites' keys, which do not tell the keys
    start: str  # ISO 8601, UTC

    @property
    def name(self) -> str:
        """What people know it by."""
        return f"{self.site} (pid {self.pid}, {self.mode}, journal {self.journal})"

    def runs_on(self, journal: Path) -> bool:
        """Whether ``journal`` is its own, by whatever path."""
        return os.path.realpath(journal) == os.path.realpath(self.journal)

    def is_called(self, name: str) -> bool:
        """Whether ``name`` is its pid, its site, its journal or its journal's file name with or without the ending."""
        path = Path(self.journal)
        return name in {str(self.pid), self.site, path.name, path.stem} or self.runs_on(Path(name))


def fingerprint(key: SecretStr) -> str:
    """16 hexadecimal digits of a hash, by which equal keys are known and none can be found again."""
    return hashlib.sha256(b"gridpilot site key " + key.get_secret_value().encode()).hexdigest()[:16]


def running_engines() -> list[RunningEngine]:
    """The engines that run, the oldest first. What is stale is taken away on the way, where that is allowed."""
    found = [engine for folder in _folders() for engine in _entries(folder)]
    return sorted(found, key=lambda engine: (engine.start, engine.pid))


@contextlib.contextmanager
def registered(journal: Path, venue: str, url: str | None, mode: str, keys: Sequence[SecretStr]) -> Iterator[None]:
    """Be entered as the engine on ``journal`` within the block; ``url`` and ``keys`` of the API, where there is one.

    Raises :class:`~gridpilot.errors.LiveError` where another engine has one of the ``keys``, on whatever journal, and where there is no
    folder for the entry.
    """
    site = venue if url is None else urlsplit(url).netloc.rpartition("@")[2]
    prints = tuple(fingerprint(key) for key in keys)
    engine = RunningEngine(
        os.getpid(), str(journal.absolute()), site, mode, prints, datetime.now(UTC).isoformat(timespec="microseconds")
    )
    folder = _own_folder()
    with _alone_in(folder):  # two that start at once must see each other
        for other in running_engines():
            if set(prints) & set(other.keys):
                raise LiveError(
                    f"another engine runs with the same key: {other.name}; two would steer one site against each other: end it first, or "
                    "decide in shadow mode without a key"
                )
        path, handle = _enter(folder, engine)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _enter(folder: Path, engine: RunningEngine) -> tuple[Path, int]:
    """Write an entry and lock it; it gets its name when it is locked, so that nobody takes it for a stale one."""
    path = folder / f"{engine.pid}-{uuid.uuid4().hex[:12]}.json"
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
    try:
        os.fchmod(handle, 0o644)  # whatever the umask: who may look is decided by the folder
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(handle, json.dumps(asdict(engine)).encode())
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        os.close(handle)
        raise
    return path, handle


def _entries(folder: Path) -> Iterator[RunningEngine]:
    try:
        paths = sorted(folder.glob("*.json"))
    except OSError:  # not ours to look into
        return
    for path in paths:
        if not is_locked(path):
            with contextlib.suppress(OSError):  # somebody else's, or gone already
                path.unlink()
            continue
        # One that has just ended, or is no entry, is nothing that can be halted, and must not keep others from being found.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            body = json.loads(path.read_text(encoding="utf-8"))
            yield RunningEngine(**{**body, "keys": tuple(body["keys"])})


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


# Folders.


def _own_folder() -> Path:
    """Where this engine's entry belongs; made where it is not there yet."""
    folder = _candidates()[0]
    try:
        folder.mkdir(mode=0o700, parents=RUNTIME_VARIABLE in os.environ, exist_ok=True)
        about = folder.lstat()
    except OSError as error:
        raise LiveError(f"no folder for running engines: {folder}: {error.strerror}; {RUNTIME_VARIABLE} names another") from error
    shared = folder.parent == Path(tempfile.gettempdir()) and RUNTIME_VARIABLE not in os.environ
    if not stat.S_ISDIR(about.st_mode) or not os.access(folder, os.W_OK | os.X_OK) or (shared and not _is_private(about)):
        raise LiveError(
            f"no folder for running engines: {folder} is not a folder of this user's alone; {RUNTIME_VARIABLE} names another"
        )
    return folder


def _is_private(about: os.stat_result) -> bool:
    return about.st_uid == os.geteuid() and not about.st_mode & 0o077


def _candidates() -> list[Path]:
    """Folders of this user's, the one to use first."""
    if os.environ.get(RUNTIME_VARIABLE):
        return [Path(os.environ[RUNTIME_VARIABLE]).absolute()]
    given = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    own = [Path(given)] if given else []
    own += [Path(session) / "gridpilot"] if session and os.access(session, os.W_OK | os.X_OK) else []
    return [*own, *(Path(temp) / f"gridpilot-{os.geteuid()}" for temp in dict.fromkeys((tempfile.gettempdir(), "/tmp")))]


def _folders() -> list[Path]:
    """Folders to look into: of this user, with or without the environment of a login, of the service, and for root of everybody."""
    folders = _candidates()
    if not os.environ.get(RUNTIME_VARIABLE):
        folders += [USERS / str(os.geteuid()) / "gridpilot", SERVICE]
        if os.geteuid() == 0:
            folders += [*USERS.glob("*/gridpilot"), *Path(tempfile.gettempdir()).glob("gridpilot-*")]
    return list({os.path.realpath(folder): folder for folder in folders if _is_trusted(folder)}.values())


def _is_trusted(folder: Path) -> bool:
    """Whether what is entered there may be believed: nobody else can have made this user's folder, and what is in /run root allowed."""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return False
    return folder == SERVICE or os.geteuid() == 0 or owner in (0, os.geteuid())
