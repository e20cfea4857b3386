//! Carries exchanges. Declared in the order a request meets them.
