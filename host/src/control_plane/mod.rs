//! Turns a configuration into something that serves, and stops it again.
