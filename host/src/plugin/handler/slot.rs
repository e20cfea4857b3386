//! The instance of a handler in its slot, and its call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use super::super::common::Sharing;
use super::super::component::Plugin;
use super::super::error::{ConfigureError, PluginFault};
use super::super::imports::Surroundings;
use super::super::instance::Instance;
use super::super::slot::{InstanceSlot, InstanceSpec};
use super::super::waiting::{HookRequestSender, Reachable};
use super::answer::Set;
use super::request::ClientBody;
use super::world::Handler;

/// All that it takes to make an instance of a handler.
pub(in crate::plugin) struct HandlerSpec {
    pub(super) plugin: Plugin,
    pub(super) environment: Arc<[(String, String)]>,
    pub(super) reachable: Reachable,
    /// An instance may answer more than one request: not every program is made for that.
    pub(super) reuse: bool,
}

impl InstanceSpec for HandlerSpec {
    type World = Handler;
    type Report = ();
    const MEANWHILE: &'static str = "its requests have no answer";
    // Each request may have an instance made for it anyway, and what one client brings to fail is not to
    // be gone for others.
    const LONGEST_PAUSE: Duration = Duration::from_millis(10);

    fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn make(&self) -> Result<(Box<Instance<Handler>>, Sharing), ConfigureError> {
        let surroundings = Surroundings {
            environment: self.environment.clone(),
            reachable: self.reachable.clone(),
            ..Surroundings::default()
        };
        let instance = Instance::<Handler>::new(&self.plugin, surroundings)?;
        instance.note_memory();
        Ok((Box::new(instance), Sharing::PerWorker))
    }

    fn tell(_: &mut InstanceSlot<HandlerSpec>, (): &()) {}
}

impl Instance<Handler> {
    /// `incoming-handler.handle`: returns when the handler does, which is when its answer is whole, or
    /// later. Whether it has left a body open: if that is its answer's, there will be no more of it.
    ///
    /// # Errors
    /// What it did instead of returning.
    pub(super) async fn handle(
        &mut self,
        request: http::Request<ClientBody>,
        answer: oneshot::Sender<Set>,
        requests: HookRequestSender,
    ) -> Result<bool, PluginFault> {
        let scheme = match request.uri().scheme_str() {
            Some("https") => Scheme::Https,
            _ => Scheme::Http,
        };
        let timed = self.begin();
        let mut http = self.state().http();
        let resources = http
            .new_incoming_request(scheme, request)
            .and_then(|request| Ok((request, http.new_response_outparam(answer)?)));
        let resources = resources.map_err(|error| self.fault(&error))?;
        let (function, deadline) = (self.functions.handle, self.plugin.inner().handler_deadline);
        let handled = self.call_waiting(None, deadline, requests, function, resources);
        let handled = handled.await;
        self.end(timed);
        self.note_memory();
        handled.map(|()| self.state().waiting().has_open_body())
    }
}
