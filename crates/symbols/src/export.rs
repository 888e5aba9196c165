//! A file of names for debuggers that know no kernel: ELF, with every name where it lies in this very boot, and how to unwind.
//!
//! ```text
//! .text .data             the kernel as it lies in memory, without its bytes
//! .text.NAME              a module, likewise
//! .symtab .strtab         all names
//! .debug_frame            who called whom, by the kernel's own table
//! ```
//! **Holds always**
//! - X1: an address is the one in memory: nothing is to be moved by who reads the file.
//! - X2: a name that lies in no piece is absolute, and so of no piece.
//!
//! **Cost**: one pass and two sorts; 20 MB for a kernel of today. **Proof**: tests below, which read it back; `tests/e2e/gdb.rs`.

use crate::frames::{self, Function};
use crate::unwind::Orc;
use crate::{HIGH_HALF, Symbol, Table, Wrong};
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, ELFOSABI_NONE, EM_X86_64, ET_EXEC, EV_CURRENT, FileHeader64, Ident, SHF_ALLOC,
    SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHN_LORESERVE, SHN_UNDEF, SHT_NOBITS, SHT_PROGBITS, SHT_STRTAB, SHT_SYMTAB, STB_GLOBAL,
    STB_LOCAL, STB_WEAK, STT_FUNC, STT_NOTYPE, STT_OBJECT, SectionHeader64, Sym64,
};
use object::pod::{bytes_of, bytes_of_slice};
use object::{LittleEndian, U16, U32, U64};

/// Where a section of the file begins, in bytes.
const ALIGNED: usize = 16;

/// The kernel's own table of how to unwind, as it was read.
pub struct Unwind<'b> {
    /// Where it lies.
    pub orc: Orc,
    /// Its parts ([`Orc::parts`]).
    pub parts: [&'b [u8]; 2],
}

/// A part of memory.
struct Piece {
    name: String,
    start: u64,
    end: u64,
    is_code: bool,
}

/// The bytes of a file.
///
/// # Errors
/// [`Wrong::Cut`] if the table of how to unwind makes no sense; [`Wrong::TooMany`].
pub fn file(table: &Table, unwind: Option<&Unwind>) -> Result<Vec<u8>, Wrong> {
    let code_end = code_end(table);
    let frames = match unwind {
        Some(Unwind { orc, parts: [ips, entries] }) => {
            Some(frames::debug_frame(&orc.rows(ips, entries), &functions(table, code_end))?)
        }
        None => None,
    };
    write(&pieces(table, code_end), &names(table), frames.as_deref()).ok_or(Wrong::TooMany(usize::from(SHN_LORESERVE)))
}

/// Where the kernel's code ends.
fn code_end(table: &Table) -> u64 {
    let (start, end) = table.kernel();
    match table.named(Some("vmlinux"), "_etext")[..] {
        [symbol] if (start..end).contains(&symbol.address) => symbol.address,
        _ => end,
    }
}

fn is_code(kind: char) -> bool {
    matches!(kind, 't' | 'T' | 'w' | 'W')
}

/// The kernel's functions, by their places; a name's function ends where the next one begins.
fn functions(table: &Table, code_end: u64) -> Vec<Function> {
    let (start, _) = table.kernel();
    let own =
        |symbol: &Symbol<'_>| symbol.module.is_none() && is_code(symbol.kind) && (start..code_end).contains(&symbol.address);
    let mut places: Vec<(u64, bool)> = Vec::new();
    for symbol in table.all().filter(own) {
        let is_called = symbol.name.starts_with("entry_SYS") || symbol.name.starts_with("ret_from_fork");
        match places.last_mut().filter(|(address, _)| *address == symbol.address) {
            Some((_, called)) => *called |= is_called,
            None => places.push((symbol.address, is_called)),
        }
    }
    let ends: Vec<u64> = places.iter().skip(1).map(|(address, _)| *address).chain([code_end]).collect();
    places.into_iter().zip(ends).map(|((from, called), to)| (from, to, called)).collect()
}

fn pieces(table: &Table, code_end: u64) -> Vec<Piece> {
    let (start, end) = table.kernel();
    let kernel = [(".text", start, code_end, true), (".data", code_end, end, false)];
    let kernel = kernel.map(|(name, start, end, is_code)| Piece { name: name.to_owned(), start, end, is_code });
    let modules = table.modules().iter().filter(|module| module.base >= HIGH_HALF && module.size != 0).map(|module| Piece {
        name: format!(".text.{}", module.name),
        start: module.base,
        end: module.base.saturating_add(module.size),
        is_code: true,
    });
    kernel.into_iter().chain(modules).filter(|piece| piece.start < piece.end).collect()
}

