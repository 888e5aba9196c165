//! Names in files of the kernel's: a vmlinux, a module, or what a package of debug symbols has of them.
//!
//! A vmlinux tells where its names lie when the kernel is not moved. A module's names lie so many bytes behind the beginning of a
//! section, and where each section is, is told by names of it that are known of the module as it runs ([`File::placed`]).
//!
//! **Holds always**
//! - E1: a name of a module is placed only in a section all of whose known names agree on where it is.
//!
//! **Cost**: one pass over the file's names; the rest of the file is not read. **Proof**: tests below; any bytes, too (L1).

use crate::limits::{NAME_BYTES_MAX, NAMES_MAX};
use crate::{Builder, HIGH_HALF, Table, Wrong};
use object::elf::{
    ELFCLASS64, EM_X86_64, ET_REL, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE,
};
use object::elf::{FileHeader64, NT_GNU_BUILD_ID, SHN_ABS, SHN_LORESERVE, SHN_UNDEF, STB_WEAK, STT_OBJECT};
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{LittleEndian, ReadRef};
use std::collections::HashMap;

/// First bytes of such a file.
pub const MAGIC: [u8; 4] = *b"\x7fELF";

/// One name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    /// Where, or in a module how far behind the section's beginning.
    value: u64,
    /// The section's number.
    section: usize,
    kind: u8,
    name: String,
}

/// What a file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Differs with every build, in hex; empty if it is not told.
    pub build_id: String,
    /// Whether it is a module's.
    pub module: bool,
    /// The module's name, if the file tells.
    pub module_name: Option<String>,
    names: Vec<Name>,
}

/// A name with its place: address, kind, name.
pub type Placed = (u64, u8, String);

