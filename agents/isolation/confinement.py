"""What an agent's process gives up before it meets the agent.

Limits hold for good, whatever runs in the process later. On Linux a system call filter refuses all that reaches another process or the
network, and Landlock keeps other processes' memory and environment out of reach where the kernel has it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
from dataclasses import dataclass
from typing import Final, NamedTuple

from gridpilot.errors import AgentError

__all__ = ["Limits", "confine"]


@dataclass(frozen=True)
class Limits:
    """What an agent's process may use. Raises :class:`~gridpilot.errors.AgentError` for less than the interpreter itself needs."""

    memory_gib: float = 2.0  # GiB, the interpreter's and the library's 0.2 included

    def __post_init__(self) -> None:
        if not 0.5 <= self.memory_gib < 2**20:
            raise AgentError(f"isolation: memory_gib is {self.memory_gib}, expected a number of GiB >= 0.5")

    @property
    def memory(self) -> int:
        """Bytes."""
        return int(self.memory_gib * 2**30)


def confine(limits: Limits, parent: int) -> None:
    """Give up, for good, what an agent does not need. ``parent`` is the process that ours ends with.

    Raises :class:`~gridpilot.errors.AgentError` where the system does not offer it.
    """
    import resource  # not on every system that runs agents in the process itself

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.memory, limits.memory))
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.prctl, _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has ended before we asked to be told
        os.kill(os.getpid(), signal.SIGKILL)
    _call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _hide_others(libc)
    _give_up_capabilities(libc)
    numbers = _NUMBERS.get(platform.machine())
    if numbers is None:
        raise AgentError(f"isolation: no system call filter is known for {platform.machine()}, expected {' or '.join(_NUMBERS)}")
    _filter(libc, numbers, os.getpid())


_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_FILES = 0b1111  # the capabilities to own, open and search files
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x00010000
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_MAKE_BLOCK = 1 << 11  # a right that no agent misses; to be restricted at all is what keeps others' memory closed


class _Numbers(NamedTuple):
    """System calls of a processor, by number."""

    arch: int
    seccomp: int
    clone: int
    clone3: int
    prctl: int
    prlimit: int
    to_process: tuple[
        int, ...
    ]  # take a process id first: refused unless it is our own. kill tgkill rt_sigqueueinfo rt_tgsigqueueinfo
    refused: tuple[int, ...]


# The same in both, from 424 on: pidfd_send_signal io_uring_setup io_uring_enter io_uring_register pidfd_open pidfd_getfd process_madvise
_RECENT = (424, 425, 426, 427, 434, 438, 440)
# fork vfork, then in both: execve execveat tkill ptrace process_vm_readv process_vm_writev socket setrlimit setpriority
# sched_setaffinity sched_setscheduler sched_setparam sched_setattr ioprio_set shmget msgget semget unshare setns
_NUMBERS: Final = {
    "x86_64": _Numbers(
        0xC000003E, 317, 56, 435, 157, 302, (62, 234, 129, 297),
        (57, 58, 59, 322, 200, 101, 310, 311, 41, 160, 141, 203, 144, 142, 314, 251, 29, 68, 64, 272, 308, *_RECENT),
    ),
    "aarch64": _Numbers(
        0xC00000B7, 277, 220, 435, 167, 261, (129, 131, 138, 240),
        (221, 281, 130, 117, 270, 271, 198, 164, 140, 122, 119, 118, 274, 30, 194, 186, 190, 97, 268, *_RECENT),
    ),
}  # fmt: skip

# Instructions of the kernel's packet filter, and where struct seccomp_data holds what they look at.
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCH_AT = 0, 4
_X32_CALLS = 0x40000000  # another numbering of the same calls, on x86_64


def _program(numbers: _Numbers, own: int) -> bytes:
    """The filter: ``own`` is our process id."""
    refuse = (_RETURN, 0, 0, _ERRNO | _EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)
    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_IF_EQUAL, 1, 0, numbers.arch),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, 0, 1, _X32_CALLS),
        refuse,
    ]
    for number in numbers.refused:
        code += [(_IF_EQUAL, 0, 1, number), refuse]
    # A library that cannot have clone3, whose flags are out of a filter's sight, takes clone.
    code += [(_IF_EQUAL, 0, 1, numbers.clone3), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    code += [(_IF_EQUAL, 0, 4, numbers.clone), (_LOAD, 0, 0, _argument(0)), (_IF_ANY_BIT, 1, 0, _CLONE_THREAD), refuse, allow]
    for number in numbers.to_process:
        code += [(_IF_EQUAL, 0, 4, number), (_LOAD, 0, 0, _argument(0)), (_IF_EQUAL, 1, 0, own), refuse, allow]
    # Not to outlive the parent, and to ask for limits without setting any (its third argument is a null pointer).
    code += [(_IF_EQUAL, 0, 4, numbers.prctl), (_LOAD, 0, 0, _argument(0)), (_IF_EQUAL, 0, 1, _PR_SET_PDEATHSIG), refuse, allow]
    code += [
        (_IF_EQUAL, 0, 6, numbers.prlimit),
        (_LOAD, 0, 0, _argument(2)),
        (_IF_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, _argument(2) + 4),
        (_IF_EQUAL, 0, 1, 0),
        allow,
        refuse,
        allow,
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _argument(i: int) -> int:
    """Where the low half of an argument stands; the high one follows."""
    return 16 + 8 * i


def _filter(libc: ctypes.CDLL, numbers: _Numbers, own: int) -> None:
    code = _program(numbers, own)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions)))
    set_mode_filter, every_thread = 1, 1
    _call(libc.syscall, numbers.seccomp, set_mode_filter, every_thread, program)


def _hide_others(libc: ctypes.CDLL) -> None:
    """A process under Landlock may not trace, nor read or write the memory of, one that is not."""
    rules = ctypes.create_string_buffer(struct.pack("<Q", _LANDLOCK_MAKE_BLOCK), 8)
    descriptor = libc.syscall(_LANDLOCK_CREATE, rules, ctypes.c_size_t(8), 0)
    if descriptor < 0:
        return  # a kernel without: others of the same user can be read through /proc, as everywhere on such a system
    try:
        _call(libc.syscall, _LANDLOCK_RESTRICT, descriptor, 0)
    finally:
        os.close(descriptor)


def _give_up_capabilities(libc: ctypes.CDLL) -> None:
    """Of what root may do, keep what opens files: the rest looks past all that is refused here. Others have nothing to give up."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)  # version 3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable; of capabilities from 0, then from 32
    _call(libc.capget, header, sets)
    kept = (_FILES & sets[0], _FILES & sets[1], 0, 0, 0, 0)
    _call(libc.capset, header, (ctypes.c_uint32 * 6)(*kept))


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*arguments) != 0:
        code = ctypes.get_errno()
        raise AgentError(
            f"isolation: this system refuses what confines a process: {os.strerror(code)}; isolation=none does without"
        )
