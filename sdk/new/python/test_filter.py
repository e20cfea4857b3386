import unittest

from plugin import filter, grants
from waypost.testing import Upstream

SERVERS = [{"name": f"s{at}", "labels": {"zone": zone}} for at, zone in enumerate("aba")]


class ByZone(unittest.TestCase):
    def test_a_request_goes_to_the_zone_that_it_names(self):
        upstream = Upstream(filter, servers=SERVERS, grants=grants)
        self.assertEqual(upstream.narrow(headers={"X-Zone": "a"}), [0, 2])
        self.assertEqual(upstream.narrow(headers={"X-Zone": "b"}), [1])
        self.assertEqual(upstream.narrow(), [0, 1, 2])

    def test_a_zone_without_a_server_leaves_none_and_the_filter_is_ignored(self):
        upstream = Upstream(filter, servers=SERVERS, grants=grants)
        self.assertEqual(upstream.narrow(headers={"X-Zone": "c"}), [])
        self.assertTrue(upstream.policy.may_be_ignored())
