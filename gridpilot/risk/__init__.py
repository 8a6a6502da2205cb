"""Risk measures, and the allocation of power across a site's product lines."""

from __future__ import annotations

__all__: list[str] = []
