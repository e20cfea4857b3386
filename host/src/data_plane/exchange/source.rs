//! Where a response's body comes from.
//!
//! Whatever sends it on asks here for what there is of it, and has what else has to go on in the
//! meantime polled: the request may still be coming in.

use std::fmt::Display;
use std::io;
use std::task::Context;
use std::time::Duration;

use super::component::{Beside, BrokenAnswer, ComponentSource};
use super::files::{FileBody, FileFailure};
use super::hooked_body::HookedBody;
use crate::data_plane::body::{BodyPipe, Incoming, Stopped, is_worth_splicing};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::content_coding::BadContent;
use crate::data_plane::stream::Writer;
use crate::data_plane::upstream::{Attempt, BodyFailure, Failure, Upload};

/// Why a response did not reach the client whole.
pub(super) enum PassError {
    /// The body is broken from its first byte: another answer is still possible.
    NothingSent(Failure),
    Source(BodyFailure),
    File(FileFailure),
    Component(BrokenAnswer),
    Client(io::Error),
    Content(BadContent),
    /// By a hook that it goes through.
    Stopped(Stopped),
}

/// Where a response's body comes from.
pub(super) enum ResponseSource<'a, 'u> {
    Upstream(UpstreamResponse<'a, 'u>),
    Component(Box<ComponentSource<'a>>),
    Ours(LocalResponse<'a>),
    /// What hooks make of either.
    Hooked(Box<HookedBody<'a, 'u>>),
}

/// A response that an endpoint sends, on a connection on which the request may still go up.
pub(super) struct UpstreamResponse<'a, 'u> {
    pub(super) attempt: Attempt,
    pub(super) upload: &'a mut Upload<'u>,
    /// Between two reads.
    pub(super) read_timeout: Duration,
    /// Called when the endpoint has sent all, before the client has it: a client that asks again at
    /// once must not find this exchange still counted.
    pub(super) endpoint_done: &'a dyn Fn(),
    /// Told what went wrong at the endpoint.
    pub(super) note_error: &'a dyn Fn(&dyn Display),
}

/// A response of our own.
pub(super) struct LocalResponse<'a> {
    pub(super) body: LocalBody<'a>,
    /// The rest of the request.
    pub(super) request: Option<Dropping<'a>>,
}

/// The body of a response of our own.
pub(super) enum LocalBody<'a> {
    /// It is there as a whole.
    Bytes(&'a [u8]),
    /// It is read as the client takes it.
    File(FileBody),
}

impl LocalBody<'_> {
    pub(super) fn unread(&self) -> &[u8] {
        match self {
            LocalBody::Bytes(bytes) => bytes,
            LocalBody::File(file) => file.unread(),
        }
    }
}

/// A request's body that is read and dropped while its answer is written: the client may send all
/// of it before it reads.
pub(super) struct Dropping<'a> {
    pub(super) body: &'a mut BodyPipe,
    pub(super) incoming: &'a mut Incoming,
    pub(super) buffers: &'a Buffers,
}

/// What has to go on while a part of a body is written to the client.
pub(super) enum Meanwhile<'m, 'u> {
    Upload {
        upload: &'m mut Upload<'u>,
        upstream: &'m mut Writer,
        /// The endpoint has sent all of its response.
        done: bool,
        /// The client did not take what is written at once.
        waited: bool,
    },
    Dropping {
        body: &'m mut BodyPipe,
        incoming: &'m mut Incoming,
        buffers: &'m Buffers,
    },
    /// The request goes on to the component that answers.
    Component(&'m mut dyn Beside),
    Nothing,
}

impl<'a, 'u> ResponseSource<'a, 'u> {
    /// Received, not yet passed on.
    pub(super) fn unread(&self) -> &[u8] {
        match self {
            ResponseSource::Upstream(response) => response.attempt.unread(),
            ResponseSource::Component(component) => component.unread(),
            ResponseSource::Ours(response) => response.body.unread(),
            ResponseSource::Hooked(hooked) => hooked.unread(),
        }
    }

    /// Whether it is there without a server, and can be waited for.
    pub(super) fn is_ours(&self) -> bool {
        match self {
            ResponseSource::Upstream(_) | ResponseSource::Component(_) => false,
            ResponseSource::Ours(_) => true,
            ResponseSource::Hooked(hooked) => hooked.source.is_ours(),
        }
    }

    /// What is unread, and what has to go on while it is written. `done`: nothing comes behind it.
    pub(super) fn unread_meanwhile(&mut self, done: bool) -> (&[u8], Meanwhile<'_, 'u>) {
        match self {
            ResponseSource::Upstream(response) => response.unread_meanwhile(done),
            ResponseSource::Component(component) => {
                let (unread, feed) = component.unread_and_feed();
                (unread, Meanwhile::Component(feed))
            }
            ResponseSource::Ours(response) => {
                let meanwhile = Meanwhile::dropping(response.request.as_mut());
                (response.body.unread(), meanwhile)
            }
            ResponseSource::Hooked(hooked) => hooked.unread_meanwhile(done),
        }
    }

    /// The file of which the kernel may send bytes to the client by itself, if it is one, and what
    /// has to go on meanwhile.
    pub(super) fn direct_file(&mut self) -> Option<(&mut FileBody, Meanwhile<'_, 'u>)> {
        match self {
            ResponseSource::Ours(LocalResponse {
                body: LocalBody::File(file),
                request,
            }) if file.is_direct() => Some((file, Meanwhile::dropping(request.as_mut()))),
            _ => None,
        }
    }

