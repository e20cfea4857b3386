//! Puts a configuration in force: the end of every change.
//!
//! A snapshot is built off the data path, sockets are bound, state is handed over, and then every
//! worker changes over between two requests. Whatever fails before that leaves everything as it
//! was.

use std::sync::Arc;

use super::assemble::{Parts, assemble, hand_over, tell_of_endpoints};
use super::blocking::{BRIEF, FILES, SNAPSHOT, run_blocking};
use super::connection_bounds;
use super::inherited::Inherited;
use super::operator::{ChangeRefused, Operator, Published};
use super::plugins::PluginRegistry;
use super::resolve;
use super::retired::free_when_unused;
use super::sockets::{Sockets, remove_files};
use super::tls_files::TlsFiles;
use crate::config::model::{AdminConfig, BindKind, Config};
use crate::config::problem::Problem;
use crate::names::Resolution;

/// What a configuration is to be served with.
pub(super) struct Plan {
    pub(super) registry: PluginRegistry,
    pub(super) resolution: Resolution,
    pub(super) files: TlsFiles,
}

impl Plan {
    /// With everything as it is.
    pub(super) fn of(present: &Published) -> Plan {
        Plan {
            registry: present.registry.clone(),
            resolution: present.resolution.clone(),
            files: TlsFiles::AsTheyWere,
        }
    }

    pub(super) fn with_registry(self, registry: PluginRegistry) -> Plan {
        Plan { registry, ..self }
    }
}

impl Operator {
    /// Builds a snapshot and has the workers serve it. Nothing has changed unless this is `Ok`.
    pub(super) async fn publish(
        &mut self,
        mut config: Config,
        plan: Plan,
    ) -> Result<u64, ChangeRefused> {
        let Plan {
            registry,
            resolution,
            files,
        } = plan;
        let present = self.published.load_full();
        let before = self.sockets.borrow().clone();
        let failed = |error: anyhow::Error| ChangeRefused::Failed(format!("{error:#}"));
        settle(&mut config, &present.snapshot.config);
        let resolution = resolution.only(&resolve::names(&config));
        let bounds = connection_bounds(&config).map_err(failed)?;
        let (binds, bound) = (config.binds(), before.clone());
        let workers = self.workers.stats().workers;
        let admin = config.admin.as_ref().map(|admin| admin.address.clone());
        let bind = move || {
            let none = &mut Inherited::default();
            Sockets::bind(&binds, workers, &bound, none, admin.as_ref())
        };
        let sockets = run_blocking("opening listeners", FILES, bind).await?;
        let sockets = sockets.map_err(|problem| vec![problem])?;
        let opened = sockets.without(&before);
        let (selection, listeners) = (registry.selection(), sockets.ids());
        let trials = registry.trials();
        let (logs, exporters) = (self.logs.clone(), self.exporters.clone());
        let previous = present.snapshot.clone();
        let names = resolution.clone();
        let built = run_blocking("configuring policies", SNAPSHOT, move || {
            let snapshot = assemble(Parts {
                config,
                plugins: selection,
                trials,
                resolution: &names,
                files,
                listeners,
                previous: Some(&previous),
                logs: &logs,
                exporters: &exporters,
            })?;
            hand_over(&previous, &snapshot).map_err(|problem| vec![problem])?;
            Ok::<_, Vec<Problem>>(Arc::new(snapshot))
        });
        let built: Result<_, ChangeRefused> = async {
            let snapshot = built.await??;
            // A drain that began meanwhile has closed the sockets: it must not get others.
            self.not_ending()?;
            sockets
                .set_backlogs(&snapshot.config.binds())
                .map_err(failed)?;
            let shares = self.workers.share_out(&opened);
            let shares = shares.map_err(|error| failed(error.into()))?;
            let (before, next) = (present.snapshot.clone(), snapshot.clone());
            let tell = move || tell_of_endpoints(&before, &next);
            // Nothing refuses the change from here on, or instances would know of endpoints that
            // are never served. One that is not told in time is told before its next call.
            if let Err(late) = run_blocking("telling policies of endpoints", SNAPSHOT, tell).await {
                tracing::warn!("{late}");
            }
            self.not_ending()?;
            Ok((snapshot, shares))
        }
        .await;
        let (snapshot, shares) = match built {
            Ok(built) => built,
            Err(refused) => {
                clean_up(&opened.elsewhere_than(&before)).await;
                return Err(refused);
            }
        };
        self.workers.bound_connections(bounds);
        self.error_log
            .set_level(snapshot.config.server.error_log.level);
        let closed = before.without(&sockets);
        let generation = snapshot.generation;
        registry.note_serving(Some(&present.registry));
        // Before the workers are told: one that dies and is replaced meanwhile begins with all of
        // it, and a drain closes these sockets.
        self.published.store(Arc::new(Published {
            snapshot: snapshot.clone(),
            registry,
            addresses: sockets.addresses_of(BindKind::Listener),
            streams: sockets.addresses_of(BindKind::Stream),
            reloads: present.reloads.clone(),
            resolution,
        }));
        self.sockets.replace(sockets);
        free_when_unused(present.snapshot.clone());
        self.health.follow(&snapshot.upstreams);
        self.acme.follow(&snapshot.config);
        self.workers.serve(&snapshot, shares).await;
        for address in opened.addresses() {
            tracing::info!("listening on {address}");
        }
        for address in closed.addresses() {
            tracing::info!("no longer listening on {address}");
        }
        let gone = closed.elsewhere_than(&self.sockets.borrow());
        clean_up(&gone).await;
        self.watcher
            .follow(&snapshot.config, snapshot.watched_files())
            .await;
        Ok(generation)
    }

