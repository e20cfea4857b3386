//! One of three servers dies under load, and no client notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use waypost_tests::{Answer, Client, Origin, eventually, origin, proxy};

/// Clients that ask without pause until told to stop; how many answers they got, and which were not
/// 200.
struct Load {
    answers: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<u16>>>,
}

impl Load {
    fn on(address: &str) -> Load {
        let (answers, stop) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let client = |_| {
            let (answers, stop, address) = (answers.clone(), stop.clone(), address.to_owned());
            tokio::spawn(async move {
                let mut failed = Vec::new();
                let mut client = Client::connect(&address).await;
                while !stop.load(Ordering::Relaxed) {
                    let response = client.get("/").await;
                    if response.status != 200 {
                        failed.push(response.status);
                    }
                    if response.header("Connection") == "close" {
                        client = Client::connect(&address).await;
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
                failed
            })
        };
        let clients = (0..8).map(client).collect();
        Load {
            answers,
            stop,
            clients,
        }
    }

    async fn after(&self, more: usize) {
        let goal = self.answers.load(Ordering::Relaxed) + more;
        let answers = || self.answers.load(Ordering::Relaxed);
        eventually(&format!("{more} more answers"), async || answers() >= goal).await;
    }

    async fn ends_without_failures(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            let failed = client.await.unwrap_or_else(|error| panic!("{error}"));
            assert!(failed.is_empty(), "{failed:?}");
        }
    }
}

async fn three() -> [Origin; 3] {
    [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ]
}

#[tokio::test]
async fn killing_one_of_three_servers_loses_no_request() {
    let [mut a, b, c] = three().await;
    let proxy = proxy::to([&a, &b, &c]).start().await;
    let load = Load::on(proxy.address());
    load.after(100).await;
    assert!(a.requests().len() > 20);
    a.dies().await;
    load.after(200).await;
    load.ends_without_failures().await;
    assert!(b.requests().len() > 50 && c.requests().len() > 50);
    proxy
        .log_contains("upstream server temporarily disabled")
        .await;
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let [_, b, c] = three().await;
    // It can come back at the same port: no other program takes it meanwhile.
    let mut a = origin::answers_at(&origin::reserved(), |_| Answer::ok("a")).await;
    let servers = [
        a.with("fail_timeout = \"1s\""),
        b.with("fail_timeout = \"1s\""),
        c.with("fail_timeout = \"1s\""),
    ];
    let proxy = proxy::to(servers).start().await;
    let load = Load::on(proxy.address());
    load.after(100).await;
    a.dies().await;
    load.after(100).await;
    let back = origin::answers_at(a.address(), |_| Answer::ok("back")).await;
    back.received(20).await;
    load.ends_without_failures().await;
}