/// Names of a module do not lie as they would have to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// This one: where it is, and where it would have to be.
    Other {
        /// The name.
        name: String,
        /// Where it is.
        here: u64,
        /// Where other names of its section say that it is.
        there: u64,
    },
    /// Fewer than two names are known of both.
    Unknown,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Wrong::Unknown`]: it is no ELF file for this processor. [`Wrong::Cut`], [`Wrong::TooMany`], [`Wrong::Empty`].
    pub fn read<'d, R: ReadRef<'d>>(file: R) -> Result<File, Wrong> {
        let little = LittleEndian;
        let head = FileHeader64::<LittleEndian>::parse(file).map_err(|_| Wrong::Unknown)?;
        if head.e_ident().class != ELFCLASS64 || head.e_machine(little) != EM_X86_64 || head.endian().is_err() {
            return Err(Wrong::Unknown);
        }
        let module = head.e_type(little) == ET_REL;
        let sections = head.sections(little, file).map_err(|_| Wrong::Cut("its sections"))?;
        let symbols = sections.symbols(little, file, object::elf::SHT_SYMTAB).map_err(|_| Wrong::Cut("its names"))?;
        if symbols.len() > NAMES_MAX {
            return Err(Wrong::TooMany(NAMES_MAX));
        }
        let mut names = Vec::new();
        for symbol in symbols.iter() {
            let number = symbol.st_shndx(little);
            let plain = matches!(symbol.st_type(), STT_NOTYPE | STT_OBJECT | STT_FUNC | STT_GNU_IFUNC);
            if !plain || number == SHN_UNDEF || number >= SHN_LORESERVE && number != SHN_ABS {
                continue;
            }
            let value = symbol.st_value(little);
            let (kind, section) = if number == SHN_ABS {
                (b'a', None)
            } else {
                let section = sections.section(object::SectionIndex(number.into())).map_err(|_| Wrong::Cut("its sections"))?;
                (kind(section.sh_flags(little), section.sh_type(little)), Some(section))
            };
            let loaded = section.is_some_and(|section| section.sh_flags(little) & u64::from(SHF_ALLOC) != 0);
            if !loaded && (module || value < HIGH_HALF) {
                continue;
            }
            let name = symbols.symbol_name(little, symbol).map_err(|_| Wrong::Cut("its names"))?;
            let Some(name) = std::str::from_utf8(name).ok().filter(|name| is_name(name)) else { continue };
            let kind = match symbol.st_bind() {
                STB_WEAK => b'w',
                object::elf::STB_LOCAL => kind,
                _ => kind.to_ascii_uppercase(),
            };
            names.push(Name { value, section: number.into(), kind, name: name.to_owned() });
        }
        if names.is_empty() {
            return Err(Wrong::Empty);
        }
        let (mut build_id, mut module_name) = (String::new(), None);
        for section in sections.iter() {
            if let Ok(Some(mut notes)) = section.notes(little, file) {
                while let Ok(Some(note)) = notes.next() {
                    if note.name() == b"GNU" && note.n_type(little) == NT_GNU_BUILD_ID {
                        build_id = hex(note.desc());
                    }
                }
            }
            if module && sections.section_name(little, section).is_ok_and(|name| name == b".modinfo") {
                module_name = section.data(little, file).ok().and_then(named);
            }
        }
        Ok(File { build_id, module, module_name, names })
    }

    /// Names of a kernel, where they lie if it is not moved.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn table(&self) -> Result<Table, Wrong> {
        let mut builder = Builder::default();
        for Name { value, kind, name, .. } in &self.names {
            builder.add(*value, *kind, name, None)?;
        }
        builder.build()
    }

    /// Names of a module where it lies now, and how many are left out since nothing is known of their sections.
    ///
    /// # Errors
    /// [`Misplaced`]: the file is of another module, or of another build of it.
    pub fn placed(&self, known: &Table, module: &str) -> Result<(Vec<Placed>, usize), Misplaced> {
        let mut times: HashMap<&str, usize> = HashMap::new();
        for Name { name, .. } in &self.names {
            *times.entry(name).or_default() += 1;
        }
        let mut begins: HashMap<usize, u64> = HashMap::new();
        let mut agree = 0;
        for Name { value, section, name, .. } in self.names.iter().filter(|name| times.get(&*name.name) == Some(&1)) {
            let [symbol] = known.named(Some(module), name)[..] else { continue };
            // What each core has its own copy of lies in no section of the module's.
            if symbol.address < HIGH_HALF {
                continue;
            }
            let begin = *begins.entry(*section).or_insert(symbol.address.wrapping_sub(*value));
            let there = begin.wrapping_add(*value);
            if there != symbol.address {
                return Err(Misplaced::Other { name: name.clone(), here: symbol.address, there });
            }
            agree += 1;
        }
        if agree < 2 {
            return Err(Misplaced::Unknown);
        }
        let place = |name: &Name| Some((begins.get(&name.section)?.wrapping_add(name.value), name.kind, name.name.clone()));
        let placed: Vec<Placed> = self.names.iter().filter_map(place).collect();
        let left_out = self.names.len() - placed.len();
        Ok((placed, left_out))
    }
}

/// The number of a build in notes as the kernel tells them of itself and of its modules, in hex; empty if there is none.
#[must_use]
pub fn build_id(notes: &[u8]) -> String {
    let word = |at: usize| -> Option<usize> {
        usize::try_from(u32::from_le_bytes(notes.get(at..at.checked_add(4)?)?.try_into().ok()?)).ok()
    };
    let mut at = 0;
    while let (Some(name), Some(bytes), Some(kind)) = (word(at), word(at + 4), word(at + 8)) {
        let first = at + 12 + name.next_multiple_of(4);
        if kind == NT_GNU_BUILD_ID as usize && notes.get(at + 12..at + 16) == Some(&b"GNU\0"[..]) {
            return notes.get(first..first.saturating_add(bytes)).map(hex).unwrap_or_default();
        }
        at = first.saturating_add(bytes.next_multiple_of(4));
    }
    String::new()
}

/// As `nm` has it, of a name that is not seen outside.
fn kind(flags: u64, section: u32) -> u8 {
    let has = |flag: u32| flags & u64::from(flag) != 0;
    if has(SHF_EXECINSTR) {
        b't'
    } else if section == SHT_NOBITS && has(SHF_WRITE) {
        b'b'
    } else if has(SHF_WRITE) {
        b'd'
    } else {
        b'r'
    }
}

/// Whether it is a name that somebody gave to something.
fn is_name(name: &str) -> bool {
    let marks = name.starts_with(".L") || name.starts_with('$');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic()) && !marks
}

/// The module's name in what it says of itself.
fn named(information: &[u8]) -> Option<String> {
    let text = information.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"name="))?;
    std::str::from_utf8(text).ok().filter(|name| is_name(name)).map(str::to_owned)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes such files: for tests.
#[derive(Clone, Debug, Default)]
pub struct Maker {
    /// Whether it is a module's.
    pub module: bool,
    /// The number of its build; none if empty.
    pub build_id: Vec<u8>,
    /// What a module says of itself.
    pub information: Vec<u8>,
    /// Value, section (1 is text, 2 is data), whether it is seen outside, name.
    pub names: Vec<(u64, u16, bool, String)>,
}

impl Maker {
    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let Self { module, build_id, information, names } = self;
        let number = |length: usize| u64::try_from(length).unwrap_or(0);
        let (mut texts, mut symbols) = (vec![0], vec![0; 24]);
        for (value, section, global, name) in names {
            symbols.extend(u32::try_from(texts.len()).unwrap_or(0).to_le_bytes());
            symbols.extend([u8::from(*global) << 4, 0]);
            symbols.extend(section.to_le_bytes());
            symbols.extend(value.to_le_bytes());
            symbols.extend([0; 8]);
            texts.extend(name.bytes().chain([0]));
        }
        let half = |length: usize| u32::try_from(length).unwrap_or(0).to_le_bytes();
        let note = [&half(4), &half(build_id.len()), &3_u32.to_le_bytes(), &b"GNU\0"[..], build_id].concat();
        let section_names = b"\0.text\0.data\0.modinfo\0.note.gnu.build-id\0.symtab\0.strtab\0";
        let note = if build_id.is_empty() { Vec::new() } else { note };
        // Name, type, flags, link, size of an entry, bytes.
        type Section<'b> = (u32, u32, u64, u32, u64, &'b [u8]);
        let sections: [Section<'_>; 8] = [
            (0, 0, 0, 0, 0, &[]),
            (1, 1, 6, 0, 0, &[0xc3; 16]),
            (7, 1, 3, 0, 0, &[0; 16]),
            (13, 1, 2, 0, 0, information),
            (22, 7, 2, 0, 0, &note),
            (41, 2, 0, 6, 24, &symbols),
            (49, 3, 0, 0, 0, &texts),
            (0, 3, 0, 0, 0, section_names),
        ];
        let (mut data, mut heads) = (Vec::new(), Vec::new());
        for (name, kind, flags, link, entry, bytes) in sections {
            heads.extend([name.to_le_bytes(), kind.to_le_bytes()].concat());
            heads.extend([flags, 0, 64 + number(data.len()), number(bytes.len())].map(u64::to_le_bytes).concat());
            heads.extend([link.to_le_bytes(), 0_u32.to_le_bytes()].concat());
            heads.extend([4, entry].map(u64::to_le_bytes).concat());
            data.extend(bytes);
            data.resize(data.len().next_multiple_of(8), 0);
        }
        let mut head = [&MAGIC[..], &[2, 1, 1], &[0; 9]].concat();
        head.extend([if *module { ET_REL } else { 2 }, EM_X86_64].map(u16::to_le_bytes).concat());
        head.extend(1_u32.to_le_bytes());
        head.extend([0, 0, 64 + number(data.len())].map(u64::to_le_bytes).concat());
        head.extend(0_u32.to_le_bytes());
        head.extend([64_u16, 0, 0, 64, 8, 7].map(u16::to_le_bytes).concat());
        [head, data, heads].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;
    use proptest::prelude::*;

    fn names(all: &[(u64, u16, bool, &str)]) -> Vec<(u64, u16, bool, String)> {
        all.iter().map(|(value, section, global, name)| (*value, *section, *global, (*name).to_owned())).collect()
    }

    fn module() -> Maker {
        let own = [
            (0, 1, false, "first"),
            (8, 1, true, "second"),
            (4, 1, false, "hidden"),
            (0, 2, false, "data"),
            (9, 2, true, "more"),
        ];
        Maker { module: true, information: b"license=GPL\0name=some\0".to_vec(), names: names(&own), ..Maker::default() }
    }

    /// Would catch a name of another section, and a static one that is shown as one that all see.
    #[test]
    fn names_kinds_and_the_number_of_the_build_are_read() {
        let all =
            [(0xffff_ffff_8100_0000, 1, true, "_stext"), (0xffff_ffff_8200_0000, 2, false, "kept"), (5, 0, true, "missing")];
        let maker = Maker { build_id: vec![0xab, 1], names: names(&all), ..Maker::default() };
        let file = File::read(&*maker.bytes()).unwrap();
        assert_eq!((&*file.build_id, file.module, &file.module_name), ("ab01", false, &None));
        let table = file.table().unwrap();
        let told: Vec<(u64, char, &str)> = table.all().map(|symbol| (symbol.address, symbol.kind, symbol.name)).collect();
        assert_eq!(told, [(0xffff_ffff_8100_0000, 'T', "_stext"), (0xffff_ffff_8200_0000, 'd', "kept")]);
    }

    /// Would catch names of one section that are placed by those of another, and a file of another build that is taken.
    #[test]
    fn a_module_is_placed_by_the_names_that_are_known_of_it() {
        let file = File::read(&*module().bytes()).unwrap();
        assert_eq!((file.module, file.module_name.as_deref()), (true, Some("some")));
        let known = |lines: &str| text::table(lines.as_bytes(), b"some 8192 0 - Live 0xffffffffc0300000\n").unwrap();
        let lines = "ffffffffc0300100 t first\t[some]\nffffffffc0300108 T second\t[some]\nffffffffc0300004 t hidden\t[other]\n";
        let (placed, left_out) = file.placed(&known(lines), "some").unwrap();
        assert_eq!(left_out, 2, "nothing is known of the data");
        assert_eq!(placed[2], (0xffff_ffff_c030_0104, b't', "hidden".to_owned()));
        let with_data = format!("{lines}ffffffffc0301009 D more\t[some]\n");
        let (placed, left_out) = file.placed(&known(&with_data), "some").unwrap();
        assert_eq!((placed.len(), left_out, placed[3].0), (5, 0, 0xffff_ffff_c030_1000));
        let other = file.placed(&known(&lines.replace("108 T", "110 T")), "some").unwrap_err();
        assert!(matches!(&other, Misplaced::Other { name, .. } if name == "second"), "{other:?}");
        assert_eq!(file.placed(&known(lines), "other").unwrap_err(), Misplaced::Unknown);
    }

    /// Would catch notes whose sizes lead behind their end, and one of somebody else.
    #[test]
    fn the_number_of_the_build_stands_among_other_notes() {
        let note = |name: &[u8], kind: u32, text: &[u8]| {
            let sizes = [u32::try_from(name.len()).unwrap(), u32::try_from(text.len()).unwrap(), kind].map(u32::to_le_bytes);
            [&sizes.concat(), name, text].concat()
        };
        let all = [note(b"Xen\0", 3, &[9; 8]), note(b"GNU\0", 5, &[9; 4]), note(b"GNU\0", 3, &[0xca, 0xfe])].concat();
        assert_eq!(build_id(&all), "cafe");
        assert_eq!(build_id(&all[..all.len() - 1]), "");
        assert_eq!(build_id(&note(b"GNU\0", u32::MAX, &[1])), "");
    }

    /// Would catch a part of a file that is taken for all of it, or that panics.
    #[test]
    fn a_cut_file_is_refused_or_has_less() {
        let whole = module().bytes();
        for length in 0..whole.len() {
            assert!(File::read(&whole[..length]).is_err(), "the table of sections is at the end: {length}");
        }
        assert_eq!(File::read(&b"\x7fELF\x02\x01"[..]), Err(Wrong::Unknown));
        let empty = Maker { names: Vec::new(), ..module() };
        assert_eq!(File::read(&*empty.bytes()), Err(Wrong::Empty));
    }

    proptest! {
        /// Would catch bytes that panic (L1).
        #[test]
        fn any_bytes_are_read_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..9),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = (File::read(&*bytes), build_id(&bytes));
            let mut changed = Maker { build_id: vec![1; 20], ..module() }.bytes();
            for (at, value) in changes {
                let at = at.index(changed.len());
                changed[at] = value;
            }
            if let Ok(file) = File::read(&*changed) {
                let known = text::table(b"ffffffffc0300100 t first\t[some]\nffffffffc0300108 T second\t[some]\n", b"").unwrap();
                let _ = (file.table(), file.placed(&known, "some"));
            }
        }
    }
}
