//! The process's allocator, and what it is told beside what it is asked for.
//!
//! mimalloc gives memory back to the kernel a second after it was freed, but looks at that only while
//! it is asked for more. What thousands of clients needed that have left would stay for as long as
//! nobody comes.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mimalloc;

/// mimalloc: per-thread heaps without locks. `docs/benchmarks.md` has what it gains over the system
/// allocator.
///
/// Its functions that take an alignment look for it in each block, and without one that happens to
/// have it they ask for a larger block and return what is within: twice the instructions for a type
/// of a kibibyte. Those that take none align to 16 bytes in any case, which is enough for nearly all
/// types.
pub struct Allocator;

/// What every block of as many bytes or more is aligned to (`MI_MAX_ALIGN_SIZE` of mimalloc's
/// types.h); a smaller one is to the power of two that it holds.
const NATURAL_ALIGNMENT: usize = 16;

/// Whether a block of `size` bytes is aligned enough without asking for it.
#[inline]
const fn is_natural(size: usize, alignment: usize) -> bool {
    alignment <= NATURAL_ALIGNMENT && alignment <= size
}

#[allow(
    unsafe_code,
    reason = "an allocator is; each function of mimalloc's is the one of that name, with what it asks for: a pointer that it has returned, sizes and alignments of a Layout"
)]
// SAFETY: mimalloc's blocks have the size that is asked for, do not overlap, stay until they are
// freed, and are aligned as `is_natural` says or as is asked for. It does not unwind.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        unsafe {
            match is_natural(size, alignment) {
                true => mimalloc::mi_malloc(size).cast(),
                false => mimalloc::mi_malloc_aligned(size, alignment).cast(),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        unsafe {
            match is_natural(size, alignment) {
                true => mimalloc::mi_zalloc(size).cast(),
                false => mimalloc::mi_zalloc_aligned(size, alignment).cast(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        unsafe { mimalloc::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let alignment = layout.align();
        unsafe {
            match is_natural(size, alignment) {
                true => mimalloc::mi_realloc(block.cast(), size).cast(),
                false => mimalloc::mi_realloc_aligned(block.cast(), size, alignment).cast(),
            }
        }
    }
}

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

#[cfg(test)]
#[allow(unsafe_code, reason = "an allocator's caller is")]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Blocks of many sizes and alignments, all there at once, grown and shrunk.
    #[test]
    fn blocks_are_aligned_as_is_asked_for_and_keep_what_is_in_them() {
        let mut blocks = Vec::new();
        for alignment in (0..=12).map(|power| 1_usize << power) {
            for size in (1..=70).chain([127, 1000, 1208, 5000, 70_000]) {
                let layout = Layout::from_size_align(size, alignment).unwrap();
                for zeroed in [false, true] {
                    // SAFETY: the size is not zero.
                    let block = unsafe {
                        match zeroed {
                            true => Allocator.alloc_zeroed(layout),
                            false => Allocator.alloc(layout),
                        }
                    };
                    assert_eq!(block.addr() % alignment, 0, "{layout:?}");
                    // SAFETY: the block has `size` bytes.
                    unsafe {
                        if zeroed {
                            let bytes = std::slice::from_raw_parts(block, size);
                            assert!(bytes.iter().all(|byte| *byte == 0), "{layout:?}");
                        }
                        block.write_bytes(size as u8, size);
                    }
                    blocks.push((block, layout));
                }
            }
        }
        for (block, layout) in blocks {
            let (size, alignment) = (layout.size(), layout.align());
            let to = if size % 2 == 0 {
                3 * size
            } else {
                size.div_ceil(2)
            };
            // SAFETY: it is of this allocator and this layout, and `to` is not zero.
            let block = unsafe { Allocator.realloc(block, layout, to) };
            assert_eq!(block.addr() % alignment, 0, "{layout:?} to {to}");
            // SAFETY: the block has `to` bytes, of which the first were written above.
            let kept = unsafe { std::slice::from_raw_parts(block, size.min(to)) };
            assert!(kept.iter().all(|byte| *byte == size as u8), "{layout:?}");
            let layout = Layout::from_size_align(to, alignment).unwrap();
            // SAFETY: as above.
            unsafe { Allocator.dealloc(block, layout) };
        }
    }
}
