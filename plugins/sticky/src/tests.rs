//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_sdk::store::StoreError;
use waypost_sdk::testing::{Request, Response, Services, Store, Upstream, endpoint};
use waypost_sdk::{Ending, Keeper};

use super::{Mode, Sticky};

/// The hex MD5 of `10.0.0.0:80`, `10.0.0.1:80` and `10.0.0.2:80`, by `md5sum`.
const IDS: [&str; 3] = [
    "99dc1cdfe40feca1ff3affaa4a2ef943",
    "1484b8b3753313249a03bcfd7b96938d",
    "02bf6c443706f2465311f42c387f9d65",
];

fn cookies(attributes: &str) -> Upstream<Sticky> {
    Upstream::of(
        &format!(r#"{{"cookie": {{"name": "srv"{attributes}}}}}"#),
        3,
    )
}

fn refused(settings: &str) -> (String, String) {
    let error = Upstream::<Sticky>::new(settings, []).err().unwrap();
    (error.key, error.message)
}

#[test]
fn a_new_client_gets_a_server_by_turns_and_a_cookie_that_names_it() {
    let mut upstream = cookies("");
    for (turn, id) in IDS.into_iter().enumerate() {
        let mut exchange = upstream.exchange(Request::get("/"));
        assert_eq!(exchange.pick(), Some(turn));
        assert_eq!(exchange.added_headers(), [format!("Set-Cookie: srv={id}")]);
    }
}

#[test]
fn a_client_with_a_cookie_goes_to_its_server_and_gets_the_cookie_again() {
    let mut upstream = cookies("");
    for _ in 0..5 {
        let mut exchange = upstream.exchange(Request::get("/").cookie("srv", IDS[1]));
        assert_eq!(exchange.pick(), Some(1));
        assert_eq!(
            exchange.added_headers(),
            [format!("Set-Cookie: srv={}", IDS[1])]
        );
    }
}

#[test]
fn a_client_whose_server_is_out_or_failed_gets_another_and_a_new_cookie() {
    let mut upstream = cookies("");
    let mut exchange = upstream.exchange(Request::get("/").cookie("srv", IDS[2]));
    assert_eq!(exchange.pick(), Some(2));
    let next = exchange.pick().unwrap();
    assert_ne!(next, 2);
    assert_eq!(
        exchange.added_headers(),
        [format!("Set-Cookie: srv={}", IDS[next])]
    );
    upstream.rotate_out(2);
    assert_ne!(
        upstream
            .exchange(Request::get("/").cookie("srv", IDS[2]))
            .pick(),
        Some(2)
    );
}

#[test]
fn a_cookie_that_names_no_server_is_as_none() {
    let mut upstream = cookies("");
    assert_eq!(
        upstream
            .exchange(Request::get("/").cookie("srv", "forged"))
            .pick(),
        Some(0)
    );
}

#[test]
fn a_servers_route_is_its_name_in_the_cookie() {
    let servers = [
        endpoint("a:1").route("blue"),
        endpoint("b:1").route("green"),
    ];
    let mut upstream = Upstream::<Sticky>::new(r#"{"cookie": {"name": "srv"}}"#, servers).unwrap();
    let mut exchange = upstream.exchange(Request::get("/").cookie("srv", "green"));
    assert_eq!(exchange.pick(), Some(1));
    assert_eq!(exchange.added_headers(), ["Set-Cookie: srv=green"]);
}

#[test]
fn attributes_are_written_in_nginxs_order_and_letters() {
    let attributes = r#", "path": "/app", "domain": ".$host", "httponly": true, "secure": true, "samesite": "Lax", "expires": "1h""#;
    let mut upstream = cookies(attributes);
    let request = Request::get("/")
        .header("Host", "example.com")
        .variable("msec", "1234564290.500");
    let mut exchange = upstream.exchange(request);
    exchange.pick();
    let attributes = "expires=Fri, 13-Feb-09 23:31:30 GMT; max-age=3600; domain=.example.com; httponly; secure; samesite=Lax; path=/app";
    assert_eq!(
        exchange.added_headers(),
        [format!("Set-Cookie: srv={}; {attributes}", IDS[0])]
    );
}

#[test]
fn expires_max_is_nginxs_far_future() {
    let mut upstream = cookies(r#", "expires": "max""#);
    let mut exchange = upstream.exchange(Request::get("/"));
    exchange.pick();
    let far = "expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000";
    assert_eq!(
        exchange.added_headers(),
        [format!("Set-Cookie: srv={}; {far}", IDS[0])]
    );
}

#[test]
fn a_samesite_variable_with_a_wrong_value_is_strict_and_without_one_absent() {
    let mut upstream = cookies(r#", "samesite": "$arg_s""#);
    let mut header = |target: &str| {
        let mut exchange = upstream.exchange(Request::get(target).cookie("srv", IDS[0]));
        exchange.pick();
        exchange.added_headers().remove(0)
    };
    assert!(header("/?s=none").ends_with("; samesite=none"));
    assert!(header("/?s=x").ends_with("; samesite=strict"));
    assert!(header("/").ends_with(IDS[0]));
}

/// By hand after `ngx_http_upstream_get_peer`: the first bound request is charged (current weights
/// -2, 1, 1), the others are not, as -2 is the limit for one of three equal servers.
#[test]
fn of_a_crowd_of_bound_clients_only_one_in_a_row_counts_as_a_turn() {
    let mut upstream = cookies("");
    for _ in 0..10 {
        upstream
            .exchange(Request::get("/").cookie("srv", IDS[0]))
            .pick();
    }
    assert_eq!(upstream.picks(6), [1, 2, 0, 1, 2, 0].map(Some));
}

#[test]
fn the_first_route_variable_with_a_value_names_the_server() {
    let servers = [
        endpoint("a:1").route("a"),
        endpoint("b:1").route("b"),
        endpoint("c:1").route("c"),
    ];
    let mut upstream =
        Upstream::<Sticky>::new(r#"{"route": ["$cookie_route", "$arg_route"]}"#, servers).unwrap();
    let mut pick = |request: Request| upstream.exchange(request).pick().unwrap();
    assert_eq!(pick(Request::get("/?route=b")), 1);
    assert_eq!(pick(Request::get("/?route=b").cookie("route", "c")), 2);
    assert_eq!(pick(Request::get("/?route=b").cookie("route", "")), 1);
    // The first value counts even if it names no server.
    assert_eq!(pick(Request::get("/?route=b").cookie("route", "gone")), 0);
}

#[test]
fn servers_that_share_a_route_stand_in_for_each_other() {
    let servers = [
        endpoint("a:1").route("a"),
        endpoint("b:1").route("a"),
        endpoint("c:1"),
    ];
    let mut upstream = Upstream::<Sticky>::new(r#"{"route": "$arg_r"}"#, servers).unwrap();
    upstream.rotate_out(0);
    assert_eq!(upstream.exchange(Request::get("/?r=a")).pick(), Some(1));
}

const LEARN: &str = r#"{"learn": {"create": "$upstream_cookie_sid", "lookup": "$cookie_sid", "timeout": "10m", "zone": "32k"}}"#;

/// A request that creates a session; returns its server.
fn create(upstream: &mut Upstream<Sticky>, session: &str) -> usize {
    let mut exchange = upstream.exchange(Request::get("/login"));
    let server = exchange.pick().unwrap();
    let response = Response::status(200).header("Set-Cookie", &format!("sid={session}; path=/"));
    exchange.done(server, Ending::Completed, 0, response);
    server
}

fn server_of(upstream: &mut Upstream<Sticky>, session: &str) -> usize {
    upstream
        .exchange(Request::get("/").cookie("sid", session))
        .pick()
        .unwrap()
}

fn sessions(upstream: &Upstream<Sticky>) -> usize {
    match &upstream.policy.mode {
        Mode::Learn(learn) => learn.count(),
        Mode::Cookie(_) | Mode::Route(_) => 0,
    }
}

#[test]
fn a_session_stays_on_the_server_that_created_it() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    upstream.pick();
    let server = create(&mut upstream, "abc");
    assert_eq!(server, 1);
    for _ in 0..4 {
        assert_eq!(server_of(&mut upstream, "abc"), server);
    }
}

#[test]
fn a_session_is_not_learned_from_an_attempt_that_failed() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    let mut exchange = upstream.exchange(Request::get("/login"));
    let server = exchange.pick().unwrap();
    exchange.done(
        server,
        Ending::Failed,
        0,
        Response::status(500).header("Set-Cookie", "sid=abc"),
    );
    assert_ne!(server_of(&mut upstream, "abc"), server);
}

#[test]
fn a_session_is_forgotten_after_its_timeout_unless_it_is_used() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    assert_eq!(create(&mut upstream, "idle"), 0);
    assert_eq!(create(&mut upstream, "busy"), 1);
    upstream.now_us += 400_000_000;
    let mut exchange = upstream.exchange(Request::get("/").cookie("sid", "busy"));
    assert_eq!(exchange.pick(), Some(1));
    exchange.done(1, Ending::Completed, 100_000_000, Response::status(200));
    upstream.now_us += 650_000_000; // 1050 s since the creation, 550 s since the last use ended
    assert_eq!(server_of(&mut upstream, "busy"), 1);
    assert_eq!(sessions(&upstream), 2);
    create(&mut upstream, "new");
    assert_eq!(sessions(&upstream), 2); // `idle` made room when its time was over
}

#[test]
fn a_session_moves_with_its_client_to_the_server_that_took_over() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    assert_eq!(create(&mut upstream, "abc"), 0);
    upstream.rotate_out(0);
    let mut exchange = upstream.exchange(Request::get("/").cookie("sid", "abc"));
    let other = exchange.pick().unwrap();
    exchange.done(other, Ending::Completed, 0, Response::status(200));
    upstream.rotate_in(0);
    assert_eq!(server_of(&mut upstream, "abc"), other);
}

#[test]
fn a_full_table_forgets_the_session_that_was_quiet_longest() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3); // 32k: 125 sessions
    for session in 0..126 {
        upstream.now_us += 1;
        create(&mut upstream, &session.to_string());
    }
    assert_eq!(sessions(&upstream), 125);
    assert_eq!(server_of(&mut upstream, "1"), 1);
    assert_eq!(server_of(&mut upstream, "125"), 2);
}

