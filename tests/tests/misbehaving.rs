//! No fault of a policy costs a request: each is answered by a live server, the log says what the
//! policy did, and the proxy goes on.
//!
//! One spec for each mode of `tests/guests/misbehaving`, made from that list: a mode without a spec
//! does not compile.

mod files; // that are no policies at all
mod loaded; // while requests come in
mod names; // of functions, with which a file can say anything
mod busy; // policies that take long to choose

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::JoinSet;
use waypost_tests::admin::ADMIN;
use waypost_tests::proxy::{Server, Setup};
use waypost_tests::{Client, Origin, Proxy, child, origin, plugin, proxy, waypost};

macro_rules! spec_for_each_mode {
    ($($(#[doc = $doc:literal])* $variant:ident $name:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                super::$name(stringify!($name)).await;
            }
        )*
    };
}

mod a_policy_that {
    ::misbehaving::foreach_mode!(spec_for_each_mode);
}

/// The plugin, in this mode.
pub(super) fn in_mode(mode: &str) -> Vec<u8> {
    static PLAIN: OnceLock<Vec<u8>> = OnceLock::new();
    static WASI: OnceLock<Vec<u8>> = OnceLock::new();
    let (built, target) = match mode {
        "leaks_handles" => (&WASI, "wasm32-wasip2"),
        _ => (&PLAIN, "wasm32-unknown-unknown"),
    };
    let built = built.get_or_init(|| {
        std::fs::read(plugin("misbehaving", target)).expect("cargo has just built it")
    });
    let mark = ::misbehaving::MARK.as_bytes();
    let marks: Vec<usize> = (0..built.len())
        .filter(|&at| built[at..].starts_with(mark))
        .collect();
    let [mark_at] = marks[..] else {
        panic!("the mode stands in {} places of the plugin", marks.len());
    };
    let mut bytes = built.clone();
    let room = ::misbehaving::ROOM;
    let at = mark_at + mark.len();
    bytes[at..at + room].copy_from_slice(format!("{mode:<room$}").as_bytes());
    bytes
}

/// A proxy before these servers with the policy in this mode.
fn setup<S: Server>(mode: &str, servers: impl IntoIterator<Item = S>) -> Setup {
    with_plugin(mode, servers).upstream("policy = \"mine\"")
}

/// A proxy before these servers that has the plugin in this mode.
fn with_plugin<S: Server>(mode: &str, servers: impl IntoIterator<Item = S>) -> Setup {
    let setup = proxy::to(servers);
    write(setup.directory(), &in_mode(mode));
    setup
        .more(
            "[plugin.mine]\nfile = \"mine.wasm\"\nfallback = \"round_robin\"\n\
             grants = [\"request\", \"exchange\"]",
        )
        .more(limits(mode))
}

/// Limits within which a mode ends in the fault that it is about, on a slow machine as well: one
/// that hoards is out of memory within a few milliseconds of its second, and only those that never
/// return use all of their time.
fn limits(mode: &str) -> &'static str {
    match mode {
        "loops_forever" | "takes_too_long_to_configure" | "takes_too_long_to_update" => "",
        _ => "[plugin.mine.limits]\nmemory = \"4m\"\ndeadline = \"1s\"",
    }
}

/// Whether a line of a log is one that the plugin wrote, from its beginning on.
fn forged(log: &str) -> bool {
    log.lines()
        .any(|line| line.starts_with(::misbehaving::FORGED))
}

fn write(directory: &Path, plugin: &[u8]) {
    std::fs::write(directory.join("mine.wasm"), plugin).expect("the directory is ours");
}

async fn three() -> [Origin; 3] {
    [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ]
}

/// Sends forty requests, five on each of eight connections at once. All are answered, and each by
/// one of the origins: returns how many each answered.
async fn answers(proxy: &Proxy, origins: &[Origin]) -> Vec<usize> {
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let mut client = proxy.client().await;
        clients.spawn(async move {
            let mut bodies = Vec::new();
            for _ in 0..5 {
                let response = client.get("/").await;
                assert_eq!(response.status, 200, "{response:?}");
                bodies.push(response.text());
            }
            bodies
        });
    }
    let bodies = clients.join_all().await.concat();
    let counts: Vec<usize> = origins
        .iter()
        .map(|origin| {
            bodies
                .iter()
                .filter(|body| *body == origin.address())
                .count()
        })
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 40, "{bodies:?}");
    counts
}

