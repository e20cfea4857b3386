//! Whatever a client sends, what comes out can be sent on.

use proptest::prelude::*;
use waypost_sdk::testing::Request;

use super::{End, end, with};

/// Rules in which all of a path comes out again, in every place that a rule has.
const RULES: [&str; 6] = [
    "(?s)^/(.*)$ /p/$1 last",
    "(?s)^/(.*)$ /p?x=$1 last",
    "(?s)^/(?<all>.*)$ /p/$all?x=$all&u=$uri break",
    "(?s)^/(.*)$ /p/$1?x=$1 redirect",
    "(?s)^/(?<all>.*)$ http://b.example/$all?x=$uri",
    "(?s)^(.*)/([^/]*)(/?)$ $1/x$2$3",
];

/// What a request's target may have: any visible character but `#`.
fn visible() -> impl Strategy<Value = String> {
    (b'!'..=b'~').prop_map(|byte| char::from(byte).to_string().replace('#', "/"))
}

/// A character of a path, as it is or escaped.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        visible(),
        any::<u8>().prop_map(|byte| format!("%{byte:02x}"))
    ]
}

proptest! {
    #[test]
    fn targets_and_locations_are_visible_ascii(
        path in prop::collection::vec(piece(), 0..16),
        query in prop::collection::vec(visible(), 0..16),
        rule in 0..RULES.len(),
    ) {
        let target = format!("/{}?{}", path.concat().replace('?', "/"), query.concat());
        let received = target.clone();
        match end(&mut with(&[RULES[rule]]), Request::get(&target)) {
            // As the client has sent it: no rule has matched.
            End::Proceed(text) if text == received => {}
            End::Proceed(text) | End::Reroute(text) => {
                prop_assert!(text.starts_with('/'));
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
            }
            End::Answer(status, text) => {
                prop_assert!(status == 302);
                prop_assert!(text.starts_with("http://"));
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
