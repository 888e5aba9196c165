//! Writes `include/hyperkd.h`: the same structures and numbers for C, with an assertion for every size and offset.
//!
//! The header is committed; the test below compares it and rewrites it when `UPDATE=1` is set, so the module, foreign
//! programs and root are checked by both compilers against one truth.

use crate::{PROTOCOL, boot, code, ioctl, kind::Kind, request, request::thread};
use core::fmt::{Result, Write};
use core::mem::{offset_of, size_of};

macro_rules! c_struct {
    ($out:expr, $name:literal, $type:ty, $about:literal, [$($c_type:literal $field:ident $array:literal,)*]) => {{
        writeln!($out, "/* {} */\nstruct {} {{", $about, $name)?;
        $( writeln!($out, "\t{} {}{};", $c_type, stringify!($field), $array)?; )*
        writeln!($out, "}};")?;
        writeln!($out, "HYPERKD_ASSERT(sizeof(struct {}) == {});", $name, size_of::<$type>())?;
        $( writeln!($out, "HYPERKD_ASSERT(offsetof(struct {}, {}) == {});", $name, stringify!($field), offset_of!($type, $field))?; )*
        writeln!($out)?;
    }};
}

macro_rules! c_define {
    ($out:expr, [$($name:literal = $value:expr,)*]) => {{
        $( writeln!($out, "#define {} {:#x}ull", $name, u64::from($value))?; )*
        writeln!($out)?;
    }};
}

/// Writes the whole header.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut impl Write) -> Result {
    out.write_str(
        "/* SPDX-License-Identifier: (GPL-2.0 OR MIT) OR Apache-2.0 */\n\
         /* Written by crates/abi/src/header.rs; edit that and run: UPDATE=1 cargo test -p abi */\n\
         #ifndef HYPERKD_H\n#define HYPERKD_H\n\n\
         #ifdef __KERNEL__\n#include <linux/build_bug.h>\n#include <linux/ioctl.h>\n#include <linux/stddef.h>\n#include <linux/types.h>\n\
         #else\n#include <stddef.h>\n#include <stdint.h>\n#include <sys/ioctl.h>\n#endif\n\n\
         #ifdef __cplusplus\n#define HYPERKD_ASSERT(what) static_assert(what, #what)\n\
         #else\n#define HYPERKD_ASSERT(what) _Static_assert(what, #what)\n#endif\n\n\
         /* Revision of everything below; module, image and programs refuse each other when it differs. */\n",
    )?;
    c_define!(out, ["HYPERKD_PROTOCOL" = PROTOCOL,]);
    kinds_and_codes(out)?;
    device(out)?;
    boot_page(out)?;
    out.write_str("#endif\n")
}

fn kinds_and_codes(out: &mut impl Write) -> Result {
    out.write_str("/* What one count of `prealloc TYPE` buys. */\ntypedef enum _DEBUGGER_PREALLOC_COMMAND_TYPE {\n")?;
    for kind in Kind::ALL {
        out.write_str("\tDEBUGGER_PREALLOC_COMMAND_TYPE_")?;
        for c in kind.word().chars() {
            out.write_char(if c == '-' { '_' } else { c.to_ascii_uppercase() })?;
        }
        writeln!(out, " = {},", kind as u32)?;
    }
    out.write_str("} DEBUGGER_PREALLOC_COMMAND_TYPE;\n\n/* Status. */\n")?;
    c_define!(
        out,
        [
            "HYPERKD_SUCCESS" = code::SUCCESS,
            "HYPERKD_PREALLOC_TYPE_UNKNOWN" = code::PREALLOC_TYPE_UNKNOWN,
            "HYPERKD_REQUEST_MALFORMED" = code::REQUEST_MALFORMED,
            "HYPERKD_COUNT_ZERO" = code::COUNT_ZERO,
            "HYPERKD_COUNT_TOO_LARGE" = code::COUNT_TOO_LARGE,
            "HYPERKD_BANK_SHORT" = code::BANK_SHORT,
            "HYPERKD_KERNEL_OUT_OF_MEMORY" = code::KERNEL_OUT_OF_MEMORY,
            "HYPERKD_USED_UP" = code::USED_UP,
            "HYPERKD_INJECTED" = code::INJECTED,
            "HYPERKD_PID_INVALID" = code::PID_INVALID,
            "HYPERKD_ATTACHED_ALREADY" = code::ATTACHED_ALREADY,
            "HYPERKD_NOT_ATTACHED" = code::NOT_ATTACHED,
            "HYPERKD_NO_SUCH_THREAD" = code::NO_SUCH_THREAD,
            "HYPERKD_THREAD_NOT_HELD" = code::THREAD_NOT_HELD,
            "HYPERKD_THREAD_EXEMPT" = code::THREAD_EXEMPT,
            "HYPERKD_THREADS_UNSUPPORTED" = code::THREADS_UNSUPPORTED,
            "HYPERKD_UNBALANCED" = code::UNBALANCED,
            "HYPERKD_NOT_LOADED" = code::NOT_LOADED,
            "HYPERKD_STILL_LEAVING" = code::STILL_LEAVING,
            "HYPERKD_OVERLAPS" = code::OVERLAPS,
            "HYPERKD_BOOT_VERSION" = code::BOOT_VERSION,
            "HYPERKD_KERNEL_UNSUPPORTED" = code::KERNEL_UNSUPPORTED,
            "HYPERKD_LACK_SME" = code::lack::SME,
            "HYPERKD_LACK_CORES" = code::lack::CORES,
            "HYPERKD_LACK_RAM" = code::lack::RAM,
        ]
    );
    Ok(())
}

