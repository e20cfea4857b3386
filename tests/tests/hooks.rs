//! The stock hooks, over real sockets.

mod access; // clients by address
mod basic_auth; // users and passwords
mod jwt; // signed tokens
mod cors; // pages of other origins
mod rewrite; // paths as nginx rewrites them
mod redirect; // one spelling of each URL
mod split; // clients in parts
mod request_id; // one id, everywhere
mod maintenance; // a page for a while
