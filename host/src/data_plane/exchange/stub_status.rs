//! The counts of connections and requests, as nginx's `stub_status` tells them to those who watch.

use std::rc::Rc;

use super::fault::Fault;
use super::files::method_not_allowed;
use super::local::send_text;
use super::rest::Delivered;
use super::state::Exchange;
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::process::Process;
use crate::data_plane::standing::Standings;

/// Answers with the counts.
///
/// # Errors
/// A [`Fault`]: the method is not one that asks for them.
pub(super) async fn serve(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: &mut BodyPipe,
) -> Result<Delivered, Fault> {
    if !matches!(exchange.request.method(), b"GET" | b"HEAD") {
        return Err(method_not_allowed());
    }
    let text = text(&session.worker.process);
    Ok(send_text(session, exchange, request_body, "text/plain", &text).await)
}

/// The blanks at the ends of lines are nginx's (`ngx_http_stub_status_handler`): there are programs
/// that take the text apart by them.
fn text(process: &Process) -> String {
    let Standings {
        requests,
        reading,
        writing,
        waiting,
    } = process.standings();
    let (active, accepted) = (process.connections(), process.accepted());
    // None that was accepted is dropped: all are handled.
    format!(
        "Active connections: {active} \n\
         server accepts handled requests\n \
         {accepted} {accepted} {requests} \n\
         Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
    )
}
