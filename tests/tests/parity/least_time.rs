//! `least_time` beside that of an nginx 1.31. Measured times differ between two proxies, so these
//! servers are far apart: one takes ten times as long as the other, or waits for a gate. What times
//! close to each other come to, and how they fade, is compared in the plugin's own tests, with
//! nginx's code in simulated time.

use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedSender};
use waypost_tests::{Gate, Origin, in_time, nginx, origin, outlast};

use super::group::{Group, Member, Policy};
use super::{Pair, Side};

const AT_ONCE: Duration = Duration::ZERO;
const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(4);

/// What holds requests with `X-Held` at their servers, and hears of each.
struct Hold {
    gate: Gate,
    arrived: UnboundedSender<()>,
}

/// An origin whose response header comes so long after the request, and the last byte so long after
/// the header.
async fn takes(name: &'static str, header: Duration, rest: Duration, hold: &Hold) -> Origin {
    let (gate, arrived) = (hold.gate.clone(), hold.arrived.clone());
    let converse = move |mut wire: waypost_tests::Wire, _| {
        let (gate, arrived) = (gate.clone(), arrived.clone());
        async move {
            while let Ok(head) = wire.head().await {
                if head.fields.get("X-Held").is_some() {
                    let _ = arrived.send(());
                    gate.opened().await;
                }
                tokio::time::sleep(header).await;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
                    .await;
                tokio::time::sleep(rest).await;
                wire.send(name).await;
            }
        }
    };
    origin::speaks(converse).await
}

fn group(by: &'static str, inflight: bool, servers: [&Origin; 2]) -> Group {
    let member = |origin: &Origin| Member {
        address: origin.address().to_owned(),
        weight: 1,
        max_fails: 1,
        max_conns: 0,
        down: false,
        backup: false,
    };
    Group {
        policy: Policy::LeastTime { by, inflight },
        members: servers.map(member).to_vec(),
        // So long that no mean is halved meanwhile.
        fail_timeout: 1000,
        next: vec!["error", "timeout"],
        tries: 0,
    }
}

/// One request to both proxies, which must both ask this server.
async fn both_ask(pair: &mut Pair, server: &str) {
    let request = "GET /u0/ HTTP/1.1\r\nHost: parity\r\n\r\n";
    let [nginx, waypost] = &mut pair.sides;
    let (expected, got) = tokio::join!(nginx.ask(request), waypost.ask(request));
    assert_eq!(got, expected, "waypost (left) differs from nginx (right)");
    assert_eq!(got.body, server);
}

/// Of a server whose header is quick and whose body is slow, and one that is the other way round,
/// both ask `preferred` once they know them.
async fn compare(by: &'static str, inflight: bool, preferred: &str) {
    let Some(program) = nginx::with_least_time() else {
        return;
    };
    let hold = Hold {
        gate: Gate::closed(),
        arrived: mpsc::unbounded_channel().0,
    };
    let early = takes("e", AT_ONCE, LONG, &hold).await;
    let late = takes("l", SHORT, AT_ONCE, &hold).await;
    let groups = [group(by, inflight, [&early, &late])];
    let mut pair = Pair::start_with(Some(&program), &groups).await;
    // Servers without a measurement are tried first.
    for server in ["e", "l", preferred, preferred] {
        both_ask(&mut pair, server).await;
    }
}

#[tokio::test]
async fn least_time_by_header_prefers_the_server_that_nginx_prefers() {
    compare("header", false, "e").await;
}

#[tokio::test]
async fn least_time_by_last_byte_prefers_the_server_that_nginx_prefers() {
    compare("last_byte", false, "l").await;
}

#[tokio::test]
async fn least_time_inflight_prefers_the_server_that_nginx_prefers() {
    compare("last_byte", true, "l").await;
}

/// The quick server does not answer one of its requests; after a while, both ask `then`.
async fn compare_when_one_hangs(by: &'static str, inflight: bool, then: &str) {
    let Some(program) = nginx::with_least_time() else {
        return;
    };
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let hold = Hold {
        gate: Gate::closed(),
        arrived,
    };
    let quick = takes("q", AT_ONCE, AT_ONCE, &hold).await;
    let slow = takes("s", SHORT, AT_ONCE, &hold).await;
    let groups = [group(by, inflight, [&quick, &slow])];
    let mut pair = Pair::start_with(Some(&program), &groups).await;
    for server in ["q", "s", "q"] {
        both_ask(&mut pair, server).await;
    }
    let held = pair.sides.each_ref().map(|side| {
        let mut side = Side::new(side.name, &side.address);
        let request = "GET /u0/ HTTP/1.1\r\nHost: parity\r\nX-Held: yes\r\n\r\n";
        tokio::spawn(async move { side.ask(request).await })
    });
    for _ in &held {
        assert_eq!(in_time("an arrival", arrivals.recv()).await, Some(()));
    }
    outlast(LONG).await;
    both_ask(&mut pair, then).await;
    hold.gate.open();
    for answer in held {
        assert_eq!(answer.await.expect("no panic").body, "q");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_asked_further_by_least_time_as_by_nginx() {
    compare_when_one_hangs("header", false, "q").await;
}

#[tokio::test]
async fn a_server_that_hangs_is_left_by_least_time_inflight_as_by_nginx() {
    tokio::join!(
        compare_when_one_hangs("header", true, "s"),
        compare_when_one_hangs("last_byte", true, "s"),
    );
}
