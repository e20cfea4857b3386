//! Watches the sources, builds, and loads what came out into the proxy. What cannot be built or
//! loaded is shown, and the version before goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::sources::Sources;
use super::{build, requests, say};
use crate::cli::admin::Asked;
use crate::config::model::{Address, PluginProject};

/// Until the proxy answers its commands.
const START: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Builder {
    pub(super) admin: Address,
    pub(super) rate: u16,
    pub(super) project: PluginProject,
    pub(super) sources: Sources,
    /// No requests meanwhile, so that what a compiler says stands by itself.
    pub(super) paused: Arc<AtomicBool>,
}

impl Builder {
    /// Until the process ends.
    pub(super) fn run(mut self) {
        let ended = self.serve();
        if let Err(error) = ended {
            let _ = say(&format!("\n{error:#}\n"));
        }
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        let proxy = Asked::new(self.admin.clone())?;
        let address = listener(&proxy)?;
        let name = &self.project.name;
        say(&format!(
            "\n`{name}` decides at http://{address}/: requests of your own are shown as well. \
             Ctrl-C ends it.\n\n"
        ))?;
        requests::start(address.parse()?, self.rate, &self.paused);
        let mut version = 1;
        loop {
            let changed = self.sources.changed();
            self.paused.store(true, Relaxed);
            say(&format!("\nchanged: {changed}\n"))?;
            let component = &self.project.component;
            let loaded = build::make(&self.project)
                .and_then(|()| proxy.load_plugin(&self.project.name, component));
            match loaded {
                Ok(loaded) => {
                    version = loaded;
                    say(&format!("\nversion {version} decides from here on\n\n"))?;
                }
                Err(error) => say(&format!("\n{error:#}\n\nversion {version} goes on\n\n"))?,
            }
            self.paused.store(false, Relaxed);
        }
    }
}

/// The proxy's address, once it serves.
fn listener(proxy: &Asked) -> anyhow::Result<String> {
    let began = Instant::now();
    loop {
        match proxy.listener() {
            Ok(address) => return Ok(address),
            Err(error) if began.elapsed() > START => return Err(error),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
