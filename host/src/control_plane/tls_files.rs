//! The TLS of a configuration: certificates and authorities, read off the data path.
//!
//! Files are read when a configuration is, and when they change; never because something else has
//! changed: a broken file does not keep a plugin or a server from being exchanged.

use std::sync::Arc;

use crate::config::model::Config;
use crate::config::problem::Problem;
use crate::data_plane::worker_config::{ListenerId, Snapshot};
use crate::tls::server::Protocols;
use crate::tls::{ClientTls, ServerTls, SystemRoots, Warnings};

/// Whether files are read again where their names have not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsFiles {
    Read,
    AsTheyWere,
}

/// What the admin API speaks.
const OF_ADMIN: Protocols = &["http/1.1"];

/// In the order of the configuration.
pub(super) struct Secured {
    /// Those of listeners, then those of streams.
    pub(super) listeners: Vec<Option<Arc<ServerTls>>>,
    pub(super) upstreams: Vec<Option<Arc<ClientTls>>>,
    /// Of `[admin]`.
    pub(super) admin: Option<Arc<ServerTls>>,
}

impl Secured {
    /// `previous`: what is served now, and the listeners and streams of `config`.
    ///
    /// # Errors
    /// All problems of all files.
    pub(super) fn read(
        config: &Config,
        previous: Option<(&Snapshot, &[ListenerId])>,
        files: TlsFiles,
        warnings: &mut Warnings,
    ) -> Result<Secured, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut secured = Secured {
            listeners: Vec::new(),
            upstreams: Vec::new(),
            admin: None,
        };
        let of_listeners = config.listeners.iter().map(|listener| {
            let protocols: Protocols = match &listener.http2 {
                Some(_) => &["h2", "http/1.1"],
                None => &["http/1.1"],
            };
            (&listener.tls, protocols)
        });
        // Whatever a stream speaks is its servers' business.
        let of_streams = config.streams.iter().map(|stream| (&stream.tls, &[][..]));
        for (index, (tls, protocols)) in of_listeners.chain(of_streams).enumerate() {
            let before = previous.and_then(|(snapshot, ids)| {
                let known = snapshot.listeners.iter().position(|id| *id == ids[index])?;
                snapshot.tls[known].as_ref()
            });
            let tls = tls.as_ref().and_then(|tls| {
                let kept = before
                    .filter(|before| files == TlsFiles::AsTheyWere && before.means(tls, protocols))
                    .cloned();
                kept.or_else(|| {
                    ServerTls::build(tls, protocols, before, warnings)
                        .map_err(|found| problems.extend(found))
                        .ok()
                })
            });
            secured.listeners.push(tls);
        }
        if let Some(tls) = config.admin.as_ref().and_then(|admin| admin.tls.as_ref()) {
            let before = previous.and_then(|(snapshot, _)| snapshot.admin_tls.as_ref());
            let kept = before
                .filter(|before| files == TlsFiles::AsTheyWere && before.means(tls, OF_ADMIN))
                .cloned();
            secured.admin = kept.or_else(|| {
                ServerTls::build(tls, OF_ADMIN, before, warnings)
                    .map_err(|found| problems.extend(found))
                    .ok()
            });
        }
        let mut system = SystemRoots::default();
        let mut of_dynamic: Option<Arc<ClientTls>> = previous.and_then(|(snapshot, _)| {
            let mut dynamic = snapshot.upstreams.iter();
            dynamic.find_map(|upstream| {
                upstream.config.dynamic.as_ref()?;
                upstream.tls.clone()
            })
        });
        for (index, upstream) in config.upstreams.iter().enumerate() {
            let mut before = previous.and_then(|(snapshot, _)| {
                let before = snapshot.upstream_before(index, &upstream.name)?;
                before.tls.as_ref()
            });
            // What requests name is spoken to alike; and authorities take long to read.
            if upstream.dynamic.is_some() {
                before = of_dynamic.as_ref();
            }
            let tls = upstream.tls.as_ref().and_then(|tls| {
                let http2 = upstream.http2.is_some();
                let kept = before
                    .filter(|before| files == TlsFiles::AsTheyWere && before.means(tls, http2))
                    .cloned();
                kept.or_else(|| {
                    let first = upstream.servers.first();
                    let place = first.map(|server| server.place.clone()).unwrap_or_default();
                    ClientTls::build(tls, http2, &place, before, &mut system, warnings)
                        .map_err(|found| problems.extend(found))
                        .ok()
                })
            });
            if upstream.dynamic.is_some() && tls.is_some() {
                of_dynamic.clone_from(&tls);
            }
            secured.upstreams.push(tls);
        }
        match problems.is_empty() {
            true => Ok(secured),
            false => Err(problems),
        }
    }

    /// Whether it is what is served already.
    pub(super) fn is_served(&self, snapshot: &Snapshot) -> bool {
        let same = |(read, served): (&Option<Arc<ServerTls>>, &Option<Arc<ServerTls>>)| match (
            read, served,
        ) {
            (Some(read), Some(served)) => Arc::ptr_eq(read, served),
            (None, None) => true,
            _ => false,
        };
        let same_listeners = self.listeners.iter().zip(&snapshot.tls).all(same)
            && same((&self.admin, &snapshot.admin_tls));
        let mut upstreams = self.upstreams.iter().zip(&snapshot.upstreams);
        same_listeners && upstreams.all(|(read, served)| served.speaks(read.as_ref()))
    }
}
