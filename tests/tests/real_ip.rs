//! Whom proxies in front name as the client: in which header, believed of whom, listener by
//! listener, as nginx's module has it.

use waypost_tests::client::get_with;
use waypost_tests::{Nginx, Proxy, nginx, proxy};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"2001:db8::/32\"]\n";
const NGINX_S_TRUSTED: &str =
    "set_real_ip_from 127.0.0.1; set_real_ip_from 10.0.0.0/8; set_real_ip_from 2001:db8::/32;\n";

/// Says who it takes its client for.
async fn ours(listeners: &[&str]) -> Proxy {
    let listeners: String = listeners
        .iter()
        .map(|lines| format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{lines}\n"))
        .collect();
    let file = format!(
        "[server]\naccess_log = false\n{TRUSTED}{listeners}\
         [[route]]\nreturn = {{ body = \"$remote_addr\" }}\n"
    );
    proxy::run(&file, &[]).await
}

#[tokio::test]
async fn the_header_that_is_named_tells_the_client_as_in_nginx() {
    if !nginx::installed() {
        return;
    }
    let kinds = [
        ("CF-Connecting-IP", false),
        ("CF-Connecting-IP", true),
        ("X-Real-IP", true),
        ("X-Forwarded-For", false),
        ("X-Forwarded-For", true),
    ];
    for (header, recursive) in kinds {
        let lines = format!("real_ip_header = \"{header}\"\nreal_ip_recursive = {recursive}");
        let proxy = ours(&[&lines]).await;
        let switch = if recursive { "on" } else { "off" };
        let server = format!(
            "{NGINX_S_TRUSTED} real_ip_header {header}; real_ip_recursive {switch};\n\
             location / {{ return 200 $remote_addr; }}"
        );
        let nginx = Nginx::start("", &server).await;
        for value in [
            "192.0.2.1",
            "192.0.2.1, 10.0.0.1",
            "192.0.2.1,10.0.0.1 , 10.2.3.4",
            "192.0.2.9, 192.0.2.1",
            "10.0.0.3, 10.0.0.4",
            "2001:db8::7",
            "2001:db9::7, 2001:db8::7",
            "192.0.2.1:4711",
            "[2001:db9::7]:4711",
            "unknown",
            "192.0.2.1, unknown",
            "unknown, 192.0.2.1",
            "",
        ] {
            for name in [header, &header.to_lowercase(), "X-Other"] {
                let lines = format!("{name}: {value}\r\n");
                let expected = get_with(nginx.address(), "/", &lines).await.text();
                let got = proxy.get_with("/", &lines).await.text();
                assert_eq!(got, expected, "{lines:?}, recursive: {switch}");
            }
        }
        let lines = format!("{header}: 192.0.2.1\r\nX-Client-IP: 192.0.2.2\r\n");
        assert_eq!(proxy.get_with("/", &lines).await.text(), "192.0.2.1");
    }
}

#[tokio::test]
async fn a_header_that_is_named_is_the_only_one_and_a_listener_s_own() {
    let other = "trusted_proxies = [\"192.0.2.0/24\"]\nreal_ip_header = \"CF-Connecting-IP\"";
    let proxy = ours(&["real_ip_header = \"True-Client-IP\"", "", other]).await;
    let lines = "True-Client-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n\
                 X-Real-IP: 192.0.2.3\r\nCF-Connecting-IP: 192.0.2.4\r\n";
    let told =
        async |index: usize, lines: &str| get_with(proxy.listener(index), "/", lines).await.text();
    assert_eq!(told(0, lines).await, "192.0.2.1");
    assert_eq!(told(0, "X-Forwarded-For: 192.0.2.2\r\n").await, "127.0.0.1");
    assert_eq!(told(1, lines).await, "192.0.2.2");
    assert_eq!(told(1, "X-Real-IP: 192.0.2.3\r\n").await, "192.0.2.3");
    // Nobody that asks there is trusted.
    assert_eq!(told(2, lines).await, "127.0.0.1");
}

#[tokio::test]
async fn of_several_fields_the_last_counts_for_it_is_the_trusted_proxy_s() {
    let proxy = ours(&["real_ip_header = \"CF-Connecting-IP\""]).await;
    let lines = "CF-Connecting-IP: 192.0.2.66\r\nCF-Connecting-IP: 192.0.2.1\r\n";
    assert_eq!(proxy.get_with("/", lines).await.text(), "192.0.2.1");
}

#[tokio::test]
async fn where_the_proxy_header_is_what_counts_no_header_of_a_request_does() {
    let lines = "proxy_protocol = true\nreal_ip_header = \"proxy_protocol\"";
    let proxy = ours(&[lines, "proxy_protocol = true"]).await;
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n";
    // The one that it names is trusted itself.
    let header = "PROXY TCP4 10.0.0.7 10.0.0.1 4711 80\r\n";
    for (index, expected) in [(0, "10.0.0.7"), (1, "192.0.2.2")] {
        let asked = format!("{header}{request}");
        let response = waypost_tests::client::exchange(proxy.listener(index), asked).await;
        assert_eq!(response.text(), expected);
    }
}

/// What a dual-stack proxy writes: rules for IPv4 hold for it, as they do for a peer's address.
#[tokio::test]
async fn an_ipv4_address_in_the_form_of_ipv6_is_one_of_ipv4() {
    let file = format!(
        "[server]\naccess_log = false\n{TRUSTED}[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nwhen = {{ client = \"192.0.2.0/24\" }}\nreturn = {{ body = \"within $remote_addr\" }}\n\
         [[route]]\nreturn = {{ body = \"$remote_addr\" }}\n"
    );
    let proxy = proxy::run(&file, &[]).await;
    for (value, expected) in [
        ("1.2.3.4, ::ffff:10.0.0.1", "1.2.3.4"),
        ("::ffff:192.0.2.1", "within 192.0.2.1"),
        ("[::ffff:192.0.2.1]:80, ::ffff:10.0.0.1", "within 192.0.2.1"),
    ] {
        let header = format!("X-Forwarded-For: {value}\r\n");
        let response = get_with(proxy.address(), "/", &header).await;
        assert_eq!(response.text(), expected, "{value}");
    }
}
