//! A large answer on its way between two sockets that nothing is above: the kernel moves it, and we
//! say how much.

use std::task::Context;

use super::deliver::Delivery;
use super::source::{PassError, UpstreamResponse};
use super::state::SentBytes;
use crate::data_plane::body::BodyPipe;
use crate::data_plane::upstream::BodyFailure;

/// Pipes full of an answer that a client gets before others have their turn.
const TURN: u32 = 8;

impl Delivery<'_> {
    /// Passes the rest of a body on whose length is known, once all that was read of it is sent.
    /// Before its end where no pipe is to be had: then the next bytes have to be read.
    ///
    /// # Errors
    /// [`PassError`]; the client may have a part of it.
    pub(super) async fn pass_spliced(
        &mut self,
        body: &mut BodyPipe,
        response: &mut UpstreamResponse<'_, '_>,
        sent: &SentBytes,
    ) -> Result<(), PassError> {
        let mut pipe = None;
        let mut turn = TURN;
        while let Some(left) = body.length_left() {
            let read = response.attempt.splice_body(
                &mut pipe,
                usize::try_from(left).unwrap_or(usize::MAX),
                response.upload,
                response.read_timeout,
                self.buffers,
            );
            let read = read.await.map_err(PassError::Source)?;
            let (Some(read), Some(pipe)) = (read, &mut pipe) else {
                return Ok(());
            };
            if read == 0 {
                return Err(PassError::Source(BodyFailure::Closed));
            }
            body.pass_unseen(read);
            let done = body.is_done();
            if done {
                // Before the client has the last byte, as elsewhere.
                (response.endpoint_done)();
            }
            let (_, mut meanwhile) = response.unread_meanwhile(done);
            let meanwhile = |cx: &mut Context<'_>| meanwhile.poll(cx);
            let written = self.outgoing.write_pipe(pipe, meanwhile).await;
            sent.count(self.exchange, self.outgoing);
            written.map_err(PassError::Client)?;
            turn -= 1;
            if turn == 0 && !done {
                turn = TURN;
                tokio::task::yield_now().await;
            }
        }
        if let Some(pipe) = pipe {
            self.buffers.give_pipe(pipe);
        }
        Ok(())
    }
}
