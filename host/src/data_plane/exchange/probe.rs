//! Whether this process wants requests, for load balancers and orchestrators that ask: `/healthz`,
//! `/readyz`.

use std::rc::Rc;

use super::fault::Fault;
use super::files::method_not_allowed;
use super::local::{LocalAnswer, send_whole};
use super::rest::Delivered;
use super::state::Exchange;
use crate::config::model::Probe;
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;

/// Answers 200 as long as that is so, or else 503: for whoever asks, the answer is the status. No
/// page takes its place, and no cache keeps it.
///
/// # Errors
/// A [`Fault`]: the method is not one that asks.
pub(super) async fn serve(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    probe: Probe,
    request_body: &mut BodyPipe,
) -> Result<Delivered, Fault> {
    if !matches!(exchange.request.method(), b"GET" | b"HEAD") {
        return Err(method_not_allowed());
    }
    let is_leaving = session.worker.process.is_leaving();
    let (status, body): (_, &[u8]) = match probe {
        Probe::Ready if is_leaving => (503, b"draining\n"),
        Probe::Live | Probe::Ready => (200, b"ok\n"),
    };
    let answer = LocalAnswer::text(status, body);
    let field: (&str, &[u8]) = ("Cache-Control", b"no-store");
    Ok(send_whole(session, exchange, Some(request_body), &answer, field).await)
}
