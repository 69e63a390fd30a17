"""The one exception that reaches the user as a sentence."""

from __future__ import annotations


class ClusterError(Exception):
    """Something the user must know; the message is one sentence with the reason and the next step."""
