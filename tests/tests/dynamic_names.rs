//! Names that a request makes, by variables in `proxy`: resolved when they are first asked for,
//! within a list of what may be named.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use waypost_tests::admin::{ADMIN, request};
use waypost_tests::http2::Http2;
use waypost_tests::names::{A, Dnsmasq, Record, Scripted, host, installed, origins};
use waypost_tests::tls::Authority;
use waypost_tests::{Answer, Load, Origin, Proxy, client, eventually, origin, outlast, proxy};

/// What specs' origins have, and no rule lets a name stand for that does not name it.
const LOOPBACK: &str = "\"127.0.0.0/8\"";

/// A route whose requests name a host by `?to=`, below `/`, and one to an origin of its own at
/// `/own`; `allow` are items of `proxy_allow`.
fn file(dns: &str, port: u16, allow: &str, own: &Origin, more: &str) -> String {
    format!(
        "[server]\nworkers = 2\naccess_log = false\n\
         resolver = {{ addresses = [\"{dns}\"], valid = \"100ms\", timeout = \"30s\" }}\n{more}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.own]\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/own\"\nproxy = \"own\"\n\
         [[route]]\nproxy = \"http://$arg_to:{port}\"\nproxy_allow = [{allow}]\n{ADMIN}",
        own.address()
    )
}

async fn naming(dns: &str, port: u16, allow: &str, own: &Origin) -> Proxy {
    proxy::run(&file(dns, port, allow, own, ""), &[]).await
}

/// Lines of a hosts file that give these origins one name.
fn hosts(name: &str, origins: &[&Origin]) -> String {
    let lines = origins
        .iter()
        .map(|origin| format!("{} {name}\n", host(origin)));
    lines.collect()
}

/// The names of the upstreams that requests have named.
async fn made(proxy: &Proxy) -> Vec<String> {
    let shown = proxy.shows("/upstreams").await;
    let upstreams = shown["upstreams"].as_array().expect("a list");
    let names = upstreams.iter().map(|upstream| &upstream["name"]);
    let names = names.map(|name| name.as_str().expect("a text").to_owned());
    names.filter(|name| name.contains("://")).collect()
}

#[tokio::test]
async fn a_request_is_led_to_the_name_that_it_makes() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let known = hosts("a.test", &[a]) + &hosts("b.test", &[b]);
    let dns = Dnsmasq::start(&known, 0, &[]).await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let proxy = naming(&dns.address(), port, &allow, &own).await;
    for _ in 0..2 {
        assert_eq!(proxy.get("/x?to=a.test").await.text(), host(a));
        assert_eq!(proxy.get("/x?to=B.test").await.text(), host(b));
        let address = format!("/x?to={}", host(a));
        assert_eq!(proxy.get(&address).await.text(), host(a));
    }
    assert_eq!(a.requests()[0].target, "/x?to=a.test", "as it was received");
    assert_eq!(proxy.get("/own").await.text(), "own");
    let exception = format!(" (127.0.0.0/8:{port})");
    let mut expected = ["a.test".to_owned(), "b.test".to_owned(), host(a)]
        .map(|name| format!("http://{name}:{port}{exception}"));
    let mut names = made(&proxy).await;
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_name_changes_its_address_under_load_and_no_request_fails() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let mut dns = Dnsmasq::start(&hosts("api.test", &[a]), 0, &[]).await;
    let own = origin::says("own").await;
    let allow = format!("\"api.test\", {LOOPBACK}");
    let proxy = naming(&dns.address(), port, &allow, &own).await;
    let load = Load::start_at(proxy.address(), 8, "/?to=api.test");
    for now in [b, a, b] {
        dns.knows(&hosts("api.test", &[now])).await;
        eventually("the other address", async || {
            proxy.get("/?to=api.test").await.text() == host(now)
        })
        .await;
    }
    a.has_open(0).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(made(&proxy).await.len(), 1);
    proxy
        .log_contains(&format!("api.test is {} now", b.address()))
        .await;
}

