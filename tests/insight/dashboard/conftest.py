"""What Streamlit's AppTest leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def own_main() -> Iterator[None]:
    """A page under test stands in for ``__main__``, which processes that are spawned later would run instead of this one's."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before
