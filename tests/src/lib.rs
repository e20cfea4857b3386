//! The harness of the specs.