#[tokio::test]
async fn what_the_list_does_not_have_is_refused_and_never_asked_about() {
    let dns = Scripted::start(|question| vec![question.answer(0, &[])]).await;
    let own = origin::says("own").await;
    let allow = "\"a.test\", \"*.b.test\", \"10.0.0.0/8\"";
    let proxy = naming(&dns.address(), 80, allow, &own).await;
    for to in [
        "evil.test",
        "a.test.evil.test",
        "b.test",
        "127.0.0.1",
        "169.254.169.254",
        "[::1]",
        "user@a.test",
        "a.test:81",
        "a.test/",
        "a%2etest",
        "",
    ] {
        assert_eq!(proxy.get(&format!("/?to={to}")).await.status, 403, "{to}");
    }
    assert_eq!(proxy.get("/").await.status, 403, "no variable, no name");
    for part in [
        "`evil.test:80` is not in `proxy_allow`",
        "`user@a.test:80` is neither an address nor a name",
        "`:80` is neither an address nor a name",
    ] {
        proxy.log_contains(part).await;
    }
    assert_eq!(dns.questions(), 0);
    assert_eq!(made(&proxy).await.len(), 0);
    // A client that is refused may go on.
    let mut client = proxy.client().await;
    assert_eq!(client.get("/?to=evil.test").await.status, 403);
    assert_eq!(client.get("/own").await.text(), "own");
}

/// What a name server says does not lead requests to this machine, nor to where clouds keep secrets.
#[tokio::test]
async fn a_name_that_is_allowed_stands_for_no_address_that_is_not() {
    let dns = Scripted::start(|question| {
        let address = match question.name.as_str() {
            "local.test" => [127, 0, 0, 1],
            "cloud.test" => [169, 254, 169, 254],
            "none.test" => [0, 0, 0, 0],
            _ => return vec![question.answer(3, &[])],
        };
        let records = [Record::address(&question.name, address.into(), 0)];
        let known = if question.kind == A {
            &records[..]
        } else {
            &[]
        };
        vec![question.answer(0, known)]
    })
    .await;
    let own = origin::says("own").await;
    let (_, port) = own.address().rsplit_once(':').unwrap();
    let port = port.parse().unwrap();
    let proxy = naming(&dns.address(), port, "\"*.test\", \"0.0.0.0/0\"", &own).await;
    for (name, address) in [
        ("local.test", "127.0.0.1"),
        ("cloud.test", "169.254.169.254"),
        ("none.test", "0.0.0.0"),
    ] {
        assert_eq!(proxy.get(&format!("/?to={name}")).await.status, 502);
        let why = format!("{name} is {address}:{port}, which is no address that `proxy_allow` has");
        proxy.log_contains(&why).await;
    }
    assert_eq!(own.connections(), 0);
    assert_eq!(made(&proxy).await.len(), 0);
}

/// Also one that stood for another address before.
#[tokio::test]
async fn a_name_that_moves_to_an_address_that_is_not_allowed_leads_there_for_no_request() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [allowed, forbidden] = &origins[..] else {
        panic!()
    };
    let mut dns = Dnsmasq::start(&hosts("api.test", &[allowed]), 0, &[]).await;
    let own = origin::says("own").await;
    let allow = format!("\"api.test\", \"{}\"", host(allowed));
    let proxy = naming(&dns.address(), port, &allow, &own).await;
    assert_eq!(proxy.get("/?to=api.test").await.text(), host(allowed));
    dns.knows(&hosts("api.test", &[forbidden])).await;
    eventually("the name to have moved", async || {
        proxy.get("/?to=api.test").await.status == 502
    })
    .await;
    assert_eq!(forbidden.connections(), 0);
    dns.knows(&hosts("api.test", &[forbidden, allowed])).await;
    eventually("the name to be back", async || {
        proxy.get("/?to=api.test").await.status == 200
    })
    .await;
    assert_eq!(forbidden.connections(), 0);
}

