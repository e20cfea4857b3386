//! What is counted is what has happened, and Prometheus can read it.

mod requests; // of clients
mod endings; // of all that begins
mod upstreams; // what fails, and what waits
mod hooks; // what they decide
mod health; // probes, and who is out
mod streams; // sessions
mod process; // TLS, names, plugins, reloads
mod reloads; // what goes on through them
mod text; // as scrapers read it
