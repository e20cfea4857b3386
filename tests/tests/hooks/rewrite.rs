//! `rewrite`: where requests go and what servers get, side by side with a real nginx; and hooks
//! that stand beside it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fastrand::Rng;
use waypost_tests::client::exchange;
use waypost_tests::{Answer, Nginx, Origin, Proxy, nginx, origin, proxy};

/// Rules of the server, or of the listener.
const OF_SERVER: [&str; 14] = [
    r"^/old/(.*)$ /new/$1 last",
    r"^/api/two/(.*)$ /two/$1",
    r"^/two/(.*)$ /three/$1",
    r"^/three/(.*)$ /four/$1",
    r"^/query/(.*)$ /search?x=$1 last",
    r"^/dropped/(.*)$ /search?x=$1&y=$1? last",
    r"^/found/(.*)$ /to/$1 redirect",
    r"^/moved/(.*)$ /to?x=$1 permanent",
    r"^/there/(.*)$ http://there.example/$1",
    r"^/gone/(.*)$ $scheme://there.example/$1?y=$1? permanent",
    r"^/named/(?<first>[^/]*)/(.*)$ /shown/$2?first=$first&all=$args last",
    r#"^/spaced/(.*)$ "/a b%20c/$1" last"#,
    r"(?i)^/CASE/(x|y)?(.*)\.html$ /case$uri-$1-$2 last",
    r"\.php$ /script last",
];

/// Those of the route `/api/`.
const OF_API: [&str; 6] = [
    r"^/api/v1/(.*)$ /$1 break",
    r"^/api/v2/(.*)$ /new/$1 last",
    r"^/api/v3/(.*)$ /api/v1/$1",
    r"^/api/v4/(.*)$ /api/v1/$1 last",
    r"^/api/loop /api/loop last",
    r"^/api/v5/(.*)$ /back/$1?v=5 redirect",
];

/// Answers with the route that a request came by, and its target.
async fn echo() -> Origin {
    origin::answers(|request| {
        Answer::ok(format!("{} {}", request.header("X-Route"), request.target))
    })
    .await
}

async fn nginx_s(origin: &Origin) -> Nginx {
    let rules = |rules: &[&str]| -> String {
        rules
            .iter()
            .map(|rule| format!("rewrite {rule};\n"))
            .collect()
    };
    let location = |path: &str, rules: &str| {
        format!(
            "location {path} {{ {rules} proxy_set_header X-Route {path}; \
             proxy_pass http://backend; }}\n"
        )
    };
    let server = rules(&OF_SERVER)
        + &location("/", "")
        + &location("/new/", "")
        + &location("/api/", &rules(&OF_API));
    Nginx::start(
        &format!("upstream backend {{ server {}; }}", origin.address()),
        &server,
    )
    .await
}

async fn ours(origin: &Origin) -> Proxy {
    let hook = |rules: &[&str]| {
        let rules: String = rules.iter().map(|rule| format!("  '{rule}',\n")).collect();
        format!("hooks = [{{ plugin = \"rewrite\", rules = [\n{rules}] }}]\n")
    };
    let mut file = format!(
        "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n{}\
         [upstream.backend]\nservers = [\"{}\"]\n",
        hook(&OF_SERVER),
        origin.address()
    );
    for (path, hooks) in [("/", ""), ("/new/", ""), ("/api/", hook(&OF_API).as_str())] {
        let _ = write!(
            file,
            "[[route]]\npath = \"{path}\"\n{hooks}proxy = \"backend\"\n\
             request_headers = {{ set = {{ X-Route = \"{path}\" }} }}\n"
        );
    }
    proxy::run(&file, &[]).await
}

/// Status, `Location` and what the server was asked, with the address that was asked called `SELF`.
async fn told(address: &str, target: &str) -> (u16, String, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let response = exchange(address, request).await;
    let location = response.header("Location").replace(address, "SELF");
    // The bodies of redirects and errors are each proxy's own.
    let body = if response.status == 200 {
        response.text()
    } else {
        String::new()
    };
    (response.status, location, body)
}

