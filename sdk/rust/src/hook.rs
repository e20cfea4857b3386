//! What a hook implements: [`Hook`] always, and a trait for each phase that it has a use for.

use crate::{Body, Call, Settings, SettingsError, Sharing, Summary, Verdict};

/// Decides about requests before they are balanced, and sees their responses and their ends.
///
/// The host calls [`configure`](Hook::configure) once, [`attach`](Hook::attach) for each place that
/// uses the hook, and then the phases of exchanges. Calls never overlap. A call that panics or
/// overruns its deadline costs the instance, and the request what `on_error` says.
pub trait Hook: Sized {
    /// Makes the hook from what the configuration says once, in `[hook.NAME]` or where it is used.
    ///
    /// # Errors
    /// Settings that make no sense. The host reports the message at the line of the key. End with
    /// [`Settings::finish`], which refuses keys that no getter asked for.
    fn configure(settings: Settings) -> Result<Self, SettingsError>;

    /// How many instances there are.
    fn sharing(&self) -> Sharing;

    /// Takes what one place says for itself: called for places 0, 1, ... before traffic. Without
    /// this function no place may say anything.
    ///
    /// # Errors
    /// As for [`configure`](Hook::configure).
    fn attach(&mut self, place: usize, settings: Settings) -> Result<(), SettingsError> {
        let _ = place;
        settings.finish()
    }
}

/// Decides about a request when its head is there, or about a session of a stream that begins.
/// Exported by `export_hook!(Mine, on_request)`.
pub trait OnRequest: Hook {
    /// What is to become of it. This is the hot call: it runs for every request.
    fn on_request(&mut self, call: &Call) -> Verdict;
}

/// Hears the answer to [`Call::checks`], which [`Verdict::Wait`] has waited for. Exported by
/// `export_hook!(Mine, on_request, on_check)`.
pub trait OnCheck: OnRequest {
    /// What is to become of the request, now that the check is done. If the host could not do it,
    /// the exchange fails as if the hook had, without this call.
    fn on_check(&mut self, call: &Call, passed: bool) -> Verdict;
}

/// Sees the head of an answer that is about to be sent: a server's, the host's, or a hook's.
/// Exported by `export_hook!(Mine, on_response)`.
pub trait OnResponse: Hook {
    /// Changes to response headers and attributes count, all others come too late. It is asked a
    /// second time about one exchange where the first head never left, because its body was broken
    /// from the start: what was changed of the headers of that answer is undone.
    fn on_response(&mut self, call: &Call);
}

/// Sees the body of a request, if it has asked for it: see [`Call::bodies`]. Exported by
/// `export_hook!(Mine, on_request, on_request_body)`.
pub trait OnRequestBody: OnRequest {
    /// What is to become of the request, or of a piece of its body. Without a call of
    /// [`Bodies::set`](crate::Bodies::set) the bytes go on as they are.
    ///
    /// A body as a whole comes before the request is balanced: all verdicts are possible, and so are
    /// all changes that `on_request` may make. Of a body in pieces, [`Verdict::Proceed`] and
    /// [`Verdict::Answer`] are; the latter while the client has no answer yet. Pieces of several
    /// exchanges interleave: tell them apart by [`Call::exchange`]. A body that breaks off has no
    /// last piece: [`OnEnd`] tells.
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict;
}

/// Sees the body of an answer, if it has asked for it: see [`Call::bodies`]. Exported by
/// `export_hook!(Mine, on_response, on_response_body)`.
pub trait OnResponseBody: OnResponse {
    /// As [`OnRequestBody::on_request_body`]. [`Verdict::Proceed`] and [`Verdict::Answer`] are
    /// possible: the latter while the client has nothing of the answer yet, as always with a body as a
    /// whole.
    fn on_response_body(&mut self, call: &Call, body: Body) -> Verdict;
}

/// Sees the end of an exchange. Exported by `export_hook!(Mine, on_end)`.
pub trait OnEnd: Hook {
    /// Exactly one call for each `on_request` that returned, whatever it answered and whatever
    /// happened between. Of what an instance that failed was asked, none is told to the instance
    /// that follows it: that one starts with nothing to count. For a hook without `on_request`, one
    /// for each exchange that passed its place.
    fn on_end(&mut self, call: &Call, summary: &Summary);
}
