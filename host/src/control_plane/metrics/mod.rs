//! What is counted, gathered and told: the text of `GET /metrics`.
//!
//! Made on a thread that may take its time: a large configuration has tens of thousands of lines.

mod requests; // of clients
mod streams; // connections that are carried as they are
mod upstreams; // what is asked of upstreams
mod tls; // with clients
mod plugins; // what they do, and take
mod process; // as a whole

use tokio::sync::mpsc::Receiver;

use super::admin::Admin;
use super::blocking::{BRIEF, TookTooLong, run_blocking};
use super::operator::Published;
use super::panics::{Panicked, caught};
use crate::data_plane::process::Process;
use crate::data_plane::scrapes::Scrape;
use crate::metrics::{AllMetrics, Format, MetricsText, WorkerSums, families};

/// How much longer than a brief piece of work the text may take.
const PATIENCE: u32 = 10;

/// Answers routes that tell the text, one after the other.
pub(super) async fn heed(admin: Admin, mut asked: Receiver<Scrape>) {
    while let Some(Scrape { format, answer }) = asked.recv().await {
        match caught(text(&admin, format)).await {
            // Whoever has asked may have left.
            Ok(Ok(text)) => drop(answer.send(text)),
            Ok(Err(late)) => tracing::error!("{late}"),
            // The log has it; the next one is answered all the same.
            Err(Panicked) => {}
        }
    }
}

/// The text of all that is counted.
///
/// # Errors
/// Where it took too long.
pub(super) async fn text(admin: &Admin, format: Format) -> Result<String, TookTooLong> {
    let admin = admin.clone();
    let make = move || made(&admin, format);
    run_blocking("telling what is counted", BRIEF * PATIENCE, make).await
}

/// What is told of.
struct Told<'a> {
    admin: &'a Admin,
    published: &'a Published,
    process: &'a Process,
    all: &'a AllMetrics,
}

fn made(admin: &Admin, format: Format) -> String {
    let published = admin.published.load_full();
    let all = published.snapshot.metrics.registry.all();
    let told = Told {
        admin,
        published: &published,
        process: admin.workers.process(),
        all: &all,
    };
    let mut text = MetricsText::new(format);
    text.info(&families::BUILD, &[env!("CARGO_PKG_VERSION")]);
    let workers = WorkerSums::of(&told.process.counted);
    requests::tell(&told, &workers, &mut text);
    streams::tell(&told, &mut text);
    upstreams::tell(&told, &mut text);
    tls::tell(&told, &workers, &mut text);
    plugins::tell(&told, &mut text);
    process::tell(&told, &mut text);
    text.finish()
}
