//! A URL is polled, and what has not changed is not sent again.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use waypost_tests::admin::ADMIN;
use waypost_tests::names::{A, Record, Scripted, loopback};
use waypost_tests::tls::Authority;
use waypost_tests::{Answer, Load, Origin, Request, eventually, origin, proxy};

use super::{is_refused, list, listing, served, serves, source};

/// A registry whose answer a spec changes.
#[derive(Clone)]
struct Registry(Arc<Mutex<Answer>>);

impl Registry {
    fn says(answer: Answer) -> Registry {
        Registry(Arc::new(Mutex::new(answer)))
    }

    fn now_says(&self, answer: Answer) {
        *self.0.lock().unwrap() = answer;
    }

    async fn start(&self) -> Origin {
        let registry = self.clone();
        origin::answers(move |_| registry.0.lock().unwrap().clone()).await
    }
}

fn polled(registry: &Origin, more: &str) -> String {
    let address = registry.address();
    format!("http = \"http://{address}/web?zone=a\", interval = \"100ms\"{more}")
}

#[tokio::test]
async fn servers_that_come_and_go_under_load_cost_no_request() {
    let (a, b) = (origin::named().await, origin::named().await);
    let registry = Registry::says(Answer::ok(list(&[&a])));
    let server = registry.start().await;
    let proxy = listing(&polled(&server, ""), "").await;
    assert_eq!(server.requests()[0].target, "/web?zone=a");
    let load = Load::start(proxy.address(), 4);
    for now in [&[&a, &b][..], &[&b], &[&a]] {
        registry.now_says(Answer::ok(list(now)));
        serves(&proxy, now).await;
    }
    b.has_open(0).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    // There may be a token in the query.
    proxy.log_contains("/web?... lists").await;
    assert!(!proxy.log().contains("zone=a"), "{}", proxy.log());
}

