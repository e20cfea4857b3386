"""A policy: one server for each tenant, by a hash of the header that names it; the least busy one
for everybody else.
"""

from waypost import exchange, fleet, request

# What the plugin asks of the host: the same words as in `waypost.toml`.
grants = ["request", "exchange"]


class policy:
    """One server for each tenant, else the least busy one."""

    settings = {
        "header": {
            "type": "string",
            "default": "x-tenant",
            "description": "The header that names the tenant",
        }
    }

    def __init__(self, settings):
        self.header = settings.header

    def pick(self, call):
        tenant = request.header(self.header)
        if tenant:
            exchange.note(f"tenant {tenant}")
            return call.candidates[request.hash(header=self.header) % len(call.candidates)]
        exchange.note("no tenant")
        return min(call.candidates, key=fleet.all_in_flight().__getitem__)
