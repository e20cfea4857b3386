//! Everything at once, for as long as asked: clients of every protocol, hostile ones, servers that
//! die and hang, names that change, reloads and swaps of a plugin.
//!
//! ```sh
//! cargo build --release
//! cargo bench -p waypost-tests --bench soak -- [--minutes 60] [--seed 1] [--results DIR]
//! ```
//!
//! At its end it says what the clients met, and whether the process kept within bounds: every request
//! that has a server which could answer it is answered, and memory, descriptors and latencies stay
//! where they were after the first minutes. The exit code is 1 where a bound is broken. Ten minutes
//! without `--minutes`. The same seed makes the same kinds of trouble, not the same moments.
//! `WAYPOST_BIN` names another binary than that of the workspace.

#![allow(
    clippy::expect_used,
    reason = "a benchmark reports a broken setup by panicking"
)]

mod tally; // what clients met
mod servers; // what they ask, and what befalls it
mod site; // the configuration before those
mod clients; // who behaves
mod hostile; // who does not
mod trouble; // what operators, machines and networks do meanwhile
mod watch; // what the process takes
mod verdict; // whether all of it is within bounds

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::watch::Sender;
use tokio::task::JoinSet;

use self::servers::Servers;
use self::site::Site;
use self::tally::Tally;
use self::verdict::Verdict;
use self::watch::Watch;

/// What the command line says.
struct Arguments {
    span: Duration,
    seed: u64,
    results: Option<PathBuf>,
}

fn arguments() -> Arguments {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        Some(
            words
                .get(at + 1)
                .unwrap_or_else(|| panic!("{name} wants a value")),
        )
    };
    let number = |name: &str, default: u64| {
        after(name).map_or(default, |value| {
            let number = value.parse();
            number.unwrap_or_else(|_| panic!("{name} wants a whole number, not `{value}`"))
        })
    };
    Arguments {
        span: Duration::from_secs(60 * number("--minutes", 10).max(1)),
        seed: number("--seed", 1),
        results: after("--results").map(PathBuf::from),
    }
}

fn main() -> ExitCode {
    if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
        std::env::set_current_dir(Path::new(&package).join("..")).expect("the workspace is there");
    }
    let arguments = arguments();
    let runtime = Builder::new_current_thread().enable_all().build();
    let verdict = runtime.expect("a runtime").block_on(soak(&arguments));
    let text = verdict.text();
    println!("{text}");
    if let Some(folder) = &arguments.results {
        std::fs::create_dir_all(folder).expect("the folder of the results can be made");
        std::fs::write(folder.join("soak.md"), &text).expect("it can be written");
        std::fs::write(folder.join("soak.csv"), verdict.raw()).expect("it can be written");
    }
    match verdict.is_kept() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

async fn soak(arguments: &Arguments) -> Verdict {
    let mut servers = Servers::start().await;
    let mut site = Site::start(&servers).await;
    let (met, meanwhile) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut watch = Watch::before(&mut site);

    let mut loads = JoinSet::new();
    clients::start(&mut loads, &site, &met, &stopped);
    hostile::start(&mut loads, &site, &meanwhile, &stopped, arguments.seed);
    let began = Instant::now();
    let mut random = fastrand::Rng::with_seed(arguments.seed);
    while began.elapsed() < arguments.span {
        tokio::time::sleep(Duration::from_secs(1)).await;
        trouble::next(&mut servers, &site, &meanwhile, &mut random).await;
        watch.look(&mut site, began.elapsed());
    }
    servers.all_serve().await;
    let went_on = end(stop, loads).await;
    let after = watch.after(&mut site).await;
    Verdict {
        met,
        meanwhile,
        watch,
        after,
        went_on,
        span: arguments.span,
        seed: arguments.seed,
    }
}

/// Has everybody end what is under way: whether all of them went on until then.
async fn end(stop: Sender<bool>, mut loads: JoinSet<()>) -> bool {
    stop.send_replace(true);
    let mut went_on = true;
    while let Some(ended) = loads.join_next().await {
        went_on &= ended.is_ok();
    }
    went_on
}
