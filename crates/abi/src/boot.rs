//! What the module and the image hand each other, and the hypercalls between them.
//!
//! The module maps the image at [`IMAGE_VA`], RAM at [`DIRECT_VA`] and for each core a region at [`CORES_VA`], all in page
//! tables of root's own; it fills a [`Boot`] and calls the image's entry on every core. It knows no vendor and no kind.

use crate::request::note::NOTES;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First bytes of the image: "HYPERKD\0".
pub const IMAGE_MAGIC: u64 = u64::from_le_bytes(*b"HYPERKD\0");
/// Where RAM begins in root's address space, physical address 0. It is the hole Linux leaves for hypervisors
/// (Documentation/x86/x86_64/mm.rst), so none of its global TLB entries can stand there.
pub const DIRECT_VA: u64 = 0xffff_8000_0000_0000;
/// Bytes of RAM at most: so much address space lies between [`DIRECT_VA`] and [`IMAGE_VA`].
pub const DIRECT_BYTES_MAX: u64 = 7 << 40;
/// Where machine code of events runs in root: below the same entry of root's first table as the image.
pub const CODE_VA: u64 = 0xffff_87ff_4000_0000;
/// Where the image is linked to run.
pub const IMAGE_VA: u64 = 0xffff_87ff_8000_0000;
/// Where the cores' regions begin; core `n` has `CORES_VA + n * CORE_STRIDE`.
pub const CORES_VA: u64 = 0xffff_87ff_c000_0000;
/// Distance of two cores' regions. The first page of each is never mapped: it stops a stack that grows too far.
pub const CORE_STRIDE: u64 = 0x4_0000;
/// Cores at most.
pub const CORES_MAX: usize = 256;
/// Bytes of a page and of a frame.
pub const FRAME_BYTES: u64 = 4096;
/// A block that the module hands over has 2^n frames, n at least this, so that something is left of it beyond
/// [`block_overhead`].
pub const BLOCK_ORDER_MIN: u32 = 4;
/// ... and at most this (2 MiB, one large page).
pub const BLOCK_ORDER_MAX: u32 = 9;
/// Blocks at most that one machine may hand over, load and later donations together.
pub const BLOCKS_MAX: usize = 8192;
/// Frames of a block that root may need to keep it: two tables to hide it from Linux, the others to count what is in it.
#[must_use]
pub const fn block_overhead(order: u32) -> u64 {
    3 + ((1 << order) >> 6)
}
const _: () = assert!(CODE_VA >> 39 == IMAGE_VA >> 39 && CODE_VA + (1 << 30) <= IMAGE_VA);
const _: () = assert!(DIRECT_VA + DIRECT_BYTES_MAX <= CODE_VA && CORES_MAX as u64 * CORE_STRIDE <= 1 << 30);

/// First bytes of the image; written by its linker script. All fields in bytes from the image's start.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct ImageHeader {
    /// [`IMAGE_MAGIC`].
    pub magic: u64,
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
    /// Bytes of a core's region that are mapped, the guard page not counted.
    pub core_bytes: u32,
    /// Where a core enters.
    pub entry: u64,
    /// `[0, text_end)` is read and executed.
    pub text_end: u64,
    /// `[text_end, rodata_end)` is only read.
    pub rodata_end: u64,
    /// `[rodata_end, image_end)` is read and written. The file ends at or before this; the rest is zero.
    pub image_end: u64,
    /// Frames that root's start-up budgets take: the module gathers them beside the bank.
    pub start_frames: u64,
}
const _: () = assert!(size_of::<ImageHeader>() == 56);

/// Frames that the module hands to root: `pfn .. pfn + 2^order`, aligned to its own size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Block {
    /// First frame number.
    pub pfn: u64,
    /// Two to this many frames.
    pub order: u32,
    /// Frames at the beginning of the block that the module used for the image, the cores and root's page tables.
    pub used: u32,
}
const _: () = assert!(size_of::<Block>() == 16);

/// What one core tells when it enters; the module fills it, in memory that stays Linux'.
///
/// The entry takes the core's number in `edi`, the physical address of the [`Boot`] page in `rsi`, that of this in `rdx`
/// and in `r8` where to jump back to with a code in `eax` and its detail in the upper half. With `rdx` = 0 it only
/// prepares what the cores share and comes back; otherwise it comes back only to refuse.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Core {
    /// Root's virtual address of the way back: code that is mapped alike in both address spaces. It takes in `rdi` the
    /// (Linux virtual) address of a [`Resume`], in `rsi` CR3, in `rdx` CR4 and in `rcx` EFER to load.
    pub leave: u64,
    /// Where the guest continues: Linux' address and stack.
    pub guest_rip: u64,
    /// See `guest_rip`.
    pub guest_rsp: u64,
    /// Linux' CR3 at entry.
    pub guest_cr3: u64,
    /// Linux' virtual address of this core's [`Resume`].
    pub resume_va: u64,
    /// Its physical address.
    pub resume_pa: u64,
}
const _: () = assert!(size_of::<Core>() == 48);

