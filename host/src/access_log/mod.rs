//! Access log lines: formatted by the worker into a reused buffer, written in batches by a thread of their own.