#[test]
fn sessions_outlive_a_change_of_the_endpoints() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    create(&mut upstream, "a");
    assert_eq!(create(&mut upstream, "b"), 1);
    let changed = ["10.0.0.2:80", "10.0.0.7:80", "10.0.0.1:80"].map(endpoint);
    let mut upstream = upstream.reload(LEARN, changed);
    assert_eq!(server_of(&mut upstream, "b"), 2);
}

#[test]
fn a_swap_keeps_the_turns_of_new_clients() {
    let mut upstream = cookies("");
    for request in 0..30 {
        assert_eq!(upstream.pick(), Some(request % 3));
        upstream = upstream.swap(r#"{"cookie": {"name": "srv"}}"#);
    }
}

#[test]
fn a_swap_gives_no_session_a_longer_life() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    assert_eq!(create(&mut upstream, "old"), 0);
    upstream.now_us += 300_000_000;
    assert_eq!(create(&mut upstream, "young"), 1);
    for _ in 0..5 {
        upstream = upstream.swap(LEARN);
        upstream.now_us += 59_000_000;
        upstream.pick();
    }
    // 595 s after the first and 295 s after the second.
    assert_eq!(server_of(&mut upstream, "old"), 0);
    upstream.now_us += 6_000_000;
    let mut upstream = upstream.swap::<Sticky>(LEARN);
    assert_eq!(server_of(&mut upstream, "young"), 1);
    create(&mut upstream, "new");
    assert_eq!(sessions(&upstream), 2); // `old` is gone
}

