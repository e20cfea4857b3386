//! The stock hooks, over real sockets.

mod access; // clients by address
mod basic_auth; // users and passwords
mod jwt; // signed tokens
