//! Writes an initramfs: the "newc" format of cpio, as Linux reads it
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! **Holds always**
//! - C1: a folder stands before what lies in it; missing parents are written with mode 0755.
//! - C2: no path occurs twice; a second one is ignored if it is a folder and replaces nothing otherwise (error).
//! - C3: the same entries in the same order give the same bytes: times and owners are 0.

use std::{
    collections::HashSet,
    io::{self, Write},
};

const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An archive being written to `out`.
pub struct Archive<W: Write> {
    out: W,
    written: u64,
    inode: u32,
    names: HashSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub fn new(out: W) -> Self {
        Self { out, written: 0, inode: 0, names: HashSet::new() }
    }

    /// Adds a folder and its parents.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn folder(&mut self, path: &str) -> io::Result<()> {
        let path = path.trim_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            if end > 0 && self.names.insert(path[..end].to_owned()) {
                self.entry(&path[..end], FOLDER | 0o755, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file with these permissions.
    ///
    /// # Errors
    /// Those of `out`; `AlreadyExists` for a path that is there; `InvalidInput` beyond 4 GiB.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.named(path, REGULAR | (mode & 0o7777), data)
    }

    /// Adds a symbolic link to `target`.
    ///
    /// # Errors
    /// As [`Archive::file`].
    pub fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.named(path, SYMLINK | 0o777, target.as_bytes())
    }

    /// Ends the archive and gives `out` back.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = u32::MAX;
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn named(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent)?;
        }
        if !self.names.insert(path.to_owned()) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{path} twice in one initramfs")));
        }
        self.entry(path, mode, data)
    }

    fn entry(&mut self, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{path} is too long for cpio"));
        let bytes = u32::try_from(data.len()).map_err(too_long)?;
        let name_bytes = u32::try_from(path.len() + 1).map_err(too_long)?;
        self.inode = self.inode.wrapping_add(1);
        // magic, ino, mode, uid, gid, nlink, mtime, filesize, device (2), rdevice (2), namesize, check
        let fields = [self.inode, mode, 0, 0, 1, 0, bytes, 0, 0, 0, 0, name_bytes, 0];
        let header: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        self.put(b"070701")?;
        self.put(header.as_bytes())?;
        self.put(path.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(data)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self) -> io::Result<()> {
        while !self.written.is_multiple_of(4) {
            self.put(&[0])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an archive back the way the kernel does: (name, mode, data).
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let total = bytes.len();
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |n: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            assert_eq!(bytes[110 + name_size - 1], 0);
            let aligned = |at: usize| at.next_multiple_of(4);
            let start = aligned(total - bytes.len() + 110 + name_size) - (total - bytes.len());
            if name == "TRAILER!!!" {
                return entries;
            }
            entries.push((name, u32::try_from(mode).unwrap(), bytes[start..start + size].to_vec()));
            bytes = &bytes[aligned(start + size)..];
        }
    }

    /// Would catch wrong padding, a lost parent, and a mode without its type.
    #[test]
    fn what_is_written_is_read_back_with_its_parents_before_it() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/c", 0o755, b"12345").unwrap();
        archive.symlink("a/d", "b/c").unwrap();
        archive.folder("/a/e").unwrap();
        archive.file("init", 0o4711, b"").unwrap();
        let entries = read(&archive.finish().unwrap());
        let expected: [(&str, u32, &[u8]); 6] = [
            ("a", 0o040_755, b""),
            ("a/b", 0o040_755, b""),
            ("a/b/c", 0o100_755, b"12345"),
            ("a/d", 0o120_777, b"b/c"),
            ("a/e", 0o040_755, b""),
            ("init", 0o104_711, b""),
        ];
        let expected: Vec<_> = expected.iter().map(|(n, m, d)| ((*n).to_owned(), *m, d.to_vec())).collect();
        assert_eq!(entries, expected);
    }

    /// Would catch a file that silently hides another one in the guest.
    #[test]
    fn a_path_given_twice_is_refused() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/init", 0o755, b"1").unwrap();
        assert_eq!(archive.file("init", 0o755, b"2").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