#[test]
fn a_shorter_timeout_holds_for_sessions_that_were_there_before() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    create(&mut upstream, "abc");
    let mut upstream = upstream.swap::<Sticky>(&LEARN.replace("10m", "1m"));
    assert_eq!(server_of(&mut upstream, "abc"), 0);
    upstream.now_us += 61_000_000;
    create(&mut upstream, "new");
    assert_eq!(sessions(&upstream), 1);
}

#[test]
fn a_state_holds_the_sessions_in_use_last_and_stays_below_its_bound() {
    let mut upstream = Upstream::<Sticky>::of(&LEARN.replace("32k", "12m"), 3);
    for session in 0..45_000 {
        upstream.now_us += 1;
        create(&mut upstream, &session.to_string());
    }
    assert_eq!(sessions(&upstream), 45_000);
    let state = upstream.policy.export_state();
    assert!(
        (900 << 10..=901 << 10).contains(&state.len()),
        "{}",
        state.len()
    );
    let mut upstream = upstream.swap::<Sticky>(&LEARN.replace("32k", "12m"));
    assert!(
        (36_000..45_000).contains(&sessions(&upstream)),
        "{}",
        sessions(&upstream)
    );
    assert_eq!(server_of(&mut upstream, "44998"), 44_998 % 3);
    // A smaller zone has room for the youngest only.
    let mut upstream = upstream.swap::<Sticky>(LEARN);
    assert_eq!(sessions(&upstream), 125);
    assert_eq!(server_of(&mut upstream, "44999"), 44_999 % 3);
}