    /// The answer of an endpoint of which so much is left that the kernel had better move it, where
    /// that needs to be neither seen nor coded. All that was read of it is used up.
    pub(super) fn spliceable(&mut self, body: &BodyPipe) -> Option<&mut UpstreamResponse<'a, 'u>> {
        match self {
            ResponseSource::Upstream(response)
                if is_worth_splicing(body) && response.attempt.is_bare() =>
            {
                Some(response)
            }
            _ => None,
        }
    }

    pub(super) fn consume(&mut self, length: usize) {
        match self {
            ResponseSource::Upstream(response) => response.attempt.consume(length),
            ResponseSource::Component(component) => component.consume(length),
            ResponseSource::Ours(response) => match &mut response.body {
                LocalBody::Bytes(bytes) => *bytes = &bytes[length..],
                LocalBody::File(file) => file.consume(length),
            },
            ResponseSource::Hooked(hooked) => hooked.consume(length),
        }
    }

    /// Whether nothing more will come, as far as that is known without reading.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            ResponseSource::Upstream(response) => response.attempt.has_ended(),
            ResponseSource::Component(component) => component.has_ended(),
            ResponseSource::Ours(response) => match &response.body {
                LocalBody::Bytes(_) => true,
                LocalBody::File(file) => file.has_ended(),
            },
            ResponseSource::Hooked(hooked) => hooked.has_ended(),
        }
    }

    /// Gives back what it has of buffers.
    pub(super) fn release(&mut self, buffers: &Buffers) {
        if let ResponseSource::Ours(LocalResponse {
            body: LocalBody::File(file),
            ..
        }) = self
        {
            file.release(buffers);
        }
    }

    /// To be called when all of the body was received.
    pub(super) fn note_end(&self) {
        match self {
            ResponseSource::Upstream(response) => (response.endpoint_done)(),
            ResponseSource::Component(_) | ResponseSource::Ours(_) => {}
            ResponseSource::Hooked(hooked) => hooked.source.note_end(),
        }
    }

    /// Reads more of the body, once all that was read is used up; 0 at the end.
    ///
    /// # Errors
    /// Where it breaks off, or the client leaves.
    pub(super) async fn read(&mut self, buffers: &Buffers) -> Result<usize, PassError> {
        match self {
            ResponseSource::Upstream(response) => {
                let UpstreamResponse {
                    attempt,
                    upload,
                    read_timeout,
                    ..
                } = response;
                let read = attempt.read_body(upload, *read_timeout, buffers);
                read.await.map_err(PassError::Source)
            }
            ResponseSource::Component(component) => component.read().await,
            ResponseSource::Ours(response) => match &mut response.body {
                LocalBody::Bytes(_) => Ok(0),
                LocalBody::File(file) => file.read(buffers).await.map_err(PassError::File),
            },
            ResponseSource::Hooked(hooked) => Box::pin(hooked.read(buffers)).await,
        }
    }

    /// The trailer lines behind a body that was read to its end; those of HTTP/1 are part of its
    /// coding.
    ///
    /// # Errors
    /// As [`ResponseSource::read`].
    pub(super) async fn read_trailers(&mut self) -> Result<Vec<u8>, BodyFailure> {
        match self {
            ResponseSource::Upstream(response) => {
                response.attempt.read_trailers(response.read_timeout).await
            }
            ResponseSource::Component(component) => Ok(component.take_trailers()),
            ResponseSource::Ours(_) => Ok(Vec::new()),
            ResponseSource::Hooked(hooked) => Ok(hooked.trailers()),
        }
    }
}

impl<'u> UpstreamResponse<'_, 'u> {
    /// As [`ResponseSource::unread_meanwhile`].
    pub(super) fn unread_meanwhile(&mut self, done: bool) -> (&[u8], Meanwhile<'_, 'u>) {
        let (unread, upstream) = self.attempt.unread_and_writer();
        let meanwhile = Meanwhile::Upload {
            upload: self.upload,
            upstream,
            done,
            waited: false,
        };
        (unread, meanwhile)
    }
}

impl<'m> Meanwhile<'m, '_> {
    fn dropping(request: Option<&'m mut Dropping<'_>>) -> Self {
        request.map_or(Meanwhile::Nothing, |request| Meanwhile::Dropping {
            body: request.body,
            incoming: request.incoming,
            buffers: request.buffers,
        })
    }

    /// Whether there is something left that has to go on.
    pub(super) fn is_owed(&self) -> bool {
        match self {
            Meanwhile::Upload { upload, .. } => !upload.is_sent(),
            Meanwhile::Dropping { .. } | Meanwhile::Component(_) => true,
            Meanwhile::Nothing => false,
        }
    }

    /// To be called each time that the task is woken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        match self {
            Meanwhile::Upload {
                upload,
                upstream,
                done,
                waited,
            } => {
                if *done && std::mem::replace(waited, true) {
                    // The client may not read before it has sent all, and the endpoint, which has
                    // said all, may take no more.
                    upload.give_up();
                }
                upload.drive_or_drop(cx, upstream);
            }
            Meanwhile::Dropping {
                body,
                incoming,
                buffers,
            } => {
                // An error shows in `body` as well, and does not concern the response.
                let _ = incoming.poll_drop(cx, body, buffers);
            }
            Meanwhile::Component(beside) => beside.poll(cx),
            Meanwhile::Nothing => {}
        }
    }
}
