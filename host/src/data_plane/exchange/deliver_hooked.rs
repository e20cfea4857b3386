//! A response on its way to the client through hooks that want its body.
//!
//! Its head leaves as soon as it is known what the head has to say: behind all of the body where a
//! hook wants that, else with what is there of it. A hook that fails before that gets the client an
//! error; behind it, the answer is cut.

use super::body_hooks::BodyHooks;
use super::configured::Configured;
use super::content::{self, Coded, HookedHead};
use super::deliver::Delivery;
use super::head::route_of;
use super::hooked_body::HookedBody;
use super::source::{LocalBody, LocalResponse, PassError, ResponseSource};
use crate::data_plane::body::{BodyPipe, Stage, Stopped};
use crate::data_plane::content_coding::{Recoder, Recoding};
use crate::data_plane::upstream::{BodyFailure, Failure};
use crate::http::framing::Framing;
use crate::plugin::Untrusted;

impl Delivery<'_> {
    /// As [`Delivery::pass`], through hooks.
    ///
    /// # Errors
    /// As [`Delivery::pass`].
    pub(super) async fn pass_hooked<'a, 'u>(
        &mut self,
        mut hooks: Box<BodyHooks>,
        body: &mut BodyPipe,
        source: &mut ResponseSource<'a, 'u>,
        out: &mut Vec<u8>,
    ) -> Result<(), PassError> {
        let coded = content::coded(out);
        let gunzip = match hooks.want_decoded() {
            true => match coded {
                Coded::Plainly => None,
                Coded::InGzip => {
                    let decoding = Recoding {
                        gunzip: true,
                        compress: None,
                        length: None,
                    };
                    let decoder = Recoder::new(&decoding, &self.exchange.worker.encoders);
                    Some(decoder.ok_or_else(|| {
                        let why = "there is no memory to decompress a body for hooks";
                        self.stopped(Stopped::Hook(Untrusted::message(why)))
                    })?)
                }
                Coded::Otherwise => {
                    hooks.leave_out_decoded();
                    None
                }
            },
            false => None,
        };
        let has_body = content::has_body(out, self.exchange.request.method());
        if hooks.is_empty() || (!has_body && !content::stands_for_one(out)) {
            return self.pass_straight(body, source, out).await;
        }
        let length = body.length_left();
        let nothing = ResponseSource::Ours(LocalResponse {
            body: LocalBody::Bytes(&[]),
            request: None,
        });
        let mut hooked = HookedBody {
            source: std::mem::replace(source, nothing),
            body: std::mem::replace(body, BodyPipe::of_response(Framing::Length(0))),
            ended: !has_body,
            gunzip,
            hooks,
            out: Vec::new(),
            gone: 0,
        };
        let begun = match has_body {
            true => hooked.begin(self.buffers).await,
            false => Ok(()),
        };
        let passed = match begun {
            Ok(()) => {
                let pipe = self.write_hooked_head(&hooked, length, out);
                *source = ResponseSource::Hooked(Box::new(hooked));
                let (mut pipe, nothing) = (pipe, &mut *source);
                let passed = self.pass_straight(&mut pipe, nothing, out).await;
                passed.map_err(|error| self.noted(error))
            }
            Err(error) => {
                let error = self.noted(error);
                hooked.give_back(body, source);
                return Err(error);
            }
        };
        let nothing = ResponseSource::Ours(LocalResponse {
            body: LocalBody::Bytes(&[]),
            request: None,
        });
        if let ResponseSource::Hooked(hooked) = std::mem::replace(source, nothing) {
            hooked.give_back(body, source);
        }
        self.warn_of_trailers(body);
        passed
    }

    /// That a body goes no further, of which nothing has left.
    fn stopped(&self, stopped: Stopped) -> PassError {
        self.exchange.hooked.spare_answer();
        PassError::NothingSent(Failure::Stopped(Box::new(stopped)))
    }

    /// An error, as it is while nothing has left.
    fn noted(&self, error: PassError) -> PassError {
        if self.exchange.stats.head_sent.get() {
            return error;
        }
        PassError::NothingSent(match error {
            PassError::Stopped(stopped) => return self.stopped(stopped),
            PassError::NothingSent(Failure::Stopped(stopped)) => return self.stopped(*stopped),
            PassError::Source(failure) => match failure {
                BodyFailure::Read(error) => Failure::Read(error),
                BodyFailure::TimedOut => Failure::ReadTimeout,
                BodyFailure::Closed => Failure::Closed,
                BodyFailure::BadChunk => Failure::InvalidBody,
                BodyFailure::ClientGone => Failure::ClientGone,
                BodyFailure::Request(error) => Failure::Request(error),
            },
            PassError::Content(what) => Failure::InvalidContent(what),
            error => return error,
        })
    }

    /// Writes the head anew as hooks have made it. `length`: of what comes, where that is known.
    /// How what goes on is framed.
    fn write_hooked_head(
        &mut self,
        hooked: &HookedBody<'_, '_>,
        length: Option<u64>,
        out: &mut Vec<u8>,
    ) -> BodyPipe {
        let decoded = hooked.gunzip.is_some();
        let is_there = hooked.ended && hooked.body.trailers().is_empty();
        let has_body = content::has_body(out, self.exchange.request.method());
        let known = (is_there && has_body).then_some(hooked.out.len() as u64);
        // With all of it at hand, it is known whether it is another one.
        let changes = match known {
            Some(_) => decoded || !hooked.hooks.left_as_it_was(),
            None => decoded || hooked.hooks.changes(),
        };
        let exchange = self.exchange.clone();
        let worker_config = exchange.worker_config.clone();
        let route = route_of(&worker_config, &exchange);
        let configured = Configured::of(&exchange, route, content::status(out));
        let head = HookedHead {
            changes,
            decoded,
            length: known,
            fields: &hooked.hooks.fields,
            is_settled: &|name| configured.replace(name),
            is_sent: has_body,
        };
        head.write(self, out);
        BodyPipe::of_response(match (known, length) {
            _ if !has_body => Framing::Length(0),
            (Some(length), _) if changes => Framing::Length(length),
            (_, Some(length)) if !changes => Framing::Length(length),
            _ => Framing::UntilClose,
        })
    }
}