/// Registers of a guest that is let go, in the order in which the way back pops them.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Resume {
    /// r15 r14 r13 r12 r11 r10 r9 r8 rbp rdi rsi rdx rcx rbx rax.
    pub gprs: [u64; 15],
    /// What `iretq` takes: rip cs rflags rsp ss.
    pub frame: [u64; 5],
}
const _: () = assert!(size_of::<Resume>() == 160);

/// The boot page. The module fills it before the first core enters; it lies in root's memory.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Boot {
    /// [`crate::PROTOCOL`] of the module.
    pub protocol: u32,
    /// Cores that enter together.
    pub cores: u32,
    /// Root's CR3.
    pub root_cr3: u64,
    /// First frame number beyond RAM.
    pub ram_end_pfn: u64,
    /// Frames of RAM that Linux has.
    pub ram_frames: u64,
    /// Physical address of the [`Doorbell`], in a page of Linux'.
    pub doorbell_pa: u64,
    /// Physical address of the table of [`Block`]s, in root's memory.
    pub blocks_pa: u64,
    /// How many.
    pub blocks: u32,
    /// [`BOOT_LINK`] and nothing else.
    pub flags: u32,
    /// A number that differs with every load; the prompt knows a rebooted machine by it.
    pub boot_id: u64,
    /// Kilohertz of the time stamp counter, as Linux measured it.
    pub tsc_khz: u64,
    /// Where, behind the kernel's base of GS, a core has the address of the task that it runs.
    pub current_task: u64,
    /// Bytes into a task of its thread id (Linux: `pid`),
    pub task_tid: u32,
    /// of its process id (Linux: `tgid`),
    pub task_pid: u32,
    /// and of its name.
    pub task_name: u32,
    /// Bytes into an address space of the address of its highest page table.
    pub space_tables: u32,
    /// Where, in the kernel's address space, all of RAM is mapped by physical address.
    pub direct_map: u64,
    /// Address of the first task of Linux' list of processes.
    pub first_task: u64,
    /// Bytes into a task of the address at which the next one has these bytes,
    pub task_next: u32,
    /// and of the address of its address space.
    pub task_space: u32,
    /// Numbers of [`crate::request::note`], for the prompt.
    pub notes: [u64; NOTES],
    /// Physical address of the [`Window`], in root's memory.
    pub window_pa: u64,
    /// Linear addresses that the kernel maps for ever to the same memory: two stretches, each by its first and by what is behind.
    pub fixed: [u64; 4],
}
const _: () = assert!(size_of::<Boot>() == 288 && offset_of!(Boot, blocks) == 48);

/// Places for code of detours: as many as units of `epthook2` can be reserved.
pub const WINDOW_PLACES: usize = 512;
/// Bytes of a place. It begins with the instruction for hypercalls ([`PLACE_COPY`] bytes); the kernel goes on behind that, if a core executes
/// it that is not under root.
pub const PLACE_BYTES: usize = 256;
/// See [`PLACE_BYTES`].
pub const PLACE_COPY: usize = 3;
/// Frames of the places.
pub const WINDOW_TEXT_FRAMES: usize = WINDOW_PLACES * PLACE_BYTES / 4096;
/// Frames of their cells.
pub const WINDOW_CELL_FRAMES: usize = WINDOW_PLACES * size_of::<Cell>() / 4096;
/// Frames of the window: its places, a [`Cell`] for each, and a page of words that scripts share.
pub const WINDOW_FRAMES: usize = WINDOW_TEXT_FRAMES + WINDOW_CELL_FRAMES + 1;

/// Memory of the module's that the guest's kernel executes and counts in for detours. It lies where jumps of 32 bits reach it from the kernel and
/// its modules.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Window {
    /// Linear address of the places, which lie side by side. The guest executes them and writes nothing there.
    pub text: u64,
    /// Linear address of the cells, and behind them of the shared words.
    pub data: u64,
    /// Frame numbers of all of it in this order.
    pub frames: [u64; WINDOW_FRAMES],
}
const _: () = assert!(size_of::<Window>() == 344 && WINDOW_FRAMES == 41);

