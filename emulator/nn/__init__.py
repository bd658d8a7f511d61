"""Quantised neural networks: one integer description, and everything that computes it."""

from scout40.emulator.nn.files import load_network, save_network
from scout40.emulator.nn.fixed import Fixed, Overflow, Rounding
from scout40.emulator.nn.network import Feature, Input, Network, Output
from scout40.emulator.nn.reference import evaluate, infer

__all__ = [
    "Feature",
    "Fixed",
    "Input",
    "Network",
    "Output",
    "Overflow",
    "Rounding",
    "evaluate",
    "infer",
    "load_network",
    "save_network",
]