/// Names, by their addresses, each with the bytes up to the next one.
fn names(table: &Table) -> Vec<(Symbol<'_>, u64)> {
    let all: Vec<Symbol<'_>> = table.all().collect();
    let mut next = u64::MAX;
    let mut names: Vec<(Symbol<'_>, u64)> = Vec::with_capacity(all.len());
    for symbol in all.into_iter().rev() {
        if let Some((behind, _)) = names.last()
            && behind.address > symbol.address
        {
            next = behind.address;
        }
        names.push((symbol, next));
    }
    names.reverse();
    names
}

fn binding(kind: char) -> u8 {
    match kind {
        'w' | 'W' | 'v' | 'V' => STB_WEAK,
        kind if kind.is_ascii_uppercase() => STB_GLOBAL,
        _ => STB_LOCAL,
    }
}

/// The sections, and what they hold.
struct Sections {
    heads: Vec<SectionHeader64<LittleEndian>>,
    names: Vec<u8>,
    bytes: Vec<u8>,
}

impl Sections {
    /// Adds one that lies in memory, and not in the file.
    fn in_memory(&mut self, piece: &Piece) -> Option<()> {
        let flags = SHF_ALLOC | if piece.is_code { SHF_EXECINSTR } else { SHF_WRITE };
        let (start, bytes) = (piece.start, piece.end - piece.start);
        self.add(&piece.name, SHT_NOBITS, |head| {
            head.sh_flags = U64::new(LittleEndian, flags.into());
            head.sh_addr = U64::new(LittleEndian, start);
            head.sh_size = U64::new(LittleEndian, bytes);
        })
    }

    /// Adds one with its bytes.
    fn in_file(
        &mut self,
        name: &str,
        kind: u32,
        bytes: &[u8],
        more: impl FnOnce(&mut SectionHeader64<LittleEndian>),
    ) -> Option<()> {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNED), 0);
        let (at, size) = (self.bytes.len() as u64, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self.add(name, kind, |head| {
            head.sh_offset = U64::new(LittleEndian, at);
            head.sh_size = U64::new(LittleEndian, size);
            more(head);
        })
    }

    fn add(&mut self, name: &str, kind: u32, more: impl FnOnce(&mut SectionHeader64<LittleEndian>)) -> Option<()> {
        let mut head = empty_section();
        head.sh_name = U32::new(LittleEndian, u32::try_from(self.names.len()).ok()?);
        head.sh_type = U32::new(LittleEndian, kind);
        head.sh_addralign = U64::new(LittleEndian, ALIGNED as u64);
        more(&mut head);
        self.heads.push(head);
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        // The last numbers mean something else.
        (self.heads.len() < usize::from(SHN_LORESERVE)).then_some(())
    }
}

fn empty_section() -> SectionHeader64<LittleEndian> {
    let (half, whole) = (U32::new(LittleEndian, 0), U64::new(LittleEndian, 0));
    SectionHeader64 {
        sh_name: half,
        sh_type: half,
        sh_flags: whole,
        sh_addr: whole,
        sh_offset: whole,
        sh_size: whole,
        sh_link: half,
        sh_info: half,
        sh_addralign: whole,
        sh_entsize: whole,
    }
}

