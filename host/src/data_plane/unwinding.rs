//! Destructors that do more than free what they own: the log line of an exchange, the end of a
//! lease.
//!
//! They also run while a panic unwinds the stack. A second panic that left one of them then would
//! abort the process, and all of its exchanges with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does a destructor's work. A panic in it ends here; it is counted and in the error log by then,
/// as every panic is.
pub(crate) fn contained(work: impl FnOnce()) {
    // What it leaves half done is not used again: its owner is being dropped.
    let _ = catch_unwind(AssertUnwindSafe(work));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ends<'a>(&'a std::cell::Cell<bool>);

    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            contained(|| panic!("while it ends"));
            self.0.set(true);
        }
    }

    #[test]
    fn a_panic_of_a_destructor_neither_leaves_it_nor_aborts_an_unwinding_thread() {
        let ended = std::cell::Cell::new(false);
        drop(Ends(&ended));
        assert!(ended.replace(false));
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _ends = Ends(&ended);
            panic!("under way");
        }));
        assert!(unwound.is_err() && ended.get());
    }
}
