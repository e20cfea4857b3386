import unittest

from plugin import grants, scorer
from waypost import SettingsError
from waypost.testing import Upstream


class ByLoad(unittest.TestCase):
    def test_the_least_busy_server_is_the_best(self):
        upstream = Upstream(scorer, settings={"most": 4}, servers=3, grants=grants)
        for server, load in zip(upstream.servers, [2, 0, 9]):
            server.in_flight = load
        self.assertEqual(upstream.score(), [32767, 65535, 0])

    def test_a_misspelled_setting_is_refused(self):
        with self.assertRaises(SettingsError) as refused:
            Upstream(scorer, settings={"mots": 4})
        self.assertEqual(refused.exception.message, "unknown key `mots`; did you mean `most`?")
