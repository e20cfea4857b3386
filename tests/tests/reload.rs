//! The configuration changes while requests are being served: no client and no server notices, and
//! what the proxy knows of its servers stays.

mod exchanges; // what a request meets
mod connections; // those that are open
mod servers; // what is known of servers
mod refusals; // files that cannot be served
mod listeners; // addresses come and go
mod settings; // what holds for the process
mod storms; // hundreds of them, under load
mod at_run_time; // servers, without a file

use std::time::Duration;

use rustix::process::Signal;
use waypost_tests::admin::ADMIN;
use waypost_tests::{
    Answer, Client, Gate, Origin, Proxy, Wire, eventually, not_yet, origin, pause, proxy,
};

const ONE: &str = "workers = 1";
/// A route that answers by itself.
const NEW: &str = "[[route]]\npath = \"/new\"\nreturn = { status = 200, body = \"new\" }\n";

/// A listener on a unix socket.
const FRONT: &str = "[[listen]]\naddress = \"unix:{dir}/front.sock\"\n";

/// An origin that answers `/held` once the gate is open, and everything else at once; `what` it
/// says, always.
async fn holding(what: Answer, gate: &Gate) -> Origin {
    let gate = gate.clone();
    origin::answers(move |request| match request.target.as_str() {
        "/held" => what.clone().when(&gate),
        _ => Answer::ok("at once"),
    })
    .await
}

/// A client whose request has arrived at the origin.
async fn waiting(address: &str, origin: &Origin) -> Client {
    let arrived = origin.requests().len();
    let mut client = Client::connect(address).await;
    client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(arrived + 1).await;
    client
}

/// A GET on a kept connection, which must be kept.
async fn kept(client: &mut Client, target: &str) -> String {
    let response = client.get(target).await;
    assert_eq!(response.headers.get("Connection"), None, "{response:?}");
    response.text()
}

async fn refuses(address: &str) {
    eventually("the listener to close", async || {
        Wire::connect(address).await.is_err()
    })
    .await;
}
