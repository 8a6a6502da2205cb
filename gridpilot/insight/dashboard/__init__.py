"""The dashboard: a page for each thing that people ask of a run or of an engine, on this machine alone."""

__all__: list[str] = []
