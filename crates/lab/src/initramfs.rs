//! What lies in the guest's root folder, and the archive the kernel unpacks.
//!
//! The archive is written anew for every boot: that takes some ten milliseconds, and nothing can be out of date.

use crate::{
    command::run,
    cpio::Archive,
    error::{At, Error},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufWriter,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Text of `/init`.
const INIT: &str = include_str!("../guest/init");
/// Text of `/etc/inittab`.
const INITTAB: &str = include_str!("../guest/inittab");
/// Text of `/lab/agent`.
const AGENT: &str = include_str!("../guest/agent");

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
enum Source {
    Host(PathBuf),
    Bytes(Vec<u8>),
}

/// The files of a guest, by path.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: BTreeMap<String, (Source, u32)>,
}

impl Files {
    /// Busybox, `/init` and the agent.
    #[must_use]
    pub fn base(busybox: &Path) -> Self {
        let mut files = Self::default();
        files.host(busybox, "/bin/busybox", 0o755);
        files.bytes(INIT.as_bytes(), "/init", 0o755);
        files.bytes(INITTAB.as_bytes(), "/etc/inittab", 0o644);
        files.bytes(AGENT.as_bytes(), "/lab/agent", 0o755);
        files.bytes(b"root::0:0:root:/root:/bin/sh\nuser::1000:1000:user:/tmp:/bin/sh\n", "/etc/passwd", 0o644);
        files.bytes(b"root:x:0:\nuser:x:1000:\n", "/etc/group", 0o644);
        files
    }

    /// Puts a file of the host's into the guest. A second one for the same path takes the first one's place.
    pub fn host(&mut self, host: &Path, guest: &str, mode: u32) {
        self.files.insert(guest.to_owned(), (Source::Host(host.to_owned()), mode));
    }

    /// Puts a file of these bytes into the guest.
    pub fn bytes(&mut self, data: &[u8], guest: &str, mode: u32) {
        self.files.insert(guest.to_owned(), (Source::Bytes(data.to_owned()), mode));
    }

    /// Puts a program and the shared libraries it needs into the guest.
    ///
    /// # Errors
    /// [`Error::Command`] if a library is not found on the host.
    pub fn program(&mut self, host: &Path, guest: &str) -> Result<(), Error> {
        self.host(host, guest, 0o755);
        for library in libraries(host)? {
            self.host(&library, &library.to_string_lossy(), 0o755);
        }
        Ok(())
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be read or the archive not be written.
    pub fn write(&self, archive: &Path) -> Result<(), Error> {
        let mut cpio = Archive::new(BufWriter::new(File::create(archive).at("make", archive)?));
        for (guest, (source, mode)) in &self.files {
            match source {
                Source::Host(path) => cpio.file(guest, *mode, &fs::read(path).at("read", path)?),
                Source::Bytes(data) => cpio.file(guest, *mode, data),
            }
            .at("write", archive)?;
        }
        cpio.finish().at("write", archive).map(drop)
    }
}

/// The shared libraries of a program, the loader included; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut ldd = Command::new("ldd");
    ldd.env("LC_ALL", "C").arg(program);
    let said = match run(&mut ldd) {
        Ok((said, _)) => said,
        Err(Error::Command { tail, .. }) if tail.contains("not a dynamic executable") => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    parse_ldd(&said).map_err(|line| crate::command::failed(&ldd, "a library is missing", &line))
}

/// Paths in what `ldd` wrote, or the line that names a missing library.
fn parse_ldd(said: &str) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for line in said.lines().map(str::trim) {
        if line.ends_with("=> not found") {
            return Err(line.to_owned());
        }
        let target = line.split_once("=> ").map_or(line, |(_, target)| target);
        if let Some(path) = target.split_whitespace().next().filter(|path| path.starts_with('/')) {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}

/// Whether a program runs without shared libraries, as busybox must.
pub(crate) fn is_static(program: &Path) -> bool {
    let executable = fs::metadata(program).is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    executable && libraries(program).is_ok_and(|libraries| libraries.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a guest that lacks the loader, and the kernel's vdso looked for on the disk.
    #[test]
    fn libraries_and_the_loader_are_found_and_the_vdso_is_not_one() {
        let said = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1c)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f1d)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(parse_ldd(said).unwrap(), expected);
        assert_eq!(parse_ldd("\tstatically linked\n").unwrap(), [""; 0].map(PathBuf::from));
    }

    /// Would catch a program that is copied without a library and then fails in the guest only.
    #[test]
    fn a_library_that_is_not_found_is_named() {
        assert_eq!(parse_ldd("\tlibjudy.so.1 => not found\n").unwrap_err(), "libjudy.so.1 => not found");
    }
}
