//! Everything a guest is made of, installed and built on demand: idempotent, and fast when nothing changed.
//!
//! Callers: tests and the program alike, several threads and processes at once. Each part is brought up to date once in a
//! process and under the cache's lock.

use crate::{
    artefacts::{self, Hypervisor},
    bochs::{self, Bochs},
    cache::Cache,
    command::run,
    emulator::Vendor,
    error::{At, Error},
    initramfs::is_static,
    kernel::{self, Kernel},
    packages::{self, Package},
    progress::Progress,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

/// The parts of guests, and where they are kept.
#[derive(Debug)]
pub struct Lab {
    cache: Cache,
    progress: Progress,
    kernel: Mutex<Option<Kernel>>,
    busybox: Mutex<Option<PathBuf>>,
    hypervisor: Mutex<Option<Hypervisor>>,
    bochs: Mutex<Option<Bochs>>,
}

impl Lab {
    /// A lab over this cache. Does nothing yet.
    #[must_use]
    pub fn new(cache: Cache, progress: Progress) -> Self {
        Self {
            cache,
            progress,
            kernel: Mutex::default(),
            busybox: Mutex::default(),
            hypervisor: Mutex::default(),
            bochs: Mutex::default(),
        }
    }

    /// The lab of this process, over the project's cache.
    ///
    /// # Errors
    /// [`Error::File`] if the cache's folder cannot be made.
    pub fn shared() -> Result<&'static Self, Error> {
        static SHARED: OnceLock<Lab> = OnceLock::new();
        if let Some(lab) = SHARED.get() {
            return Ok(lab);
        }
        let lab = Self::new(Cache::open()?, Progress::detect());
        Ok(SHARED.get_or_init(|| lab))
    }

    /// The cache.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Where steps are shown.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Installs packages that are missing.
    ///
    /// # Errors
    /// [`Error::Packages`] says what to install by hand.
    pub fn packages(&self, packages: &[Package]) -> Result<(), Error> {
        let _locked = self.cache.lock_setup(self.progress)?;
        packages::install(packages, self.progress)
    }

    /// The kernel to boot, fetched if need be, and its headers.
    ///
    /// # Errors
    /// As [`kernel::set_up`].
    pub fn kernel(&self) -> Result<Kernel, Error> {
        once(&self.kernel, || {
            let _locked = self.cache.lock_setup(self.progress)?;
            kernel::set_up(&self.cache, self.progress)
        })
    }

    /// A busybox without shared libraries: the host's, or one unpacked into the cache. It is not installed, for that
    /// would remove the host's other busybox.
    ///
    /// # Errors
    /// [`Error::Packages`] if it cannot be fetched.
    pub fn busybox(&self) -> Result<PathBuf, Error> {
        once(&self.busybox, || {
            let _locked = self.cache.lock_setup(self.progress)?;
            let unpacked = self.cache.path("busybox-static");
            let ours = unpacked.join("bin/busybox");
            let there = |candidates: &[&Path]| candidates.iter().find(|path| is_static(path)).map(|path| (*path).to_owned());
            if let Some(path) = there(&[Path::new("/bin/busybox"), &ours]) {
                return Ok(path);
            }
            packages::fetch("busybox-static", &unpacked, self.progress)?;
            there(&[&ours, &unpacked.join("usr/bin/busybox")])
                .ok_or(Error::Missing { path: ours, needed_for: "the guest's commands" })
        })
    }

    /// The emulator of Intel's processors: the program that is named here or by `HYPERDBG_BOCHS`, or one that is built the
    /// first time.
    ///
    /// # Errors
    /// [`Error::NoSource`] says how to bring one; [`Error::Packages`], and those of the build.
    pub fn bochs(&self, program: Option<&Path>) -> Result<Bochs, Error> {
        let named = bochs::build::named(program)?;
        let set_up = |named: Option<PathBuf>| {
            let building = named.is_none() && !self.has_bochs();
            self.packages(&bochs::build::packages(building))?;
            let _locked = self.cache.lock_setup(self.progress)?;
            bochs::build::set_up(&self.cache, named, self.progress)
        };
        if named.is_some() { set_up(named) } else { once(&self.bochs, || set_up(None)) }
    }

    /// Whether tests boot guests with an Intel processor. Where Bochs is neither built nor named, which costs minutes, only the
    /// nightly run does, and one whose usual vendor is Intel; another says what it leaves out.
    #[must_use]
    pub fn tests_intel(&self) -> bool {
        let nightly = env::var_os("HYPERDBG_NIGHTLY").is_some_and(|value| value == "1");
        let tests = nightly || self.has_bochs() || Vendor::usual().is_ok_and(|vendor| vendor == Vendor::Intel);
        if !tests {
            eprintln!("lab: not tested, for Bochs is not built; `cargo lab setup --vendor intel` builds it");
        }
        tests
    }

    fn has_bochs(&self) -> bool {
        bochs::build::named(None).is_ok_and(|named| named.is_some()) || bochs::build::place(&self.cache).exists()
    }

    /// The module, the image within it, and the program `hyperdbg`, built from the sources as they are now.
    ///
    /// # Errors
    /// Those of the builds.
    pub fn hypervisor(&self) -> Result<Hypervisor, Error> {
        let kernel = self.kernel()?;
        self.packages(&packages::for_building())?;
        once(&self.hypervisor, || {
            let _locked = self.cache.lock_setup(self.progress)?;
            artefacts::hypervisor(&self.cache, &kernel, self.progress)
        })
    }

    /// A program for the guest, made of one file of C: static, so that it needs nothing there.
    ///
    /// # Errors
    /// [`Error::Command`] with what gcc said; a warning is an error.
    pub fn guest_program(&self, source: &Path) -> Result<PathBuf, Error> {
        self.packages(&packages::for_building())?;
        let folder = self.cache.path("guest");
        fs::create_dir_all(&folder).at("make", &folder)?;
        let name = source.file_stem().unwrap_or(source.as_os_str());
        let program = folder.join(name);
        let _locked = self.cache.lock_setup(self.progress)?;
        let include = self.cache.workspace().join("include");
        if newer(&program, &[source, &include.join("hyperkd.h")]) {
            return Ok(program);
        }
        let _step = self.progress.step(format!("compiling {}", source.display()));
        let mut gcc = Command::new("gcc");
        gcc.args(["-static", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]).arg(&include);
        run(gcc.arg("-o").arg(&program).arg(source))?;
        Ok(program)
    }

    /// A kernel module for the guest, made of a folder with a `Kbuild` or `Makefile`; `NAME.ko` after the folder's name.
    ///
    /// # Errors
    /// As [`Lab::hypervisor`].
    pub fn guest_module(&self, sources: &Path) -> Result<PathBuf, Error> {
        let kernel = self.kernel()?;
        self.packages(&packages::for_building())?;
        let _locked = self.cache.lock_setup(self.progress)?;
        artefacts::guest_module(&self.cache, &kernel, sources, self.progress)
    }
}

/// Whether a file is there and not older than what it is made of.
fn newer(made: &Path, of: &[&Path]) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    let Ok(made) = time(made) else { return false };
    of.iter().all(|source| time(source).is_ok_and(|source| source <= made))
}

/// The value, made the first time. Others wait meanwhile; an error is tried again by the next.
fn once<T: Clone>(cell: &Mutex<Option<T>>, make: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let mut cell = cell.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = &*cell {
        return Ok(value.clone());
    }
    let value = make()?;
    *cell = Some(value.clone());
    Ok(value)
}