/// Writes all of it; `None` if it does not fit the format.
fn write(pieces: &[Piece], names: &[(Symbol<'_>, u64)], frames: Option<&[u8]>) -> Option<Vec<u8>> {
    let head_bytes = size_of::<FileHeader64<LittleEndian>>();
    let mut sections = Sections { heads: vec![empty_section()], names: vec![0], bytes: vec![0; head_bytes] };
    for piece in pieces {
        sections.in_memory(piece)?;
    }
    if let Some(frames) = frames {
        sections.in_file(".debug_frame", SHT_PROGBITS, frames, |_| {})?;
    }
    let (symbols, texts, locals) = symbols(pieces, names)?;
    let behind = u32::try_from(sections.heads.len() + 1).ok()?;
    sections.in_file(".symtab", SHT_SYMTAB, &symbols, |head| {
        head.sh_link = U32::new(LittleEndian, behind);
        head.sh_info = U32::new(LittleEndian, locals);
        head.sh_entsize = U64::new(LittleEndian, size_of::<Sym64<LittleEndian>>() as u64);
    })?;
    sections.in_file(".strtab", SHT_STRTAB, &texts, |_| {})?;
    let names_at = u16::try_from(sections.heads.len()).ok()?;
    let own_names = [&sections.names[..], b".shstrtab\0"].concat();
    sections.in_file(".shstrtab", SHT_STRTAB, &own_names, |_| {})?;
    let Sections { heads, mut bytes, .. } = sections;
    bytes.resize(bytes.len().next_multiple_of(ALIGNED), 0);
    let heads_at = bytes.len() as u64;
    bytes.extend_from_slice(bytes_of_slice(&heads));
    let ident = Ident {
        magic: ELFMAG,
        class: ELFCLASS64,
        data: ELFDATA2LSB,
        version: EV_CURRENT,
        os_abi: ELFOSABI_NONE,
        abi_version: 0,
        padding: [0; 7],
    };
    let (none, zero) = (U16::new(LittleEndian, 0), U64::new(LittleEndian, 0));
    let number = |value: usize| u16::try_from(value).ok().map(|value| U16::new(LittleEndian, value));
    let head = FileHeader64 {
        e_ident: ident,
        e_type: U16::new(LittleEndian, ET_EXEC),
        e_machine: U16::new(LittleEndian, EM_X86_64),
        e_version: U32::new(LittleEndian, EV_CURRENT.into()),
        e_entry: zero,
        e_phoff: zero,
        e_shoff: U64::new(LittleEndian, heads_at),
        e_flags: U32::new(LittleEndian, 0),
        e_ehsize: number(head_bytes)?,
        e_phentsize: none,
        e_phnum: none,
        e_shentsize: number(size_of::<SectionHeader64<LittleEndian>>())?,
        e_shnum: number(heads.len())?,
        e_shstrndx: U16::new(LittleEndian, names_at),
    };
    bytes.get_mut(..head_bytes)?.copy_from_slice(bytes_of(&head));
    Some(bytes)
}

/// The table of names, its texts, and how many of them are local: those come first.
fn symbols(pieces: &[Piece], names: &[(Symbol<'_>, u64)]) -> Option<(Vec<u8>, Vec<u8>, u32)> {
    let nothing = Sym64 {
        st_name: U32::new(LittleEndian, 0),
        st_info: 0,
        st_other: 0,
        st_shndx: U16::new(LittleEndian, SHN_UNDEF),
        st_value: U64::new(LittleEndian, 0),
        st_size: U64::new(LittleEndian, 0),
    };
    let (mut all, mut texts) = (vec![nothing], vec![0]);
    let (local, others): (Vec<_>, Vec<_>) = names.iter().partition(|(symbol, _)| binding(symbol.kind) == STB_LOCAL);
    let locals = u32::try_from(local.len()).ok()?.checked_add(1)?;
    for (symbol, next) in local.into_iter().chain(others) {
        let place = pieces.iter().position(|piece| (piece.start..piece.end).contains(&symbol.address));
        // The first section is none.
        let section = place.map_or(Some(SHN_ABS), |place| u16::try_from(place + 1).ok())?;
        let kind = match symbol.kind {
            kind if is_code(kind) => STT_FUNC,
            'a' | 'A' => STT_NOTYPE,
            _ => STT_OBJECT,
        };
        let bytes = place.map_or(0, |place| next.min(pieces[place].end) - symbol.address);
        all.push(Sym64 {
            st_name: U32::new(LittleEndian, u32::try_from(texts.len()).ok()?),
            st_info: (binding(symbol.kind) << 4) | kind,
            st_other: 0,
            st_shndx: U16::new(LittleEndian, section),
            st_value: U64::new(LittleEndian, symbol.address),
            st_size: U64::new(LittleEndian, bytes),
        });
        texts.extend_from_slice(symbol.name.as_bytes());
        texts.push(0);
    }
    Some((bytes_of_slice(&all).to_vec(), texts, locals))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::read::elf::{FileHeader as _, SectionHeader as _, Sym as _};

    fn table() -> Table {
        let names = b"ffffffff81000000 T _text\n0000000000001000 A offset\nffffffff81000100 t entry_SYSCALL_64\nffffffff81000180 t entry_SYSRETQ\n\
            ffffffff81000200 T vfs_read\nffffffff81001000 T _etext\nffffffff81001100 D jiffies_64\nffffffff81001800 r __start_orc_unwind_ip\n\
            ffffffff81001808 r __stop_orc_unwind_ip\nffffffff81001810 r __start_orc_unwind\nffffffff81002000 B _end\n\
            ffffffffc0000010 t modular [m]\nffffffffd0000000 t elsewhere [bpf]\n";
        crate::text::table(names, b"m 4096 0 - Live 0xffffffffc0000000\n").unwrap()
    }

    /// Would catch a name that lies elsewhere, in another piece or with another size, and a file that others cannot read.
    #[test]
    fn each_name_lies_where_the_kernel_has_it() {
        let bytes = file(&table(), None).unwrap();
        let little = LittleEndian;
        let head = FileHeader64::<LittleEndian>::parse(&*bytes).unwrap();
        let sections = head.sections(little, &*bytes).unwrap();
        let symbols = sections.symbols(little, &*bytes, SHT_SYMTAB).unwrap();
        let name_of =
            |index: u16| sections.iter().nth(index.into()).map(|section| sections.section_name(little, section).unwrap());
        let mut found = Vec::new();
        for symbol in symbols.iter().skip(1) {
            let piece = match symbol.st_shndx(little) {
                SHN_ABS => "absolute",
                index => std::str::from_utf8(name_of(index).unwrap()).unwrap(),
            };
            let name = std::str::from_utf8(symbols.symbol_name(little, symbol).unwrap()).unwrap();
            found.push((name, symbol.st_value(little), symbol.st_size(little), symbol.st_type(), symbol.st_bind(), piece));
        }
        for expected in [
            ("vfs_read", 0xffff_ffff_8100_0200, 0xe00, STT_FUNC, STB_GLOBAL, ".text"),
            ("jiffies_64", 0xffff_ffff_8100_1100, 0x700, STT_OBJECT, STB_GLOBAL, ".data"),
            ("modular", 0xffff_ffff_c000_0010, 0xff0, STT_FUNC, STB_LOCAL, ".text.m"),
            ("elsewhere", 0xffff_ffff_d000_0000, 0, STT_FUNC, STB_LOCAL, "absolute"),
            ("offset", 0x1000, 0, STT_NOTYPE, STB_GLOBAL, "absolute"),
        ] {
            assert!(found.contains(&expected), "{expected:x?} in {found:x?}");
        }
        assert_eq!(found.len(), table().len());
        let first_global = found.iter().position(|symbol| symbol.4 != STB_LOCAL).unwrap();
        assert!(found[first_global..].iter().all(|symbol| symbol.4 != STB_LOCAL), "local ones come first");
        let data = sections.iter().find(|section| section.sh_addr(little) == 0xffff_ffff_8100_1000).unwrap();
        assert_eq!((data.sh_size(little), data.sh_type(little)), (0x1000, SHT_NOBITS));
    }

    /// Would catch a table of frames that is left out, or whose places are moved.
    #[test]
    fn how_to_unwind_comes_with_it() {
        let table = table();
        let orc = Orc::of(&table).unwrap();
        let (ips, code) = (orc.parts()[0].0, table.kernel().0);
        let distance = |ip: u64, nth: u64| i32::try_from(ip.wrapping_sub(ips + 4 * nth).cast_signed()).unwrap().to_le_bytes();
        let places = [distance(code, 0), distance(code + 0x200, 1)].concat();
        let entries = [[8, 0, 0, 0, 5, 0], [16, 0, 0, 0, 5, 0]].concat();
        let bytes = file(&table, Some(&Unwind { orc, parts: [&places, &entries] })).unwrap();
        let little = LittleEndian;
        let head = FileHeader64::<LittleEndian>::parse(&*bytes).unwrap();
        let sections = head.sections(little, &*bytes).unwrap();
        let (_, section) = sections.section_by_name(little, b".debug_frame").unwrap();
        let data = section.data(little, &*bytes).unwrap();
        let place = (code + 0x200).to_le_bytes();
        assert!(data.windows(8).any(|bytes| bytes == place), "vfs_read has a description of its own");
    }

    /// Would catch a system call's entry that is shown as what was interrupted.
    #[test]
    fn a_system_calls_entry_is_called() {
        let table = table();
        let functions = functions(&table, code_end(&table));
        let shown: Vec<_> = functions.iter().map(|(from, to, called)| (from & 0xfff, to & 0xffff, *called)).collect();
        assert_eq!(shown, [(0, 0x100, false), (0x100, 0x180, true), (0x180, 0x200, true), (0x200, 0x1000, false)]);
    }
}
