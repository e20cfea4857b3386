import unittest

from plugin import CountTenants, ByTenant, grants
from waypost import SettingsError
from waypost.testing import Hooked, Upstream


class Tenants(unittest.TestCase):
    def test_a_tenant_stays_on_its_server_whatever_its_load(self):
        upstream = Upstream(ByTenant, servers=3, grants=grants)
        first = upstream.pick(headers={"X-Tenant": "acme"})
        upstream.servers[first].in_flight = 100
        self.assertEqual(upstream.pick(headers={"X-Tenant": "acme"}), first)

    def test_everybody_else_gets_the_least_loaded_server_that_is_up(self):
        upstream = Upstream(ByTenant, servers=3, grants=grants)
        upstream.servers[0].in_flight = 2
        upstream.servers[1].in_flight = 1
        upstream.servers[2].is_down = True
        self.assertEqual(upstream.pick(), 1)

    def test_a_misspelled_setting_is_refused_by_its_key(self):
        with self.assertRaises(SettingsError) as refused:
            Upstream(ByTenant, settings={"haeder": "x-customer"})
        self.assertEqual(refused.exception.key, "haeder")
        self.assertEqual(refused.exception.message, "unknown key `haeder`; did you mean `header`?")

    def test_requests_are_counted_and_stamped_by_tenant(self):
        hooked = Hooked(CountTenants, settings={"tenants": ["acme"]}, grants=grants)
        hooked.request(headers={"x-tenant": "acme"})
        exchange = hooked.request(headers={"x-tenant": "acme"})
        self.assertEqual(exchange.verdict, "proceed")
        self.assertEqual(exchange.request_headers["x-counted-as"], "acme")
        self.assertEqual(exchange.response_headers["x-counted"], "2")
        other = hooked.request(headers={"x-tenant": "initech"})
        self.assertEqual(other.request_headers["x-counted-as"], "other")
        self.assertEqual(hooked.counters, {"requests_acme": 2, "requests_other": 1})

    def test_a_word_is_masked_in_bodies_either_way_where_it_is_to_be(self):
        settings = {"tenants": [], "mask": "4111"}
        hooked = Hooked(CountTenants, settings=settings, grants=grants)
        exchange = hooked.request_body(hooked.request(), "card 4111")
        hooked.response_body(hooked.response(exchange), "41", "11")
        self.assertEqual((exchange.request_body, exchange.response_body), ("card ***", "***"))
        without = Hooked(CountTenants, settings={"tenants": []}, grants=grants)
        self.assertEqual(without.response(without.request()).wanted, {})


if __name__ == "__main__":
    unittest.main()
