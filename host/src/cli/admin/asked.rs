//! For a command that runs a proxy of its own: what it asks of it.

use std::path::Path;

use anyhow::Context;
use hyper::Method;

use super::client::{AdminClient, Content, PATIENT, segment};
use super::{CommandFailed, plugin, printable, understood};
use crate::admin_api::{PluginStatus, ProcessStatus};
use crate::config::model::Address;

/// A process that is asked by one thread.
pub(in crate::cli) struct Asked {
    client: AdminClient,
    runtime: tokio::runtime::Runtime,
}

impl Asked {
    pub(in crate::cli) fn new(address: Address) -> anyhow::Result<Asked> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start an event loop")?;
        let client = AdminClient::new(address);
        Ok(Asked { client, runtime })
    }

    /// The address of its first listener.
    pub(in crate::cli) fn listener(&self) -> anyhow::Result<String> {
        let status = self.runtime.block_on(self.client.get("/status"));
        let status: ProcessStatus = status.and_then(understood).map_err(told)?;
        let mut listeners = status.listeners.into_iter();
        listeners.next().context("the process has no listener")
    }

    /// Has it load another version of a plugin; the number that this has.
    pub(in crate::cli) fn load_plugin(&self, name: &str, file: &Path) -> anyhow::Result<u64> {
        let component = plugin::component(file).map_err(told)?;
        let path = format!("/plugins/{}/load", segment(name));
        let content = Content::Component {
            bytes: component,
            signature: None,
        };
        let asked = self.client.ask(Method::POST, &path, content, PATIENT);
        let status = self.runtime.block_on(asked);
        let status: PluginStatus = status.and_then(understood).map_err(told)?;
        Ok(status.version)
    }
}

fn told(failure: CommandFailed) -> anyhow::Error {
    anyhow::anyhow!("{}", printable(&failure.to_string()))
}
