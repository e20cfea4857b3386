"""Two plugins in one component: a policy that keeps each tenant on a server of its own, and a hook
that counts the requests of tenants, and masks a word in bodies.
"""

import re

from waypost import SettingsError, bodies, changes, fleet, metrics, request

# What the plugin asks of the host: the same words as in `waypost.toml`.
grants = ["request", "changes", "bodies"]

HEADER = {
    "type": "string",
    "default": "x-tenant",
    "description": "The header that names the tenant",
}


class ByTenant:
    """By the hash of a header, else the least loaded server."""

    settings = {"header": HEADER}

    def __init__(self, settings):
        if not settings.header:
            raise SettingsError("header", "`header` must not be empty")
        self.header = settings.header

    def pick(self, call):
        if request.header(self.header):
            return call.candidates[request.hash(header=self.header) % len(call.candidates)]
        loads = fleet.all_in_flight()  # of all servers at once: a call to the host costs something
        return min(call.candidates, key=lambda index: loads[index])


class CountTenants:
    """Counts requests by tenant."""

    settings = {
        "header": HEADER,
        "tenants": {
            "type": "array",
            "items": {"type": "string"},
            "required": True,
            "description": "Those that are counted; all others are `other`",
        },
        "mask": {
            "type": "string",
            "minLength": 1,
            "description": "What no body may tell, either way",
        },
    }
    sharing = "per-process"  # one instance, so that the numbers are those of all workers

    def __init__(self, settings):
        self.header = settings.header
        self.mask = (settings.mask or "").encode()
        self.counters, self.counts = {}, {}
        for name in [*settings.tenants, "other"]:
            if not re.fullmatch("[a-z0-9_]+", name):
                raise SettingsError("tenants", f"`{name}` is no name of a counter")
            self.counters[name], self.counts[name] = metrics.counter(f"requests_{name}"), 0

    def on_request(self, call):
        tenant = request.header(self.header)
        name = tenant if tenant in self.counts else "other"
        self.counts[name] += 1
        metrics.add(self.counters[name], 1)
        changes.set_request_header("x-counted-as", name)
        changes.set_response_header("x-counted", str(self.counts[name]))
        # Whoever does not ask for a body pays nothing for it.
        if self.mask:
            bodies.want_request_body(whole=65536, beyond="pass")
        return "proceed"

    def on_response(self, call):
        if self.mask:
            bodies.want_response_body(whole=65536, beyond="pass", form="decoded")

    def on_request_body(self, call):
        if self.mask in call.body:
            bodies.set_body(call.body.replace(self.mask, b"***"))

    on_response_body = on_request_body


policy = ByTenant
hook = CountTenants
