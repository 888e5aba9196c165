//! Every maximum of root, with its reason.

/// Tables of one nested page table at most, linear in their search: 1 for each 512 GiB, for each GiB that no one page maps, and
/// up to 2 for each hidden block.
pub const TABLES_MAX: usize = 2048;
/// Memory on a processor whose nested tables have no pages of 1 GiB, in bytes: each GiB is a table more, and such processors
/// are older than machines with more.
pub const NESTED_DIVIDED_BYTES_MAX: u64 = 64 << 30;
/// Last exits that a core remembers for its last words.
pub const LAST_EXITS: usize = 16;
/// How long one core waits for the others to halt, in milliseconds: an NMI takes microseconds; a core that is silent for
/// so long runs below us (system management mode) or is dead.
pub const HALT_WAIT_MS: u64 = 1000;
/// A core that has not come after so many milliseconds is kicked again.
pub const KICK_AGAIN_MS: u64 = 50;
/// How often a halt that nobody at the prompt waits for (a fetch, a breakpoint) is tried before it is told as not done.
pub const HALT_TRIES: u32 = 5;
/// Bytes of last words, on the fault stack.
pub const LAST_WORDS_BYTES: usize = 1536;
/// Bytes taken from the UART in one go while the guest runs. More come with the next interrupt.
pub const LINK_BYTES_AT_ONCE: usize = 256;
/// How often that is done before the guest runs again, if only for an instruction: a line that never falls silent does not
/// stop Linux.
pub const LINK_ROUNDS_AT_ONCE: u32 = 64;
/// Bytes of what events said and nobody has fetched yet: a screen of lines a thousand times over. What comes then is lost and
/// counted.
pub const MESSAGE_RING_BYTES: usize = 64 << 10;
/// Bytes of what one event with `imm no` said before all of it is moved into the ring, heads of 8 bytes included: as documented.
pub const GATHERED_BYTES: usize = 4096;
/// Events that gather at the same moment; one more makes the first of them deliver. They take as much as the ring.
pub const GATHERING_MAX: usize = 16;
/// Bytes of one message; what a script says beyond it is cut.
pub const MESSAGE_TEXT_BYTES_MAX: usize = 1024;
/// Words of stack for a script's run; recursion beyond it is a fault of the script.
pub const SCRIPT_STACK_WORDS: usize = 768;
/// Bytes of arrays and structs of one run: what the verifier is told.
pub const SCRIPT_DATA_BYTES: usize = script_vm::limits::DATA_BYTES;
/// Cells that scripts share.
pub const SCRIPT_GLOBALS: usize = script_vm::limits::GLOBALS_DEFAULT as usize;
/// Steps of one run (see `script_vm`): 1 000 000 as documented, some ten milliseconds at worst.
pub const SCRIPT_STEPS: u64 = 1_000_000;
/// Events at once.
pub const EVENTS_MAX: usize = 256;
/// Looks of one search at memory before it is continued by another request, each at [`SEARCH_BYTES_AT_ONCE`] or at one hole:
/// 256 KiB, a millisecond or so.
pub const SEARCH_LOOKS_MAX: usize = 128;
/// Bytes that a search looks at in one go.
pub const SEARCH_BYTES_AT_ONCE: usize = 2048;
/// A core that steps alone looks for bytes on the link so often, in steps: it has nobody who is called for them. A millisecond or two.
pub const STEPS_UNLOOKED_MAX: u64 = 64;
/// Units of `thread-interception` in use at once: threads of all processes under interception together, 51 200. Linux has 32 768
/// by default.
pub const HOLDERS_MAX: usize = 512;
/// A thread that steps executes so many instructions with no interrupt between them, then it is held for a moment, and goes on: what a
/// core may be without its timer, some ten milliseconds under an emulator.
pub const STRIDE_MAX: u32 = 256;
/// Instructions of the kernel's on a thread's way to its program, from the module's last word on; more, and it is given up. Seen: 200.
pub const WAY_OUT_MAX: u32 = 20_000;
/// An instruction that leads into the kernel and comes back to where it was is tried so often: a page to be fetched takes one or two.
pub const FRUITLESS_MAX: u64 = 64;
/// Processes of Linux' list that are looked at to find one: as many as it has by default.
pub const TASKS_MAX: usize = 32_768;
/// Pages and large pages of one monitor: what takes root some milliseconds to translate and to divide. Larger ranges
/// are monitored in parts.
pub const MONITOR_PIECES_MAX: u64 = 1 << 16;
/// Operands of one instruction that monitors look at: its fetch, two of a string, the stack; the others of today have no more.
pub const ACCESSES_MAX: usize = 8;
/// Chains of records of monitors, by hash: with the units that are there without `prealloc` each has one or none.
pub const MONITOR_BUCKETS: usize = 4096;
/// Detours, and units for them, at once: each has a place in memory that the module brings, within reach of a jump of the
/// kernel's.
pub const DETOURS_MAX: u64 = abi::boot::WINDOW_PLACES as u64;
