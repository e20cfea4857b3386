"""A filter: a request that names a zone in a header goes to servers of that zone, which is a label
of theirs. Where none of them can be asked, to any.
"""

from waypost import fleet, request

# What the plugin asks of the host: the same words as in `waypost.toml`.
grants = ["request"]


class filter:
    """The servers of the zone that a request names."""

    settings = {
        "header": {
            "type": "string",
            "default": "x-zone",
            "description": "The header that names the zone",
        }
    }

    def __init__(self, settings):
        self.header, self.zones = settings.header, []

    def update(self, endpoints):
        self.zones = [fleet.label(endpoint.index, "zone") for endpoint in endpoints]

    def narrow(self, call):
        zone = request.header(self.header)
        if zone is None:
            return call.candidates
        zones = self.zones[64 * call.word : 64 * call.word + 64]
        return call.candidates & sum((own == zone) << bit for bit, own in enumerate(zones))

    def may_be_ignored(self):
        return True
