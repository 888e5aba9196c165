//! Where the history lives: the user's state folder, as the XDG base directory specification has it.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// The file, made if it is not there: for this user alone. `None` if there is nowhere to put it.
pub fn path() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    let folder = state.join("hyperdbg");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    let path = folder.join("history");
    if fs::metadata(&path).is_err() {
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).ok()?;
    }
    Some(path)
}
