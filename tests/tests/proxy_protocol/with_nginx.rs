//! A real nginx before us and behind us: both sides understand each other.

use waypost_tests::{Nginx, client, nginx};

use super::*;

#[tokio::test]
async fn nginx_before_us_names_the_client() {
    if !nginx::stream_installed() {
        return;
    }
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    let nginx = Nginx::stream(&format!(
        "        proxy_pass {};\n        proxy_protocol on;",
        proxy.address()
    ))
    .await;
    let mut client = waypost_tests::Client::connect(nginx.address()).await;
    let response = client.get("/").await;
    assert_eq!(response.header("X-remote-addr"), "127.0.0.1");
    assert_eq!(
        response.header("X-remote-port"),
        client.wire.local_port().to_string()
    );
    assert_ne!(
        response.header("X-realip-remote-port"),
        response.header("X-remote-port")
    );
    let server = format!(
        "{}:{}",
        response.header("X-proxy-protocol-server-addr"),
        response.header("X-proxy-protocol-server-port")
    );
    assert_eq!(server, nginx.address());
}

#[tokio::test]
async fn nginx_before_a_stream_and_behind_it_is_none_the_wiser() {
    if !nginx::stream_installed() {
        return;
    }
    let origin = origin::says("hello").await;
    let file = format!(
        "[server]\n{TRUST}\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true\nproxy = \"{}\"\n",
        origin.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let nginx = Nginx::stream(&format!(
        "        proxy_pass {};\n        proxy_protocol on;",
        proxy.address()
    ))
    .await;
    assert_eq!(
        client::get_with(nginx.address(), "/", "").await.text(),
        "hello"
    );
}

#[tokio::test]
async fn nginx_behind_us_learns_the_client() {
    if !nginx::installed() {
        return;
    }
    let address = nginx::free_address();
    let http = format!(
        "    server {{ listen {address} proxy_protocol; location / {{ return 200 \
         \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\"; }} }}"
    );
    let _nginx = Nginx::start(&http, "").await;
    for version in ["v1", "v2"] {
        let proxy = proxy::to([format!("{{ address = \"{address}\" }}")])
            .upstream(&format!("proxy_protocol = \"{version}\""))
            .more("[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n")
            .start()
            .await;
        for listener in [proxy.listener(0), proxy.listener(1)] {
            let mut client = waypost_tests::Client::connect(listener).await;
            let port = client.wire.local_port();
            let (ip, listens) = listener.rsplit_once(':').unwrap();
            let expected = format!("127.0.0.1 {port} {ip} {listens}");
            assert_eq!(client.get("/").await.text(), expected, "{version}");
        }
    }
}
