//! How many requests of a hook, or of a route's component, are under way in one worker.

use std::cell::Cell;
use std::rc::Rc;

use super::requests::RefusedRequest;

/// Requests at once, and bytes of the bodies of those that are left.
const MOST: usize = 4096;
const MOST_BYTES: usize = 64 << 20;

/// Those under way, through all configurations.
#[derive(Default)]
pub struct RequestsUnderWay {
    requests: Cell<usize>,
    bytes: Cell<usize>,
}

/// One of them, until it is dropped.
pub struct CountedRequest {
    under_way: Rc<RequestsUnderWay>,
    /// Of its body.
    bytes: usize,
}

impl RequestsUnderWay {
    /// Counts one more; none where there are as many as there may be.
    pub fn count(under_way: &Rc<RequestsUnderWay>) -> Option<CountedRequest> {
        if under_way.requests.get() >= MOST {
            return None;
        }
        under_way.requests.set(under_way.requests.get() + 1);
        Some(CountedRequest {
            under_way: under_way.clone(),
            bytes: 0,
        })
    }
}

impl CountedRequest {
    /// Nobody waits for it, and its body has so many bytes more.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn hold(&mut self, bytes: usize) -> Result<(), RefusedRequest> {
        let all = self.under_way.bytes.get().saturating_add(bytes);
        if all > MOST_BYTES {
            return Err(RefusedRequest::TooMany);
        }
        self.under_way.bytes.set(all);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for CountedRequest {
    fn drop(&mut self) {
        let RequestsUnderWay { requests, bytes } = &*self.under_way;
        requests.set(requests.get() - 1);
        bytes.set(bytes.get() - self.bytes);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_are_under_way_have_a_bound_and_what_ends_makes_room() {
        let under_way = Rc::new(RequestsUnderWay::default());
        let mut first = RequestsUnderWay::count(&under_way).unwrap();
        first.hold(MOST_BYTES - 10).unwrap();
        let mut second = RequestsUnderWay::count(&under_way).unwrap();
        second.hold(10).unwrap();
        assert_eq!(second.hold(1), Err(RefusedRequest::TooMany));
        drop(first);
        second.hold(MOST_BYTES - 10).unwrap();
        drop(second);
        let all: Vec<_> = std::iter::from_fn(|| RequestsUnderWay::count(&under_way)).collect();
        assert_eq!(all.len(), MOST);
        drop(all);
        assert_eq!((under_way.requests.get(), under_way.bytes.get()), (0, 0));
    }
}
