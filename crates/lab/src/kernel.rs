//! The guest's kernel: Debian's of the cloud flavour, and headers of exactly the same version.
//!
//! The headers are installed by apt, because their makefiles hold absolute paths. The image is unpacked into the cache
//! and never installed: nothing on the host boots it. One that is installed all the same serves too. While a version has
//! both, apt is not asked; when Debian's current version moves on, the old pair is used until its headers are gone.

use crate::{
    cache::Cache,
    command::run,
    error::{At, Error},
    packages::{self, Apt, package},
    progress::Progress,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const HEADERS: &str = "linux-headers-";
const IMAGE: &str = "linux-image-";
const FLAVOUR: &str = "-cloud-amd64";
const SOURCES: &str = "/usr/src";
/// Where installed images are.
const BOOT: &str = "/boot";

/// A kernel that can be booted and built against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// As in `uname -r`.
    pub version: String,
    unpacked: PathBuf,
}

impl Kernel {
    /// The file to boot.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.unpacked.join("boot").join(format!("vmlinuz-{}", self.version))
    }

    /// Where modules are built against.
    #[must_use]
    pub fn headers(&self) -> PathBuf {
        Path::new(SOURCES).join(format!("{HEADERS}{}", self.version))
    }

    /// Whether the kernel has an option, or has it as a module: `y`, `m`, a value, or `None`.
    ///
    /// # Errors
    /// [`Error::File`] if the configuration cannot be read.
    pub fn config(&self, option: &str) -> Result<Option<String>, Error> {
        let path = self.unpacked.join("boot").join(format!("config-{}", self.version));
        let text = fs::read_to_string(&path).at("read", &path)?;
        Ok(text.lines().find_map(|line| Some(line.strip_prefix(option)?.strip_prefix('=')?.to_owned())))
    }

    /// A module of Debian's with all those it depends on, in the order in which they are to be inserted.
    ///
    /// # Errors
    /// [`Error::Kernel`] if there is no such module, [`Error::File`] if it cannot be read.
    pub fn module(&self, name: &str) -> Result<Vec<PathBuf>, Error> {
        let mut order = Vec::new();
        self.collect(name, &mut order)?;
        Ok(order)
    }

    fn collect(&self, name: &str, order: &mut Vec<PathBuf>) -> Result<(), Error> {
        let root = self.unpacked.join("lib/modules").join(&self.version);
        let path = find_module(&root, name)?
            .ok_or_else(|| Error::Kernel { version: self.version.clone(), why: format!("it has no module {name}") })?;
        if order.contains(&path) {
            return Ok(());
        }
        for needed in depends(&fs::read(&path).at("read", &path)?) {
            self.collect(&needed, order)?;
        }
        order.push(path);
        Ok(())
    }
}

/// Looks for `name.ko` below a folder; `-` and `_` are the same in a module's name.
fn find_module(folder: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    for entry in fs::read_dir(folder).at("list", folder)? {
        let path = entry.at("list", folder)?.path();
        if path.is_dir() && !path.is_symlink() {
            if let Some(found) = find_module(&path, name)? {
                return Ok(Some(found));
            }
        } else if path.extension().is_some_and(|end| end == "ko")
            && path.file_stem().is_some_and(|stem| stem.to_string_lossy().replace('-', "_") == name.replace('-', "_"))
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The `depends=` of a module's `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What to do for a kernel.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Headers and image are here.
    Use(String),
    /// Headers are here, the image is to be fetched.
    Fetch(String),
    /// Nothing is here: Debian's current version.
    Current,
}

fn plan(headers: &[String], images: &[String]) -> Plan {
    let newest = |versions: Vec<&String>| versions.into_iter().max_by_key(|version| ordered(version)).cloned();
    match newest(headers.iter().filter(|version| images.contains(version)).collect()) {
        Some(version) => Plan::Use(version),
        None => newest(headers.iter().collect()).map_or(Plan::Current, Plan::Fetch),
    }
}

/// The numbers of a version, by which versions compare.
fn ordered(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Finds, fetches, installs. The cache must be locked.
///
/// # Errors
/// [`Error::Packages`] where apt cannot help, [`Error::Kernel`] when there is no image for any version at hand.
pub fn set_up(cache: &Cache, progress: Progress) -> Result<Kernel, Error> {
    let images = cache.path("kernel");
    fs::create_dir_all(&images).at("make", &images)?;
    let mut known = versions(&images, "")?;
    known.extend(versions(Path::new(BOOT), "vmlinuz-")?);
    let version = match plan(&versions(Path::new(SOURCES), HEADERS)?, &known) {
        Plan::Use(version) => version,
        Plan::Fetch(version) => match fetch(&version, &images, progress) {
            Ok(()) => version,
            Err(_) => current(&images, progress)?,
        },
        Plan::Current => current(&images, progress)?,
    };
    let unpacked = images.join(&version);
    let unpacked = if unpacked.exists() { unpacked } else { PathBuf::from("/") };
    Ok(Kernel { version, unpacked })
}

/// Versions of the cloud flavour among the names in a folder.
fn versions(folder: &Path, prefix: &str) -> Result<Vec<String>, Error> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.at("list", folder)?.file_name();
        if let Some(version) = name.to_string_lossy().strip_prefix(prefix).filter(|rest| rest.ends_with(FLAVOUR)) {
            found.push(version.to_owned());
        }
    }
    Ok(found)
}

