//! The model's system: a kernel of a few names, with a module. It tells them in files, and has them in its memory.
//!
//! ```text
//! physical 700000    the note for dumps
//! ffffffff81b00000   the kernel's own table of names
//! ffffffff81c00800   its list of what types modules brought, with one record and those types behind it
//! ffffffff81d00000   its types
//! ffffffffc0308000   the record of the module, its names behind it
//! ```

use super::tasks;
use abi::request::memory::{PHYSICAL, Place};
use abi::request::note::{self, NOTES};
use std::collections::BTreeMap;
use symbols::btf::Maker;
use symbols::{packed, text};

/// Names as the system lists them.
pub const NAMES: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T startup_64
ffffffff81000040 T do_one_initcall
ffffffff81000200 T do_syscall_64
ffffffff81000400 t read_one
ffffffff81000500 T __x64_sys_getppid
ffffffff81000540 T __ia32_sys_getppid
ffffffff81000600 t read_one
ffffffff81000700 T entry_SYSCALL_64
ffffffff81a00000 R linux_banner
ffffffff81a00100 R sys_call_table
ffffffff81c00800 d btf_modules
ffffffff81c10000 D init_task
ffffffff81c20000 D init_top_pgt
ffffffff81d00000 R __start_BTF
ffffffff81d01000 R __stop_BTF
ffffffff82000000 B _end
ffffffffc0300010 t msr_open\t[msr]
ffffffffc0300100 t msr_read\t[msr]
";

/// Its modules as the system lists them.
pub const MODULES: &str = "msr 16384 0 - Live 0xffffffffc0300000\n";

const TYPES: u64 = 0xffff_ffff_81d0_0000;
/// Bytes between the names that say where they begin and end.
const TYPES_BYTES: usize = 0x1000;
const NOTE: u64 = 0x70_0000;
const TABLE: u64 = 0xffff_ffff_81b0_0000;
const RECORD: u64 = 0xffff_ffff_c030_8000;
/// The head of the list of modules' types, a record of it, what that points to, and the types.
const BROUGHT: [u64; 4] = [HEAD + 0x800, HEAD + 0x840, HEAD + 0x880, HEAD + 0x900];
/// The ring's head, in the kernel.
const HEAD: u64 = 0xffff_ffff_81c0_0000;
/// Where the parts of a module's record lie in it.
const NEXT: u64 = 8;
const NAME: u64 = 24;
const BASE: u64 = 80;
const SIZE: u64 = 88;
const LIST: u64 = 96;

/// What it tells of itself.
#[derive(Clone, Debug)]
pub struct Linux {
    /// Its files, by their paths.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What the module told root.
    pub notes: [u64; NOTES],
    /// Physical memory.
    physical: Vec<(u64, Vec<u8>)>,
    /// Its own address space.
    virtual_: Vec<(u64, Vec<u8>)>,
}

impl Linux {
    /// Of its names and its modules, as it lists them; in memory it has the first module alone.
    #[must_use]
    pub fn new(names: &str, modules: &str) -> Self {
        let files = [("/proc/kallsyms", names), ("/proc/modules", modules)];
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        let mut files = BTreeMap::from(files);
        files.insert("/sys/kernel/btf/vmlinux".to_owned(), types());
        files.insert("/sys/kernel/btf/msr".to_owned(), types_of_msr());
        let mut notes = [0; NOTES];
        let (mut physical, mut virtual_) = (Vec::new(), Vec::new());
        if let Ok(table) = text::table(names.as_bytes(), modules.as_bytes()) {
            let base = table.named(None, "_stext").first().map_or(0, |symbol| symbol.address);
            let packed = packed::pack(&table, base);
            let parts = [
                ("kallsyms_names", packed.names),
                ("kallsyms_num_syms", packed.count.to_le_bytes().to_vec()),
                ("kallsyms_token_table", packed.pieces),
                ("kallsyms_token_index", packed.index),
                ("kallsyms_offsets", packed.offsets),
                ("kallsyms_relative_base", base.to_le_bytes().to_vec()),
            ];
            let mut note = "OSRELEASE=6.1.0-model\nBUILD-ID=00c0ffee\n".to_owned();
            for name in ["_stext", "entry_SYSCALL_64"] {
                for symbol in table.named(None, name) {
                    note += &format!("SYMBOL({name})={:x}\n", symbol.address);
                }
            }
            for ((name, mut bytes), at) in parts.into_iter().zip((TABLE..).step_by(0x1_0000)) {
                // What is read in one go may end behind the last byte.
                bytes.resize(bytes.len() + 0x1000, 0);
                note += &format!("SYMBOL({name})={at:x}\n");
                virtual_.push((at, bytes));
            }
            let sizes = [11, u32::try_from(note.len()).unwrap_or(0), 0].map(u32::to_le_bytes).concat();
            physical.push((NOTE, [&sizes, &b"VMCOREINFO\0\0"[..], note.as_bytes()].concat()));
            let mut types = types();
            types.resize(TYPES_BYTES, 0);
            virtual_.push((TYPES, types));
            virtual_.push((HEAD, [0_u64.to_le_bytes(), (RECORD + NEXT).to_le_bytes()].concat()));
            notes = numbers(u64::try_from(physical[0].1.len()).unwrap_or(0));
            if let Some(module) = table.modules().first() {
                virtual_.push((RECORD, record(&table, module)));
                virtual_.extend(brought());
            }
        }
        virtual_.extend(tasks::memory());
        Self { files, notes, physical, virtual_ }
    }

    /// Has the list of its tasks lead nowhere behind the second one.
    pub fn break_tasks(&mut self) {
        tasks::break_list(&mut self.virtual_);
    }