#[tokio::test]
async fn a_name_that_is_not_known_is_a_502_until_it_is() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(1).await;
    let mut dns = Dnsmasq::start("", 0, &[]).await;
    let own = origin::says("own").await;
    let allow = format!("\"late.test\", {LOOPBACK}");
    let proxy = naming(&dns.address(), port, &allow, &own).await;
    assert_eq!(proxy.get("/?to=late.test").await.status, 502);
    proxy
        .log_contains("late.test could not be resolved (3: Host not found)")
        .await;
    assert_eq!(made(&proxy).await.len(), 0);
    dns.knows(&hosts("late.test", &[&origins[0]])).await;
    eventually("the name to be known", async || {
        proxy.get("/?to=late.test").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_name_server_that_hangs_costs_its_own_requests_their_time_and_no_others() {
    let dns = Scripted::silent().await;
    let own = origin::says("own").await;
    let text = file(&dns.address(), 80, "\"*.test\"", &own, "");
    let text = text.replace("timeout = \"30s\"", "timeout = \"2s\"");
    let proxy = proxy::run(&text, &[]).await;
    let mut waits = proxy.client().await;
    waits
        .send("GET /?to=a.test HTTP/1.1\r\nHost: t\r\n\r\n")
        .await;
    dns.is_asked(1).await;
    assert_eq!(proxy.get("/own").await.text(), "own");
    assert_eq!(proxy.get("/?to=169.254.0.1").await.status, 403);
    proxy.reload().await;
    assert_eq!(waits.response().await.status, 502);
    proxy
        .log_contains("a.test could not be resolved (110: Operation timed out)")
        .await;
}

#[tokio::test]
async fn a_request_waits_for_a_name_as_long_as_for_a_connection() {
    let dns = Scripted::silent().await;
    let own = origin::says("own").await;
    let text = file(&dns.address(), 80, "\"*.test\"", &own, "");
    let text = text.replace("proxy_allow", "connect_timeout = \"300ms\"\nproxy_allow");
    let proxy = proxy::run(&text, &[]).await;
    assert_eq!(proxy.get("/?to=a.test").await.status, 504);
    proxy
        .log_contains("a.test could not be resolved in time")
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_name_is_asked_about_is_not_waited_for() {
    let dns = Scripted::silent().await;
    let own = origin::says("own").await;
    let text = file(&dns.address(), 80, "\"*.test\"", &own, "");
    let text = text.replace("access_log = false", "access_log = { path = \"stdout\" }");
    let proxy = proxy::run(&text, &[]).await;
    let mut leaves = proxy.client().await;
    leaves
        .send("GET /?to=a.test HTTP/1.1\r\nHost: t\r\n\r\n")
        .await;
    dns.is_asked(1).await;
    drop(leaves);
    proxy.stdout().contains("\" 499 ").await;
}

/// Names that stand for one origin, whatever they are, as those below a wildcard do.
async fn wildcard(origin: &Origin) -> Scripted {
    let address = host(origin).parse().expect("an address of IPv4");
    Scripted::start(move |question| {
        let records = [Record::address(&question.name, address, 1)];
        let known = if question.kind == A {
            &records[..]
        } else {
            &[]
        };
        vec![question.answer(0, known)]
    })
    .await
}

/// Asks for so many names, each of them once, by several clients at a time; the statuses.
async fn ask_for(proxy: &Proxy, names: usize) -> Vec<u16> {
    let mut clients = tokio::task::JoinSet::new();
    for part in 0..8 {
        let address = proxy.address().to_owned();
        clients.spawn(async move {
            let mut statuses = Vec::new();
            for number in (part..names).step_by(8) {
                let target = format!("/?to=n{number}.test");
                let response = client::get_with(&address, &target, "").await;
                statuses.push(response.status);
            }
            statuses
        });
    }
    clients.join_all().await.concat()
}

#[tokio::test]
async fn random_names_take_no_more_room_than_they_may_and_no_request_of_another() {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let more = "max_dynamic_upstreams = 8";
    let proxy = proxy::run(&file(&dns.address(), port, &allow, &own, more), &[]).await;
    let load = Load::start_at(proxy.address(), 2, "/own");
    let statuses = ask_for(&proxy, 300).await;
    assert_eq!(statuses, vec![200; 300]);
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(made(&proxy).await.len() <= 8, "{:?}", made(&proxy).await);
    // The others are not looked after any longer: each would be asked about ten times a second.
    let (began, asked) = (Instant::now(), dns.questions());
    outlast(Duration::from_secs(1)).await;
    let most = 8 * 2 * (began.elapsed().as_millis() as usize / 100 + 2);
    let asked = dns.questions() - asked;
    assert!(asked <= most, "{asked} of {most}");
}

#[tokio::test]
async fn a_thousand_names_that_nobody_knows_leave_nothing_behind() {
    let dns = Scripted::start(|question| vec![question.answer(3, &[])]).await;
    let own = origin::says("own").await;
    let proxy = naming(&dns.address(), 80, "\"*.test\"", &own).await;
    let load = Load::start_at(proxy.address(), 2, "/own");
    let statuses = ask_for(&proxy, 1000).await;
    assert_eq!(statuses, vec![502; 1000]);
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(made(&proxy).await.len(), 0);
    assert_eq!(proxy.shows("/status").await["generation"], 1);
    // None is asked about again.
    let asked = dns.questions();
    outlast(Duration::from_secs(2)).await;
    assert_eq!(dns.questions(), asked);
}

/// Those that a pattern allows wait for each other, and hold up none that is listed by itself.
#[tokio::test]
async fn names_without_answers_hold_up_none_that_is_listed() {
    let (origins, port) = origins(1).await;
    let address = host(&origins[0]).parse().expect("an address of IPv4");
    let dns = Scripted::start(move |question| match (&*question.name, question.kind) {
        ("api.test", A) => {
            let records = [Record::address("api.test", address, 1)];
            vec![question.answer(0, &records)]
        }
        ("api.test", _) => vec![question.answer(0, &[])],
        _ => Vec::new(),
    })
    .await;
    let own = origin::says("own").await;
    let allow = format!("\"*.random.test\", \"api.test\", {LOOPBACK}");
    let text = file(&dns.address(), port, &allow, &own, "");
    let proxy = proxy::run(&text, &[]).await;
    let mut waiting = Vec::new();
    for number in 0..100 {
        let mut client = proxy.client().await;
        let target = format!("/?to=n{number}.random.test");
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"))
            .await;
        waiting.push(client);
    }
    dns.is_asked(16).await;
    assert_eq!(proxy.get("/?to=api.test").await.text(), host(&origins[0]));
    assert_eq!(proxy.get("/own").await.text(), "own");
    proxy.reload().await;
}

/// What anybody can name is asked about again as well: it has a share of the questions, and neither
/// the configuration's own names nor one that is listed wait for it.
#[tokio::test]
async fn names_by_a_pattern_that_are_answered_once_hold_up_no_others() {
    answered_once_and_behind(async |_| {}).await;
}

/// They are no others because a reload goes on with them.
#[tokio::test]
async fn names_by_a_pattern_hold_up_no_others_behind_a_reload_either() {
    answered_once_and_behind(async |proxy| drop(proxy.reload().await)).await;
}

async fn answered_once_and_behind(change: impl AsyncFn(&Proxy)) {
    let (origins, port) = origins(2).await;
    let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let hangs = Arc::new(AtomicBool::new(false));
    let do_hang = hangs.clone();
    let dns = Scripted::start(move |question| {
        let hangs = do_hang.load(Relaxed);
        let records = match question.kind {
            _ if hangs && question.name.ends_with(".random.test") => return Vec::new(),
            A if hangs => vec![Record::address(&question.name, two, 1)],
            A => vec![Record::address(&question.name, one, 1)],
            _ => Vec::new(),
        };
        vec![question.answer(0, &records)]
    })
    .await;
    let own = origin::says("own").await;
    let allow = format!("\"*.random.test\", \"api.test\", {LOOPBACK}");
    let text = file(&dns.address(), port, &allow, &own, "");
    let follows = format!(
        "[upstream.followed]\nservers = [\"followed.test:{port}\"]\n\
         [[route]]\npath = \"/followed\"\nproxy = \"followed\"\n[admin]"
    );
    let proxy = proxy::run(&text.replace("[admin]", &follows), &[]).await;
    for number in 0..100 {
        let target = format!("/?to=n{number}.random.test");
        assert_eq!(proxy.get(&target).await.status, 200);
    }
    change(&proxy).await;
    hangs.store(true, Relaxed);
    let asked = dns.questions();
    dns.is_asked(asked + 32).await;
    let since = Instant::now();
    assert_eq!(proxy.get("/?to=api.test").await.text(), host(&origins[1]));
    eventually("the configuration's own name to be followed", async || {
        proxy.get("/followed").await.text() == host(&origins[1])
    })
    .await;
    // A question of those that hang takes half a minute.
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
}

/// As many names by a pattern as may be asked about at a time, none of which is answered for any
/// more, in front of a route at `/listed` with a list of its own.
struct Crowd {
    origins: Vec<Origin>,
    port: u16,
    proxy: Proxy,
    _dns: Scripted,
    _own: Origin,
}

impl Crowd {
    /// `allow`: items of the route's list. `known`: how many of the names have been answered for.
    async fn before(allow: &str, known: usize) -> Crowd {
        let (origins, port) = origins(1).await;
        let address = host(&origins[0]).parse().expect("an address of IPv4");
        let hangs = Arc::new(AtomicBool::new(false));
        let do_hang = hangs.clone();
        let dns = Scripted::start(move |question| match (&*question.name, question.kind) {
            (name, _) if name.starts_with('n') && do_hang.load(Relaxed) => Vec::new(),
            (name, A) => vec![question.answer(0, &[Record::address(name, address, 1)])],
            _ => vec![question.answer(0, &[])],
        })
        .await;
        let own = origin::says("own").await;
        let by_pattern = format!("\"*.test\", {LOOPBACK}");
        let text = file(&dns.address(), port, &by_pattern, &own, "");
        let listed = format!(
            "[[route]]\npath = \"/listed\"\nproxy = \"http://$arg_to:{port}\"\n\
             proxy_allow = [{allow}]\n[admin]"
        );
        let proxy = proxy::run(&text.replace("[admin]", &listed), &[]).await;
        for number in 0..known {
            assert_eq!(proxy.get(&format!("/?to=n{number}.test")).await.status, 200);
        }
        hangs.store(true, Relaxed);
        let crowd = Crowd {
            origins,
            port,
            proxy,
            _dns: dns,
            _own: own,
        };
        let asked = crowd._dns.questions();
        if known == 0 {
            for number in 0..16 {
                crowd.stranger(&format!("n{number}.test")).await;
            }
        }
        crowd._dns.is_asked(asked + 32).await;
        crowd
    }

    /// Asks for a name, and does not wait for it.
    async fn stranger(&self, name: &str) {
        let mut client = self.proxy.client().await;
        let request = format!("GET /?to={name} HTTP/1.1\r\nHost: t\r\n\r\n");
        client.send(request).await;
        // It would be asked about no more if its client left.
        tokio::spawn(async move { client.response().await });
    }
}

/// Whoever names it by the pattern first waits for the others there, and does not make those wait
/// with him who name it where it is listed; also where that makes another upstream of it.
#[tokio::test]
async fn a_name_that_waits_by_a_pattern_is_asked_about_at_once_where_it_is_listed() {
    for (more, known) in [("", 60), (", \"169.254.7.0/24\"", 60), ("", 0)] {
        let crowd = Crowd::before(&format!("\"good.test\", {LOOPBACK}{more}"), known).await;
        crowd.stranger("good.test").await;
        // It has come before the next one: a name that is no name is refused at once.
        assert_eq!(crowd.proxy.get("/?to=a..test").await.status, 403);
        let since = Instant::now();
        let answer = crowd.proxy.get("/listed?to=good.test").await;
        assert_eq!(answer.text(), host(&crowd.origins[0]));
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "{:?}",
            since.elapsed()
        );
    }
}

#[tokio::test]
async fn a_name_that_waits_by_a_pattern_is_asked_about_at_once_where_a_reload_has_it() {
    let crowd = Crowd::before("\"other.test\"", 60).await;
    crowd.stranger("good.test").await;
    let Crowd { proxy, port, .. } = &crowd;
    proxy.append(&format!(
        "[upstream.good]\nservers = [\"good.test:{port}\"]\n\
         [[route]]\npath = \"/good\"\nproxy = \"good\""
    ));
    let since = Instant::now();
    let warnings = proxy.reload().await;
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(proxy.get("/good").await.text(), host(&crowd.origins[0]));
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
}

/// An item with any port allows as many names as there are ports.
#[tokio::test]
async fn the_ports_of_a_listed_name_hold_up_no_other_one() {
    let (origins, port) = origins(1).await;
    let address = host(&origins[0]).parse().expect("an address of IPv4");
    let dns = Scripted::start(move |question| match (&*question.name, question.kind) {
        ("any.test", _) => Vec::new(),
        (name, A) => vec![question.answer(0, &[Record::address(name, address, 1)])],
        _ => vec![question.answer(0, &[])],
    })
    .await;
    let own = origin::says("own").await;
    let allow = format!("\"any.test:*\", \"api.test:{port}\", \"127.0.0.0/8:*\"");
    let text = file(&dns.address(), port, &allow, &own, "");
    let text = text.replace(&format!("$arg_to:{port}"), "$arg_to");
    let proxy = proxy::run(&text, &[]).await;
    let mut waiting = Vec::new();
    for number in 0..100 {
        let mut client = proxy.client().await;
        let target = format!("/?to=any.test:{}", 1000 + number);
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"))
            .await;
        waiting.push(client);
    }
    // Questions that are the same are asked once.
    dns.is_asked(2).await;
    let since = Instant::now();
    let answer = proxy.get(&format!("/?to=api.test:{port}")).await;
    assert_eq!(answer.text(), host(&origins[0]));
    assert!(
        since.elapsed() < Duration::from_secs(10),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn addresses_without_end_hold_up_no_name_that_is_listed() {
    behind_addresses(async |_, _| {}).await;
}

/// One that has come by a pattern waits among them until it is asked for where it is listed.
#[tokio::test]
async fn addresses_without_end_hold_up_no_name_that_becomes_listed() {
    behind_addresses(async |proxy, dns| {
        let asked = dns.questions();
        let mut stranger = proxy.client().await;
        stranger
            .send("GET /pattern?to=api.test HTTP/1.1\r\nHost: t\r\n\r\n")
            .await;
        tokio::spawn(async move { stranger.response_or_end().await });
        // It is ready by the second time.
        dns.is_asked(asked + 4).await;
    })
    .await;
}

/// Addresses are asked of nobody, so all of them are ready at once. In their turn they would take
/// ten seconds to be made, two at a time; they wait for a minute, the name for five seconds.
async fn behind_addresses(before: impl AsyncFn(&Proxy, &Scripted)) {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let allow = format!("\"api.test\", {LOOPBACK}");
    let more = "max_dynamic_upstreams = 2";
    let text = file(&dns.address(), port, &allow, &own, more);
    let text = text.replace("proxy_allow", "connect_timeout = \"5s\"\nproxy_allow");
    let by_pattern = format!(
        "[[route]]\npath = \"/pattern\"\nproxy = \"http://$arg_to:{port}\"\n\
         proxy_allow = [\"*.test\", {LOOPBACK}]\n[admin]"
    );
    let text = text.replace("[admin]", &by_pattern);
    let proxy = proxy::run(&text, &[]).await;
    // Nobody listens there.
    let mut strangers = tokio::task::JoinSet::new();
    for stranger in 0..400 {
        let proxy = proxy.address().to_owned();
        strangers.spawn(async move {
            for host in 0.. {
                let (high, low) = (stranger / 256, stranger % 256);
                let target = format!("/pattern?to=127.{}.{low}.{}", 250 + high, host % 256);
                client::get_with(&proxy, &target, "").await;
            }
        });
    }
    eventually("one of them to be served", async || {
        !made(&proxy).await.is_empty()
    })
    .await;
    before(&proxy, &dns).await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/?to=api.test").await.text(), host(&origins[0]));
        assert_eq!(proxy.get("/own").await.text(), "own");
    }
    assert!(made(&proxy).await.len() <= 2);
    strangers.shutdown().await;
}

#[tokio::test]
async fn random_names_displace_a_quarter_of_those_that_last_at_most() {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let more = "max_dynamic_upstreams = 8";
    let proxy = proxy::run(&file(&dns.address(), port, &allow, &own, more), &[]).await;
    let lasting: Vec<_> = (0..8).map(|number| format!("last{number}.test")).collect();
    // Asked for at two moments that are seconds apart.
    for _ in 0..2 {
        for name in &lasting {
            assert_eq!(proxy.get(&format!("/?to={name}")).await.status, 200);
        }
        outlast(Duration::from_secs(3)).await;
    }
    assert_eq!(ask_for(&proxy, 100).await, vec![200; 100]);
    let made = made(&proxy).await;
    let stays = |name: &&String| made.iter().any(|made| made.contains(&**name));
    assert!(lasting.iter().filter(stays).count() >= 6, "{made:?}");
}

/// One that is listed by itself lasts from its first request on.
#[tokio::test]
async fn random_names_do_not_displace_those_that_are_listed() {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let listed: Vec<_> = (0..6)
        .map(|number| format!("listed{number}.test"))
        .collect();
    let items: Vec<_> = listed.iter().map(|name| format!("\"{name}\"")).collect();
    let allow = format!("{}, \"*.random.test\", {LOOPBACK}", items.join(", "));
    let more = "max_dynamic_upstreams = 8";
    let proxy = proxy::run(&file(&dns.address(), port, &allow, &own, more), &[]).await;
    for name in &listed {
        assert_eq!(proxy.get(&format!("/?to={name}")).await.status, 200);
    }
    for number in 0..100 {
        let target = format!("/?to=n{number}.random.test");
        assert_eq!(proxy.get(&target).await.status, 200);
    }
    let made = made(&proxy).await;
    let stays = |name: &&String| made.iter().any(|made| made.contains(&**name));
    assert_eq!(listed.iter().filter(stays).count(), 6, "{made:?}");
}

#[tokio::test]
async fn a_name_that_nobody_asks_for_any_more_is_dropped() {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let more = "dynamic_idle_timeout = \"1s\"";
    let proxy = proxy::run(&file(&dns.address(), port, &allow, &own, more), &[]).await;
    assert_eq!(proxy.get("/?to=a.test").await.status, 200);
    eventually("it to be dropped", async || made(&proxy).await.is_empty()).await;
    origins[0].has_open(0).await;
    let asked = dns.questions();
    outlast(Duration::from_secs(2)).await;
    assert_eq!(dns.questions(), asked, "nobody looks after its name");
    assert_eq!(proxy.get("/?to=a.test").await.status, 200);
}

#[tokio::test]
async fn a_reload_keeps_the_names_that_it_still_allows() {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let proxy = naming(&dns.address(), port, &allow, &own).await;
    assert_eq!(proxy.get("/?to=a.test").await.status, 200);
    assert_eq!(proxy.get("/?to=b.test").await.status, 200);
    let connections = origins[0].connections();
    let load = Load::start_at(proxy.address(), 2, "/?to=a.test");
    for _ in 0..3 {
        proxy.reload().await;
    }
    assert_eq!(made(&proxy).await.len(), 2);
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    // Their connections stay too: one or two for each worker.
    assert!(origins[0].connections() <= connections + 4);
    proxy.edit("\"*.test\"", "\"a.test\"");
    proxy.reload().await;
    let name = format!("http://a.test:{port} (127.0.0.0/8:{port})");
    assert_eq!(made(&proxy).await, [name]);
    assert_eq!(proxy.get("/?to=b.test").await.status, 403);
    assert_eq!(proxy.get("/?to=a.test").await.status, 200);
}

/// Who is asked from now on says nothing.
#[tokio::test]
async fn a_reload_that_changes_the_resolver_keeps_the_names_that_requests_have_made() {
    let (origins, port) = origins(1).await;
    let known = wildcard(&origins[0]).await;
    let silent = Scripted::silent().await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let text = file(&known.address(), port, &allow, &own, "");
    let text = text.replace("timeout = \"30s\"", "timeout = \"1s\"");
    let proxy = proxy::run(&text, &[]).await;
    assert_eq!(proxy.get("/?to=a.test").await.status, 200);
    proxy.edit(&known.address(), &silent.address());
    proxy.reload().await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/?to=a.test").await.status, 200);
        outlast(Duration::from_secs(1)).await;
    }
}

/// It was not there yet when the reload asked about names, one of which it waits for.
#[tokio::test]
async fn a_name_that_comes_while_such_a_reload_waits_keeps_its_addresses_as_well() {
    let (origins, port) = origins(2).await;
    let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let known = wildcard(&origins[0]).await;
    let fails = Arc::new(AtomicBool::new(false));
    let does_fail = fails.clone();
    let other = Scripted::start(move |question| match does_fail.load(Relaxed) {
        true => vec![question.answer(2, &[])],
        false => Vec::new(),
    })
    .await;
    let moved = Arc::new(AtomicBool::new(false));
    let has_moved = moved.clone();
    let moving = Scripted::start(move |question| {
        let at = if has_moved.load(Relaxed) { two } else { one };
        match question.kind {
            A => vec![question.answer(0, &[Record::address(&question.name, at, 1)])],
            _ => vec![question.answer(0, &[])],
        }
    })
    .await;
    let own = origin::says("own").await;
    let text = file(
        &known.address(),
        port,
        &format!("\"*.test\", {LOOPBACK}"),
        &own,
        "",
    );
    let moves = format!(
        "[upstream.moves]\nservers = [\"moves.test:{port}\"]\n\
         resolver = {{ addresses = [\"{}\"], valid = \"100ms\" }}\n\
         [[route]]\npath = \"/moves\"\nproxy = \"moves\"\n\
         [upstream.own_name]\nservers = [\"own.test:{port}\"]\n[admin]",
        moving.address()
    );
    let proxy = proxy::run(&text.replace("[admin]", &moves), &[]).await;
    assert_eq!(proxy.get("/?to=a.test").await.status, 200);
    proxy.edit(&known.address(), &other.address());
    let mut waits = client::Client::connect(&proxy.admin_address()).await;
    waits.send(request("POST", "/reload", "")).await;
    other.is_asked(1).await;
    assert_eq!(proxy.get("/?to=b.test").await.status, 200);
    fails.store(true, Relaxed);
    assert_eq!(waits.response().await.status, 200);
    assert_eq!(proxy.get("/?to=b.test").await.status, 200);
    proxy.log_contains("b.test could not be resolved").await;
    // Nor does it lose them with the next change of names.
    moved.store(true, Relaxed);
    eventually("another name's other address", async || {
        proxy.get("/moves").await.text() == host(&origins[1])
    })
    .await;
    assert_eq!(proxy.get("/?to=b.test").await.status, 200);
}

/// The process that takes over makes them anew.
#[tokio::test]
async fn an_upgrade_and_the_drain_of_the_process_before_cost_no_request() {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let proxy = naming(&dns.address(), port, &allow, &own).await;
    assert_eq!(proxy.get("/?to=a.test").await.status, 200);
    let load = Load::start_at(proxy.address(), 4, "/?to=a.test");
    let successor = proxy.upgrade().await;
    // The process that drains, which may have accepted a connection before, makes no new ones.
    eventually("another name", async || {
        proxy.get("/?to=b.test").await.status == 200
    })
    .await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    successor.signal(Signal::TERM);
    successor.ended().await;
}

#[tokio::test]
async fn one_request_of_many_at_once_brings_its_name_up_for_all() {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let proxy = naming(&dns.address(), port, &allow, &own).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = proxy.client().await;
        client
            .send("GET /?to=a.test HTTP/1.1\r\nHost: t\r\n\r\n")
            .await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(proxy.shows("/status").await["generation"], 2, "one change");
}

#[tokio::test]
async fn a_request_may_name_an_upstream_that_the_list_has() {
    let (blue, green) = (origin::says("blue").await, origin::says("green").await);
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.blue]\nservers = [\"{}\"]\n\
         [upstream.green]\nservers = [\"{}\"]\n\
         [[route]]\nproxy = \"http://$arg_to\"\nproxy_allow = [\"blue\"]\n",
        blue.address(),
        green.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    assert_eq!(proxy.get("/?to=blue").await.text(), "blue");
    assert_eq!(proxy.get("/?to=green").await.status, 403);
    assert_eq!(
        proxy.get(&format!("/?to={}", green.address())).await.status,
        403
    );
}

#[tokio::test]
async fn the_uri_of_a_proxy_replaces_a_part_or_with_variables_the_whole() {
    let (origins, port) = origins(1).await;
    let [origin] = &origins[..] else { panic!() };
    let route = |path: &str, uri: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nproxy = \"http://$arg_to:{port}{uri}\"\n\
             proxy_allow = [{LOOPBACK}]\n\
             request_headers.set.Host = \"$proxy_host\"\n"
        )
    };
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{}{}{}{}{}",
        route("/decoded/", "$uri"),
        route("/none/", ""),
        route("/part/", "/to/"),
        route("/whole/", "/get?name=$arg_name"),
        route("/all/", "$request_uri"),
    );
    let proxy = proxy::run(&file, &[]).await;
    let to = host(origin);
    for (asked, got) in [
        (format!("/none/a?to={to}"), format!("/none/a?to={to}")),
        (format!("/part/a?to={to}"), format!("/to/a?to={to}")),
        (format!("/whole/a?to={to}&name=b"), "/get?name=b".to_owned()),
        (format!("/all/a%20b?to={to}"), format!("/all/a%20b?to={to}")),
        // What `$uri` has decoded and no target may have is escaped again.
        (
            format!("/decoded/a%23b%ff%20%0d%0a%41?to={to}"),
            "/decoded/a%23b%FF%20%0D%0AA".to_owned(),
        ),
    ] {
        assert_eq!(proxy.get(&asked).await.status, 200, "{asked}");
        let requests = origin.requests();
        let last = requests.last().expect("it has come");
        assert_eq!(last.target, got);
        assert_eq!(last.header("Host"), format!("{to}:{port}"));
    }
}

