//! `[store]`: where what plugins share is kept.

use crate::config::declared::STORE;
use crate::config::model::StoreConfig;
use crate::config::section::Section;

pub(super) fn store(root: &Section<'_>) -> StoreConfig {
    let section = root.table("store", &STORE);
    let none = || Section::of(&[], root.place, &STORE, root.problems);
    let section = section.unwrap_or_else(none);
    StoreConfig {
        size: section.size("size"),
    }
}
