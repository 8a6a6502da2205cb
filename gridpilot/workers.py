"""Whether this machine lets processes share work."""

from __future__ import annotations

import multiprocessing

__all__ = ["no_workers"]


def no_workers() -> str:
    """Why there can be no pool of worker processes, or nothing where there can.

    Pools are built on semaphores, which containers with a read-only or full ``/dev/shm`` and some hosted functions have not got.
    """
    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, ImportError) as error:  # the second where the system has no semaphores at all
        return f"no semaphore can be made (/dev/shm): {getattr(error, 'strerror', None) or error}"
    return ""
