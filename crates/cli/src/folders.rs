//! Where this user's files lie, as the XDG base directory specification has it. Nothing is made here.

use std::env;
use std::path::PathBuf;

/// What is to be kept: the history. `None` if there is nowhere to put it.
pub fn state() -> Option<PathBuf> {
    of("XDG_STATE_HOME", ".local/state")
}

/// What can be made again: names of kernels.
pub fn cache() -> Option<PathBuf> {
    of("XDG_CACHE_HOME", ".cache")
}

fn of(variable: &str, otherwise: &str) -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(otherwise)))?;
    Some(base.join("hyperdbg"))
}
