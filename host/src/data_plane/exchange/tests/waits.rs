//! Waits for something else than a server, and what may be done to an exchange meanwhile.

#![allow(
    clippy::disallowed_methods,
    reason = "what is awaited is brought about beside"
)]

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;
use finish::Finish;
use wait::{pause, watched};

/// No test takes as long as that.
const LONG: Duration = Duration::from_secs(3600);

fn until(wait: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + wait
}

#[test]
fn a_pause_takes_its_time() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let began = Instant::now();
        let paused = pause(&mut rig.session(), until(Duration::from_millis(20))).await;
        assert!(paused.is_ok() && began.elapsed() >= Duration::from_millis(20));
    });
}

#[test]
fn a_client_that_leaves_ends_a_pause() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let mut session = rig.connection.next_request(Instant::now());
        let leaves = async { drop(rig.client) };
        let (paused, ()) = tokio::join!(pause(&mut session, until(LONG)), leaves);
        let fault = paused.unwrap_err();
        assert_eq!((fault.status(), fault.level()), (499, Level::Info));
    });
}

#[test]
fn a_client_that_has_said_more_is_waited_with() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        rig.client.write_all(b"GET").await.unwrap();
        let mut session = rig.connection.next_request(Instant::now());
        drop(rig.client);
        let paused = pause(&mut session, until(Duration::from_millis(20))).await;
        assert!(paused.is_ok());
    });
}

#[test]
fn work_is_waited_for_while_its_client_stays() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let mut session = rig.connection.next_request(Instant::now());
        let done = watched(&mut session, async { 7 }).await;
        assert!(matches!(done, Ok(7)));
        let work = std::future::pending::<()>();
        let leaves = async { drop(rig.client) };
        let (done, ()) = tokio::join!(watched(&mut session, work), leaves);
        assert!(matches!(done, Err(Fault::ClientGone)));
    });
}

#[test]
fn an_exchange_can_be_changed_until_something_else_holds_it() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let exchange = rig.examined("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut finish = Finish::new(&rig.session(), exchange.into());
        assert!(finish.exchange_mut().is_some());
        let held = finish.exchange().clone();
        assert!(finish.exchange_mut().is_none());
        drop(held);
        assert!(finish.exchange_mut().is_some());
    });
}
