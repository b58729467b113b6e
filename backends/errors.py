"""What a backend raises that cannot be used."""

from __future__ import annotations


class BackendError(Exception):
    """The backend is unknown or cannot run on this machine; the message says what to do."""


class NotInstalled(BackendError):
    """The packages that the backend needs are not installed."""
