//! Where the lab keeps what it builds and unpacks, and the lock on it.
//!
//! **Holds always**
//! - K1: whoever changes something below the cache, runs apart, holds its lock; several processes may set up at once.
//! - K2: nothing is written outside the cache but Debian packages and the Rust target.

use crate::{
    error::{At, Error},
    progress::Progress,
};
use std::{
    env, fs,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

/// The environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "HYPERDBG_CACHE";

/// The project's folder and the cache's.
#[derive(Clone, Debug)]
pub struct Cache {
    workspace: PathBuf,
    root: PathBuf,
}

/// The right to change the cache; it ends when this is dropped.
#[must_use]
pub struct Locked {
    _file: File,
}

impl Cache {
    /// The cache of this project: `$HYPERDBG_CACHE`, or `target/lab`. Its folder is made.
    ///
    /// # Errors
    /// [`Error::File`] if the folder cannot be made.
    pub fn open() -> Result<Self, Error> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/")).to_owned();
        let root = match env::var_os(CACHE_VARIABLE) {
            Some(path) if !path.is_empty() => std::path::absolute(&path).at("find", Path::new(&path))?,
            _ => workspace.join("target/lab"),
        };
        Self::at(workspace, root)
    }

    /// A cache at a place of its own.
    ///
    /// # Errors
    /// [`Error::File`] if the folder cannot be made.
    pub fn at(workspace: PathBuf, root: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&root).at("make", &root)?;
        Ok(Self { workspace, root })
    }

    /// The project's root folder.
    #[must_use]
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// A path below the cache.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// Waits until no other process holds the lock of this name.
    ///
    /// # Errors
    /// [`Error::File`] if the lock file cannot be used.
    pub fn lock(&self, name: &str) -> Result<Locked, Error> {
        let path = self.path(&format!("{name}.lock"));
        let file = File::create(&path).at("make", &path)?;
        file.lock().at("lock", &path)?;
        Ok(Locked { _file: file })
    }

    /// The lock under which things are installed and built. Says so before it waits, for that may take minutes.
    ///
    /// # Errors
    /// As [`Cache::lock`].
    pub fn lock_setup(&self, progress: Progress) -> Result<Locked, Error> {
        let path = self.path("setup.lock");
        let file = File::create(&path).at("make", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Locked { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let _step = progress.step("waiting for another lab that is setting up");
                file.lock().at("lock", &path)?;
                Ok(Locked { _file: file })
            }
            Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
        }
    }
}

/// Writes a file unless it holds just this already, so that its time changes only with its text. True if it was written.
pub(crate) fn write_if_changed(path: &Path, data: &[u8]) -> Result<bool, Error> {
    if fs::read(path).is_ok_and(|old| old == data) {
        return Ok(false);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at("make", parent)?;
    }
    fs::write(path, data).at("write", path)?;
    Ok(true)
}
