"""Tests of the SDK itself: `python -m unittest` in this folder."""

import json
import unittest

from waypost import SettingsError, changes, fleet, http, request
from waypost.settings import describe, read
from waypost.testing import Hooked, Upstream, upstreams

SCHEMA = {
    "mode": {"type": "string", "enum": ["fast", "safe"], "default": "safe"},
    "ratio": {"type": "number", "minimum": 0, "maximum": 1},
    "rules": {
        "type": "array",
        "items": {"type": "object", "properties": {"path": {"type": "string", "required": True}}},
    },
}


class Sdk(unittest.TestCase):
    def test_settings_are_read_by_their_schema_and_refused_by_their_key(self):
        self.assertEqual(read(SCHEMA, "{}").mode, "safe")
        self.assertEqual(read(SCHEMA, '{"rules": [{"path": "/a"}]}').rules[0].path, "/a")
        for given, key, message in [
            ({"mode": "slow"}, "mode", '`mode` must be one of "fast", "safe"'),
            ({"ratio": 2}, "ratio", "`ratio` must be 1 or less"),
            ({"rules": [{"path": "/"}, {}]}, "rules[1].path", "`rules[1].path` is missing"),
            (
                {"rules": [{"pth": "/"}]},
                "rules[0].pth",
                "unknown key `rules[0].pth`; did you mean `path`?",
            ),
            (
                {"colour": 1},
                "colour",
                "unknown key `colour`; known keys: `mode`, `ratio`, `rules`",
            ),
        ]:
            with self.assertRaises(SettingsError) as refused:
                read(SCHEMA, json.dumps(given))
            self.assertEqual((refused.exception.key, refused.exception.message), (key, message))

    def test_the_schema_that_is_shown_refuses_other_keys_too(self):
        shown = json.loads(describe({"a": {"type": "string", "required": True}}))
        self.assertEqual(shown["required"], ["a"])
        self.assertEqual(shown["additionalProperties"], False)

    def test_what_is_not_granted_says_so(self):
        class Policy:
            def pick(self, call):
                return 0 if request.header("x") else fleet.in_flight(0)

        with self.assertRaisesRegex(AttributeError, r'grants = \["request"\]'):
            Upstream(Policy, grants=[]).pick()

    def test_a_hook_may_wait_for_what_another_server_says(self):
        class Login:
            def on_request(self, call):
                answer = http.request("auth", "/verify", headers={"x": "y"})
                if answer.status != 200:
                    changes.answer(answer.status, answer.body)
                    return "answer"

        asked = []

        def answer(request):
            asked.append(request["target"])
            return (200 if len(asked) == 1 else 403), {}, b"no"

        upstreams(answer)
        self.addCleanup(upstreams, None)
        hooked = Hooked(Login)
        self.assertEqual(hooked.request().verdict, "proceed")
        self.assertEqual(hooked.request().verdict, "answer")
        self.assertEqual(asked, ["/verify", "/verify"])

    def test_servers_have_names_and_labels(self):
        class Policy:
            def pick(self, call):
                names = {
                    fleet.name(index): fleet.label(index, "zone") for index in call.candidates
                }
                return list(names.values()).index("b")

        servers = [{"name": "x", "labels": {"zone": "a"}}, {"name": "y", "labels": {"zone": "b"}}]
        self.assertEqual(Upstream(Policy, servers=servers).pick(), 1)


if __name__ == "__main__":
    unittest.main()
