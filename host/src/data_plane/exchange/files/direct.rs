//! A file on its way to a client whose socket has nothing above it: what the kernel has in memory
//! it sends by itself, and what it would have to wait for is read and written as elsewhere.

use std::task::Context;

use super::FileBody;
use crate::data_plane::exchange::deliver::Delivery;
use crate::data_plane::exchange::source::{Meanwhile, PassError};

impl Delivery<'_> {
    /// Passes all of a file on, behind the head that is all of `out`.
    ///
    /// # Errors
    /// [`PassError`]; the client may have a part of it.
    pub(in crate::data_plane::exchange) async fn pass_file(
        &mut self,
        file: &mut FileBody,
        mut meanwhile: Meanwhile<'_, '_>,
        out: &mut Vec<u8>,
    ) -> Result<(), PassError> {
        let head = out.len();
        let sent = self.begin(out, head, false).map_err(PassError::Client)?;
        let mut meanwhile = |cx: &mut Context<'_>| meanwhile.poll(cx);
        loop {
            let read = file.unread();
            let written = match read {
                [] => self.outgoing.write_ahead(out, &mut meanwhile).await,
                read => self.outgoing.write_while(out, read, &mut meanwhile).await,
            };
            // Also where the write has failed: the access log tells how much has left.
            sent.count(self.exchange, self.outgoing);
            written.map_err(PassError::Client)?;
            file.consume(read.len());
            self.buffers.give(std::mem::take(out));
            if let Some((held, range)) = file.direct(self.buffers) {
                let written = self.outgoing.send_file(held, range, &mut meanwhile).await;
                sent.count(self.exchange, self.outgoing);
                written.map_err(PassError::Client)?;
            }
            if file.read(self.buffers).await.map_err(PassError::File)? == 0 {
                return Ok(());
            }
        }
    }
}
