"""What a plugin in Python is written with: the host's interfaces by name, each as `wit/` describes
it, and the error of settings.

The interfaces are empty here. The component's glue (`guest.py`) fills them with the host's
functions, a test with those of a double (`testing.py`).
"""

from .settings import SettingsError

__all__ = ["GRANTS", "NO_OPINION", "REFUSE", "Interface", "SettingsError", "StoreError", "host"]

NO_OPINION = None
"""Answers of `pick`."""
REFUSE = -2

GRANTS = {
    "free": ["fleet", "upstream", "nginx", "clock", "metrics", "log"],
    "request": ["request", "connection", "variables"],
    "response": ["response"],
    "exchange": ["exchange", "attempt"],
    "changes": ["changes"],
    "bodies": ["bodies"],
    "checks": ["checks"],
    "files": ["files"],
    "http": ["upstream_requests"],  # see `waypost.http`
    "store": ["store"],
}
"""Which interfaces each grant is for: those of `free` need none."""


class StoreError(Exception):
    """What the store refuses, by one of the words of `store.error` in the contract."""

    def __init__(self, reason):
        super().__init__(f"the store: {reason}")
        self.reason = reason


class Interface:
    """An interface that says what to do where it has not been asked for."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, key):
        grant = next(grant for grant, names in GRANTS.items() if self._name in names)
        raise AttributeError(
            f'{self._name}.{key} is not there: has your plugin `grants = ["{grant}"]`?'
        )

    def provide(self, functions):
        """Takes functions in place of those that it had."""
        self.__dict__ = {"_name": self._name, **functions}


host = {name: Interface(name) for names in GRANTS.values() for name in names}
globals().update(host)
__all__ += list(host)