    /// A byte of its memory.
    pub(super) fn byte(&self, place: Place, offset: u64) -> Option<u8> {
        let pieces = if place.space == PHYSICAL { &self.physical } else { &self.virtual_ };
        let address = place.address.checked_add(offset)?;
        let within = |(start, bytes): &(u64, Vec<u8>)| bytes.get(usize::try_from(address.checked_sub(*start)?).ok()?).copied();
        pieces.iter().find_map(within)
    }
}

impl Default for Linux {
    fn default() -> Self {
        Self::new(NAMES, MODULES)
    }
}

fn numbers(note_bytes: u64) -> [u64; NOTES] {
    let mut notes = [0; NOTES];
    for (number, value) in [
        (note::CRASH_NOTE, NOTE),
        (note::CRASH_NOTE_BYTES, note_bytes),
        (note::MODULE, RECORD),
        (note::MODULE_NEXT, NEXT),
        (note::MODULE_NAME, NAME),
        (note::MODULE_BASE, BASE),
        (note::MODULE_SIZE, SIZE),
        (note::MODULE_NAMES, LIST),
        (note::NAMES_TABLE, 0),
        (note::NAMES_COUNT, 8),
        (note::NAMES_TEXTS, 16),
        (note::NAMES_KINDS, 24),
    ] {
        notes[number] = value;
    }
    notes
}

/// The kernel's list of modules' types: its head, one record, what that points to, the types.
fn brought() -> [(u64, Vec<u8>); 4] {
    let types = types_of_msr();
    let [head, record, own, data] = BROUGHT;
    let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    [
        (head, words(&[record, record])),
        (record, words(&[head, head, RECORD, own])),
        (own, words(&[0, data, u64::try_from(types.len()).unwrap_or(0)])),
        (data, types),
    ]
}

/// Types that the module brings: one, of the kernel's.
#[must_use]
pub fn types_of_msr() -> Vec<u8> {
    let kernel = kernels_types();
    let mut maker = Maker::behind(&kernel);
    let (int, list) = (1, 6);
    maker.structure("msr_device", 24, false, &[("list", list, 0, 0), ("cpu", int, 128, 0)]);
    maker.bytes()
}

/// A few types.
#[must_use]
pub fn types() -> Vec<u8> {
    kernels_types().bytes()
}

fn kernels_types() -> Maker {
    let mut maker = Maker::new();
    let int = maker.record("int", 0, 1, false, 4, &[1 << 24 | 32]);
    let unsigned = maker.record("unsigned int", 0, 1, false, 4, &[32]);
    let char = maker.record("char", 0, 1, false, 1, &[1 << 24 | 8]);
    let name = maker.record("", 0, 3, false, 0, &[char, int, 16]);
    let pointer = maker.record("", 0, 2, false, int + 5, &[]);
    let list = maker.structure("list_head", 16, false, &[("next", pointer, 0, 0), ("prev", pointer, 64, 0)]);
    let (running, waiting) = (maker.text("RUNNING"), maker.text("WAITING"));
    let state = maker.record("state", 2, 6, false, 4, &[running, 0, waiting, 1]);
    let thread = tasks::types(&mut maker, int, pointer, list);
    let mut members = vec![
        ("run", list, 0, 0),
        ("pid", int, 128, 0),
        ("tgid", int, 160, 0),
        ("comm", name, 192, 0),
        ("state", state, 320, 3),
        ("kept", unsigned, 323, 1),
    ];
    members.extend(tasks::members(int, unsigned, pointer, list, thread));
    maker.structure("task_struct", tasks::task_bytes(), false, &members);
    maker.record("pid_t", 0, 8, false, int, &[]);
    let brought = [("list", list, 0, 0), ("module", pointer, 128, 0), ("btf", pointer, 192, 0)];
    maker.structure("btf_module", 32, false, &brought);
    maker.structure("btf", 24, false, &[("data", pointer, 64, 0), ("data_size", unsigned, 128, 0)]);
    maker
}

/// A module's record, with its names behind it.
fn record(table: &symbols::Table, module: &symbols::Module) -> Vec<u8> {
    const NAMES_AT: u64 = 0x100;
    const TABLE_AT: u64 = 0x200;
    const TEXTS_AT: u64 = 0x1000;
    const KINDS_AT: u64 = 0x1800;
    let mut bytes = vec![0; 0x2000];
    let mut put = |at: u64, value: &[u8]| {
        let at = usize::try_from(at).unwrap_or(0);
        bytes[at..at + value.len()].copy_from_slice(value);
    };
    put(NEXT, &(HEAD + NEXT).to_le_bytes());
    put(NAME, module.name.as_bytes());
    put(BASE, &module.base.to_le_bytes());
    put(SIZE, &module.size.to_le_bytes()[..4]);
    put(LIST, &(RECORD + NAMES_AT).to_le_bytes());
    let (mut texts, mut count) = (1_u64, 0_u64);
    for symbol in table.all().filter(|symbol| symbol.module == Some(&module.name)) {
        let at = TABLE_AT + count * packed::SYMBOL_BYTES as u64;
        put(at, &texts.to_le_bytes()[..4]);
        put(at + 6, &[1, 0]);
        put(at + 8, &symbol.address.to_le_bytes());
        put(TEXTS_AT + texts, symbol.name.as_bytes());
        put(KINDS_AT + count, &[symbol.kind as u8]);
        texts += symbol.name.len() as u64 + 1;
        count += 1;
    }
    for (number, value) in [RECORD + TABLE_AT, count, RECORD + TEXTS_AT, RECORD + KINDS_AT].iter().enumerate() {
        put(NAMES_AT + 8 * number as u64, &value.to_le_bytes());
    }
    bytes
}