/// Of an upstream that is not served yet: nobody can serve its list before the reload does.
#[tokio::test]
async fn a_list_that_changes_while_a_reload_loads_plugins_is_served_behind_it() {
    let (a, b) = (origin::named().await, origin::named().await);
    let registry = Registry::says(Answer::ok(list(&[&a])));
    let server = registry.start().await;
    let setup = proxy::to([&a]).more(ADMIN);
    let setup = setup.through_shell("export WAYPOST_FAULTS=plugins; exec \"$@\"");
    let proxy = setup.start().await;
    proxy.append(&format!(
        "[upstream.new]\nservers_from = {{ {} }}\n[[route]]\npath = \"/new\"\nproxy = \"new\"",
        polled(&server, "")
    ));
    let mut held = proxy.hold_at("plugins");
    proxy.signal(Signal::HUP);
    held.is_read().await;
    registry.now_says(Answer::ok(list(&[&b])));
    // The source has read an answer by its next question, and what heeds lists has heard of it by the
    // one behind that.
    server.received(server.requests().len() + 3).await;
    assert_eq!(proxy.shows("/status").await["generation"], 1);
    held.release();
    eventually("the list as it is by now", async || {
        proxy.get("/new").await.text() == b.address()
    })
    .await;
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let (a, b) = (origin::named().await, origin::named().await);
    for (field, condition, [old, new]) in [
        ("ETag", "If-None-Match", ["\"one\"", "W/\"two\""]),
        (
            "Last-Modified",
            "If-Modified-Since",
            [
                "Sat, 28 Nov 2026 10:00:00 GMT",
                "Sat, 28 Nov 2026 11:00:00 GMT",
            ],
        ),
    ] {
        let state = Arc::new(Mutex::new((list(&[&a]), old)));
        let (known, sent) = (state.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = sent.clone();
        let server = origin::answers(move |request: &Request| {
            let (text, version) = known.lock().unwrap().clone();
            if request.header(condition) == version {
                return Answer::raw("HTTP/1.1 304 Not Modified\r\n\r\n");
            }
            counted.fetch_add(1, SeqCst);
            Answer::ok(text).header(field, version)
        })
        .await;
        let proxy = listing(&polled(&server, ""), "").await;
        serves(&proxy, &[&a]).await;
        let asked = server.requests().len();
        server.received(asked + 3).await;
        assert_eq!(sent.load(SeqCst), 1, "{field}");
        assert!(source(&proxy).await["error"].is_null());
        *state.lock().unwrap() = (list(&[&b]), new);
        serves(&proxy, &[&b]).await;
        // What could not be used is not what the next answer is told from.
        *state.lock().unwrap() = ("[]".to_owned(), old);
        is_refused(&proxy, "allow_empty").await;
        let before = sent.load(SeqCst);
        let asked = server.requests().len();
        server.received(asked + 3).await;
        assert!(sent.load(SeqCst) > before + 1, "{field}");
    }
}

#[tokio::test]
async fn answers_that_are_no_list_or_have_no_end_change_nothing() {
    let (a, b) = (origin::named().await, origin::named().await);
    let registry = Registry::says(Answer::ok(list(&[&a])));
    let server = registry.start().await;
    let proxy = listing(&polled(&server, ", timeout = \"500ms\""), "").await;
    serves(&proxy, &[&a]).await;
    let load = Load::start(proxy.address(), 2);
    let endless = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na00000\r\n{}",
        "[".repeat(9 << 20)
    );
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[";
    for (answer, why) in [
        (Answer::ok("<html>"), "it is no JSON"),
        (Answer::status(500, "[]"), "it answers 500"),
        (Answer::status(206, list(&[&b])), "it answers 206, a part"),
        (
            Answer::raw("HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"),
            "it answers 302 to `/other`: redirects are not followed",
        ),
        (
            Answer::raw(head).then_hang(),
            "its answer had no end within 500ms",
        ),
        (Answer::raw(head).then_close(), "its answer broke off"),
        (
            Answer::raw("nonsense\r\n\r\n").then_close(),
            "the connection broke",
        ),
        (
            Answer::raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
            "it answers 304",
        ),
        (Answer::raw(endless).then_hang(), "longer than 8 MiB"),
        (Answer::raw("").then_hang(), "no answer within 500ms"),
    ] {
        registry.now_says(answer);
        is_refused(&proxy, why).await;
        assert_eq!(served(&proxy).await, [a.address()], "{why}");
        let shown = source(&proxy).await;
        assert!(
            shown["next_ms"].as_u64().is_none_or(|next| next <= 30_000),
            "{shown}"
        );
    }
    registry.now_says(Answer::ok(list(&[&a, &b])));
    serves(&proxy, &[&a, &b]).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

#[tokio::test]
async fn a_source_that_is_dead_or_hangs_at_the_start_does_not_keep_the_process_from_it() {
    let a = origin::named().await;
    for dead in [origin::refuses(), origin::hangs_at_connect()] {
        let proxy = listing(&polled(&dead, ", timeout = \"300ms\""), "").await;
        assert_eq!(proxy.get("/").await.status, 502);
        assert!(source(&proxy).await["error"].is_string());
    }
    // Where nothing listens yet.
    let address = origin::reserved();
    let polled = format!("http = \"http://{address}/\", interval = \"100ms\"");
    let proxy = listing(&polled, "").await;
    is_refused(&proxy, "cannot connect to").await;
    let text = list(&[&a]);
    let _registry = origin::answers_at(&address, move |_| Answer::ok(&text)).await;
    serves(&proxy, &[&a]).await;
}

#[tokio::test]
async fn a_registry_is_asked_by_name_over_tls_with_a_token_that_changes() {
    let a = origin::named().await;
    let authority = Authority::new("registry authority");
    let certificate = authority.certificate(&["localhost"]);
    let text = list(&[&a]);
    let server = origin::answers_with(certificate.server(), move |_| Answer::ok(&text)).await;
    let port = server.address().rsplit_once(':').unwrap().1;
    let directory = tempfile::TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("ca.pem"), authority.pem()).unwrap();
    std::fs::write(path("token"), "first\n").unwrap();
    let from = |ca: &str| {
        format!(
            "http = \"https://localhost:{port}/\", interval = \"100ms\", ca = \"{ca}\", token_file = \"{}\"",
            path("token")
        )
    };
    let resolver = "resolver = { ipv6 = false }";
    let proxy = listing(&from(&path("ca.pem")), resolver).await;
    serves(&proxy, &[&a]).await;
    assert_eq!(server.requests()[0].header("Authorization"), "Bearer first");
    std::fs::write(path("token"), "second\n").unwrap();
    eventually("the other token", async || {
        let last = server.requests().pop().unwrap();
        last.header("Authorization") == "Bearer second"
    })
    .await;
    // By whom it was not issued.
    let other = Authority::new("another one");
    std::fs::write(path("other.pem"), other.pem()).unwrap();
    let proxy = listing(&from(&path("other.pem")), resolver).await;
    is_refused(&proxy, "the TLS handshake has failed").await;
    assert_eq!(proxy.get("/").await.status, 502);
}

/// The first of two addresses never says anything: neither to who wants to connect, nor then.
#[tokio::test]
async fn a_host_is_asked_at_the_next_address_where_one_does_not_answer() {
    let a = origin::named().await;
    for takes_connections in [false, true] {
        let first = loopback();
        let (second, text) = (loopback(), list(&[&a]));
        let reserved = std::net::TcpListener::bind((second, 0)).unwrap();
        let port = reserved.local_addr().unwrap().port();
        drop(reserved);
        let at = format!("{second}:{port}");
        let _registry = origin::answers_at(&at, move |_| Answer::ok(&text)).await;
        let address = format!("{first}:{port}");
        let _silent = match takes_connections {
            true => origin::answers_at(&address, |_| Answer::raw("").then_hang()).await,
            false => origin::hangs_at_connect_to((first, port).into()),
        };
        let dns = Scripted::start(move |question| match question.kind {
            A => {
                let record = |address| Record::address(&question.name, address, 60);
                vec![question.answer(0, &[record(first), record(second)])]
            }
            _ => vec![question.answer(0, &[])],
        })
        .await;
        let resolver = format!("resolver = {{ addresses = [\"{}\"] }}", dns.address());
        let source = format!("http = \"http://registry.test:{port}/\", timeout = \"1s\"");
        let setup = proxy::to([] as [&Origin; 0]).upstream(&resolver);
        let setup = setup.upstream(&format!("servers_from = {{ {source} }}"));
        let proxy = setup.more(ADMIN).start().await;
        serves(&proxy, &[&a]).await;
    }
}
