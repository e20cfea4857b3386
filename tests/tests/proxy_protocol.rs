//! Whom a connection speaks for.
