"""Populations of sites: the market as a mesa model, and strategies that spread by what they earn."""