/// A line of the log names the plugin, and this; and the proxy still runs.
async fn is_logged(proxy: &mut Proxy, part: &str) {
    proxy.log_contains(part).await;
    let log = proxy.log();
    let named = |line: &str| line.contains(part) && line.contains("mine");
    assert!(log.lines().any(named), "no plugin beside {part:?}:\n{log}");
    assert!(proxy.process().runs(), "the proxy ended");
}

/// The policy never gets to answer: the fallback takes its turns, and the log says why.
async fn leaves_it_to_the_fallback(mode: &str, reason: &str) {
    let origins = three().await;
    let mut proxy = setup(mode, &origins).start().await;
    let counts = answers(&proxy, &origins).await;
    assert!(!counts.contains(&0), "nobody took turns: {counts:?}");
    is_logged(&mut proxy, reason).await;
}

/// What `waypost COMMAND` says of a configuration with this plugin: a problem that is reported,
/// never a crash.
fn refused_by(command: &str, plugin: &[u8]) -> String {
    let directory = TempDir::new().expect("there is room for a directory");
    write(directory.path(), plugin);
    let config = directory.path().join("waypost.toml");
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[plugin.mine]\nfile = \"mine.wasm\"\n\
                grants = [\"request\", \"exchange\"]\n[upstream.backend]\npolicy = \"mine\"\nservers = [\"127.0.0.1:9\", \"127.0.0.1:10\"]\n\
                [[route]]\nproxy = \"backend\"\n";
    std::fs::write(&config, text).expect("the directory is ours");
    let mut waypost = Command::new(waypost());
    waypost.arg(command).arg("-c").arg(&config);
    let (code, out, err) = child::run(waypost);
    let said = out + &err;
    assert_eq!(code, 1, "{command} said:\n{said}");
    assert!(said.contains("waypost.toml:"), "no place:\n{said}");
    // The plugin's own panics are lines of the log like any other.
    let crashed = |line: &str| line.starts_with("thread '") || line.contains("stack backtrace");
    assert!(!said.lines().any(crashed), "{said}");
    said
}

async fn behaves(mode: &str) {
    let origins = three().await;
    let proxy = setup(mode, &origins).start().await;
    assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
    assert!(!proxy.log().contains("failed"), "{}", proxy.log());
}

async fn loops_forever(mode: &str) {
    leaves_it_to_the_fallback(mode, "deadline").await;
}

async fn recurses_forever(mode: &str) {
    leaves_it_to_the_fallback(mode, "stack").await;
}

async fn hoards_memory(mode: &str) {
    leaves_it_to_the_fallback(mode, "memory").await;
}

async fn traps_in_pick(mode: &str) {
    leaves_it_to_the_fallback(mode, "`pick`").await;
}

async fn picks_what_does_not_exist(mode: &str) {
    leaves_it_to_the_fallback(mode, "1000000").await;
}

async fn picks_what_is_down(mode: &str) {
    let (origins, down) = (three().await, origin::named().await);
    let mut servers: Vec<String> = origins.iter().map(|origin| origin.with("")).collect();
    servers.insert(1, down.with("down = true"));
    let mut proxy = setup(mode, servers).start().await;
    answers(&proxy, &origins).await;
    assert_eq!(down.connections(), 0);
    is_logged(&mut proxy, "picked 1").await;
}

async fn picks_what_was_tried(mode: &str) {
    let (dead, origins) = (origin::refuses(), three().await);
    let mut servers = vec![dead.with("max_fails = 0")];
    servers.extend(origins.iter().map(|origin| origin.with("")));
    let mut proxy = setup(mode, servers).start().await;
    answers(&proxy, &origins).await;
    is_logged(&mut proxy, "picked 0").await;
}

async fn traps_on_every_second_call(mode: &str) {
    let origins = three().await;
    let mut proxy = setup(mode, &origins).start().await;
    for _ in 0..3 {
        answers(&proxy, &origins).await;
    }
    is_logged(&mut proxy, "`pick`").await;
}