#[test]
fn sessions_are_of_no_use_where_cookies_know_the_server() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    assert_eq!(create(&mut upstream, "abc"), 0);
    let mut upstream = upstream.swap::<Sticky>(r#"{"cookie": {"name": "srv"}}"#);
    assert_eq!(upstream.pick(), Some(1));
    let mut upstream = upstream.swap::<Sticky>(LEARN);
    assert_eq!(upstream.pick(), Some(2));
    assert_eq!(sessions(&upstream), 0);
}

#[test]
fn a_state_that_this_version_does_not_read_is_refused_and_changes_nothing() {
    let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
    create(&mut upstream, "abc");
    let good = upstream.policy.export_state();
    let refused = |state: &[u8], reason: &str| {
        let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
        create(&mut upstream, "here");
        assert_eq!(upstream.policy.import_state(state).unwrap_err(), reason);
        assert_eq!((sessions(&upstream), upstream.pick()), (1, Some(1)));
    };
    refused(&[9], "the state has format `9`, this version reads `1`");
    refused(&[1, 0], "the state ends early");
    refused(&good[..good.len() - 1], "the state ends early");
    refused(
        &[&good[..], &[1, 0]].concat(),
        "the state holds a session without its key",
    );
    let key_but_no_server = [&good[..], &[16], &[0; 16], &[9, 5]].concat();
    refused(
        &key_but_no_server,
        "the state holds a session without its server",
    );
}

proptest::proptest! {
    #[test]
    fn no_state_makes_it_panic(
        state in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        at in 0_usize..400,
        byte in proptest::num::u8::ANY,
    ) {
        let mut upstream = Upstream::<Sticky>::of(LEARN, 3);
        create(&mut upstream, "a");
        create(&mut upstream, "b");
        let mut bent = upstream.policy.export_state();
        let at = at % bent.len();
        bent[at] = byte;
        let any = [&[1, 1, 1], &*state].concat();
        for state in [state, any, bent] {
            _ = upstream.policy.import_state(&state);
            create(&mut upstream, "c");
            upstream.picks(5);
            _ = upstream.policy.export_state();
        }
    }
}

const SHARED: &str = r#"{"learn": {"create": "$upstream_cookie_sid", "lookup": "$cookie_sid", "timeout": "10m", "store": true}}"#;

fn in_store(store: &Store) -> Upstream<Sticky> {
    let servers = (0..3).map(|i| endpoint(&format!("10.0.0.{i}:80")));
    let services = Services::new().store(store);
    Upstream::with(services, SHARED, servers).unwrap_or_else(|error| panic!("{}", error.message))
}

#[test]
fn a_session_in_the_store_is_known_to_whoever_has_that_store() {
    let store = Store::new();
    let mut upstream = in_store(&store);
    upstream.pick();
    assert_eq!(create(&mut upstream, "abc"), 1);
    // Another instance, which knows nothing by itself, and whose turn would be the first server's.
    let mut other = in_store(&store);
    for _ in 0..4 {
        assert_eq!(server_of(&mut other, "abc"), 1);
    }
    assert_eq!(in_store(&Store::new()).pick(), Some(0));
}

