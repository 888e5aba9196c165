//! Where the history lives: in the user's state folder.

use crate::folders;
use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// The file, made if it is not there: for this user alone. `None` if there is nowhere to put it.
pub fn path() -> Option<PathBuf> {
    let folder = folders::state()?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    let path = folder.join("history");
    if fs::metadata(&path).is_err() {
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).ok()?;
    }
    Some(path)
}
