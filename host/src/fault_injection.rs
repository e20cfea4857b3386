//! Faults on demand, for specs of what becomes of them: `WAYPOST_FAULTS=accept:2,exchange` has the
//! point `accept` fail twice, and `exchange` once.
//!
//! Debug builds only: a release has none of it, whatever its environment says.

/// Whether a point is to fail this time.
#[cfg(debug_assertions)]
pub(crate) fn fails(point: &str) -> bool {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    static WANTED: OnceLock<Vec<(String, AtomicUsize)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let variable = std::env::var("WAYPOST_FAULTS").unwrap_or_default();
        let points = variable.split(',').filter(|point| !point.is_empty());
        let parsed = points.map(|point| match point.split_once(':') {
            Some((name, times)) => (name.to_owned(), times.parse().unwrap_or(1)),
            None => (point.to_owned(), 1),
        });
        parsed
            .map(|(name, times)| (name, AtomicUsize::new(times)))
            .collect()
    });
    let left = wanted.iter().find(|(name, _)| name == point);
    let one_less = |left: usize| left.checked_sub(1);
    left.is_some_and(|(_, left)| left.fetch_update(Relaxed, Relaxed, one_less).is_ok())
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn fails(_: &str) -> bool {
    false
}

/// Never returns where a point is to fail.
#[inline]
pub(crate) fn hangs(point: &str) {
    if fails(point) {
        tracing::error!("a fault was asked for at `{point}`");
        loop {
            std::thread::park();
        }
    }
}

/// Waits where a point is to fail, until somebody has opened and closed the pipe of its name in the
/// directory that the process runs in. For threads that may block.
#[inline]
pub(crate) fn waits(point: &str) {
    if fails(point) {
        // A spec that has gone meanwhile is not waited for.
        let _ = std::fs::read(point);
    }
}

/// Panics where a point is to fail.
#[inline]
pub(crate) fn panics(point: &str) {
    if fails(point) {
        panic!("a fault was asked for at `{point}`");
    }
}
