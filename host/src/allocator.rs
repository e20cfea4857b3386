//! What the allocator is told beside what it is asked for.
//!
//! mimalloc gives memory back to the kernel a second after it was freed, but looks at that only while
//! it is asked for more. What thousands of clients needed that have left would stay for as long as
//! nobody comes.

use mimalloc as _; // the binary's allocator; here it is linked to

#[allow(
    unsafe_code,
    reason = "a function of mimalloc's that its Rust bindings do not have without another crate; it takes a bool, from any thread, at any time"
)]
// SAFETY: this is its declaration in mimalloc.h, of a `bool` in C.
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}

/// Gives back to the kernel what this thread has freed for a second. Looks at each of the thread's
/// pages with room: microseconds.
pub(crate) fn give_back() {
    mi_collect(false);
}