fn device(out: &mut impl Write) -> Result {
    out.write_str(
        "/* The documented request. Fill Type and Count; KernelStatus comes back, HYPERKD_SUCCESS being success. */\n\
         typedef struct _DEBUGGER_PREALLOC_COMMAND {\n\tDEBUGGER_PREALLOC_COMMAND_TYPE Type;\n\tuint64_t Count;\n\tuint32_t KernelStatus;\n\
         } DEBUGGER_PREALLOC_COMMAND, *PDEBUGGER_PREALLOC_COMMAND;\n",
    )?;
    for (field, offset) in [
        ("Type", offset_of!(ioctl::Prealloc, kind)),
        ("Count", offset_of!(ioctl::Prealloc, count)),
        ("KernelStatus", offset_of!(ioctl::Prealloc, status)),
    ] {
        writeln!(out, "HYPERKD_ASSERT(offsetof(DEBUGGER_PREALLOC_COMMAND, {field}) == {offset});")?;
    }
    writeln!(out, "HYPERKD_ASSERT(sizeof(DEBUGGER_PREALLOC_COMMAND) == {});\n", size_of::<ioctl::Prealloc>())?;
    c_struct!(out, "hyperkd_call", ioctl::Call, "A request of the prompt, and room for the answer.", [
        "uint64_t" request "", "uint64_t" answer "", "uint32_t" request_bytes "", "uint32_t" answer_bytes "",
    ]);
    c_struct!(out, "hyperkd_load", ioctl::Load, "Enter or leave root; bank_frames 0 asks for the default share of RAM.", [
        "uint64_t" bank_frames "", "uint32_t" status "", "uint32_t" detail "", "uint32_t" cores "", "uint32_t" flags "",
    ]);
    c_struct!(out, "hyperkd_ledger_row", request::LedgerRow, "One type in the ledger; name is ASCII, zero-filled.", [
        "char" name "[24]", "uint64_t" unit_bytes "", "uint64_t" reserved "", "uint64_t" free "", "uint64_t" used "",
        "uint64_t" high_water "", "uint64_t" refused "", "uint64_t" refilled "", "uint64_t" kept "", "uint64_t" low "",
        "uint64_t" target "", "uint64_t" high "",
    ]);
    c_define!(out, ["HYPERKD_KINDS" = Kind::COUNT as u64,]);
    c_struct!(out, "hyperkd_ledger", request::Ledger, "What the reserve has, by type, and the pages it is made of.", [
        "struct hyperkd_ledger_row" kinds "[HYPERKD_KINDS]", "uint64_t" frames "", "uint64_t" frames_root "",
        "uint64_t" frames_free "", "uint64_t" frames_kinds "", "uint64_t" frames_target "",
    ]);
    out.write_str(
        "#define IOCTL_RESERVE_PRE_ALLOCATED_POOLS _IOWR('H', 0x15, DEBUGGER_PREALLOC_COMMAND)\n\
         #define HYPERKD_IOCTL_CALL _IOWR('H', 0x40, struct hyperkd_call)\n\
         #define HYPERKD_IOCTL_LOAD _IOWR('H', 0x41, struct hyperkd_load)\n\
         #define HYPERKD_IOCTL_UNLOAD _IOWR('H', 0x42, struct hyperkd_load)\n\
         #define HYPERKD_IOCTL_LEDGER _IOR('H', 0x43, struct hyperkd_ledger)\n",
    )?;
    for (name, value) in [
        ("IOCTL_RESERVE_PRE_ALLOCATED_POOLS", ioctl::IOCTL_RESERVE_PRE_ALLOCATED_POOLS),
        ("HYPERKD_IOCTL_CALL", ioctl::IOCTL_CALL),
        ("HYPERKD_IOCTL_LOAD", ioctl::IOCTL_LOAD),
        ("HYPERKD_IOCTL_UNLOAD", ioctl::IOCTL_UNLOAD),
        ("HYPERKD_IOCTL_LEDGER", ioctl::IOCTL_LEDGER),
    ] {
        writeln!(out, "HYPERKD_ASSERT({name} == {value:#x});")?;
    }
    c_define!(out, ["HYPERKD_LOAD_LINK" = ioctl::LOAD_LINK,]);
    Ok(())
}