#[test]
fn a_session_in_the_store_lives_as_long_as_it_is_used_and_moves_with_its_client() {
    let store = Store::new();
    let mut upstream = in_store(&store);
    assert_eq!(create(&mut upstream, "idle"), 0);
    assert_eq!(create(&mut upstream, "busy"), 1);
    upstream.now_us += 400_000_000;
    upstream.rotate_out(1);
    let mut exchange = upstream.exchange(Request::get("/").cookie("sid", "busy"));
    let other = exchange.pick().unwrap();
    exchange.done(other, Ending::Completed, 0, Response::status(200));
    upstream.rotate_in(1);
    let mut exchange = upstream.exchange(Request::get("/").cookie("sid", "unknown"));
    let server = exchange.pick().unwrap();
    exchange.done(server, Ending::Completed, 0, Response::status(200));
    upstream.now_us += 599_000_000;
    assert_eq!(server_of(&mut upstream, "busy"), other);
    assert_eq!(store.len(), 1);
}

#[test]
fn a_store_that_fails_costs_sessions_and_no_request() {
    let store = Store::new();
    let mut upstream = in_store(&store);
    assert_eq!(create(&mut upstream, "old"), 0);
    store.fail(StoreError::Unavailable);
    for _ in 0..5 {
        server_of(&mut upstream, "old");
        create(&mut upstream, "new");
    }
    assert_eq!(upstream.log_lines().len(), 1);
    store.fail(None);
    assert_eq!(server_of(&mut upstream, "old"), 0);
}

#[test]
fn sessions_in_a_store_that_is_waited_for_are_refused() {
    let services = Services::new().store(&Store::elsewhere());
    let error = Upstream::<Sticky>::with(services, SHARED, [])
        .err()
        .unwrap();
    assert_eq!(error.key, "learn.store");
    assert!(error.message.contains("cannot wait"), "{}", error.message);
    let both = SHARED.replace("true", r#"true, "zone": "1m""#);
    assert_eq!(refused(&both).0, "learn.zone");
    let none = SHARED.replace("true", "false");
    assert_eq!(refused(&none).1, "`learn.zone` is missing");
}

#[test]
fn exactly_one_way_to_know_the_server_is_asked_for() {
    let one = "exactly one of `cookie`, `route` and `learn` must be given";
    assert_eq!(refused("{}"), (String::new(), one.into()));
    assert_eq!(
        refused(r#"{"cookie": {"name": "a"}, "route": "$x"}"#),
        (String::new(), one.into())
    );
}

#[test]
fn what_is_wrong_with_a_setting_is_said_by_its_path() {
    assert_eq!(
        refused(r#"{"cookie": {}}"#),
        ("cookie.name".into(), "`cookie.name` is missing".into())
    );
    assert_eq!(refused(r#"{"cookie": {"name": "a b"}}"#).0, "cookie.name");
    assert_eq!(
        refused(r#"{"cookie": {"name": "a", "samesite": "loose"}}"#).0,
        "cookie.samesite"
    );
    for (key, value) in [
        ("path", ""),
        ("path", "/\\r\\nX: y"),
        ("path", "/; secure"),
        ("domain", "a\\u007f"),
    ] {
        let settings = format!(r#"{{"cookie": {{"name": "a", "{key}": "{value}"}}}}"#);
        assert_eq!(refused(&settings).0, format!("cookie.{key}"), "{value}");
    }
    assert_eq!(
        refused(r#"{"cookie": {"name": "a", "expires": "soon"}}"#).0,
        "cookie.expires"
    );
    assert_eq!(
        refused(r#"{"cookie": {"name": "a", "htponly": true}}"#).1,
        "unknown key `cookie.htponly`; did you mean `httponly`?"
    );
    assert_eq!(
        refused(r#"{"route": "route"}"#),
        (
            "route".into(),
            "`route` is not a variable such as `$cookie_route`".into()
        )
    );
    assert_eq!(
        refused(r#"{"learn": {"lookup": "$a", "zone": "1m"}}"#).0,
        "learn.create"
    );
    assert_eq!(
        refused(r#"{"learn": {"create": "$a", "lookup": "$a", "zone": "1k"}}"#).0,
        "learn.zone"
    );
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<Sticky>::check_description(&[
        r#"{"cookie": {"name": "srv", "expires": "1h", "path": "/"}}"#,
        r#"{"route": ["$cookie_route", "$arg_route"]}"#,
        r#"{"learn": {"create": "$upstream_cookie_id", "lookup": "$cookie_id", "timeout": "1h", "zone": "1m"}}"#,
    ]);
}
