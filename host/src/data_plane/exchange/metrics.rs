//! All that is counted, in the text that Prometheus reads.

use std::rc::Rc;
use std::time::Duration;

use super::fault::Fault;
use super::files::method_not_allowed;
use super::local::send_text;
use super::rest::Delivered;
use super::state::Exchange;
use super::wait::watched;
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::metrics::Format;

/// How long the text is waited for: it is made by a thread that has little else to do.
const WITHIN: Duration = Duration::from_secs(10);

/// Answers with the text, in the format that the scraper takes.
///
/// # Errors
/// A [`Fault`]: the method is not one that asks for it, or there is too much to do.
pub(super) async fn serve(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: &mut BodyPipe,
) -> Result<Delivered, Fault> {
    if !matches!(exchange.request.method(), b"GET" | b"HEAD") {
        return Err(method_not_allowed());
    }
    let accept = exchange.request.fields().named(b"accept").next();
    let format = Format::accepted(accept.unwrap_or_default());
    let asked = session.worker.process.scrapes.ask(format);
    let asked = asked.ok_or(Fault::Said(503))?;
    let waiting = tokio::time::timeout(WITHIN, asked);
    let answered = watched(session, waiting).await?;
    let Ok(Ok(text)) = answered else {
        return Err(Fault::Said(503));
    };
    let content_type = format.content_type();
    Ok(send_text(session, exchange, request_body, content_type, &text).await)
}
