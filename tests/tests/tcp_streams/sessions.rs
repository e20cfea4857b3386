//! A session from its first byte to its log line.

use super::*;

#[tokio::test]
async fn bytes_go_both_ways_as_they_are() {
    let server = echo("a").await;
    let proxy = stream_to(&[&server], "", "").await;
    let (mut wire, name) = session(&proxy).await;
    assert_eq!(name, "a");
    // More than any buffer on the way holds, and no text.
    let mut bytes: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    bytes
        .iter_mut()
        .for_each(|byte| *byte = if *byte == b'\n' { 255 } else { *byte });
    bytes.push(b'\n');
    wire.send(&bytes).await;
    assert!(
        wire.until(b"\n").await.unwrap() == bytes,
        "changed on the way"
    );
}

#[tokio::test]
async fn a_client_that_says_no_more_still_hears_the_answer() {
    let server = origin::speaks(|mut wire, _| async move {
        let said = wire.rest().await;
        assert!(!said.reset);
        let _ = wire.try_send([b"heard: ", &said.got[..]].concat()).await;
    })
    .await;
    let proxy = stream_to(&[&server], "", "").await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    wire.send("question").await;
    wire.finish_sending().await;
    let answer = wire.rest().await;
    assert_eq!(
        (answer.got, answer.reset),
        (b"heard: question".to_vec(), false)
    );
}

#[tokio::test]
async fn a_server_that_says_no_more_still_hears_the_client() {
    let (heard, hears) = tokio::sync::oneshot::channel();
    let heard = std::sync::Mutex::new(Some(heard));
    let heard = std::sync::Arc::new(heard);
    let server = origin::speaks(move |mut wire, _| {
        let heard = heard.lock().unwrap().take();
        async move {
            wire.send("that is all").await;
            wire.finish_sending().await;
            let said = wire.rest().await;
            if let Some(heard) = heard {
                let _ = heard.send(said.got);
            }
        }
    })
    .await;
    let proxy = stream_to(&[&server], "", "").await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    assert_eq!(wire.rest().await.got, b"that is all");
    wire.send("not for me").await;
    wire.finish_sending().await;
    assert_eq!(hears.await.unwrap(), b"not for me");
}

#[tokio::test]
async fn a_reset_reaches_the_other_side_as_an_end() {
    let server = echo("a").await;
    let proxy = stream_to(&[&server], "", "").await;
    let (wire, _) = session(&proxy).await;
    server.has_open(1).await;
    wire.reset();
    server.has_open(0).await;
}

#[tokio::test]
async fn a_silent_session_is_closed_and_one_in_which_a_side_speaks_is_not() {
    let talker = origin::speaks(|mut wire, _| async move {
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            if wire.try_send("tick\n").await.is_err() {
                return;
            }
        }
        wire.rest().await;
    })
    .await;
    let proxy = stream_to(&[&talker], "idle_timeout = \"400ms\"", "").await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    let heard = wire.rest().await;
    assert_eq!(heard.got, b"tick\n".repeat(6));
    proxy.log_contains("session closed: timed out").await;
    talker.has_open(0).await;
}

#[tokio::test]
async fn unix_sockets_serve_on_both_sides() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("server.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    let file = format!(
        "[[stream]]\naddress = \"unix:{{dir}}/front.sock\"\nproxy = \"unix:{}\"\naccess_log = {{ path = \"stream.log\", \
         format = \"$remote_addr $upstream_addr\" }}\n",
        path.display()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    wire.send("there and back").await;
    wire.finish_sending().await;
    assert_eq!(wire.rest().await.got, b"there and back");
    server.await.unwrap();
    let lines = log_lines(&proxy, "stream.log", 1).await;
    assert_eq!(lines, [format!("unix: unix:{}", path.display())]);
}

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
