//! Hits of hooks in few instructions: what is known of those that were met last, and events that only count.
//!
//! ```text
//! a breakpoint        ─► the page that the last one was on: no walk ─► the same bytes as then: no look for hooks, no decoding ─► counted ─► done
//! a fetch that faults ─► a page known to be executed as a copy ─► likewise, if a hook is there ─► its copy
//!                     ─► a page of nobody's ─► all pages
//! ```
//! What is not as simple as that goes the way of `hooked`, as if this had not been tried.
//!
//! **Holds always**
//! - Q1: what is known is forgotten with every flush. So no hook or monitor that has come since is missed for longer than its request takes
//!   (N3 of `monitors`), and one that has gone is asked for in the table of events, which knows.
//! - Q2: nothing is done, and no event told, before it is sure that all of it can be done.
//!
//! **Callers**: `life`. **Cost**: `cargo bench -p tests --bench epthook`. **Proof**: the tests below, `tests/e2e/epthook_fast.rs`.

use crate::arch::x86::direct;
use crate::arch::{Core, Exit, Nested};
use crate::hooks::{self, BREAKPOINT};
use crate::simple::{self, NO_FRAME, Simple};
use crate::{monitors, watch};
use abi::boot::FRAME_BYTES;
use abi::request::event;
use abi::request::monitor::EXECUTE;
use events::Mark;

/// Of each sort, by their place.
const KNOWN: usize = 8;

/// An instruction where a hook was looked for.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Where it lies physically,
    pa: u64,
    /// its bytes and what follows,
    code: u128,
    /// and what there is to do, if that is simple.
    is: Option<Hooked>,
}

/// The simple one at a hook that is alone there.
#[derive(Clone, Copy, Debug)]
struct Hooked {
    /// What it does,
    does: Simple,
    /// what it fires: the event, and the number of its hook,
    fires: (u32, u32),
    /// and a frame that it may push into.
    free: u64,
}

/// A page that is executed as a copy.
#[derive(Clone, Copy, Debug)]
struct Page {
    pfn: u64,
    /// The copy.
    shown: u64,
}

/// What a core knows.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    hooks: [Option<Known>; KNOWN],
    pages: [Option<Page>; KNOWN],
}

impl Memory {
    /// Nothing (Q1).
    pub const NOTHING: Memory = Memory { hooks: [None; KNOWN], pages: [None; KNOWN] };

    /// The hook at a physical address where these bytes are.
    #[inline(always)]
    fn hook(&mut self, pa: u64, code: u128) -> Option<&mut Hooked> {
        let room = &mut self.hooks[room_of(pa >> 4)];
        if room.as_ref().is_none_or(|known| known.pa != pa || known.code != code) {
            *room = Some(Known { pa, code, is: look(pa, code) });
        }
        room.as_mut()?.is.as_mut()
    }

    /// The copy that is executed instead of a frame.
    #[inline(always)]
    fn page(&mut self, pfn: u64) -> Option<u64> {
        let room = &mut self.pages[room_of(pfn)];
        if room.as_ref().is_none_or(|page| page.pfn != pfn) {
            *room = Some(Page { pfn, shown: copy_of(pfn)? });
        }
        room.as_ref().map(|page| page.shown)
    }
}

/// Where it is remembered.
#[inline(always)]
fn room_of(number: u64) -> usize {
    usize::from(number.to_le_bytes()[0]) % KNOWN
}

/// What waits for an instruction at a physical address: one hook alone, or it is not known here.
fn hook_at(pa: u64) -> Option<(u32, u32)> {
    let mut all = monitors::of_frame(pa / FRAME_BYTES)
        .filter(|watched| watched.access & EXECUTE != 0 && (watched.range.0..=watched.range.1).contains(&pa));
    let one = all.next().filter(|watched| watched.hook && !watched.loose)?;
    all.next().is_none().then_some((one.id, one.serial))
}

#[cold]
#[inline(never)]
fn look(pa: u64, code: u128) -> Option<Hooked> {
    Some(Hooked { does: simple::decoded(code)?, fires: hook_at(pa)?, free: NO_FRAME })
}

#[cold]
#[inline(never)]
fn copy_of(pfn: u64) -> Option<u64> {
    let shown = hooks::shown(pfn).filter(|_| !hooks::is_visible(pfn))?;
    monitors::of_frame(pfn).all(|watched| watched.hook && !watched.loose).then_some(shown)
}

/// Does what the core has come out for, if that is so simple; whether it was. `count` is told what it was.
#[inline(always)]
pub fn quick<C: Core>(cpu: &mut C, mark: &Mark, memory: &mut Memory, count: impl Fn(&Exit, u64)) -> bool {
    let rip = cpu.rip();
    if cpu.meets_breakpoint() {
        let done = breakpoint(cpu, mark, memory);
        if done {
            count(&Exit::Breakpoint, rip);
        }
        return done;
    }
    let Some(gpa) = cpu.meets_guard() else { return false };
    let done = fetch(cpu, mark, memory, gpa);
    if done {
        count(&Exit::Nested(Nested { gpa, write: false, fetch: true, walk: false, delivery: false }), rip);
    }
    done
}

