//! What the kernel tells of itself for who reads its memory: the note for dumps after a crash.
//!
//! ```text
//! OSRELEASE=6.1.0-56-cloud-amd64
//! BUILD-ID=0123456789abcdef0123456789abcdef01234567
//! SYMBOL(_stext)=ffffffff8e000000
//! ```
//! **Cost**: one pass over at most a page or two. **Proof**: tests below; any bytes, too (L1).

use crate::Wrong;

/// Bytes before the name and the text: their sizes, and a kind.
pub const HEAD_BYTES: usize = 12;
/// The name that it has.
const NAME: &[u8] = b"VMCOREINFO\0";
/// The name, filled up to words.
const NAME_BYTES: usize = 12;

/// The note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// As in `uname -r`.
    pub release: String,
    /// Differs with every build of a kernel, in hex; empty if it is not told.
    pub build_id: String,
    /// Names and where they lie in this boot.
    pub symbols: Vec<(String, u64)>,
}

/// Bytes of the whole note, by its head.
///
/// # Errors
/// [`Wrong::Unknown`] if it is none.
pub fn bytes(head: &[u8]) -> Result<usize, Wrong> {
    let word = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = head.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    match (word(0), word(4)) {
        // As long as a page of text, and four times that.
        (Some(name), Some(text)) if name == NAME.len() && text <= 0x4000 => Ok(HEAD_BYTES + NAME_BYTES + text),
        _ => Err(Wrong::Unknown),
    }
}

impl Note {
    /// Reads all of it.
    ///
    /// # Errors
    /// [`Wrong::Unknown`], [`Wrong::Cut`].
    pub fn read(note: &[u8]) -> Result<Note, Wrong> {
        let all = bytes(note)?;
        let name = note.get(HEAD_BYTES..HEAD_BYTES + NAME.len()).ok_or(Wrong::Cut("the note"))?;
        if name != NAME {
            return Err(Wrong::Unknown);
        }
        let text = note.get(HEAD_BYTES + NAME_BYTES..all).ok_or(Wrong::Cut("the note"))?;
        let text = String::from_utf8_lossy(text);
        let mut read = Note::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim_end_matches('\0').trim();
            match key {
                "OSRELEASE" => read.release = printable(value),
                "BUILD-ID" if value.bytes().all(|byte| byte.is_ascii_hexdigit()) => read.build_id = value.to_owned(),
                _ => {
                    let name = key.strip_prefix("SYMBOL(").and_then(|rest| rest.strip_suffix(')'));
                    if let (Some(name), Ok(address)) = (name, u64::from_str_radix(value, 16)) {
                        read.symbols.push((name.to_owned(), address));
                    }
                }
            }
        }
        Ok(read)
    }

    /// Where a name lies.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<u64> {
        self.symbols.iter().find(|(known, _)| known == name).map(|(_, address)| *address)
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(text: &str) -> Vec<u8> {
        let sizes = [11_u32, u32::try_from(text.len()).unwrap(), 0].map(u32::to_le_bytes).concat();
        [&sizes, NAME, b"\0", text.as_bytes()].concat()
    }

    /// Would catch an address that is read of another line, or a note of somebody else.
    #[test]
    fn release_build_and_symbols_are_read() {
        let whole = note("OSRELEASE=6.1.0\nBUILD-ID=0aff\nSYMBOL(_stext)=ffffffff81000000\nSIZE(page)=64\nSYMBOL(x=1\n");
        let read = Note::read(&whole).unwrap();
        assert_eq!((&*read.release, &*read.build_id), ("6.1.0", "0aff"));
        assert_eq!(read.symbols, [("_stext".to_owned(), 0xffff_ffff_8100_0000)]);
        assert_eq!(read.symbol("_stext"), Some(0xffff_ffff_8100_0000));
        assert_eq!(bytes(&whole[..HEAD_BYTES]), Ok(whole.len()));
        assert_eq!(Note::read(&whole[..whole.len() - 1]), Err(Wrong::Cut("the note")));
        assert_eq!(Note::read(&[0; 64]), Err(Wrong::Unknown));
    }

    proptest! {
        /// Would catch bytes that panic (L1).
        #[test]
        fn any_note_is_read_or_refused(text in ".{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = (Note::read(&bytes), Note::read(&note(&text)));
        }
    }
}
