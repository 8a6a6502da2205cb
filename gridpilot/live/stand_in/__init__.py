"""A server that speaks the MARA API on loopback, with every unknown point of it switchable and faults on demand."""
