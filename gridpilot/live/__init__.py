"""Live operation: venues, the MARA client, the execution engine with its risk gate and journal, and the stand-in server."""
