//! `$upstream_decision`: how a request that is sampled came to its server, in the access log.

use super::*;

async fn logged(proxy: &Proxy, number: usize) -> Vec<String> {
    let file = proxy.directory().join("access.log");
    let mut text = String::new();
    waypost_tests::eventually("lines", async || {
        text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().count() == number
    })
    .await;
    text.lines().map(str::to_owned).collect()
}

const LOG: &str = "access_log = { path = \"{dir}/access.log\", flush = \"1s\", \
                   format = \"$uri [$upstream_decision]\" }";

#[tokio::test]
async fn the_decisions_of_a_sampled_request_are_in_the_log_and_in_its_spans() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let (refuses, good) = (origin::refuses(), origin::says("good").await);
    let routes = "[[route]]\npath = \"/off\"\ntraces = false\nproxy = \"backend\"\n\
                  [[route]]\npath = \"/here\"\nreturn = { status = 204 }\n";
    let proxy = proxy::to([&refuses, &good])
        .server(&format!("workers = 1\n{LOG}"))
        .upstream("policy = \"round_robin\"")
        .more(&format!("{routes}{}", collector.over_http("")))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "good");
    let lines = logged(&proxy, 1).await;
    let [refuses, good] = [refuses.address(), good.address()];
    assert_eq!(
        lines[0],
        format!("/ [policy round_robin of 2: {refuses}, policy round_robin of 1: {good}]")
    );
    let spans = collector.spans(5).await;
    let of: Vec<_> = (spans.iter())
        .filter(|span| span["name"] == "pick backend")
        .map(|span| attribute(span, "waypost.candidates").as_u64())
        .collect();
    assert_eq!(of, [Some(2), Some(1)]);
    // What is not sampled, or has no server, pays nothing and says nothing.
    proxy.get("/off").await;
    proxy.get("/here").await;
    let lines = logged(&proxy, 3).await;
    assert_eq!(lines[1..], ["/off [-]", "/here [-]"]);
}

#[tokio::test]
async fn what_is_logged_of_many_decisions_is_bounded() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let origin = origin::says("hello").await;
    let refusing: Vec<_> = (0..40).map(|_| origin::refuses()).collect();
    let proxy = proxy::to(refusing.iter().chain([&origin]))
        .server(&format!("workers = 1\n{LOG}"))
        .upstream("policy = \"round_robin\"")
        .more(&collector.over_http(""))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let lines = logged(&proxy, 1).await;
    assert_eq!(lines[0].len(), 1024 + "/ []".len(), "{}", lines[0]);
}