fn boot_page(out: &mut impl Write) -> Result {
    out.write_str("/* Between module and image only. */\n")?;
    c_define!(
        out,
        [
            "HYPERKD_IMAGE_MAGIC" = boot::IMAGE_MAGIC,
            "HYPERKD_DIRECT_VA" = boot::DIRECT_VA,
            "HYPERKD_DIRECT_BYTES_MAX" = boot::DIRECT_BYTES_MAX,
            "HYPERKD_IMAGE_VA" = boot::IMAGE_VA,
            "HYPERKD_CORES_VA" = boot::CORES_VA,
            "HYPERKD_CORE_STRIDE" = boot::CORE_STRIDE,
            "HYPERKD_CORES_MAX" = boot::CORES_MAX as u64,
            "HYPERKD_BLOCK_ORDER_MIN" = boot::BLOCK_ORDER_MIN,
            "HYPERKD_BLOCK_ORDER_MAX" = boot::BLOCK_ORDER_MAX,
            "HYPERKD_BLOCKS_MAX" = boot::BLOCKS_MAX as u64,
            "HYPERKD_BOOT_LINK" = boot::BOOT_LINK,
            "HYPERKD_MESSAGE_BYTES_MAX" = request::MESSAGE_BYTES_MAX as u64,
            "HYPERKD_OP_PREALLOC" = request::op::PREALLOC,
            "HYPERKD_OP_LEDGER" = request::op::LEDGER,
            "HYPERKD_HYPERCALL_CALL" = boot::hypercall::CALL,
            "HYPERKD_HYPERCALL_DONATE" = boot::hypercall::DONATE,
            "HYPERKD_HYPERCALL_FETCH_ENDED" = boot::hypercall::FETCH_ENDED,
            "HYPERKD_HYPERCALL_LEAVE" = boot::hypercall::LEAVE,
            "HYPERKD_HYPERCALL_ENTERED" = boot::hypercall::ENTERED,
            "HYPERKD_HYPERCALL_GOODBYE" = boot::hypercall::GOODBYE,
            "HYPERKD_HYPERCALL_BREAK" = boot::hypercall::BREAK,
            "HYPERKD_HYPERCALL_LOOK" = boot::hypercall::LOOK,
            "HYPERKD_HYPERCALL_CALL_AGAIN" = boot::hypercall::CALL_AGAIN,
            "HYPERKD_HYPERCALL_TEND" = boot::hypercall::TEND,
            "HYPERKD_HYPERCALL_RECLAIM" = boot::hypercall::RECLAIM,
            "HYPERKD_HYPERCALL_GRACE" = boot::hypercall::GRACE,
            "HYPERKD_HYPERCALL_HOLDS" = boot::hypercall::HOLDS,
            "HYPERKD_HYPERCALL_HELD" = boot::hypercall::HELD,
            "HYPERKD_HYPERCALL_MAPPING" = boot::hypercall::MAPPING,
            "HYPERKD_HYPERCALL_UNLOADED" = boot::hypercall::UNLOADED,
            "HYPERKD_HYPERCALL_ORDERS" = boot::hypercall::ORDERS,
            "HYPERKD_HYPERCALL_ORDERED" = boot::hypercall::ORDERED,
            "HYPERKD_HYPERCALL_THREAD_ROOM" = boot::hypercall::THREAD_ROOM,
            "HYPERKD_HYPERCALL_THREAD_TAKE" = boot::hypercall::THREAD_TAKE,
            "HYPERKD_HYPERCALL_THREAD_STATE" = boot::hypercall::THREAD_STATE,
            "HYPERKD_HYPERCALL_THREAD_STEP" = boot::hypercall::THREAD_STEP,
            "HYPERKD_HYPERCALL_THREAD_GONE" = boot::hypercall::THREAD_GONE,
            "HYPERKD_HYPERCALL_THREAD_LOSSES" = boot::hypercall::THREAD_LOSSES,
            "HYPERKD_ORDER_ATTACH" = thread::order::ATTACH,
            "HYPERKD_ORDER_ATTACH_AT_EXEC" = thread::order::ATTACH_AT_EXEC,
            "HYPERKD_ORDER_DETACH" = thread::order::DETACH,
            "HYPERKD_ORDER_KILL" = thread::order::KILL,
            "HYPERKD_ORDER_HOLD" = thread::order::HOLD,
            "HYPERKD_ORDER_LET" = thread::order::LET,
            "HYPERKD_ORDER_STEP" = thread::order::STEP,
            "HYPERKD_THREAD_COMING" = thread::state::COMING,
            "HYPERKD_THREAD_HELD" = thread::state::HELD,
            "HYPERKD_THREAD_RUNS" = thread::state::RUNS,
            "HYPERKD_THREAD_STEPS" = thread::state::STEPS,
            "HYPERKD_MAPPING_CHANGED" = boot::mapping::CHANGED,
            "HYPERKD_MAPPING_UNMAPPED" = boot::mapping::UNMAPPED,
            "HYPERKD_MAPPING_ENDED" = boot::mapping::ENDED,
            "HYPERKD_MAPPING_ANY" = boot::mapping::ANY,
            "HYPERKD_HOLDS" = boot::HOLDS,
            "HYPERKD_GOODBYE_REBOOT" = request::goodbye::REBOOT,
            "HYPERKD_GOODBYE_SLEEP" = request::goodbye::SLEEP,
            "HYPERKD_GOODBYE_UNLOAD" = request::goodbye::UNLOAD,
            "HYPERKD_NOTE_CRASH_NOTE" = request::note::CRASH_NOTE as u64,
            "HYPERKD_NOTE_CRASH_NOTE_BYTES" = request::note::CRASH_NOTE_BYTES as u64,
            "HYPERKD_NOTE_MODULE" = request::note::MODULE as u64,
            "HYPERKD_NOTE_MODULE_NEXT" = request::note::MODULE_NEXT as u64,
            "HYPERKD_NOTE_MODULE_NAME" = request::note::MODULE_NAME as u64,
            "HYPERKD_NOTE_MODULE_BASE" = request::note::MODULE_BASE as u64,
            "HYPERKD_NOTE_MODULE_SIZE" = request::note::MODULE_SIZE as u64,
            "HYPERKD_NOTE_MODULE_NAMES" = request::note::MODULE_NAMES as u64,
            "HYPERKD_NOTE_NAMES_TABLE" = request::note::NAMES_TABLE as u64,
            "HYPERKD_NOTE_NAMES_COUNT" = request::note::NAMES_COUNT as u64,
            "HYPERKD_NOTE_NAMES_TEXTS" = request::note::NAMES_TEXTS as u64,
            "HYPERKD_NOTE_NAMES_KINDS" = request::note::NAMES_KINDS as u64,
        ]
    );
    out.write_str("/* Frames of a block of 2^order that root may need to keep it. */\n")?;
    out.write_str("#define HYPERKD_BLOCK_OVERHEAD(order) (3 + ((1u << (order)) >> 6))\n")?;
    for order in [boot::BLOCK_ORDER_MIN, boot::BLOCK_ORDER_MAX] {
        writeln!(out, "HYPERKD_ASSERT(HYPERKD_BLOCK_OVERHEAD({order}) == {});", boot::block_overhead(order))?;
    }
    c_struct!(out, "hyperkd_image_header", boot::ImageHeader, "First bytes of the image; sizes in bytes from its start.", [
        "uint64_t" magic "", "uint32_t" protocol "", "uint32_t" core_bytes "", "uint64_t" entry "", "uint64_t" text_end "",
        "uint64_t" rodata_end "", "uint64_t" image_end "", "uint64_t" start_frames "",
    ]);
    c_struct!(out, "hyperkd_block", boot::Block, "2^order frames from pfn on, the first `used` of them taken.", [
        "uint64_t" pfn "", "uint32_t" order "", "uint32_t" used "",
    ]);
    c_struct!(out, "hyperkd_core", boot::Core, "What one core tells when it enters.", [
        "uint64_t" leave "", "uint64_t" guest_rip "", "uint64_t" guest_rsp "", "uint64_t" guest_cr3 "", "uint64_t" resume_va "",
        "uint64_t" resume_pa "",
    ]);
    c_struct!(out, "hyperkd_resume", boot::Resume, "A guest that is let go, in the order in which the way back pops it.", [
        "uint64_t" gprs "[15]", "uint64_t" frame "[5]",
    ]);
    c_struct!(out, "hyperkd_boot", boot::Boot, "The boot page.", [
        "uint32_t" protocol "", "uint32_t" cores "", "uint64_t" root_cr3 "", "uint64_t" ram_end_pfn "", "uint64_t" ram_frames "",
        "uint64_t" doorbell_pa "", "uint64_t" blocks_pa "", "uint32_t" blocks "", "uint32_t" flags "", "uint64_t" boot_id "",
        "uint64_t" tsc_khz "", "uint64_t" current_task "", "uint32_t" task_tid "", "uint32_t" task_pid "", "uint32_t" task_name "",
        "uint32_t" space_tables "", "uint64_t" direct_map "", "uint64_t" first_task "", "uint32_t" task_next "", "uint32_t" task_space "",
        "uint64_t" notes "[16]", "uint64_t" window_pa "", "uint64_t" fixed "[4]",
    ]);
    // The assembler reads them, too.
    for (name, value) in [
        ("PLACES", boot::WINDOW_PLACES),
        ("PLACE_BYTES", boot::PLACE_BYTES),
        ("PLACE_COPY", boot::PLACE_COPY),
        ("TEXT_FRAMES", boot::WINDOW_TEXT_FRAMES),
        ("CELL_FRAMES", boot::WINDOW_CELL_FRAMES),
        ("FRAMES", boot::WINDOW_FRAMES),
    ] {
        writeln!(out, "#define HYPERKD_WINDOW_{name} {value}")?;
    }
    c_struct!(out, "hyperkd_window", boot::Window, "Where detours lead.", [
        "uint64_t" text "", "uint64_t" data "", "uint64_t" frames "[HYPERKD_WINDOW_FRAMES]",
    ]);
    c_struct!(out, "hyperkd_cell", boot::Cell, "What a place of the window counts, and for whom it is.", [
        "uint64_t" hits "", "uint64_t" address "", "uint64_t" entry "", "uint64_t" unused "[5]",
    ]);
    c_struct!(out, "hyperkd_doorbell", boot::Doorbell, "Root asks the worker, and the worker tells the time, without an exit.", [
        "uint64_t" frames_wanted "", "uint64_t" run_wanted "", "uint64_t" hidden "", "uint64_t" unload_wanted "", "uint64_t" dead "", "uint64_t" left "",
        "uint64_t" tend_wanted "", "uint64_t" clock_turn "", "uint64_t" clock "[4]", "uint64_t" grace_wanted "", "uint64_t" holds_wanted "",
        "uint64_t" orders_wanted "",
    ]);
    c_struct!(out, "hyperkd_hold", boot::Hold, "A page at a linear address; level: 512^n frames.", [
        "uint64_t" linear "", "uint64_t" tables "", "uint64_t" pfn "", "uint32_t" level "", "uint32_t" serial "", "uint64_t" held "",
    ]);
    c_struct!(out, "hyperkd_order", thread::Order, "What Linux shall do about threads.", [
        "uint64_t" serial "", "uint32_t" what "", "uint32_t" process "", "uint32_t" thread "", "uint32_t" zero "", "uint64_t" count "",
    ]);
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::{env, fs, string::String};

    /// Would catch a layout that changed in Rust and not in C.
    #[test]
    fn the_committed_header_is_what_this_crate_writes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../include/hyperkd.h");
        let mut text = String::new();
        super::write(&mut text).unwrap();
        if env::var_os("UPDATE").is_some() {
            fs::write(path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap_or_default(), text, "stale; run: UPDATE=1 cargo test -p abi");
    }
}
