//! Which answers are compressed, and what their headers say then, beside a real nginx.

use fastrand::Rng;
use waypost_tests::Response;
use waypost_tests::client::get_with;
use waypost_tests::nginx::{self, Nginx};

use super::{compressing, plain, text, versatile};

const SAME: &str = "compression = { codings = [\"gzip\"], min_length = 1000, \
                    types = [\"text/html\", \"application/json\"] }\ngunzip = true";

/// Values of a header, the empty one for none.
struct Choice(&'static str, &'static [&'static str]);

const CHOICES: &[Choice] = &[
    Choice(
        "Content-Type",
        &["text/html", "application/json", "image/png"],
    ),
    Choice("status", &["200", "404", "403", "206", "204", "304"]),
    Choice("ETag", &["", "\"a\"", "W/\"b\""]),
    Choice("Accept-Ranges", &["", "bytes"]),
    Choice("Content-Encoding", &["", "", "br"]),
];

const ACCEPTS: [&str; 9] = [
    "",
    "gzip",
    "br, gzip",
    "gzip;q=0",
    "gzip;q=0.5",
    "deflate",
    "gzip;q=1.0",
    "gzip; q=0.001",
    "*;q=0",
];

/// What both have to say alike.
fn facts(response: &Response) -> [String; 6] {
    let names = [
        "Content-Encoding",
        "Content-Length",
        "ETag",
        "Accept-Ranges",
        "Vary",
    ];
    let [a, b, c, d, e] = names.map(|name| response.header(name).to_owned());
    [response.status.to_string(), a, b, c, d, e]
}

#[tokio::test]
async fn answers_are_compressed_where_nginx_compresses_them() {
    if !nginx::installed() {
        return;
    }
    let seed = nginx::seed();
    let mut rng = Rng::with_seed(seed);
    for length in [999, 1000, 40_000] {
        let origin = versatile(text(length)).await;
        let proxy = compressing(&origin, SAME).await;
        let nginx = Nginx::start(
            "gzip on; gzip_types application/json; gzip_min_length 1000; gzip_vary on; \
             gzip_proxied any; gunzip on;",
            &format!("location / {{ proxy_pass http://{}; }}", origin.address()),
        )
        .await;
        for _ in 0..80 {
            let fields = CHOICES.iter().filter_map(|Choice(name, values)| {
                let value = values[rng.usize(0..values.len())];
                (!value.is_empty()).then(|| format!("{name}={value}"))
            });
            let target = format!("/?{}", fields.collect::<Vec<_>>().join("|"));
            let accepts = ACCEPTS[rng.usize(0..ACCEPTS.len())];
            let line = match accepts {
                "" => String::new(),
                accepts => format!("Accept-Encoding: {accepts}\r\n"),
            };
            let ours = get_with(proxy.address(), &target, &line).await;
            let theirs = get_with(nginx.address(), &target, &line).await;
            let context = format!("{target} {accepts} {length}\nWAYPOST_PARITY_SEED={seed}");
            assert_eq!(facts(&ours), facts(&theirs), "{context}");
            if ours.header("Content-Encoding") != "br" {
                assert!(plain(&ours) == plain(&theirs), "{context}");
            }
        }
    }
}