/// What a place counts, and for whom it is: a line of the guest's memory.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Cell {
    /// Hits that the place counted.
    pub hits: u64,
    /// Where the kernel meets a breakpoint that stands for a jump to the place; 0: nowhere.
    pub address: u64,
    /// Where it then goes on.
    pub entry: u64,
    /// Nothing.
    pub unused: [u64; 5],
}
const _: () = assert!(size_of::<Cell>() == 64);

/// [`Boot::flags`]: root owns COM2 and speaks the link on it.
pub const BOOT_LINK: u32 = 1;

/// Words by which root asks the module's worker for something, and by which that tells the time: both without an exit.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Doorbell {
    /// Frames that root wants; the worker hands them over whole with [`hypercall::DONATE`] or not
    /// at all, and says so with [`hypercall::FETCH_ENDED`]. Root resets it.
    pub frames_wanted: u64,
    /// They are needed in runs of this many. Set before `frames_wanted`.
    pub run_wanted: u64,
    /// Ticks of halts that were hidden from Linux' time stamp counter so far; the worker sets the clock by it.
    pub hidden: u64,
    /// Not zero: root asks to be unloaded.
    pub unload_wanted: u64,
    /// Not zero: root let go of the machine after a fault of its own. No hypercall may follow.
    pub dead: u64,
    /// Cores that left after that; when all have, root's memory is free.
    pub left: u64,
    /// Not zero: the reserve may be off its levels. The worker calls [`hypercall::TEND`], which resets it.
    pub tend_wanted: u64,
    /// Counts the moments that the worker wrote into `clock`; 0: none.
    pub clock_turn: u64,
    /// Two moments, written in turns: the one that holds begins at word 0 if `clock_turn` is even, else at word 2. Each is the
    /// time stamp counter as it is without root, and nanoseconds since 1970 (UTC).
    pub clock: [u64; 4],
    /// Root waits until no thread and no core can be at an instruction where it was before this word had its value, which only
    /// rises: the worker says so with [`hypercall::GRACE`]. 0: it never did.
    pub grace_wanted: u64,
    /// Not zero: which frames Linux is to hold may be others than before. The worker calls [`hypercall::HOLDS`], which resets it.
    pub holds_wanted: u64,
    /// Not zero: there is an order about threads. The worker calls [`hypercall::ORDERS`], which resets it.
    pub orders_wanted: u64,
}
const _: () = assert!(size_of::<Doorbell>() == 120);

/// A page, or large page, at a linear address that a hook or a monitor is about. Linux holds its frames: it gives them to nobody
/// else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C)]
pub struct Hold {
    /// Its first address.
    pub linear: u64,
    /// Physical address of the highest table of its address space; 0: the kernel's.
    pub tables: u64,
    /// Its first frame.
    pub pfn: u64,
    /// 512^n frames.
    pub level: u32,
    /// Of the monitor; root's own business.
    pub serial: u32,
    /// Not zero: its frames are held.
    pub held: u64,
}
const _: () = assert!(size_of::<Hold>() == 40);
/// How many of them are told at once: a page.
pub const HOLDS: u64 = 102;
const _: () = assert!(HOLDS * size_of::<Hold>() as u64 <= FRAME_BYTES);

/// What a [`hypercall::MAPPING`] is about.
pub mod mapping {
    /// Something in a range of an address space may be mapped otherwise.
    pub const CHANGED: u64 = 0;
    /// The range is unmapped.
    pub const UNMAPPED: u64 = 1;
    /// The address space is about to end.
    pub const ENDED: u64 = 2;
    /// Anything may have changed: the worker's look now and then.
    pub const ANY: u64 = 3;
}

