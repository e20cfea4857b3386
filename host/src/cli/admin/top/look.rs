//! What a process answers at one moment: one question after the other.

use std::time::Instant;

use super::super::client::AdminClient;
use super::super::{CommandFailed, understood};
use super::figures::Counters;
use crate::admin_api::{
    EventList, EventStatus, PluginList, PluginStatus, ProcessStatus, UpstreamList, UpstreamStatus,
};

pub(super) struct Look {
    /// When the counters were told.
    pub(super) at: Instant,
    pub(super) status: ProcessStatus,
    pub(super) upstreams: Vec<UpstreamStatus>,
    pub(super) plugins: Vec<PluginStatus>,
    pub(super) events: Vec<EventStatus>,
    pub(super) counters: Counters,
}

impl Look {
    pub(super) async fn at(client: &AdminClient) -> Result<Look, CommandFailed> {
        let status = understood(client.get("/status").await?)?;
        let UpstreamList { upstreams } = understood(client.get("/upstreams").await?)?;
        let PluginList { plugins } = understood(client.get("/plugins").await?)?;
        let EventList { events } = understood(client.get("/events").await?)?;
        let metrics = client.text("/metrics").await?;
        Ok(Look {
            at: Instant::now(),
            status,
            upstreams,
            plugins,
            events,
            counters: Counters::read(&metrics),
        })
    }
}
