//! Values that an exchange has computed, to be found again by index.

use std::cell::RefCell;

use smallvec::SmallVec;

use crate::http::variable::{Defined, Lasting};

/// What an exchange has computed of its variables. Nothing is allocated before the first, and
/// nothing but that for a few short ones.
#[derive(Debug, Default)]
pub struct KeptValues(RefCell<Option<Box<Kept>>>);

#[derive(Debug, Default)]
struct Kept {
    /// All values, one behind the other.
    text: SmallVec<[u8; 96]>,
    /// By the index of the variable.
    slots: SmallVec<[Slot; 8]>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Slot {
    #[default]
    Unknown,
    /// It has no value.
    Missing(Lasting),
    Value {
        start: u32,
        end: u32,
        lasting: Lasting,
    },
}

impl KeptValues {
    /// Appends what is known; none where nothing is, and false where there is no value.
    pub(super) fn append(&self, index: u32, out: &mut Vec<u8>) -> Option<bool> {
        let kept = self.0.borrow();
        let kept = kept.as_deref()?;
        match *kept.slots.get(index as usize)? {
            Slot::Unknown => None,
            Slot::Missing(_) => Some(false),
            Slot::Value { start, end, .. } => {
                out.extend_from_slice(kept.text.get(start as usize..end as usize)?);
                Some(true)
            }
        }
    }

    /// Keeps a value.
    pub(super) fn keep(&self, variable: Defined, value: Option<&[u8]>) {
        let (index, lasting) = (variable.index as usize, variable.lasting);
        let mut kept = self.0.borrow_mut();
        let kept = kept.get_or_insert_default();
        if kept.slots.len() <= index {
            kept.slots.resize(index + 1, Slot::Unknown);
        }
        let slot = match value {
            None => Slot::Missing(lasting),
            Some(value) => {
                let start = kept.text.len();
                let (Ok(start), Ok(end)) = (start.try_into(), (start + value.len()).try_into())
                else {
                    return; // 4 GiB of values: they are computed again
                };
                kept.text.extend_from_slice(value);
                Slot::Value {
                    start,
                    end,
                    lasting,
                }
            }
        };
        kept.slots[index] = slot;
    }

    /// Forgets what lasts no longer than this.
    pub fn forget(&self, lasting: Lasting) {
        let mut kept = self.0.borrow_mut();
        let Some(kept) = kept.as_deref_mut() else {
            return;
        };
        let mut is_empty = true;
        for slot in &mut kept.slots {
            match slot {
                Slot::Missing(known) | Slot::Value { lasting: known, .. } if *known > lasting => {
                    is_empty = false;
                }
                slot => *slot = Slot::Unknown,
            }
        }
        if is_empty {
            kept.text.clear();
        }
    }
}
