//! What is counted is what has happened, and Prometheus can read it.

mod requests; // of clients
mod endings; // of all that begins
mod reloads; // what goes on through them
mod text; // as scrapers read it
