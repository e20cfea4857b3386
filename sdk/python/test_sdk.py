"""Tests of the SDK itself: `python -m unittest` in this folder."""

import json
import re
import unittest
from pathlib import Path

from waypost import (
    SettingsError,
    StoreError,
    bodies,
    changes,
    checks,
    files,
    fleet,
    host,
    http,
    request,
    store,
)
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
                http.tell("audit", "/seen")
                answer = http.request("auth", "/verify", headers={"x": "y"})
                if answer.status != 200:
                    changes.answer(answer.status, answer.body)
                    return "answer"

        asked = []

        def answer(request):
            asked.append(request["target"])
            return (200 if len(asked) == 2 else 403), {}, b"no"

        upstreams(answer)
        self.addCleanup(upstreams, None)
        hooked = Hooked(Login)
        self.assertEqual(hooked.request().verdict, "proceed")
        self.assertEqual(hooked.request().verdict, "answer")
        self.assertEqual(asked, ["/seen", "/verify", "/seen", "/verify"])

    def test_servers_have_names_and_labels(self):
        class Policy:
            def pick(self, call):
                names = {
                    fleet.name(index): fleet.label(index, "zone") for index in call.candidates
                }
                return list(names.values()).index("b")

        servers = [{"name": "x", "labels": {"zone": "a"}}, {"name": "y", "labels": {"zone": "b"}}]
        self.assertEqual(Upstream(Policy, servers=servers).pick(), 1)

    def test_a_hook_that_has_asked_for_bodies_makes_others_of_them(self):
        test = self

        class Stamp:
            def on_request(self, call):
                test.assertTrue(bodies.want_request_body(whole=10))

            def on_request_body(self, call):
                changes.set_request_header("x-item", json.loads(call.body)["item"])
                bodies.set_body("[]")

            def on_response(self, call):
                test.assertTrue(bodies.want_response_body("chunks", form="decoded"))

            def on_response_body(self, call):
                bodies.set_body(call.body.upper() + (b"." if call.last else b""))

        hooked = Hooked(Stamp)
        exchange = hooked.request_body(hooked.request(), '{"item":1}')
        self.assertEqual(exchange.verdict, "proceed")
        self.assertEqual(exchange.request_headers["x-item"], 1)
        self.assertEqual(exchange.request_body, "[]")
        hooked.response_body(hooked.response(exchange), "ab", "c")
        self.assertEqual(exchange.response_body, "ABC.")
        with self.assertRaisesRegex(AssertionError, "more than 10 bytes"):
            hooked.request_body(hooked.request(), "x" * 11)

    def test_a_body_that_nobody_has_asked_for_or_may_only_watch_stays_as_it_is(self):
        test = self

        class Watch:
            def on_request(self, call):
                bodies.want_request_body("watch")
                test.assertFalse(bodies.want_response_body("chunks", form="as-sent"))

            def on_request_body(self, call):
                test.assertFalse(bodies.set_body("other"))
                self.trailers = bodies.trailers()

        hooked = Hooked(Watch)
        exchange = hooked.request()
        hooked.request_body(exchange, "a", "b", trailers=[("x-sum", "2")])
        self.assertEqual(exchange.request_body, "ab")
        self.assertEqual(hooked.hook.trailers, [("x-sum", "2")])
        with self.assertRaisesRegex(AssertionError, "has not asked"):
            hooked.response_body(exchange, "")

    def test_passwords_are_checked_and_files_read_and_read_again_and_ends_told(self):
        class Users:
            def __init__(self, settings):
                self.changed("users", files.read("users"))

            def changed(self, path, content):
                self.users = content.decode()

            def on_request(self, call):
                checks.verify_password(self.users, "secret")
                return "wait"

            def on_check(self, call):
                return "proceed" if call.passed else "answer"

            def on_end(self, call):
                self.status = call.status

        hooked = Hooked(Users, files={"users": "jo"})
        exchange = hooked.request()
        self.assertEqual((exchange.verdict, exchange.check), ("wait", ("jo", "secret")))
        self.assertEqual(hooked.check(exchange, True).verdict, "proceed")
        hooked.change_file("users", "ann")
        self.assertEqual(hooked.request().check[0], "ann")
        hooked.end(exchange, status=499)
        self.assertEqual(hooked.hook.status, 499)

    def test_a_policy_takes_other_servers_in_place(self):
        class Last:
            last = None

            def change(self, endpoints):
                self.last = endpoints[-1].index

            def pick(self, call):
                return self.last

        upstream = Upstream(Last, servers=2)
        self.assertIsNone(upstream.pick())
        upstream.change([{"name": "s1"}, {"name": "new"}])
        self.assertEqual(upstream.pick(), 2)

    def test_what_the_store_refuses_has_a_reason(self):
        class Policy:
            def pick(self, call):
                store.set("name", "jo", 0)
                return store.add("name", 1, 0)

        with self.assertRaises(StoreError) as refused:
            Upstream(Policy).pick()
        self.assertEqual(refused.exception.reason, "wrong-kind")

    def test_the_doubles_have_every_function_of_the_contract(self):
        class Anything:
            pass

        there = set()
        for double in (Upstream, Hooked):
            double(Anything)
            for name, interface in host.items():
                there |= {f"{name}.{key}" for key in vars(interface)}
        interface = None
        for file in (Path(__file__).parent / "waypost" / "wit").glob("*.wit"):
            for line in file.read_text().split("\n"):
                if begun := re.match("interface ([a-z-]+)", line):
                    interface = begun[1].replace("-", "_")
                function = re.match(r"  ([a-z-]+): func\(", line)
                if function and interface in host:
                    self.assertIn(f"{interface}.{function[1].replace('-', '_')}", there)


if __name__ == "__main__":
    unittest.main()
