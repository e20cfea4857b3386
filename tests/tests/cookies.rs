//! The cookies that servers set: passed on as they are, or as a route has them, which is what nginx
//! makes of them.

use waypost_tests::client::exchange;
use waypost_tests::{Answer, Nginx, Origin, Proxy, nginx, origin, proxy};

/// Sets the cookies that the request's `X-Set` fields say.
async fn sets_cookies() -> Origin {
    origin::answers(|request| {
        let asked = request.headers.all("X-Set");
        let set = |answer: Answer, cookie: &&str| answer.header("Set-Cookie", cookie);
        asked.iter().fold(Answer::ok(""), set)
    })
    .await
}

const RULES: &str = "[route.cookies]\n\
    flags = { one = [\"nosecure\", \"httponly\", \"samesite=strict\"], '~^T' = [\"nosamesite\", \"secure\"], \
              \"*\" = [\"secure\", \"httponly\"], lax = \"SameSite=Lax\" }\n\
    [route.cookies.domain]\n\
    localhost = \".example.org\"\n\
    '~\\.([a-z]+\\.ORG)$' = \"$1\"\n\
    '$host' = \"$arg_to\"\n\
    [route.cookies.path]\n\
    '~^/reg/(?<number>\\d+)' = \"/n$number/\"\n\
    '~*^/any' = \"/any\"\n\
    \"/two/\" = \"/\"\n\
    \"/$arg_from/\" = \"/to/\"\n";

const NGINX_S_RULES: &str = "proxy_cookie_flags one nosecure httponly samesite=strict; \
    proxy_cookie_flags ~^T nosamesite secure; proxy_cookie_flags lax samesite=lax; \
    proxy_cookie_flags ~ secure httponly;\n\
    proxy_cookie_domain localhost .example.org; proxy_cookie_domain ~\\.([a-z]+\\.ORG)$ $1; \
    proxy_cookie_domain $host $arg_to;\n\
    proxy_cookie_path ~^/reg/(?<number>\\d+) /n$number/; proxy_cookie_path ~*^/any /any; \
    proxy_cookie_path /two/ /; proxy_cookie_path /$arg_from/ /to/;\n";

/// As servers write them, well and not so well.
const COOKIES: [&str; 25] = [
    "one=1; Domain=localhost; Path=/two/x; Secure",
    "One=1;Domain=.LocalHost;path=/two/;HttpOnly ; SameSite=Lax",
    "two=2; domain= localhost; Path=/Two/; samesite=None; unknown=7; flag",
    "three=3 ;  Domain=localhost.example ; path",
    "four; Domain=localhost; Path=/two/",
    "=five; Domain=localhost; Path=/two/",
    "six=6; Domain=www.a.org; ; Path=/reg/12/x;",
    "seven=\"a;b\"; Domain=localhost; secure=; Secure",
    "eight=8; Domain=localhost; Domain=LOCALHOST; Path=/two/; Path=/two/a",
    "one=1; Domain = localhost",
    "one =1; Domain=localhost",
    "lax=1; Path=/ANY/where; Max-Age=3600; Priority=High",
    "lax=1; SameSite; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
    "tea=1",
    "tea=1; SameSite=Lax; SECURE; SameSite=None",
    "asked=1; Domain=front.test; Path=/app/x",
    "none=a=b; Domain=; Path=; =; ;;",
    ";",
    "=",
    "",
    "a=b; Path=/two/../x; Domain=.localhost",
    "a=b; Path=/two",
    "a=b; Domain=..localhost",
    "a=b; Secure; Secure; HttpOnly; HttpOnly=x",
    "a=\u{e9}\u{80}; Path=/two/\u{e9}",
];

async fn cookies(address: &str, target: &str, sets: &[&str]) -> Vec<String> {
    let lines: String = sets.iter().map(|set| format!("X-Set: {set}\r\n")).collect();
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: front.test\r\nConnection: close\r\n{lines}\r\n");
    let response = exchange(address, request).await;
    assert_eq!(response.status, 200);
    let all = response.headers.all("Set-Cookie").into_iter();
    all.map(str::to_owned).collect()
}

async fn ours(origin: &Origin, rules: &str) -> Proxy {
    let file = format!(
        "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nproxy = \"http://{}\"\n{rules}",
        origin.address()
    );
    proxy::run(&file, &[]).await
}

#[tokio::test]
async fn cookies_of_a_server_are_rewritten_as_nginx_does() {
    if !nginx::installed() {
        return;
    }
    let origin = sets_cookies().await;
    let server = format!(
        "location / {{ proxy_pass http://{}; {NGINX_S_RULES} }}",
        origin.address()
    );
    let nginx = Nginx::start("", &server).await;
    let proxy = ours(&origin, RULES).await;
    for target in ["/?from=app&to=new.example", "/"] {
        for cookie in COOKIES {
            let expected = cookies(nginx.address(), target, &[cookie]).await;
            let got = cookies(proxy.address(), target, &[cookie]).await;
            assert_eq!(got, expected, "{cookie:?} at {target}");
        }
        let expected = cookies(nginx.address(), target, &COOKIES).await;
        let got = cookies(proxy.address(), target, &COOKIES).await;
        assert_eq!(got, expected, "{target}");
    }
}

#[tokio::test]
async fn without_rules_cookies_are_passed_on_as_they_are() {
    let origin = sets_cookies().await;
    let proxy = ours(&origin, "").await;
    let is_told = |set: &&str| !set.is_empty() && set.is_ascii();
    let sets: Vec<&str> = COOKIES.into_iter().filter(is_told).collect();
    assert_eq!(cookies(proxy.address(), "/", &sets).await, sets);
}

#[tokio::test]
async fn a_list_of_flags_is_for_all_cookies_of_servers_and_for_no_others() {
    let origin = sets_cookies().await;
    let rules = "cookies = { flags = [\"secure\", \"samesite=lax\"] }\n\
                 response_headers = { add = { Set-Cookie = \"ours=1\" } }\n";
    let proxy = ours(&origin, rules).await;
    let got = cookies(proxy.address(), "/", &["a=1", "b=2; SameSite=Strict"]).await;
    let expected = [
        "a=1; Secure; SameSite=Lax",
        "b=2; SameSite=Lax; Secure",
        "ours=1",
    ];
    assert_eq!(got, expected);
}

#[tokio::test]
async fn what_a_variable_brings_in_cannot_begin_another_attribute() {
    let origin = sets_cookies().await;
    let rules =
        "cookies = { domain = { \"app.test\" = \"$arg_to\" }, path = { \"/a\" = \"$arg_to\" } }\n";
    let proxy = ours(&origin, rules).await;
    let set = "a=1; Domain=app.test; Path=/a";
    for (target, expected) in [
        ("/?to=x", "a=1; Domain=x; Path=x"),
        ("/?to=x;HttpOnly", set),
    ] {
        assert_eq!(cookies(proxy.address(), target, &[set]).await, [expected]);
    }
}

#[tokio::test]
async fn blanks_of_any_kind_hide_no_attribute() {
    let origin = sets_cookies().await;
    let rules = "cookies = { domain = { \"app.test\" = \"a.test\" }, flags = [\"nosecure\"] }\n";
    let proxy = ours(&origin, rules).await;
    let got = cookies(
        proxy.address(),
        "/",
        &["a=1;\tDomain\t=\tapp.test\t;\tSecure\t; b"],
    )
    .await;
    assert_eq!(got, ["a=1; Domain=a.test; b"]);
}
