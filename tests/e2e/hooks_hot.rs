//! The hottest places of the kernel hooked for a minute each while everything is busy: Linux does not notice, and works on.
use abi::request::monitor::{READ, WRITE};
use lab::Machine;
use std::time::Duration;
use tests::hooks::Hooks;
use tests::{Result, guest};

/// What is hooked, each for itself: whichever of these names the kernel has.
const HOT: [&str; 8] = [
    "schedule",
    "__schedule",
    "handle_mm_fault",
    "do_syscall_64",
    "copy_user_generic_unrolled|copy_user_generic_string|copy_user_enhanced_fast_string|copy_user_fast_string|rep_movs_alternative",
    "asm_exc_page_fault|exc_page_fault",
    "asm_sysvec_apic_timer_interrupt",
    "sysvec_apic_timer_interrupt",
];

fn addresses(machine: &mut Machine, names: &str) -> Result<Vec<u64>> {
    let list = machine.ok(&format!("grep -E ' ({names})$' /proc/kallsyms"))?;
    list.lines().map(|line| Ok(u64::from_str_radix(line.get(..16).unwrap_or_default(), 16)?)).collect()
}

/// Load for so many seconds, which tells itself whether all went well.
fn works(machine: &mut Machine, seconds: u64) -> Result {
    let load = "stress-ng --fork 2 --fault 2 --switch 1 --pipe 1 --vm 1 --vm-bytes 32M --verify";
    let limit = Duration::from_secs(60 + 3 * seconds);
    let done = machine.sh_within(&format!("{load} --timeout {seconds}s 2>&1"), limit)?;
    assert!(done.ok() && done.text().contains("successful run completed"), "{}", done.text());
    Ok(())
}

/// What Linux has noted and did not write on its console.
fn is_healthy(machine: &mut Machine) -> Result {
    let said = machine.ok("dmesg | grep -E 'BUG:|Oops|WARNING: CPU|stall|lockup|blocked for more' || true")?;
    assert_eq!(said, "");
    Ok(machine.console_is_healthy()?)
}

/// A minute with each of them hooked.
fn hot(fast: bool) -> Result {
    let mut hooks = Hooks::new(2)?;
    works(&mut hooks.machine, 2)?;
    let text = hooks.text()?;
    for names in HOT {
        let mut ids = Vec::new();
        for address in addresses(&mut hooks.machine, names)? {
            ids.push(if fast { hooks.fast(address, "")? } else { hooks.epthook(address, "")? });
        }
        assert!(!ids.is_empty(), "{names}");
        works(&mut hooks.machine, 60)?;
        let mut hits = 0;
        for id in ids {
            hits += hooks.hits(id)?;
        }
        println!("{names}: {hits:#x} hits");
        assert!(hits > 1000, "{names}: {hits}");
        hooks.text()?.assert_memory_is(&text);
        hooks.clear()?;
        hooks.text()?.assert_is(&text);
        is_healthy(&mut hooks.machine)?;
    }
    hooks.end()
}

/// Would catch a hot path of the kernel that does not survive its hook for long: an oops, a warning, a stall, work that goes wrong, and a
/// hook that stops firing; and the kernel's text, if it were another then.
#[test]
#[ignore = "nightly: a minute for each of eight places"]
fn a_minute_at_each_hot_place_and_linux_is_healthy() -> Result {
    hot(false)
}

/// Would catch the same of hooks that are fast.
#[test]
#[ignore = "nightly: a minute for each of eight places"]
fn a_minute_of_fast_hooks_at_each_hot_place_and_linux_is_healthy() -> Result {
    hot(true)
}

/// Would catch a stack of the kernel's that does not survive being monitored while its program is kept busy.
#[test]
#[ignore = "nightly: a minute"]
fn a_minute_with_a_stack_of_the_kernels_monitored_and_linux_is_healthy() -> Result {
    let mut hooks = Hooks::new(2)?;
    let job = guest::keep_busy(&mut hooks.machine)?;
    let pid = hooks.machine.ok("pidof stress-ng | tr ' ' '\n' | sort -n | sed -n 2p")?;
    let stack = "cd /sys/module/monitored/parameters";
    let stack = hooks.machine.ok(&format!("{stack}; echo {} >stack; cat stack", pid.trim()))?;
    let stack = u64::from_str_radix(stack.trim(), 16).map_err(|why| format!("{stack}: {why}"))?;
    let id = hooks.monitor(stack, 0x4000, READ | WRITE, "")?;
    works(&mut hooks.machine, 60)?;
    let hits = hooks.hits(id)?;
    println!("a stack of the kernel's: {hits:#x} hits");
    assert!(hits > 1000, "{hits}");
    hooks.clear()?;
    hooks.machine.kill_job(job)?;
    is_healthy(&mut hooks.machine)?;
    hooks.end()
}
