//! `waypost top`: what the dashboard shows, in a terminal. It asks what any program can ask, one
//! question after the other, and changes nothing.
//!
//! What is drawn depends on a [`screen::Screen`] alone, so that tests see what people see.

mod look; // what a process answers at one moment
mod figures; // what `/metrics` tells, and rates of two looks
mod shown; // one look beside the one before, as it is shown
mod table; // columns and lines of each view
mod screen; // what is to be seen, and what keys change about it
mod draw; // a screen, drawn
mod plain; // the same as text
mod terminal; // the terminal, its keys, and asking meanwhile

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use self::look::Look;
use self::shown::Shown;
use super::client::AdminClient;
use super::{CommandFailed, OutputFormat, Reach, printable};

#[derive(Debug, Args)]
pub(in crate::cli) struct TopArguments {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    form: OutputFormat,
    /// Seconds between two looks, from 0.5 to 60
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    interval: Duration,
    /// Print what there is to be seen once, and end; so it is where the output is no terminal
    #[arg(long)]
    once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|s| (0.5..=60.0).contains(s));
    match seconds {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err("it is from 0.5 to 60".to_owned()),
    }
}

pub(super) async fn answer(arguments: TopArguments) -> Result<String, CommandFailed> {
    let TopArguments {
        reach,
        form,
        interval,
        once,
    } = arguments;
    let client = reach.client()?;
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if once || form.is_json() || is_dumb || !std::io::stdout().is_terminal() {
        return one(&client, &form, interval).await;
    }
    // One that cannot be asked at all is told as any other command tells it.
    let first = Look::at(&client).await?;
    terminal::watch(&client, interval, first).await
}

/// Rates are of two looks, so there are two.
async fn one(
    client: &AdminClient,
    form: &OutputFormat,
    interval: Duration,
) -> Result<String, CommandFailed> {
    let earlier = Look::at(client).await?;
    tokio::time::sleep(interval).await;
    let shown = Shown::of(&Look::at(client).await?, Some(&earlier));
    if !form.is_json() {
        return Ok(printable(&plain::text(&shown)));
    }
    match serde_json::to_string_pretty(&shown) {
        Ok(json) => Ok(printable(&format!("{json}\n"))),
        Err(error) => Err(CommandFailed::new(format!("cannot write JSON: {error}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests;
