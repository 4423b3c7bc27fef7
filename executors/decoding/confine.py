"""Irrevocable kernel restrictions (namespaces, seccomp) for a decoder process.

Where the kernel does not support them, only the resource limits of `executors.decoder.seal` apply.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_CLONE_THREAD = 0x10000
# Audit architecture (linux/audit.h), and numbers of fork, vfork, execve, execveat; clone; clone3 (each architecture's unistd.h).
_CALLS = {
    "x86_64": (0xC000003E, (57, 58, 59, 322), 56, 435),
    "aarch64": (0xC00000B7, (221, 281), 220, 435),
}
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # linux/seccomp.h
_X32 = 0x40000000  # x86's x32 ABI numbers the same calls from here
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


def leave() -> None:
    """On Linux, where allowed without root: enter new user, network and IPC namespaces, so without any network."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.unshare(0x10000000 | 0x40000000 | 0x08000000)  # CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC


def only_threads() -> bool:
    """Install a seccomp filter that forbids new processes, even for root, but allows threads, which libde265 needs. Call after `leave`.

    Returns whether the filter is installed. RLIMIT_NPROC counts threads too, so a decoder that needs one uses this filter instead.
    """
    if sys.platform != "linux" or os.uname().machine not in _CALLS or sys.byteorder != "little":
        return False
    program = _program(*_CALLS[os.uname().machine])
    code = ctypes.create_string_buffer(program, len(program))
    loaded = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    return int(ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.create_string_buffer(loaded, len(loaded)), 0, 0)) == 0


def _program(arch: int, denied: tuple[int, ...], clone: int, clone3: int) -> bytes:
    """Build the BPF system call filter (struct seccomp_data: number at 0, architecture at 4, first argument at 16)."""
    deny, missing = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    for code, number, answer in (
        (_AT_LEAST, _X32, deny),
        *((_EQUAL, number, deny) for number in denied),
        (_EQUAL, clone3, missing),  # its flags are in memory, which a filter cannot read: libc falls back to clone
    ):
        steps += [(code, 0, 1, number), (_RETURN, 0, 0, answer)]
    steps += [(_EQUAL, 1, 0, clone), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_LOAD, 0, 0, 16), (_ANY_BIT, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, deny), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
