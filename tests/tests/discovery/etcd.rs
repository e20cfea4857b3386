//! etcd, a real one: the keys below a prefix, watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waypost_tests::sources::{Etcd, installed};
use waypost_tests::{Gate, Load, Origin, Proxy, eventually, origin};

use super::{is_refused, listing, served};

async fn reading(etcd: &Etcd, more: &str) -> Proxy {
    let address = etcd.address();
    let source = format!("etcd = \"http://{address}\", prefix = \"/web/\"{more}");
    listing(&source, "").await
}

async fn serves(proxy: &Proxy, origins: &[&Origin]) {
    super::serves(proxy, origins).await;
}

#[tokio::test]
async fn keys_that_come_and_go_under_load_cost_no_request() {
    if !installed() {
        return;
    }
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let etcd = Etcd::start().await;
    etcd.put("/web/a", a.address()).await;
    etcd.put("/webserver", "10.0.0.1:1").await; // not below the prefix
    let proxy = reading(&etcd, "").await;
    serves(&proxy, &[&a]).await;
    let load = Load::start(proxy.address(), 4);
    let table = serde_json::json!({ "address": b.address(), "weight": 3 });
    etcd.put("/web/b", &table.to_string()).await;
    serves(&proxy, &[&a, &b]).await;
    assert_eq!(proxy.server(b.address()).await["weight"], 3);
    etcd.delete("/web/a").await;
    serves(&proxy, &[&b]).await;
    etcd.put("/web/b", c.address()).await;
    serves(&proxy, &[&c]).await;
    a.has_open(0).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

#[tokio::test]
async fn an_etcd_that_dies_hangs_or_has_garbage_changes_nothing() {
    if !installed() {
        return;
    }
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let mut etcd = Etcd::start().await;
    etcd.put("/web/a", a.address()).await;
    let proxy = reading(&etcd, ", timeout = \"2s\"").await;
    serves(&proxy, &[&a]).await;
    let load = Load::start(proxy.address(), 2);
    etcd.put("/web/b", "{").await;
    is_refused(&proxy, "the value of `/web/b` is no JSON").await;
    etcd.put("/web/b", "a b").await;
    is_refused(&proxy, "servers[1]").await;
    etcd.delete("/web/b").await;
    eventually("the list to be well again", async || {
        super::source(&proxy).await["error"].is_null()
    })
    .await;
    etcd.dies().await;
    is_refused(&proxy, "").await;
    assert_eq!(served(&proxy).await, [a.address()]);
    etcd.comes_back().await;
    etcd.put("/web/b", b.address()).await;
    serves(&proxy, &[&a, &b]).await;
    // One that answers nothing is found out when it is asked: here by another proxy.
    etcd.hangs();
    let other = reading(&etcd, ", timeout = \"500ms\"").await;
    is_refused(&other, "no answer within 500ms").await;
    etcd.goes_on();
    serves(&other, &[&a, &b]).await;
    etcd.put("/web/c", c.address()).await;
    serves(&proxy, &[&a, &b, &c]).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

/// The watch of what was read reaches etcd late: more has happened meanwhile than it remembers.
#[tokio::test]
async fn what_was_compacted_is_read_anew() {
    if !installed() {
        return;
    }
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let etcd = Etcd::start().await;
    etcd.put("/web/a", a.address()).await;
    let gate = Gate::closed();
    let (relay, watches) = relay(etcd.address(), gate.clone()).await;
    let source = format!("etcd = \"http://{relay}\", prefix = \"/web/\"");
    let proxy = listing(&source, "").await;
    serves(&proxy, &[&a]).await;
    let load = Load::start(proxy.address(), 2);
    eventually("a watch that waits", async || watches.load(SeqCst) == 1).await;
    etcd.put("/web/b", "10.0.0.1:1").await;
    let last = etcd.put("/web/b", b.address()).await;
    etcd.compact(last).await;
    gate.open();
    serves(&proxy, &[&a, &b]).await;
    eventually("another watch", async || watches.load(SeqCst) == 2).await;
    etcd.put("/web/b", c.address()).await;
    serves(&proxy, &[&a, &c]).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

/// An address that leads to etcd, where watches wait for the gate; and how many there were.
async fn relay(etcd: String, gate: Gate) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let watches = Arc::new(AtomicUsize::new(0));
    let counted = watches.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (etcd, gate, counted) = (etcd.clone(), gate.clone(), counted.clone());
            tokio::spawn(async move {
                let mut beginning = [0; 24];
                client.read_exact(&mut beginning).await.unwrap();
                if beginning.starts_with(b"POST /v3/watch") {
                    counted.fetch_add(1, SeqCst);
                    gate.opened().await;
                }
                let mut server = TcpStream::connect(etcd).await.unwrap();
                server.write_all(&beginning).await.unwrap();
                // Either side may leave as it likes.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, watches)
}