async fn traps_in_failed(mode: &str) {
    // The policy takes the last server, which fails every time.
    let (origins, dead) = (three().await, origin::refuses());
    let mut servers: Vec<String> = origins.iter().map(|origin| origin.with("")).collect();
    servers.push(dead.with("max_fails = 0"));
    let mut proxy = setup(mode, servers).start().await;
    answers(&proxy, &origins).await;
    is_logged(&mut proxy, "`failed`").await;
}

async fn traps_in_done(mode: &str) {
    let origins = three().await;
    let mut proxy = setup(mode, &origins).start().await;
    answers(&proxy, &origins).await;
    is_logged(&mut proxy, "`done`").await;
}

async fn traps_in_configure(mode: &str) {
    for command in ["run", "check"] {
        let said = refused_by(command, &in_mode(mode));
        assert!(said.contains("unreachable"), "{said}");
    }
}

async fn takes_too_long_to_configure(mode: &str) {
    for command in ["run", "check"] {
        let said = refused_by(command, &in_mode(mode));
        assert!(said.contains("deadline"), "{said}");
    }
}

async fn refuses_its_settings(mode: &str) {
    for command in ["run", "check"] {
        let said = refused_by(command, &in_mode(mode));
        assert!(said.contains("no settings would please me"), "{said}");
    }
}

async fn traps_in_update(mode: &str) {
    let said = refused_by("run", &in_mode(mode));
    assert!(said.contains("unreachable"), "{said}");
}

async fn takes_too_long_to_update(mode: &str) {
    let said = refused_by("run", &in_mode(mode));
    assert!(said.contains("deadline"), "{said}");
}

async fn floods_the_log(mode: &str) {
    let origins = three().await;
    let mut proxy = setup(mode, &origins).start().await;
    for _ in 0..3 {
        assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
    }
    is_logged(&mut proxy, "all work and no play").await;
    let log = proxy.log();
    let lines = || log.lines().filter(|line| line.contains("no play"));
    // 1,024 bytes of the plugin's, and what the host sets before and after them.
    assert!(lines().all(|line| line.len() < 1200));
    assert!(lines().count() < 3 * 40 * 20, "{} lines", lines().count());
}

async fn leaks_handles(mode: &str) {
    let origins = three().await;
    let mut proxy = setup(mode, &origins).start().await;
    for _ in 0..3 {
        answers(&proxy, &origins).await;
    }
    is_logged(&mut proxy, "handle").await;
}

async fn traps_in_export_state(mode: &str) {
    loaded::makes_room(mode, "export").await;
}

async fn exports_too_much_state(mode: &str) {
    loaded::makes_room(mode, "state").await;
}

/// State comes from an instance before it: there is none at first.
async fn traps_in_import_state(mode: &str) {
    let origins = three().await;
    let proxy = setup(mode, &origins).start().await;
    assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
}

async fn refuses_its_state(mode: &str) {
    let origins = three().await;
    let proxy = setup(mode, &origins).start().await;
    assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
}

async fn abstains(mode: &str) {
    let origins = three().await;
    let proxy = setup(mode, &origins).start().await;
    for request in 0..30 {
        assert_eq!(
            proxy.get("/").await.text(),
            origins[request % 3].address(),
            "no turn"
        );
    }
    assert!(!proxy.log().contains("failed"), "{}", proxy.log());
}

async fn logs_control_characters(mode: &str) {
    let origins = three().await;
    let mut proxy = setup(mode, &origins).start().await;
    assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
    is_logged(&mut proxy, r"before\r\n2026").await;
    assert!(
        !forged(&proxy.log()) && !proxy.log().contains('\u{1b}'),
        "{}",
        proxy.log()
    );
}

async fn refuses_its_settings_at_length(mode: &str) {
    for command in ["run", "check"] {
        let said = refused_by(command, &in_mode(mode));
        assert!(said.contains(r"no settings\n"), "{said}");
        assert!(!forged(&said) && !said.contains('\u{1b}'), "{said}");
        assert!(said.len() < 5000, "{} bytes", said.len());
    }
}

/// State comes from an instance before it: there is none at first.
async fn forges_a_line_of_the_log(mode: &str) {
    let origins = three().await;
    let proxy = setup(mode, &origins).start().await;
    assert_eq!(answers(&proxy, &origins).await, [0, 0, 40]);
}

