//! The servers of gRPC calls: this program itself, as a process of its own on the origins' core.
//!
//! nginx is no such server: it answers a POST before it has read it, and resets the stream then.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use tokio::net::TcpListener;

use crate::program::free_port;
use crate::{LOAD_CORE, PATIENCE};

/// A message with gRPC's five bytes of framing.
pub(crate) fn message() -> Vec<u8> {
    [&[0, 0, 0, 0, 100][..], &[b'x'; 100]].concat()
}

/// Three servers in a process; ended by its process id.
pub(crate) struct Servers {
    child: Child,
    pub(crate) ports: [u16; 3],
}

impl Servers {
    pub(crate) fn start() -> Servers {
        let ports = [free_port(), free_port(), free_port()];
        let child = Command::new("taskset")
            .args(["-c", LOAD_CORE])
            .arg(std::env::current_exe().expect("this program has a path"))
            .arg("--calls")
            .args(ports.map(|port| port.to_string()))
            .stdin(Stdio::null())
            .spawn()
            .expect("taskset is installed (util-linux)");
        let begun = Instant::now();
        while !ports
            .iter()
            .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        {
            assert!(begun.elapsed() < PATIENCE, "the servers do not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Servers { child, ports }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Fails only where it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves at these ports until it is ended.
pub(crate) fn serve(ports: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut accepting = tokio::task::JoinSet::new();
        for port in ports {
            let address = format!("127.0.0.1:{port}");
            let listener = TcpListener::bind(address).await.expect("the port is free");
            accepting.spawn(accept(listener));
        }
        accepting.join_next().await;
    });
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it, answers wait for the peer's acknowledgements.
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let mut settings = h2::server::Builder::new();
            settings.max_concurrent_streams(1000);
            let Ok(mut connection) = settings.handshake::<_, Bytes>(stream).await else {
                return;
            };
            let answer = Bytes::from(message());
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(call(request.into_body(), respond, answer.clone()));
            }
        });
    }
}

/// Reads a call to its end, and answers it. A caller that has left is ignored.
async fn call(mut body: RecvStream, mut respond: SendResponse<Bytes>, answer: Bytes) {
    while let Some(Ok(part)) = body.data().await {
        let _ = body.flow_control().release_capacity(part.len());
    }
    let head = http::Response::builder().header("content-type", "application/grpc");
    let head = head.body(()).expect("a response");
    let Ok(mut stream) = respond.send_response(head, false) else {
        return;
    };
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    if stream.send_data(answer, false).is_ok() {
        let _ = stream.send_trailers(trailers);
    }
}
