//! Files that the settings name.

/// What a file holds, by its path as it stands in the settings. In `configure` and `attach` only;
/// the host watches it from then on, see [`FileChanges`](crate::FileChanges). `None` where it does
/// not exist.
///
/// # Errors
/// Why it cannot be read, in one line of lower case. A file may have 16 MiB.
pub fn read(path: &str) -> Result<Option<Vec<u8>>, String> {
    crate::host::files::read(path)
}

/// Whether there is anything at such a path: also what cannot be read, as a directory, or a file
/// that is too large. In `configure` and `attach`, from where on the host watches it as well; in
/// [`FileChanges`](crate::FileChanges) for what was asked there.
pub fn is_there(path: &str) -> bool {
    crate::host::files::is_there(path)
}