/// The host keeps little for a plugin, however much it asks for. The call may overrun its deadline
/// as well.
async fn asks_for_long_variables(mode: &str) {
    let origins = three().await;
    let mut proxy = setup(mode, &origins).start().await;
    let before = proxy.process().memory();
    answers(&proxy, &origins).await;
    let grown = proxy.process().memory().saturating_sub(before) >> 10;
    assert!(grown < 30, "{grown} MiB more");
}

async fn adds_a_megabyte_of_headers(mode: &str) {
    let origins = three().await;
    let mut proxy = setup(mode, &origins).start().await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 200);
    let added = response.headers.0.iter();
    let added = added.filter(|(name, _)| name.starts_with("X-Header-"));
    let bytes: usize = added.map(|(name, value)| name.len() + value.len()).sum();
    assert!((1000..20_000).contains(&bytes), "{bytes} bytes of headers");
    is_logged(&mut proxy, "response headers of more than").await;
}

async fn thinks_for_long(mode: &str) {
    let origins = three().await;
    let proxy = setup(mode, &origins).start().await;
    answers(&proxy, &origins).await;
    assert!(!proxy.log().contains("failed"), "{}", proxy.log());
}

/// A tenant's request must not reach another tenant's server because a policy failed.
#[tokio::test]
async fn without_a_fallback_a_policy_that_fails_sends_a_request_nowhere() {
    for (mode, why) in [
        ("traps_in_pick", "failed in `pick`"),
        ("abstains", "refuses"),
    ] {
        let origins = three().await;
        let mut proxy = with_plugin(mode, &origins)
            .upstream("policy = { plugin = \"mine\", fallback = \"refuse\" }")
            .start()
            .await;
        for _ in 0..10 {
            assert_eq!(proxy.get("/").await.status, 503, "{mode}");
        }
        let received = origins.iter().map(Origin::connections);
        assert_eq!(received.sum::<usize>(), 0, "{mode}");
        proxy.log_contains(why).await;
        assert!(proxy.process().runs(), "the proxy ended");
    }
}

#[tokio::test]
async fn a_policy_that_never_returns_does_not_stop_the_requests_of_others() {
    let origins = three().await;
    let setup = proxy::to(&origins);
    write(setup.directory(), &in_mode("loops_forever"));
    let more = format!(
        "[plugin.mine]\nfile = \"mine.wasm\"\ngrants = [\"request\", \"exchange\"]\n[upstream.bad]\npolicy = \"mine\"\n\
         servers = [\"{address}\", \"{address}\"]\n[[route]]\npath = \"/bad\"\nproxy = \"bad\"",
        address = origins[0].address(),
    );
    let proxy = setup.more(&more).start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = proxy.client().await;
        client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n").await;
        clients.push(client);
    }
    answers(&proxy, &origins).await;
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
}

/// A worker goes over to a configuration upstream by upstream: requests are served meanwhile.
async fn takes_a_while_to_export_state(mode: &str) {
    const UPSTREAMS: usize = 200;
    let origin = origin::says("hello").await;
    let many: String = (0..UPSTREAMS)
        .map(|number| {
            format!(
                "[upstream.u{number}]\npolicy = \"mine\"\nservers = [{{ address = \"{}\", weight = 2 }}]\n",
                origin.address()
            )
        })
        .collect();
    let proxy = setup(mode, [&origin])
        .server("workers = 1")
        .more("[[route]]\npath = \"/fixed\"\nreturn = { status = 200, body = \"fixed\" }")
        .more(&many)
        .more(ADMIN)
        .start()
        .await;
    let mut client = proxy.client().await;
    proxy.edit("weight = 2", "weight = 3");
    let mut reload = Client::connect(&proxy.admin_address()).await;
    reload
        .send(waypost_tests::admin::request("POST", "/reload", ""))
        .await;
    let (mut reloaded, mut longest) = (std::pin::pin!(reload.response()), Duration::ZERO);
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        assert_eq!(client.get("/fixed").await.text(), "fixed");
        longest = longest.max(asked.elapsed());
        let over = tokio::time::timeout(Duration::from_millis(1), reloaded.as_mut());
        if let Ok(response) = over.await {
            assert_eq!(response.status, 200, "{}", response.text());
            break;
        }
    }
    // All of them at once would take nearly all of that time.
    let took = began.elapsed();
    assert!(
        longest < took / 4,
        "one of the answers took {longest:?} of {took:?}"
    );
}
