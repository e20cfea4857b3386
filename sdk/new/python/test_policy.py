import unittest

from plugin import grants, policy
from waypost import SettingsError
from waypost.testing import Upstream


class ByTenant(unittest.TestCase):
    def test_a_tenant_stays_on_its_server_whatever_its_load(self):
        upstream = Upstream(policy, servers=3, grants=grants)
        first = upstream.pick(headers={"X-Tenant": "acme"})
        upstream.servers[first].in_flight = 100
        self.assertEqual(upstream.pick(headers={"X-Tenant": "acme"}), first)

    def test_everybody_else_gets_the_least_busy_server_that_is_up(self):
        upstream = Upstream(policy, servers=3, grants=grants)
        upstream.servers[0].in_flight = 2
        upstream.servers[1].in_flight = 1
        upstream.servers[2].is_down = True
        self.assertEqual(upstream.pick(), 1)

    def test_a_misspelled_setting_is_refused(self):
        with self.assertRaises(SettingsError) as refused:
            Upstream(policy, settings={"haeder": "x-tenant"})
        self.assertEqual(refused.exception.message, "unknown key `haeder`; did you mean `header`?")
