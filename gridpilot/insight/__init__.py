"""Insight: matches played again, facts of runs and journals, and answers in words whose every figure is traced to a fact."""

__all__: list[str] = []
