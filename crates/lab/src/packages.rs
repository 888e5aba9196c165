//! Debian packages: what is missing is installed, each action said in one line before it is done, nothing is asked.
//!
//! A package counts as there when the file it is wanted for is there, whoever put it there. apt's lists are fetched only
//! when they do not know a package, or know a version that the archive no longer has.

use crate::{
    command::run,
    error::{At, Error, tail},
    progress::Progress,
};
use std::{fs, path::Path, process::Command};

/// A package and the file that shows that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The file it is wanted for.
    pub evidence: String,
}

/// A package that is known by name when the program is written.
#[must_use]
pub fn package(name: &str, evidence: &str) -> Package {
    Package { name: name.to_owned(), evidence: evidence.to_owned() }
}

/// What building the module and guest programs takes.
#[must_use]
pub fn for_building() -> Vec<Package> {
    vec![
        package("make", "/usr/bin/make"),
        package("gcc", "/usr/bin/gcc"),
        package("binutils", "/usr/bin/objcopy"),
        package("libc6-dev", "/usr/include/stdio.h"),
    ]
}

/// The emulator.
#[must_use]
pub fn qemu() -> Package {
    package("qemu-system-x86", "/usr/bin/qemu-system-x86_64")
}

/// A load for tests.
#[must_use]
pub fn stress_ng() -> Package {
    package("stress-ng", "/usr/bin/stress-ng")
}

/// A debugger that attaches to the guest from outside.
#[must_use]
pub fn gdb() -> Package {
    package("gdb", "/usr/bin/gdb")
}

/// Installs those of the packages that are missing.
///
/// # Errors
/// [`Error::Packages`] names what is missing and why it could not be installed.
pub fn install(packages: &[Package], progress: Progress) -> Result<(), Error> {
    let missing = missing(packages, |path| Path::new(path).exists());
    if missing.is_empty() {
        return Ok(());
    }
    let refuse = |why: String| Error::Packages { packages: missing.clone(), why };
    let Some(apt) = Apt::find() else {
        return Err(refuse(
            "missing packages, and apt-get cannot be used here (not root, no sudo without password, or no Debian)".into(),
        ));
    };
    let _step = progress.step(format!("installing {}", missing.join(" ")));
    apt.install(&missing, progress).map_err(|why| refuse(format!("could not install packages ({why})")))
}

/// Names of the packages whose file is not there.
fn missing(packages: &[Package], there: impl Fn(&str) -> bool) -> Vec<String> {
    packages.iter().filter(|package| !there(&package.evidence)).map(|package| package.name.clone()).collect()
}

/// A way to run apt as root.
pub(crate) struct Apt {
    sudo: bool,
}

impl Apt {
    /// As root, or by a sudo that asks nothing; `None` where there is neither or no apt.
    pub(crate) fn find() -> Option<Self> {
        if !Path::new("/usr/bin/apt-get").exists() {
            return None;
        }
        if rustix::process::geteuid().is_root() {
            return Some(Self { sudo: false });
        }
        run(Command::new("sudo").args(["-n", "true"])).ok().map(|_| Self { sudo: true })
    }

    fn get(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(if self.sudo { "sudo" } else { "env" });
        if self.sudo {
            command.args(["-n", "env"]);
        }
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=600"])
            .args(arguments);
        run(&mut command).map(drop).map_err(|error| short(&error))
    }

    /// Fetches the lists of what there is. An error may concern one source of many: what was wanted may be known now all
    /// the same, so it is tried, and this error is the reason if it fails.
    pub(crate) fn update(&self, progress: Progress) -> Result<(), String> {
        let _step = progress.step("fetching apt's package lists");
        self.get(&["update", "-o", "APT::Update::Error-Mode=any"])
    }

    fn install(&self, names: &[String], progress: Progress) -> Result<(), String> {
        let mut arguments = vec!["install", "-y", "--no-install-recommends", "--no-upgrade"];
        arguments.extend(names.iter().map(String::as_str));
        if self.get(&arguments).is_ok() {
            return Ok(());
        }
        let updated = self.update(progress);
        self.get(&arguments).map_err(|why| updated.err().unwrap_or(why))
    }
}

/// Fetches a package and unpacks it to `place` without installing it, as any user; the folder appears only when it is whole.
///
/// # Errors
/// [`Error::Packages`] if there is no such package, or no network.
pub fn fetch(name: &str, place: &Path, progress: Progress) -> Result<(), Error> {
    let refuse = |why: String| Error::Packages { packages: vec![name.to_owned()], why: format!("cannot fetch {name} ({why})") };
    let scratch = place.with_extension("fetching");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).at("remove", &scratch)?;
    }
    fs::create_dir_all(&scratch).at("make", &scratch)?;
    {
        let _step = progress.step(format!("fetching and unpacking {name}"));
        if download(name, &scratch).is_err() {
            let apt = Apt::find().ok_or_else(|| refuse("apt does not have it, and its lists cannot be fetched here".into()))?;
            let updated = apt.update(progress);
            download(name, &scratch).map_err(|why| refuse(updated.err().unwrap_or(why)))?;
        }
        for entry in fs::read_dir(&scratch).at("list", &scratch)? {
            let deb = entry.at("list", &scratch)?.path();
            if deb.extension().is_some_and(|end| end == "deb") {
                run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(scratch.join("tree")))?;
            }
        }
    }
    let tree = scratch.join("tree");
    fs::rename(&tree, place).at("move", &tree)?;
    fs::remove_dir_all(&scratch).at("remove", &scratch)
}

fn download(name: &str, folder: &Path) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.env("LC_ALL", "C").args(["-q", "download", name]).current_dir(folder);
    run(&mut command).map(drop).map_err(|error| short(&error))
}

/// The line of apt's that says why, or the whole error.
pub(crate) fn short(error: &Error) -> String {
    let text = error.to_string();
    let why = text.lines().rev().find(|line| line.starts_with("E: "));
    why.map_or_else(|| tail(&text, 1), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch an installation of what is there, and one that is forgotten.
    #[test]
    fn only_packages_without_their_file_are_missing() {
        let packages = [package("make", "/usr/bin/make"), package("gcc", "/usr/bin/gcc")];
        assert_eq!(missing(&packages, |path| path == "/usr/bin/make"), ["gcc"]);
        assert_eq!(missing(&packages, |_| true), [""; 0]);
    }

    /// Would catch an error that shows pages of apt's output instead of its reason.
    #[test]
    fn apts_reason_is_one_line() {
        let error = Error::Command {
            command: "apt-get".into(),
            why: "exit status: 100".into(),
            tail: "Reading lists...\nE: Unable to locate package zz\n".into(),
        };
        assert_eq!(short(&error), "E: Unable to locate package zz");
    }
}