/// Hypercalls: VMMCALL or VMCALL from ring 0 with the number in `rax`, arguments in `rbx` and `rcx`; the result comes back
/// in `rax`, a second one in `rbx`. From ring 3 they are #UD, as without a hypervisor.
pub mod hypercall {
    /// High half of every number, so that no other hypervisor's call is taken for ours: "HK".
    pub const BASE: u64 = 0x484b_0000;
    /// `rbx` = physical address of one page with a request, `rcx` = its bytes. The answer replaces the request.
    /// Result: bytes of the answer; in `rbx`, frames wanted before the same request can succeed, or 0, and in `rcx` in runs
    /// of how many.
    pub const CALL: u64 = BASE;
    /// `rbx` = physical address of a table of blocks, `rcx` = how many. Result: a code; in `rcx`, frames that are root's
    /// now: all, or those before the block that was refused.
    pub const DONATE: u64 = BASE + 1;
    /// The worker has done what the doorbell asked for: `rbx` frames were handed over, all or, with 0, none.
    pub const FETCH_ENDED: u64 = BASE + 2;
    /// This core leaves root. Result: a code; on success Linux runs on bare metal when it sees it.
    pub const LEAVE: u64 = BASE + 3;
    /// Every core has entered: told on the link.
    pub const ENTERED: u64 = BASE + 4;
    /// Linux is about to reboot, to sleep or to unload (`rbx` = one of [`crate::request::goodbye`]): told on the link.
    pub const GOODBYE: u64 = BASE + 5;
    /// A breakpoint written into kernel code: halts every core when the link is there, else does nothing.
    /// Result: a code.
    pub const BREAK: u64 = BASE + 6;
    /// The worker's look now and then: if bytes wait on the UART and nobody was called for them, root calls.
    /// Result: a code.
    pub const LOOK: u64 = BASE + 8;
    /// Brings the reserve to its levels as far as the bank goes. Result: a code; in `rbx`, frames that the bank is short
    /// of, or 0, and in `rcx` in runs of how many. Handed over by [`DONATE`] or not, as Linux can spare them.
    pub const TEND: u64 = BASE + 9;
    /// Gives one block back that the bank can spare. Result: a code; in `rbx` its first frame number, in `rcx` its frames,
    /// or 0 when there is none. The block is Linux' again.
    pub const RECLAIM: u64 = BASE + 10;
    /// `rbx` is a value of [`Doorbell::grace_wanted`](super::Doorbell::grace_wanted): since it was there each thread has been elsewhere, and so has
    /// each core. Result: a code.
    pub const GRACE: u64 = BASE + 11;
    /// `rbx` = physical address of one page, `rcx` = 0, or what the last such call said: fills it with [`super::Hold`]s. Result: how
    /// many; in `rbx`, what to go on with, or 0 behind the last.
    pub const HOLDS: u64 = BASE + 12;
    /// `rbx` = physical address of a page of [`super::Hold`]s, `rcx` = how many: those that say so are held. Result: a code.
    pub const HELD: u64 = BASE + 13;
    /// `rbx` = physical address of the highest table of an address space, or 0 for the kernel's, and one of [`super::mapping`] beside
    /// it; `rcx` .. `rdx` = addresses. Result: a code.
    pub const MAPPING: u64 = BASE + 14;
    /// `rbx` .. `rcx` = addresses of the kernel's that are a module's for a moment still, `rdx` = address of its name, which ends with
    /// a zero. Result: a code.
    pub const UNLOADED: u64 = BASE + 15;
    /// `rbx` = physical address of one page: puts the [`crate::request::thread::Order`] there that is to be carried out, if there is one.
    /// Result: how many, 0 or 1.
    pub const ORDERS: u64 = BASE + 16;
    /// `rbx` = the serial of an order, `rcx` = a code, `rdx` = a number: what became of it. Result: a code.
    pub const ORDERED: u64 = BASE + 17;
    /// `rbx` = places for threads that are about to be needed at once. Result: a code; in `rbx`, units that are missing.
    pub const THREAD_ROOM: u64 = BASE + 18;
    /// `rbx` = a process in the upper half and a thread in the lower, `rcx` = address of its task, `rdx` = address of the registers with which it
    /// returns to its program. Result: a code; in `rbx`, its place.
    pub const THREAD_TAKE: u64 = BASE + 19;
    /// `rbx` = a place, `rcx` = one of [`crate::request::thread::state`], `rdx` = when it is held where it will go on, when it begins to step how
    /// many instructions. Result: a code; in `rbx`, when it is held, instructions that are left of those.
    pub const THREAD_STATE: u64 = BASE + 20;
    /// `rbx` = a place: the core that asks, which is on its way out of the kernel with interrupts off, executes instructions of the program by
    /// [`super::super::request::thread::order::STEP`]; no interrupt comes to it until then. Result: a code.
    pub const THREAD_STEP: u64 = BASE + 21;
    /// `rbx` = a place, whose thread is none any more or is let go. Result: a code.
    pub const THREAD_GONE: u64 = BASE + 22;
    /// `rbx` = threads that are held without a place, `rcx` = threads that are not held for want of memory. Result: a code.
    pub const THREAD_LOSSES: u64 = BASE + 23;
    /// As [`CALL`], when Linux could not give the frames it was asked for: the answer says so.
    pub const CALL_AGAIN: u64 = BASE + 7;
}
