"""A hook: a request has to name its tenant in a header, or is answered with a 401. The server, the
log and other hooks learn the tenant.
"""

from waypost import changes, exchange, request

# What the plugin asks of the host: the same words as in `waypost.toml`.
grants = ["request", "exchange", "changes"]


class hook:
    """Refuses requests that name no tenant."""

    settings = {
        "header": {
            "type": "string",
            "default": "x-tenant",
            "description": "The header that names the tenant",
        }
    }

    def __init__(self, settings):
        self.header = settings.header

    def on_request(self, call):
        tenant = request.header(self.header)
        if tenant is None:
            exchange.note("no tenant")
            changes.answer(401, f"say who you are: {self.header}\n")
            return "answer"
        exchange.note(f"tenant {tenant}")
        changes.set_request_header("x-authenticated-tenant", tenant)
        changes.set_attribute("tenant", tenant)
        return "proceed"
