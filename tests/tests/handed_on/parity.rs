//! What a client gets where a server hands its request on, beside a real nginx.

use waypost_tests::nginx::{self, Nginx};

use super::*;

/// Methods, fields of the request, and what the server answers with.
const CASES: [(&str, &str, &str); 24] = [
    ("GET", "", "X-Accel-Redirect=/protected/a.txt"),
    ("HEAD", "", "X-Accel-Redirect=/protected/a.txt"),
    (
        "POST",
        "Content-Length: 0\r\n",
        "X-Accel-Redirect=/protected/a.txt",
    ),
    (
        "GET",
        "Range: bytes=1-3\r\n",
        "X-Accel-Redirect=/protected/a.txt",
    ),
    (
        "GET",
        "Range: bytes=20-\r\n",
        "X-Accel-Redirect=/protected/a.txt",
    ),
    (
        "GET",
        "If-Match: \"x\"\r\n",
        "X-Accel-Redirect=/protected/a.txt",
    ),
    (
        "GET",
        "If-None-Match: *\r\n",
        "X-Accel-Redirect=/protected/a.txt|Content-Disposition=inline",
    ),
    (
        "GET",
        "",
        "X-Accel-Redirect=/protected/a.txt|Content-Type=image/png",
    ),
    ("GET", "", "X-Accel-Redirect=/protected/d.bin"),
    (
        "GET",
        "",
        "X-Accel-Redirect=/protected/a.txt|Content-Disposition=attachment;%20filename=x",
    ),
    (
        "GET",
        "",
        "X-Accel-Redirect=/protected/a.txt|Set-Cookie=a=1|Set-Cookie=b=2",
    ),
    (
        "GET",
        "",
        "X-Accel-Redirect=/protected/a.txt|Cache-Control=private|Expires=Mon",
    ),
    (
        "GET",
        "",
        "X-Accel-Redirect=/caching/a.txt|Cache-Control=private",
    ),
    (
        "GET",
        "",
        "X-Accel-Redirect=/protected/a.txt|ETag=\"x\"|Last-Modified=x|X-Own=1|Vary=x|Link=x",
    ),
    (
        "GET",
        "",
        "X-Accel-Redirect=/protected/a.txt|X-Accel-Expires=1|X-Accel-Buffering=no",
    ),
    (
        "GET",
        "",
        "X-Accel-Expires=1|X-Accel-Buffering=no|X-Accel-Charset=x|X-Own=1",
    ),
    ("GET", "", "X-Accel-Redirect=/public/a.txt"),
    ("GET", "", "X-Accel-Redirect=/protected/b%2520c.txt"),
    ("GET", "", "X-Accel-Redirect=/protected/none"),
    ("GET", "", "X-Accel-Redirect=/protected/../a.txt"),
    ("GET", "", "X-Accel-Redirect=/protected/a.txt?x=1"),
    ("GET", "", "X-Accel-Redirect=@named|Set-Cookie=a=1"),
    ("GET", "", "X-Accel-Redirect=@nobody"),
    (
        "GET",
        "",
        "X-Accel-Redirect=/again/x?y=1|Set-Cookie=a=1|Content-Disposition=inline",
    ),
];

fn outcome(response: &Response) -> String {
    let mut outcome = format!("{}\n", response.status);
    if response.status >= 400 {
        return outcome;
    }
    let names = [
        "Content-Type",
        "Content-Length",
        "Content-Range",
        "Content-Disposition",
        "Set-Cookie",
        "Cache-Control",
        "ETag",
        "Last-Modified",
        "X-Own",
        "Vary",
        "Link",
        "X-Accel-Redirect",
        "X-Accel-Expires",
        "X-Accel-Buffering",
        "X-Accel-Charset",
    ];
    for name in names {
        outcome += &format!("{name}: {:?}\n", response.headers.all(name));
    }
    outcome + &response.text()
}

async fn ask(address: &str, request: &str) -> Response {
    let mut client = Client::connect(address).await;
    client.send(request).await;
    match request.starts_with("HEAD") {
        true => client.response_to_head().await,
        false => client.response().await,
    }
}

#[tokio::test]
async fn what_a_server_hands_on_is_answered_as_by_nginx() {
    if !nginx::installed() {
        return;
    }
    let (origin, site) = (application().await, site());
    let (backend, root) = (origin.address(), site.path().display());
    let locations = format!(
        "types {{ text/plain txt; }} default_type application/octet-stream;\n\
         location / {{ proxy_pass http://{backend}; }}\n\
         location /protected/ {{ internal; alias {root}/; }}\n\
         location /public/ {{ alias {root}/; }}\n\
         location /caching/ {{ internal; alias {root}/; expires 1h; }}\n\
         location /again/ {{ internal; proxy_pass http://{backend}; }}\n\
         location @named {{ default_type text/plain; return 200 \"named $request_method $uri\\n\"; }}"
    );
    let nginx = Nginx::start("", &locations).await;
    let proxy = following(&origin, &site, "").await;
    for (method, fields, lines) in CASES {
        let request = format!("{method} /app?{lines} HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
        let expected = outcome(&ask(nginx.address(), &request).await);
        let got = outcome(&ask(proxy.address(), &request).await);
        assert_eq!(got, expected, "waypost (left), nginx (right)\n{request}");
    }
}
