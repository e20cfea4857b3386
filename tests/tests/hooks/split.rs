//! `split`: clients on the side that nginx's `split_clients` has them on, and where that leads.

use fastrand::Rng;
use waypost_tests::{Client, Nginx, nginx, origin, proxy};

/// Shares, and what they are called.
const PARTS: [(&str, &str); 6] = [
    ("0.01%", "hair"),
    ("0.5%", "small"),
    ("33.33%", "third"),
    (".5%", "half"),
    ("16.66%", "sixth"),
    ("*", "rest"),
];

const KEYS: usize = 5000;

/// The parts of keys, by `X-Part` of the answers.
async fn parts(address: &str, keys: &[String]) -> Vec<String> {
    let mut client = Client::connect(address).await;
    let mut parts = Vec::new();
    // In batches that fit into the buffers on the way: nothing reads while this writes.
    for keys in keys.chunks(50) {
        let requests: String = keys
            .iter()
            .map(|key| format!("GET /?k={key} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .collect();
        client.send(requests).await;
        for _ in keys {
            parts.push(client.response().await.header("X-Part").to_owned());
        }
    }
    parts
}

#[tokio::test]
async fn each_client_is_on_the_side_that_nginx_has_it_on() {
    if !nginx::installed() {
        return;
    }
    let seed = nginx::seed();
    let mut rng = Rng::with_seed(seed);
    let keys: Vec<String> = (0..KEYS)
        .map(|_| (0..rng.usize(0..40)).map(|_| rng.alphanumeric()).collect())
        .collect();
    let of_nginx: String = PARTS
        .map(|(share, name)| format!("{share} {name}; "))
        .concat();
    let nginx = Nginx::start(
        &format!("split_clients \"${{arg_k}}AAA\" $part {{ {of_nginx} }}"),
        "keepalive_requests 1000000; location / { add_header X-Part $part; return 204; }",
    )
    .await;
    let ours = PARTS.map(|(share, name)| format!("{{ share = \"{share}\", value = \"{name}\" }}"));
    let proxy = proxy::run(
        &format!(
            "[server]\naccess_log = false\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\nkeepalive_requests = 1000000\n\
             [[route]]\nhooks = [\"parts\"]\nreturn = {{ status = 204 }}\n\
             response_headers = {{ set = {{ X-Part = \"$hook_split\" }} }}\n\
             [hook.parts]\nplugin = \"split\"\nkey = \"${{arg_k}}AAA\"\nparts = [{}]\n",
            ours.join(", ")
        ),
        &[],
    )
    .await;
    let expected = parts(nginx.address(), &keys).await;
    let got = parts(proxy.address(), &keys).await;
    for ((key, expected), got) in keys.iter().zip(expected).zip(got) {
        assert_eq!(got, expected, "{key:?}, WAYPOST_PARITY_SEED={seed}");
    }
}

#[tokio::test]
async fn a_part_leads_to_a_route_or_an_upstream_and_a_client_keeps_it() {
    let (old, new, third) = (
        origin::says("old").await,
        origin::says("new").await,
        origin::says("third").await,
    );
    let file = format!(
        "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.old]\nservers = [\"{}\"]\n[upstream.new]\nservers = [\"{}\"]\n\
         [upstream.third]\nservers = [\"{}\"]\n\
         [hook.canary]\nplugin = \"split\"\nkey = \"$arg_k\"\nheader = \"X-Side\"\nsticky = {{}}\n\
         parts = [\n  {{ share = \"50%\", value = \"new\", route = \"canary\" }},\n  \
         {{ share = \"*\", value = \"old\" }},\n  {{ value = \"third\", upstream = \"third\" }},\n]\n\
         [[route]]\nhooks = [\"canary\"]\nproxy = \"old\"\n\
         [[route]]\nname = \"canary\"\ninternal = true\nhooks = [\"canary\"]\nproxy = \"new\"\n",
        old.address(),
        new.address(),
        third.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    for side in ["new", "old", "third"] {
        let answer = proxy.get_with("/", &format!("X-Side: {side}\r\n")).await;
        assert_eq!(
            (answer.text().as_str(), answer.header("Set-Cookie")),
            (side, "")
        );
    }
    let mut sides = [0, 0];
    for key in 0..40 {
        let first = proxy.get(&format!("/?k={key}")).await;
        let side = first.text();
        let cookie = first
            .header("Set-Cookie")
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();
        assert_eq!(cookie, format!("split={side}"));
        sides[usize::from(side == "new")] += 1;
        // With another key, which may well belong to the other side.
        let again = proxy
            .get_with(&format!("/?k=x{key}"), &format!("Cookie: {cookie}\r\n"))
            .await;
        assert_eq!((again.text(), again.header("Set-Cookie")), (side, ""));
    }
    assert!(sides[0] > 0 && sides[1] > 0, "{sides:?}");
}
