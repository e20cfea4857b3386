import unittest

from plugin import grants, hook
from waypost import SettingsError
from waypost.testing import Hooked


class NeedsTenant(unittest.TestCase):
    def test_the_server_learns_the_tenant(self):
        hooked = Hooked(hook, grants=grants)
        exchange = hooked.request(headers={"X-Tenant": "acme"})
        self.assertEqual(exchange.verdict, "proceed")
        self.assertEqual(exchange.request_headers["x-authenticated-tenant"], "acme")

    def test_a_request_without_a_tenant_is_a_401(self):
        exchange = Hooked(hook, grants=grants).request()
        self.assertEqual(exchange.verdict, "answer")
        self.assertEqual(exchange.answer, (401, "say who you are: x-tenant\n"))

    def test_a_misspelled_setting_is_refused(self):
        with self.assertRaises(SettingsError) as refused:
            Hooked(hook, settings={"haeder": "x-tenant"})
        self.assertEqual(refused.exception.message, "unknown key `haeder`; did you mean `header`?")
