//! How often another server is asked: never so often that servers which fail get twice the load.

use super::*;

/// Servers all of which fail, and how many attempts so many requests come to.
async fn attempts(budget: &str, requests: usize) -> (Proxy, usize) {
    let fails = || origin::answers(|_| Answer::status(503, "not me"));
    let (a, b) = (fails().await, fails().await);
    let servers = [&a, &b].map(|server| server.with("max_fails = 0"));
    let lines = format!("next_upstream = [\"http_503\"]\n{budget}");
    let setup = proxy::to(servers).upstream(&lines).server("workers = 1");
    let proxy = setup.more(ADMIN).start().await;
    for _ in 0..requests {
        // The answer of the last server that was asked, as where all tries are used up.
        let response = proxy.get("/").await;
        assert_eq!((response.status, response.text().as_str()), (503, "not me"));
    }
    let attempts = a.requests().len() + b.requests().len();
    (proxy, attempts)
}

#[tokio::test]
async fn without_a_budget_each_request_is_sent_to_all() {
    assert_eq!(attempts("", 30).await.1, 60);
}

#[tokio::test]
async fn retries_are_no_more_than_a_part_of_the_requests() {
    let budget = "retry_budget = { ratio = \"20%\", min_per_second = 0 }";
    let (proxy, attempts) = attempts(budget, 100).await;
    // Of a run that is longer than the window, the first requests are forgotten.
    assert!((101..=120).contains(&attempts), "{attempts}");
    let spared = refused(&proxy, "retry_budget").await;
    assert_eq!(spared as usize, 200 - attempts);
    let line = "retry budget of 20 % of the requests is used up, no other server is asked";
    proxy.log_contains(line).await;
}

#[tokio::test]
async fn there_are_some_retries_however_few_the_requests() {
    let budget = "retry_budget = { ratio = \"1%\", min_per_second = 1 }";
    let (_, attempts) = attempts(budget, 30).await;
    // Ten in ten seconds, and perhaps as many once they have passed.
    assert!((40..60).contains(&attempts), "{attempts}");
}

/// Of a failure without an answer, the client gets what it would get behind the last attempt.
#[tokio::test]
async fn a_failure_that_is_not_tried_elsewhere_is_told() {
    let closes = || origin::answers(|_| Answer::raw("").then_close());
    let (a, b) = (closes().await, closes().await);
    let servers = [&a, &b].map(|server| server.with("max_fails = 0"));
    let budget = "retry_budget = { ratio = \"10%\", min_per_second = 0 }";
    let setup = proxy::to(servers).upstream(budget).server("workers = 1");
    let proxy = setup.more(ADMIN).start().await;
    for _ in 0..9 {
        assert_eq!(proxy.get("/").await.status, 502);
    }
    assert_eq!(a.requests().len() + b.requests().len(), 9);
    assert_eq!(refused(&proxy, "retry_budget").await, 9);
    proxy
        .log_contains("upstream prematurely closed connection while reading response header")
        .await;
}
