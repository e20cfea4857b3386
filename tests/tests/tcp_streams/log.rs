//! One line for each session, when it ends.

use super::*;

#[tokio::test]
async fn sessions_are_logged_when_they_end_if_that_is_asked_for() {
    let server = echo("name").await;
    let log = "access_log = { path = \"stream.log\", format = '$protocol $remote_addr:$remote_port $server_port $status \
               $bytes_received $bytes_sent $upstream_addr $upstream_bytes_sent $upstream_bytes_received \
               [$upstream_connect_time] [$session_time] $connection' }";
    let proxy = stream_to(&[&server], log, "").await;
    let (mut wire, _) = session(&proxy).await;
    let port = wire.local_port();
    wire.send("twelve bytes").await;
    wire.finish_sending().await;
    wire.rest().await;
    let lines = log_lines(&proxy, "stream.log", 1).await;
    let (listens_on, address) = (proxy.address(), server.address());
    let listens_on = listens_on.rsplit(':').next().unwrap();
    let [start, times] = ["[", "]"].map(|mark| lines[0].find(mark).unwrap());
    assert_eq!(
        &lines[0][..start],
        format!("TCP 127.0.0.1:{port} {listens_on} 200 12 5 {address} 12 5 ")
    );
    let time: f64 = lines[0][start + 1..times].parse().unwrap();
    assert!(time < 5.0, "{lines:?}");
    assert!(lines[0].ends_with(" 1"), "{lines:?}");
}

#[tokio::test]
async fn the_default_format_is_the_one_of_nginxs_documentation() {
    let server = echo("a").await;
    let proxy = stream_to(&[&server], "access_log = \"stream.log\"", "").await;
    drop(session(&proxy).await);
    let lines = log_lines(&proxy, "stream.log", 1).await;
    assert!(lines[0].starts_with("127.0.0.1 ["), "{lines:?}");
    assert!(lines[0].contains("] TCP 200 2 0 0.0"), "{lines:?}");
    assert!(
        lines[0].ends_with(&format!("\"{}\"", server.address())),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_line_can_be_json() {
    let (gone, server) = (origin::refuses(), echo("name").await);
    let log = "access_log = { path = \"stream.log\", format = \"json\" }";
    let proxy = stream_to(&[&gone, &server], log, "").await;
    let (mut wire, _) = session(&proxy).await;
    let port = wire.local_port();
    wire.send("twelve bytes").await;
    wire.finish_sending().await;
    wire.rest().await;
    let lines = log_lines(&proxy, "stream.log", 1).await;
    let mut line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let listens: u16 = proxy.address().rsplit(':').next().unwrap().parse().unwrap();
    // Times are what they are.
    for (name, is_right) in [
        ("time", line["time"].is_string()),
        ("session_time", line["session_time"].is_number()),
        (
            "upstream_connect_time",
            line["upstream_connect_time"].is_string(),
        ),
    ] {
        assert!(is_right, "{name}: {line}");
        line[name] = serde_json::Value::Null;
    }
    let expected = serde_json::json!({
        "time": null,
        "connection": 1,
        "remote_addr": "127.0.0.1",
        "remote_port": port,
        "server_addr": "127.0.0.1",
        "server_port": listens,
        "protocol": "TCP",
        "ssl_preread_server_name": null,
        "ssl_server_name": null,
        "status": 200,
        "bytes_received": 12,
        "bytes_sent": 5,
        "session_time": null,
        "upstream_addr": format!("{}, {}", gone.address(), server.address()),
        "upstream_connect_time": null,
        "upstream_bytes_sent": "0, 12",
        "upstream_bytes_received": "0, 5",
    });
    assert_eq!(line, expected);
}
