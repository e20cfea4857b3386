//! The counts of connections and requests, which `stub_status` tells in nginx's text.

use waypost_tests::http2::Http2;
use waypost_tests::{Answer, Client, Gate, Nginx, Origin, Proxy, eventually, nginx, origin, proxy};

const STATUS: &str = "[[route]]\npath = \"= /status\"\nstub_status = true\n";

/// Keeps requests for `/held` until the gate opens.
async fn holds(gate: &Gate) -> Origin {
    let gate = gate.clone();
    origin::answers(move |request| match request.target.as_str() {
        "/held" => Answer::ok("late").when(&gate),
        _ => Answer::ok("hello"),
    })
    .await
}

async fn ours(origin: &Origin, status: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         {status}[[route]]\nproxy = \"http://{}\"\n",
        origin.address()
    );
    proxy::run(&file, &[]).await
}

/// Active, accepted, handled, requests, reading, writing, waiting.
fn numbers(text: &str) -> [u64; 7] {
    let words = text.split_ascii_whitespace();
    let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    let numbers = numbers.try_into();
    numbers.unwrap_or_else(|_| panic!("{text:?} has not seven numbers"))
}

/// The counts, once connections and requests are doing what was said last.
async fn once_so(client: &mut Client, doing: [u64; 4]) -> String {
    let mut text = String::new();
    eventually("the counts are so", async || {
        text = client.get("/status").await.text();
        let [active, _, _, _, reading, writing, waiting] = numbers(&text);
        [active, reading, writing, waiting] == doing
    })
    .await;
    text
}

/// What is told while one connection is idle, one has sent nothing, one half a header, and one waits
/// for its answer, and what is told once the three have left.
async fn told(address: &str, gate: &Gate) -> Vec<String> {
    let mut watcher = Client::connect(address).await;
    let mut texts = vec![watcher.get("/status").await.text()];
    let mut idle = Client::connect(address).await;
    assert_eq!(idle.get("/").await.status, 200);
    let silent = Client::connect(address).await;
    let mut half = Client::connect(address).await;
    half.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    let mut held = Client::connect(address).await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    texts.push(once_so(&mut watcher, [5, 1, 2, 2]).await);
    gate.open();
    assert_eq!(held.response().await.text(), "late");
    half.send("\r\n").await;
    assert_eq!(half.response().await.status, 200);
    texts.push(once_so(&mut watcher, [5, 0, 1, 4]).await);
    drop((idle, silent, half, held));
    texts.push(once_so(&mut watcher, [1, 0, 1, 0]).await);
    texts
}

/// How many requests there were depends on how often was asked.
fn without_requests(text: &str) -> String {
    let requests = format!(" {} \nReading", numbers(text)[3]);
    text.replace(&requests, " N \nReading")
}

#[tokio::test]
async fn connections_and_requests_are_counted_and_told_as_nginx_does() {
    if !nginx::installed() {
        return;
    }
    let (first, second) = (Gate::closed(), Gate::closed());
    let (origin, another) = (holds(&first).await, holds(&second).await);
    let server = format!(
        "location = /status {{ stub_status; }} location / {{ proxy_pass http://{}; }}",
        origin.address()
    );
    let nginx = Nginx::start("", &server).await;
    let proxy = ours(&another, STATUS).await;
    // Whoever has waited for nginx to listen was counted, too.
    let mut client = Client::connect(nginx.address()).await;
    let before = numbers(&client.get("/status").await.text())[1];
    drop(client);
    let expected = told(nginx.address(), &first).await;
    let got = told(proxy.address(), &second).await;
    for (expected, got) in expected.iter().zip(&got) {
        let accepted = numbers(expected)[1];
        let fewer = format!(" {0} {0} ", accepted - before);
        let expected = expected.replace(&format!(" {accepted} {accepted} "), &fewer);
        assert_eq!(without_requests(got), without_requests(&expected));
    }
    let requests: Vec<u64> = got.iter().map(|text| numbers(text)[3]).collect();
    assert!(requests.is_sorted() && requests[0] == 1, "{requests:?}");
}

#[tokio::test]
async fn the_answer_is_a_text_for_get_and_head_and_the_rest_is_refused() {
    let origin = origin::says("hello").await;
    let proxy = ours(&origin, STATUS).await;
    let mut client = proxy.client().await;
    let got = client.get("/status").await;
    assert_eq!(
        (got.status, got.header("Content-Type")),
        (200, "text/plain")
    );
    client
        .send("HEAD /status HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let head = client.response_to_head().await;
    assert_eq!(head.header("Content-Length"), got.header("Content-Length"));
    client
        .send("POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        .await;
    let refused = client.response().await;
    assert_eq!(
        (refused.status, refused.header("Allow")),
        (405, "GET, HEAD")
    );
    assert_eq!(numbers(&client.get("/status").await.text())[3], 4);
}

#[tokio::test]
async fn requests_that_are_refused_count_and_so_do_streams_of_http2() {
    let gate = Gate::closed();
    let origin = holds(&gate).await;
    let proxy = ours(&origin, STATUS).await;
    let mut watcher = proxy.client().await;
    assert_eq!(proxy.exchange("bad\r\n\r\n").await.status, 400);
    let mut http2 = Http2::connect(proxy.address()).await;
    once_so(&mut watcher, [2, 0, 1, 1]).await;
    let held = http2.request("GET", "/held", &[]);
    let first = http2.open(held.clone(), true).await;
    let second = http2.open(held, true).await;
    let text = once_so(&mut watcher, [2, 0, 3, 0]).await;
    assert!(numbers(&text)[3] >= 5, "{text}");
    gate.open();
    for mut stream in [first, second] {
        assert_eq!(stream.response().await.text(), "late");
    }
    once_so(&mut watcher, [2, 0, 1, 1]).await;
    drop(http2);
    once_so(&mut watcher, [1, 0, 1, 0]).await;
}

#[tokio::test]
async fn who_may_ask_is_for_hooks_to_say_as_for_any_route() {
    let origin = origin::says("hello").await;
    let guarded = format!(
        "{STATUS}hooks = [{{ plugin = \"access\", rules = [\"allow 127.0.0.2\", \"deny all\"] }}]\n"
    );
    let proxy = ours(&origin, &guarded).await;
    assert_eq!(proxy.get("/status").await.status, 403);
    let trusted = [127, 0, 0, 2].into();
    let wire = waypost_tests::Wire::connect_from(trusted, proxy.address()).await;
    let mut client = Client {
        wire: wire.expect("a connection"),
    };
    assert_eq!(client.get("/status").await.status, 200);
}
