//! TLS on either side of a stream: what ends here, and what begins.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use waypost_tests::in_time;
use waypost_tests::tls::{Authority, Certificate};

use super::*;

/// A server that says which name it was asked for and which protocol was agreed upon, and then
/// sends back each line that it gets. Of protocols it knows only its own.
async fn secure(own: &Certificate) -> Origin {
    let mut config = own.server();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    origin::speaks_with(config, |mut wire, _| async move {
        let shaken = wire.handshake().unwrap();
        let said = format!("{:?} {:?}\n", shaken.server_name, shaken.alpn);
        if wire.try_send(said).await.is_err() {
            return;
        }
        while let Ok(line) = wire.until(b"\n").await {
            if wire.try_send(line).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// A proxy with files beside its configuration: the authority's `ca.pem`, and `own.pem` and
/// `own.key` for `a.example`.
async fn with_files(authority: &Authority, file: &str) -> (Proxy, TempDir) {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
    let own = authority.certificate(&["a.example", "b.example"]);
    own.write(directory.path(), "own");
    let file = file.replace("{files}", &directory.path().display().to_string());
    (proxy::run(&file, &[]).await, directory)
}

#[tokio::test]
async fn a_server_is_asked_for_by_name_verified_and_told_nothing_of_http() {
    let authority = Authority::new("Specs");
    let server = secure(&authority.certificate(&["db.example"])).await;
    for http2 in ["", "http2 = true"] {
        let file = format!(
            "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n[upstream.backend]\n{http2}\nservers = [\"{}\"]\n\
             tls = {{ ca = \"{{files}}/ca.pem\", server_name = \"db.example\" }}\n",
            server.address()
        );
        let (proxy, _files) = with_files(&authority, &file).await;
        let (mut wire, said) = session(&proxy).await;
        assert_eq!(said, "Some(\"db.example\") None", "{http2}");
        echoes(&mut wire).await;
        // The end goes through TLS as well.
        wire.finish_sending().await;
        assert_eq!(wire.rest().await.got, b"");
        server.has_open(0).await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_verified_is_passed_over() {
    let authority = Authority::new("Specs");
    let stranger = secure(&Authority::new("Strangers").certificate(&["db.example"])).await;
    let other = secure(&authority.certificate(&["other.example"])).await;
    let good = secure(&authority.certificate(&["db.example"])).await;
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         access_log = {{ path = \"stream.log\", format = \"$status $upstream_addr\" }}\n\
         [upstream.backend]\nservers = [\"{}\", \"{}\", \"{}\"]\n\
         tls = {{ ca = \"{{files}}/ca.pem\", server_name = \"db.example\" }}\n",
        stranger.address(),
        other.address(),
        good.address()
    );
    let (proxy, _files) = with_files(&authority, &file).await;
    drop(session(&proxy).await);
    let asked = [&stranger, &other, &good].map(|server| server.address().to_owned());
    let lines = log_lines(&proxy, "stream.log", 1).await;
    assert_eq!(lines, [format!("200 {}", asked.join(", "))]);
    for why in [
        "upstream SSL certificate verify error: (20:unable to get local issuer certificate) while SSL handshaking to upstream, client: 127.0.0.1",
        "upstream SSL certificate does not match \"db.example\" while SSL handshaking to upstream, client: 127.0.0.1",
    ] {
        proxy.log_contains(why).await;
    }
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_is_given_up_after_connect_timeout() {
    let authority = Authority::new("Specs");
    let silent = origin::speaks(|mut wire, _| async move {
        wire.rest().await;
    })
    .await;
    let good = secure(&authority.certificate(&["db.example"])).await;
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         [upstream.backend]\nservers = [\"{}\", \"{}\"]\nconnect_timeout = \"2s\"\n\
         tls = {{ ca = \"{{files}}/ca.pem\", server_name = \"db.example\" }}\n",
        silent.address(),
        good.address()
    );
    let (proxy, _files) = with_files(&authority, &file).await;
    session(&proxy).await;
    silent.has_open(0).await;
}

/// Connects, says these bytes and then shakes hands.
async fn secured(
    address: &str,
    first: &[u8],
    config: ClientConfig,
    name: &str,
) -> TlsStream<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(first).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let shaken = in_time("a handshake", connector.connect(name, stream));
    shaken.await.unwrap()
}

/// What comes until the end, which has to be in order.
async fn rest(tls: &mut TlsStream<TcpStream>) -> Vec<u8> {
    let mut heard = Vec::new();
    in_time("the end", tls.read_to_end(&mut heard))
        .await
        .unwrap();
    heard
}

/// A stream that wants a PROXY header, then ends TLS, then goes by the name; its servers want PROXY
/// headers in turn.
#[tokio::test]
async fn a_proxy_header_comes_before_tls_and_the_name_still_chooses() {
    let authority = Authority::new("Specs");
    let (a, b) = (echo("a").await, echo("b").await);
    let file = format!(
        "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         [[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"others\"\nproxy_protocol = true\n\
         tls = {{ certificate = \"{{files}}/own.pem\", key = \"{{files}}/own.key\" }}\n\
         sni = [{{ host = \"b.example\", proxy = \"named\" }}]\n\
         access_log = {{ path = \"stream.log\", format = \"$remote_addr $realip_remote_addr $ssl_server_name $upstream_addr\" }}\n\
         [upstream.others]\nservers = [\"{}\"]\n\
         [upstream.named]\nservers = [\"{}\"]\nproxy_protocol = \"v1\"\n",
        a.address(),
        b.address()
    );
    let (proxy, _files) = with_files(&authority, &file).await;
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.9 4000 443\r\n";
    let listens = proxy.address().rsplit(':').next().unwrap();
    for (number, (name, server, said)) in [
        (
            "b.example",
            &b,
            format!("b\nPROXY TCP4 192.0.2.7 127.0.0.1 4000 {listens}\r\nhello\n"),
        ),
        ("a.example", &a, "a\nhello\n".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut tls = secured(proxy.address(), header, authority.trusting(), name).await;
        tls.write_all(b"hello\n").await.unwrap();
        let mut heard = vec![0; said.len()];
        in_time("an answer", tls.read_exact(&mut heard))
            .await
            .unwrap();
        assert_eq!(String::from_utf8(heard).unwrap(), said);
        tls.shutdown().await.unwrap();
        // The end is said by `close_notify` as well, so that it does not look like a truncation
        // attack.
        assert_eq!(rest(&mut tls).await, b"");
        let lines = log_lines(&proxy, "stream.log", number + 1).await;
        let expected = format!("192.0.2.7 127.0.0.1 {name} {}", server.address());
        assert_eq!(lines[number], expected);
    }
}

#[tokio::test]
async fn a_client_without_the_certificate_that_it_needs_is_closed() {
    let authority = Authority::new("Specs");
    let server = echo("a").await;
    let file = format!(
        "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n\
         tls = {{ certificate = \"{{files}}/own.pem\", key = \"{{files}}/own.key\", client_ca = \"{{files}}/ca.pem\", \
         client_certificate = \"require\" }}\n\
         access_log = {{ path = \"stream.log\", format = \"$ssl_client_verify $ssl_client_s_dn\" }}\n",
        server.address()
    );
    let (proxy, _files) = with_files(&authority, &file).await;
    let strangers = Authority::new("Strangers").client_certificate("eve");
    for (config, why) in [
        (
            authority.trusting(),
            "client sent no required SSL certificate",
        ),
        (
            authority.trusting_as(&strangers),
            "client SSL certificate verify error: (",
        ),
    ] {
        let mut tls = secured(proxy.address(), b"", config, "a.example").await;
        assert_eq!(rest(&mut tls).await, b"", "{why}");
        proxy.log_contains(why).await;
    }
    assert_eq!(server.connections(), 0);
    let known = authority.trusting_as(&authority.client_certificate("alice"));
    let mut tls = secured(proxy.address(), b"", known, "a.example").await;
    let mut heard = [0; 2];
    in_time("an answer", tls.read_exact(&mut heard))
        .await
        .unwrap();
    assert_eq!(&heard, b"a\n");
    tls.shutdown().await.unwrap();
    assert_eq!(rest(&mut tls).await, b"");
    let lines = log_lines(&proxy, "stream.log", 1).await;
    assert!(
        lines[0].starts_with("SUCCESS ") && lines[0].contains("CN=alice"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_tls_unfinished_while_we_are_connecting_is_noticed() {
    let authority = Authority::new("Specs");
    let hangs = origin::hangs_at_connect();
    let file = format!(
        "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         tls = {{ certificate = \"{{files}}/own.pem\", key = \"{{files}}/own.key\" }}\n\
         access_log = {{ path = \"stream.log\", format = \"$status\" }}\n\
         [upstream.backend]\nservers = [\"{}\"]\n",
        hangs.address()
    );
    let (proxy, _files) = with_files(&authority, &file).await;
    drop(secured(proxy.address(), b"", authority.trusting(), "a.example").await);
    assert_eq!(log_lines(&proxy, "stream.log", 1).await, ["499"]);
}
