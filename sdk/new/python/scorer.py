"""A scorer: the fewer requests a server has in progress, the better; one with `most` of them or
more is as bad as any.
"""

from waypost import fleet

# What the plugin asks of the host: the same words as in `waypost.toml`.
grants = []

BEST = 65535


class scorer:
    """The servers with the fewest requests in progress."""

    settings = {
        "most": {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "default": 10,
            "description": "Requests from which on a server has no points",
        }
    }

    def __init__(self, settings):
        self.most = settings.most

    def score(self, call):
        return [BEST * max(0, self.most - load) // self.most for load in fleet.all_in_flight()]
