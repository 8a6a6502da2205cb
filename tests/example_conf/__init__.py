"""A small configuration package for tests/test_configuration.py."""
