//! A real nginx beside us, with the same servers: each client goes to the same one.

use std::net::Ipv4Addr;

use waypost_tests::{Nginx, nginx};

use super::*;

/// Clients by their addresses, each of which comes once.
fn clients() -> impl Iterator<Item = Ipv4Addr> {
    (0..60).map(|number| Ipv4Addr::new(127, 0, 1 + number % 7, 10 + number))
}

/// The names of the servers to which clients come, in their order.
async fn names(address: &str) -> String {
    let mut names = String::new();
    for client in clients() {
        let mut wire = Wire::connect_from(client, address).await.unwrap();
        names += &line(&mut wire).await;
    }
    names
}

#[tokio::test]
async fn each_client_goes_where_nginx_sends_it() {
    if !nginx::stream_installed() {
        return;
    }
    let (a, b, c) = (echo("a").await, echo("b").await, echo("c").await);
    let gone = origin::refuses();
    for (theirs, ours) in [
        ("", "policy = \"round_robin\""),
        (
            "hash $remote_addr;",
            "policy = { plugin = \"hash\", key = \"$remote_addr\" }",
        ),
        (
            "hash $remote_addr consistent;",
            "policy = { plugin = \"hash\", key = \"$remote_addr\", consistent = true }",
        ),
        (
            "hash $server_port-$binary_remote_addr-$protocol;",
            "policy = { plugin = \"hash\", key = \"$server_port-$binary_remote_addr-$protocol\" }",
        ),
    ] {
        // With one that is tried in vain.
        let servers = [
            (&a, "weight=3", "weight = 3"),
            (&gone, "max_fails=2", "max_fails = 2"),
            (&b, "", ""),
            (&c, "weight=2", "weight = 2"),
        ];
        let theirs_listed: String = servers
            .iter()
            .map(|(server, theirs, _)| format!("server {} {theirs};\n", server.address()))
            .collect();
        let ours_listed: Vec<String> = servers
            .iter()
            .map(|(server, _, ours)| server.with(ours))
            .collect();
        let upstream = format!("upstream backend {{ {theirs}\n{theirs_listed} }}");
        let nginx = Nginx::stream_with(&upstream, "proxy_pass backend;").await;
        // The port is part of one key: it has to be the same, on another address.
        let address = nginx.address().replace("127.0.0.1", "127.0.0.2");
        let file = format!(
            "[server]\nworkers = 1\n[[stream]]\naddress = \"{address}\"\nproxy = \"backend\"\n\
             [upstream.backend]\n{ours}\nservers = [{}]\n",
            ours_listed.join(", ")
        );
        let proxy = proxy::run(&file, &[]).await;
        // The check whether nginx is up took the first turn there.
        drop(session(&proxy).await);
        assert_eq!(
            names(proxy.address()).await,
            names(nginx.address()).await,
            "{ours}"
        );
    }
}