/// A breakpoint: does the hit that the core has just come out for, if that is a simple one; whether it was.
#[inline(always)]
fn breakpoint<C: Core>(cpu: &mut C, mark: &Mark, memory: &mut Memory) -> bool {
    let Some((pa, code)) = cpu.near_instruction() else { return false };
    hit(cpu, mark, memory, (pa, code))
}

#[inline(always)]
fn hit<C: Core>(cpu: &mut C, mark: &Mark, memory: &mut Memory, (pa, code): (u64, u128)) -> bool {
    let Some(known) = memory.hook(pa, code) else { return false };
    if watch::armed_behind(event::EPTHOOK) {
        return false;
    }
    let Some(to) = known.does.aimed(cpu, &mut known.free) else { return false };
    let (id, serial) = known.fires;
    if !watch::hooked_quick(cpu, mark, id, serial) {
        return false;
    }
    if known.does.execute(cpu, to) {
        let next = cpu.rip().wrapping_add(known.does.length);
        cpu.continue_at(next);
    } else {
        cpu.again();
    }
    true
}

/// A fetch that faulted, of an instruction that begins at a physical address; whether it is done.
#[inline(always)]
fn fetch<C: Core>(cpu: &mut C, mark: &Mark, memory: &mut Memory, pa: u64) -> bool {
    let pfn = pa / FRAME_BYTES;
    if cpu.executes_page() && monitors::is_nobodys(pfn) {
        cpu.execute_all();
        cpu.again();
        return true;
    }
    let at = pa % FRAME_BYTES;
    let Some(shown) = memory.page(pfn).filter(|_| at <= FRAME_BYTES - 16) else { return false };
    let (Some(copy), Some(page)) = (direct::Page::at(shown * FRAME_BYTES), direct::Page::at(pa)) else { return false };
    if !cpu.execute(pfn, shown) {
        return false;
    }
    if copy.pair(at) & 0xff != u32::from(BREAKPOINT) {
        cpu.again();
        return true;
    }
    cpu.is_plain() && hit(cpu, mark, memory, (pa, page.sixteen(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::model::{Model, ModelCore};
    use crate::hooks::tests::{added, space};
    use crate::memory::UPPER_HALF;
    use crate::monitors::mapped::tests::hold_all;
    use crate::{hypercall, storms};
    use abi::request::{EventChange, op};
    use zerocopy::IntoBytes;

    /// Would catch code beside a hook that is taken for it, a page that stays when the core has left it, an event that is told or an
    /// instruction that is done although a run is needed, and what is known of hooks that have gone.
    #[test]
    fn a_copy_is_executed_beside_its_hooks_and_what_needs_a_run_is_left_to_others() {
        let prompt = &mut *storms::machine();
        let (tables, page) = space();
        let pfn = page / FRAME_BYTES;
        assert!(hypercall::store(0, page + 0x100, &[0x55, 0x90, 0xc3]));
        let (id, _) = added::<Model>(tables, 0x100, 0);
        let mut memory = Memory::NOTHING;
        assert_eq!((hook_at(page + 0x100), copy_of(pfn)), (None, None), "nobody holds its frame yet");
        hold_all();
        let mut cpu = ModelCore::new(0);
        (cpu.tables, cpu.text) = (tables, &[0x55; 16]);
        cpu.set_rip(UPPER_HALF + 0x100);
        let mark = watch::mark(0);
        assert!(fetch(&mut cpu, mark, &mut memory, page + 0x101), "beside it");
        assert_eq!(cpu.executed, Some((pfn, hooks::shown(pfn).unwrap())));
        let gprs = cpu.gprs;
        assert!(!fetch(&mut cpu, mark, &mut memory, page + 0x100), "without a script it is not only counted");
        assert!(!fetch(&mut cpu, mark, &mut memory, page + 0xff8), "it may end in the next page");
        assert_eq!((cpu.rip(), cpu.gprs, watch::rows(id).rows[0].hits), (UPPER_HALF + 0x100, gprs, 0));
        assert!(fetch(&mut cpu, mark, &mut memory, page + FRAME_BYTES) && cpu.executed.is_none(), "elsewhere");
        assert!(!fetch(&mut cpu, mark, &mut memory, page + FRAME_BYTES), "all pages are executed");
        assert_eq!(hook_at(page + 0x100).map(|(id, _)| id), Some(id));
        prompt.ask(op::EVENT_CHANGE, EventChange { what: event::CLEAR, id }.as_bytes());
        assert_eq!((hook_at(page + 0x100), copy_of(pfn)), (None, None));
        memory = Memory::NOTHING;
        assert!(!fetch(&mut cpu, mark, &mut memory, page + 0x101));
    }

    /// Would catch a hook beside another one of its place, or below a monitor, that fires alone.
    #[test]
    fn one_hook_alone_is_quick() {
        let prompt = &mut *storms::machine();
        let (tables, page) = space();
        let first = added::<Model>(tables, 0x200, event::FAST).0;
        hold_all();
        assert_eq!(hook_at(page + 0x200).map(|(id, _)| id), Some(first));
        assert_eq!((hook_at(page + 0x201), copy_of(page / FRAME_BYTES)), (None, None), "a visible one needs no view");
        let second = added::<Model>(tables, 0x200, 0).0;
        assert_eq!(hook_at(page + 0x200), None);
        for id in [first, second] {
            prompt.ask(op::EVENT_CHANGE, EventChange { what: event::CLEAR, id }.as_bytes());
        }
    }
}
