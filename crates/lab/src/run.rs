//! The folder of one run: sockets, console, what QEMU said.
//!
//! **Holds always**
//! - R1: while a run lives its process holds a lock on the folder's `lock` file; so a folder whose lock is free belongs
//!   to nobody, and the next run removes it.
//! - R2: a run that failed keeps its folder (file `failed` in it); of those the newest few stay.
//! - R3: a path in the folder fits a socket's address (108 bytes); otherwise the folder lies below the system's
//!   temporary folder.

use crate::{
    cache::Cache,
    error::{At, Error},
};
use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process,
    sync::Mutex,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::SystemTime,
};

/// Folders of failed runs that are kept.
const FAILED_KEPT: usize = 10;
/// Bytes of a socket's path at most, the closing zero not counted (unix(7)).
const SOCKET_PATH_MAX: usize = 107;
/// The longest name of a file in a run's folder, with some room.
const NAME_MAX: usize = 20;

static NEXT: AtomicU32 = AtomicU32::new(0);
/// Folders of this process' runs, for [`abandon`].
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A run's folder. It is removed when this is dropped, unless the run failed.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    keep: AtomicBool,
    _lock: File,
}

impl Run {
    /// A new folder; removes those that nobody owns.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be made.
    pub fn begin(cache: &Cache) -> Result<Self, Error> {
        let home = home(cache);
        fs::create_dir_all(&home).at("make", &home)?;
        let guard = cache.lock("runs")?;
        sweep(&home);
        let folder = home.join(format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&folder).at("make", &folder)?;
        let path = folder.join("lock");
        let lock = File::create(&path).at("make", &path)?;
        lock.lock().at("lock", &path)?;
        drop(guard);
        live(|folders| folders.push(folder.clone()));
        Ok(Self { folder, keep: AtomicBool::new(false), _lock: lock })
    }

    /// A file of the run.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the folder: the run failed.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        live(|folders| folders.retain(|folder| *folder != self.folder));
        let kept = self.keep.load(Ordering::Relaxed) || std::thread::panicking();
        // An error here leaves a folder behind that the next run removes (R1).
        let _ = if kept { File::create(self.path("failed")).map(drop) } else { fs::remove_dir_all(&self.folder) };
    }
}

/// Removes the folders of this process' runs: it is about to end without dropping them.
pub fn abandon() {
    live(|folders| {
        for folder in folders.drain(..) {
            let _ = fs::remove_dir_all(folder);
        }
    });
}

fn live(change: impl FnOnce(&mut Vec<PathBuf>)) {
    change(&mut LIVE.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
}

fn home(cache: &Cache) -> PathBuf {
    let home = cache.path("runs");
    let longest = home.as_os_str().len() + "/4194304-4294967295/".len() + NAME_MAX;
    if longest <= SOCKET_PATH_MAX {
        return home;
    }
    env::temp_dir().join(format!("hyperdbg-lab-{}", rustix::process::geteuid().as_raw()))
}

/// Removes folders of dead processes, and all but the newest of the failed runs. What cannot be removed stays.
fn sweep(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else { return };
    let mut failed: Vec<(SystemTime, PathBuf)> = Vec::new();
    for folder in entries.flatten().map(|entry| entry.path()) {
        let free = File::open(folder.join("lock")).map_or(true, |lock| lock.try_lock().is_ok());
        if !free {
            continue;
        }
        match fs::metadata(folder.join("failed")).and_then(|data| data.modified()) {
            Ok(when) => failed.push((when, folder)),
            Err(_) => drop(fs::remove_dir_all(&folder)),
        }
    }
    failed.sort();
    let old = failed.len().saturating_sub(FAILED_KEPT);
    for (_, folder) in failed.drain(..old) {
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(name: &str) -> Cache {
        let root = env::temp_dir().join(format!("lab-test-{}-{name}", process::id()));
        Cache::at("/".into(), root).unwrap()
    }

    /// Would catch folders that pile up, a living run's folder taken away, and a failed run without its files.
    #[test]
    fn only_failed_and_living_runs_have_folders() {
        let cache = cache("sweep");
        let orphan = cache.path("runs/1-1");
        fs::create_dir_all(&orphan).unwrap();
        File::create(orphan.join("lock")).unwrap();
        let alive = Run::begin(&cache).unwrap();
        assert!(!orphan.exists(), "its process is dead");
        let failing = Run::begin(&cache).unwrap();
        assert!(alive.folder().exists(), "its process is this one");
        let failed = failing.folder().to_owned();
        failing.keep();
        drop(failing);
        let gone = alive.folder().to_owned();
        drop(alive);
        assert!(failed.exists() && !gone.exists());
        drop(Run::begin(&cache).unwrap());
        assert!(failed.exists(), "a failed run's files stay to be read");
        fs::remove_dir_all(cache.path("")).unwrap();
    }

    /// Would catch QEMU failing to bind its sockets in a deep checkout.
    #[test]
    fn a_socket_fits_however_deep_the_cache_is() {
        let deep = cache(&"x".repeat(120));
        let path = home(&deep).join("4194304-4294967295").join("n".repeat(NAME_MAX - 1));
        assert!(path.as_os_str().len() <= SOCKET_PATH_MAX, "{}", path.display());
        fs::remove_dir_all(deep.path("")).unwrap();
    }
}
