//! `[store]`: where what plugins share is kept.

/// What plugins share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes that the entries of each plugin may take.
    pub size: u64,
}