/// Brings Debian's current version here: image first, for it is the one that can be missing from an archive.
fn current(images: &Path, progress: Progress) -> Result<String, Error> {
    let refuse = |why: String| Error::Packages {
        packages: vec![format!("linux-headers{FLAVOUR}"), format!("linux-image{FLAVOUR}")],
        why: format!("no kernel to boot ({why})"),
    };
    let version = match candidate() {
        Some(version) => version,
        None => {
            let apt = Apt::find().ok_or_else(|| refuse("apt-get cannot be used here".into()))?;
            let updated = apt.update(progress);
            candidate()
                .ok_or_else(|| refuse(updated.err().unwrap_or_else(|| format!("apt knows no linux-headers{FLAVOUR}"))))?
        }
    };
    let no = match bring(&version, images, progress) {
        Ok(()) => return Ok(version),
        Err(no) => no,
    };
    // Lists of another day name a version that the archive no longer has. Failing has fetched them anew: what is it now?
    match candidate().filter(|now| *now != version) {
        Some(now) => bring(&now, images, progress).map(|()| now),
        None => Err(no),
    }
}

/// Image and headers of one version.
fn bring(version: &str, images: &Path, progress: Progress) -> Result<(), Error> {
    if !images.join(version).exists() {
        fetch(version, images, progress)?;
    }
    let headers = Path::new(SOURCES).join(format!("{HEADERS}{version}")).join("Makefile");
    packages::install(&[package(&format!("{HEADERS}{version}"), &headers.to_string_lossy())], progress)
}

/// The version that the meta package of the headers stands for now.
fn candidate() -> Option<String> {
    let mut command = Command::new("apt-cache");
    let (said, _) = run(command.env("LC_ALL", "C").args(["depends", &format!("linux-headers{FLAVOUR}")])).ok()?;
    depended(&said)
}

fn depended(said: &str) -> Option<String> {
    said.lines().find_map(|line| Some(line.trim().strip_prefix("Depends: ")?.strip_prefix(HEADERS)?.to_owned()))
}

/// Fetches and unpacks the image of a version.
fn fetch(version: &str, images: &Path, progress: Progress) -> Result<(), Error> {
    let name = format!("{IMAGE}{version}");
    let place = images.join(version);
    packages::fetch(&name, &place, progress)?;
    if place.join("boot").join(format!("vmlinuz-{version}")).exists() {
        return Ok(());
    }
    fs::remove_dir_all(&place).at("remove", &place)?;
    Err(Error::Kernel { version: version.to_owned(), why: format!("{name} holds no kernel image") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(versions: &[&str]) -> Vec<String> {
        versions.iter().map(|version| (*version).to_owned()).collect()
    }

    /// Would catch an image and headers that differ, and a needless fetch after Debian moved on.
    #[test]
    fn a_version_that_has_both_is_used_and_the_newest_of_those() {
        let headers = owned(&["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.1.0-60-cloud-amd64"]);
        let images = owned(&["6.1.0-56-cloud-amd64", "6.1.0-9-cloud-amd64", "6.1.0-61-cloud-amd64"]);
        assert_eq!(plan(&headers, &images), Plan::Use("6.1.0-56-cloud-amd64".into()));
        assert_eq!(plan(&headers, &[]), Plan::Fetch("6.1.0-60-cloud-amd64".into()));
        assert_eq!(plan(&[], &images), Plan::Current);
    }

    /// Would catch 6.1.0-9 taken for newer than 6.1.0-56.
    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(ordered("6.1.0-9-cloud-amd64") < ordered("6.1.0-56-cloud-amd64"));
        assert!(ordered("6.1.0-56-cloud-amd64") < ordered("6.12.100+deb12-cloud-amd64"));
    }

    /// Would catch a parser that takes the meta package's own name.
    #[test]
    fn the_candidate_is_what_the_meta_package_depends_on() {
        let said = "linux-headers-cloud-amd64\n  Depends: linux-headers-6.1.0-56-cloud-amd64\n";
        assert_eq!(depended(said).as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(depended("linux-headers-cloud-amd64\n"), None);
    }

    /// Would catch a guest that cannot insert kvm_amd because kvm is not there.
    #[test]
    fn a_modules_dependencies_are_read_from_it() {
        assert_eq!(depends(b"junk\0depends=kvm,ccp\0name=kvm_amd\0"), ["kvm", "ccp"]);
        assert_eq!(depends(b"junk\0depends=\0"), [""; 0]);
        assert_eq!(depends(b"junk"), [""; 0]);
    }
}