fn target(rng: &mut Rng) -> String {
    const FIRST: [&str; 25] = [
        "old", "two", "three", "query", "dropped", "found", "moved", "there", "gone", "named/a",
        "spaced", "case", "CaSe/x", "api", "api/v1", "api/v2", "api/v3", "api/v4", "api/v5",
        "api/two", "api/loop", "new", "%6fld", "x/../old", ".//old",
    ];
    const FURTHER: [&str; 24] = [
        "a",
        "b.html",
        "c.php",
        "x",
        "",
        "..",
        ".",
        "a%20b",
        "x%2Fy",
        "%C3%A9",
        "a+b",
        "a%2Bb",
        "a&b",
        "a%26b",
        "%3F",
        "%23",
        "%25",
        "%2525",
        "c;d=e",
        "\"<>\\^`{|}",
        "$1",
        "~!@:[]",
        "%ff",
        "a%3Db",
    ];
    const QUERY: [&str; 7] = ["", "", "?", "?q=1", "?a=b&c=%20d", "??x", "?first=%26&x"];
    let mut target = format!("/{}", FIRST[rng.usize(..FIRST.len())]);
    for _ in 0..rng.usize(1..4) {
        let _ = write!(target, "/{}", FURTHER[rng.usize(..FURTHER.len())]);
    }
    target + QUERY[rng.usize(..QUERY.len())]
}

/// Whether nginx overlooks that something in the path is escaped, and does not escape what a rule
/// puts of it into the query: from the first `/.` or `//` on it looks for no `%` and no `+`
/// (`sw_uri` in `ngx_http_parse_request_line`).
fn is_escaped_unseen(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or(target);
    let unseen = ["/.", "//"].iter().filter_map(|mark| path.find(mark)).min();
    let (seen, unseen) = path.split_at(unseen.unwrap_or(path.len()));
    !seen.contains(['%', '+']) && unseen.contains(['%', '+'])
}

#[tokio::test]
async fn requests_go_where_nginx_sends_them() {
    if !nginx::installed() {
        return;
    }
    let seed = nginx::seed();
    let mut rng = Rng::with_seed(seed);
    let origin = echo().await;
    let (nginx, proxy) = (nginx_s(&origin).await, ours(&origin).await);
    let mut differences = String::new();
    for _ in 0..1500 {
        let target = target(&mut rng);
        if is_escaped_unseen(&target) {
            continue;
        }
        let expected = told(nginx.address(), &target).await;
        let got = told(proxy.address(), &target).await;
        if got != expected {
            let _ = writeln!(
                differences,
                "{target}\n  nginx {expected:?}\n  ours  {got:?}"
            );
        }
    }
    assert!(
        differences.is_empty(),
        "WAYPOST_PARITY_SEED={seed}\n{differences}"
    );
}

#[tokio::test]
async fn rules_that_lead_round_in_circles_end_in_a_500() {
    let origin = echo().await;
    let proxy = ours(&origin).await;
    assert_eq!(proxy.get("/api/loop").await.status, 500);
    assert_eq!(proxy.get("/").await.text(), "/ /");
}

/// A proxy of a page at `/to`, with these hooks at the listener and at the route `/from`.
async fn with_hooks(origin: &Origin, of_listener: &str, of_route: &str) -> Proxy {
    let file = format!(
        "[server]\naccess_log = false\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\nhooks = [{of_listener}]\n\
         [upstream.backend]\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/to\"\nproxy = \"backend\"\n\
         [[route]]\npath = \"/from\"\nhooks = [{of_route}]\nproxy = \"backend\"\n",
        origin.address()
    );
    proxy::run(&file, &[]).await
}

const REWRITE: &str = "{ plugin = \"rewrite\", rules = '^/from /to last' }";
const DENY: &str = "{ plugin = \"access\", rules = [\"deny all\"] }";

#[tokio::test]
async fn hooks_of_a_listener_behind_one_that_changes_the_route_are_asked() {
    let origin = echo().await;
    let proxy = with_hooks(&origin, &format!("{REWRITE}, {DENY}"), "").await;
    assert_eq!(proxy.get("/from").await.status, 403);
    assert_eq!(proxy.get("/to").await.status, 403);
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn hooks_of_a_route_that_is_left_are_not_asked() {
    let origin = echo().await;
    let proxy = with_hooks(&origin, "", &format!("{REWRITE}, {DENY}")).await;
    assert_eq!(proxy.get("/from").await.text(), " /to");
}

#[tokio::test]
async fn a_request_that_is_to_wait_waits_also_where_its_route_changes() {
    let origin = echo().await;
    let limit = "{ plugin = \"limit_req\", key = \"$binary_remote_addr\", rate = \"2r/s\", \
                 burst = 5 }";
    let proxy = with_hooks(&origin, "", &format!("{limit}, {REWRITE}")).await;
    let began = Instant::now();
    for _ in 0..2 {
        assert_eq!(proxy.get("/from").await.text(), " /to");
    }
    assert!(
        began.elapsed() >= Duration::from_millis(490),
        "{:?}",
        began.elapsed()
    );
}
