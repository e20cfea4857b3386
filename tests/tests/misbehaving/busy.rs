//! Policies that stay within the deadline of a call, and would still take most of a worker's time:
//! they have a budget.

use std::time::{Duration, Instant};

use waypost_tests::load::Load;
use waypost_tests::{Origin, Proxy, origin, proxy};

use super::{in_mode, write};

/// One worker, an upstream with a policy that thinks for long, and one with a policy that does not.
async fn serving(origin: &Origin, entry: &str) -> Proxy {
    let setup = proxy::to([origin, origin]).server("workers = 1");
    write(setup.directory(), &in_mode("thinks_for_long"));
    let admin = setup.directory().join("admin.sock");
    let more = format!(
        "[plugin.mine]\nfile = \"mine.wasm\"\ngrants = [\"request\", \"exchange\"]\n{entry}\n\
         limits = {{ deadline = \"1s\" }}\n[upstream.busy]\npolicy = \"mine\"\nservers = [\"{address}\", \"{address}\"]\n\
         [[route]]\npath = \"/busy\"\nproxy = \"busy\"\n[admin]\naddress = \"unix:{}\"",
        admin.display(),
        address = origin.address(),
    );
    setup.more(&more).start().await
}

/// How long a request waits while the busy upstream has so many clients: the median of 60.
async fn wait_beside(proxy: &Proxy, clients: usize) -> Duration {
    let load = Load::start_at(proxy.address(), clients, "/busy");
    let mut client = proxy.client().await;
    let mut waits = Vec::new();
    for _ in 0..60 {
        let begun = Instant::now();
        assert_eq!(client.get("/").await.status, 200);
        waits.push(begun.elapsed());
    }
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors.first());
    waits.sort_unstable();
    waits[waits.len() / 2]
}

#[tokio::test]
async fn a_policy_that_has_used_its_budget_leaves_the_worker_to_other_upstreams() {
    let origin = origin::named().await;
    let bounded = serving(&origin, "budget = 10").await;
    let unbounded = serving(&origin, "budget = 100").await;
    let (with, without) = (
        wait_beside(&bounded, 40).await,
        wait_beside(&unbounded, 40).await,
    );
    assert!(
        with * 3 < without,
        "{with:?} with a budget, {without:?} without one"
    );
    bounded
        .log_contains("has used up its budget of 10% of a worker's time")
        .await;
    let plugin = bounded.shows("/plugins/mine").await;
    assert!(plugin["over_budget"].as_u64() > Some(0), "{plugin}");
    assert_eq!(plugin["budget"], 10);
    assert!(!unbounded.log().contains("used up its budget"));
}
