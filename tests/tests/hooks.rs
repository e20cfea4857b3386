//! The stock hooks, over real sockets.

mod limit_req; // requests within a rate
mod limit_conn; // requests in progress
mod access; // clients by address
mod basic_auth; // users and passwords
mod jwt; // signed tokens