    pub(super) fn republish(&self, change: impl FnOnce(&mut Published)) {
        let present = self.published.load();
        let mut published = Published {
            snapshot: present.snapshot.clone(),
            registry: present.registry.clone(),
            addresses: present.addresses.clone(),
            streams: present.streams.clone(),
            reloads: present.reloads.clone(),
            resolution: present.resolution.clone(),
        };
        change(&mut published);
        self.published.store(Arc::new(published));
    }
}

/// Keeps what is settled for as long as this process lives, whatever a configuration says.
fn settle(config: &mut Config, present: &Config) {
    config.server.workers = present.server.workers;
    config.server.plugin_cache = present.server.plugin_cache.clone();
    config.server.error_log.path = present.server.error_log.path.clone();
    settle_admin(&mut config.admin, present.admin.as_ref());
    config.metrics = present.metrics.clone();
}

/// Where commands come in stays as long as the process does. Who may give them there is as the
/// configuration says, if it means that place. If it means another one, what it says is for there:
/// here the tokens count that it still has, and a place that asks for one goes on asking.
fn settle_admin(wanted: &mut Option<AdminConfig>, present: Option<&AdminConfig>) {
    let Some(present) = present else {
        *wanted = None;
        return;
    };
    let is_there = |wanted: &AdminConfig| {
        wanted.address == present.address && wanted.tls.is_some() == present.tls.is_some()
    };
    if wanted.as_ref().is_some_and(is_there) {
        return;
    }
    let tokens = wanted
        .take()
        .map(|wanted| wanted.tokens)
        .unwrap_or_default();
    *wanted = Some(AdminConfig {
        tokens,
        ..present.clone()
    });
}

/// Removes the files of unix sockets that have been closed.
async fn clean_up(gone: &Sockets) {
    let files = gone.files();
    if files.is_empty() {
        return;
    }
    if let Err(late) = run_blocking("removing files of sockets", BRIEF, move || {
        remove_files(&files);
    })
    .await
    {
        tracing::error!("{late}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn admin(text: &str) -> Option<AdminConfig> {
        let file = format!(
            "{text}\n[[listen]]\naddress = \"127.0.0.1:80\"\n[[route]]\nreturn = {{ body = \"a\" }}"
        );
        let config = crate::config::parse(&file, std::path::Path::new("test.toml"));
        config.unwrap().admin
    }

    /// No pair of a configuration before and one after opens what asked for a token.
    #[test]
    fn what_asks_for_a_token_does_so_until_its_address_is_said_to_need_none() {
        let token = |name: &str, digit: &str| {
            let hash = digit.repeat(64);
            format!("[[admin.tokens]]\nname = \"{name}\"\nrole = \"read\"\nsha256 = \"{hash}\"\n")
        };
        let tls = "tls = { certificate = \"a.pem\", key = \"a.key\" }\n";
        let at = |address: &str, more: &str| format!("[admin]\naddress = \"{address}\"\n{more}");
        let (one, other) = (token("one", "a"), token("other", "b"));
        let kinds = [
            String::new(),
            at("unix:/run/admin.sock", ""),
            at("unix:/run/admin.sock", &one),
            at("127.0.0.1:9180", ""),
            at("127.0.0.1:9180", tls),
            at("127.0.0.1:9180", &one),
            at("127.0.0.1:9180", &format!("{one}{other}")),
            at("127.0.0.1:9180", &format!("{tls}{one}")),
            at("10.0.0.5:9180", &format!("{tls}{other}")),
        ];
        for before in kinds.iter().map(|kind| admin(kind)) {
            for after in kinds.iter().map(|kind| admin(kind)) {
                let mut settled = after.clone();
                settle_admin(&mut settled, before.as_ref());
                let Some(present) = &before else {
                    assert!(settled.is_none(), "nothing listens");
                    continue;
                };
                let settled = settled.unwrap();
                assert_eq!(settled.address, present.address);
                assert_eq!(settled.tls.is_some(), present.tls.is_some());
                let same = after.as_ref().is_some_and(|after| {
                    after.address == present.address && after.tls.is_some() == present.tls.is_some()
                });
                let asks = match (&after, same) {
                    (Some(after), true) => after.asks_for_tokens,
                    _ => present.asks_for_tokens,
                };
                assert_eq!(settled.asks_for_tokens, asks, "{before:?} {after:?}");
                let kept = after.map(|after| after.tokens).unwrap_or_default();
                assert_eq!(settled.tokens, kept, "a token that is gone lets nobody in");
            }
        }
    }
}