#[tokio::test]
async fn a_client_of_http2_names_servers_too() {
    let (origins, port) = origins(1).await;
    let dns = wildcard(&origins[0]).await;
    let own = origin::says("own").await;
    let allow = format!("\"*.test\", {LOOPBACK}");
    let proxy = naming(&dns.address(), port, &allow, &own).await;
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.get("/?to=a.test").await.text(), host(&origins[0]));
    assert_eq!(client.get("/?to=evil.example").await.status, 403);
}

/// It is asked for by the name that the request has, and verified by it.
#[tokio::test]
async fn a_name_may_be_spoken_to_with_tls() {
    if !installed() {
        return;
    }
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["a.test"]).server();
    let origin = origin::answers_with(own, |_| Answer::ok("secure")).await;
    let known = format!("{0} a.test\n{0} b.test\n", host(&origin));
    let dns = Dnsmasq::start(&known, 0, &[]).await;
    let (_, port) = origin.address().rsplit_once(':').expect("an address");
    let file = format!(
        "[server]\nresolver = {{ addresses = [\"{}\"] }}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nproxy = \"https://$arg_to:{port}\"\nproxy_allow = [\"*.test\", {LOOPBACK}]\n",
        dns.address()
    );
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).expect("the directory is ours");
    let roots = roots.to_str().expect("a path in UTF-8");
    let proxy = proxy::run(&file, &[("SSL_CERT_FILE", roots)]).await;
    for to in ["a.test", "a.test."] {
        assert_eq!(proxy.get(&format!("/?to={to}")).await.text(), "secure");
        let requests = origin.requests();
        let seen = requests.last().and_then(|request| request.tls.clone());
        let asked = seen.and_then(|tls| tls.server_name);
        assert_eq!(asked.as_deref(), Some("a.test"));
    }
    assert_eq!(proxy.get("/?to=b.test").await.status, 502);
    proxy.log_contains("certificate").await;
    assert_eq!(origin.requests().len(), 2);
}
