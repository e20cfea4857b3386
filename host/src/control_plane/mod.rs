//! Turns a configuration into something that serves, changes it while it serves, and stops it
//! again.

mod blocking; // the only way to a thread that may wait
mod resolve; // names of servers
mod uses; // what plugins are used as
mod loading; // plugins loaded beside the operator
mod registered; // one plugin and its versions
mod plugins; // all of them
mod candidates; // other versions that their entries have tried
mod tls_files; // certificates read
mod compiling; // plugins, while their fallbacks serve
mod log_files; // logs that cannot be written
mod missing; // directories that are not there, and files that cannot be written
mod variables; // those of one's own, for plugins that stay
mod hooks; // hooks made, or kept
mod components; // components likewise
mod trials; // other versions beside them
mod assemble; // policies configured, logs opened: a snapshot
mod refused_lists; // servers from elsewhere that policies do not take
mod check; // problems beyond those of the file
mod events; // what it has said of late
mod error_log; // where `tracing` writes
mod panics; // counted, and written there
mod inherited; // sockets that this process was started with
mod bind_problem; // why an address cannot be listened on
mod sockets; // listeners bound
mod workers; // workers started
mod serve; // the life of the process: start here
mod signals; // what nginx's signals ask for
mod operator; // changes while it serves
mod plugin_changes; // other versions of plugins
mod trial_changes; // ... on trial
mod publish; // how each of them ends
mod retired; // snapshots that are no longer served, freed
mod servers; // changes to an upstream's servers
mod state; // what is kept of them
mod lists; // servers that are listed elsewhere
mod preparing; // what reloads and loads of plugins need, had beside the operator
mod reloads; // a configuration read anew
mod dynamic; // upstreams that requests have named
mod watch; // plugin files that change
mod metrics; // what is counted, told
mod explain; // what would become of a request
mod admin; // the API that commands use
mod upgrade; // another process takes over
mod systemd; // notifies the service manager
mod descriptors; // how many connections there may be
mod demo; // a proxy to look at

use descriptors::connection_bounds;

pub use check::{Checked, check, check_config, load};
pub use demo::demo;
pub use descriptors::descriptors_needed;
pub(crate) use explain::{FileNotExplained, explain_file, explained_url};
pub use serve::run;
