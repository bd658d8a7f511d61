"""Boards that run kernels and networks."""
