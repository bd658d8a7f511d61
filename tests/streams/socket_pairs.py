"""Sockets that a test opens, and waiting for what happens between them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TypeVar

from scout40.streams.security import NO_KEYS, Security
from scout40.streams.sockets import Pull, Push

LONG = 10_000
"""Milliseconds that something may take on a slow machine."""

T = TypeVar("T")


def push_at(stack: ExitStack, endpoint: str, security: Security = NO_KEYS, high: int = 64) -> Push:
    push = Push(endpoint, security=security, high_water=high)
    stack.callback(push.close, 0)
    return push


def pull_at(
    stack: ExitStack, *endpoints: str, security: Security = NO_KEYS, high: int = 64
) -> Pull:
    pull = Pull(endpoints, security=security, high_water=high)
    stack.callback(pull.close)
    return pull
