//! What is counted is what has happened, and Prometheus can read it.

mod requests; // of clients
mod endings; // of all that begins
mod upstreams; // what fails, and what waits
mod streams; // sessions
mod process; // TLS, names, plugins, reloads
mod reloads; // what goes on through them
mod text; // as scrapers read it
