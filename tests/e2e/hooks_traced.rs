//! What Linux itself puts on a function that is hooked: a kprobe, the function tracer. Both count each call, the hook does, too, and the
//! code is afterwards as it was.
use tests::Result;
use tests::hooks::{Hooks, named, through_kcore};

const TRACING: &str = "cd /sys/kernel/tracing";
/// A system call that nobody else makes here, and its number. It begins with a NOP for the tracer.
const TRACED: &str = "__x64_sys_sched_get_priority_max";
const NUMBER: u64 = 146;
const CALLS: u64 = 500;

fn call(hooks: &mut Hooks) -> Result {
    hooks.machine.ok(&format!("getppid {CALLS} {NUMBER}"))?;
    Ok(())
}

/// How often the probe of this name was hit.
fn probed(hooks: &mut Hooks) -> Result<u64> {
    let text = hooks.machine.ok(&format!("{TRACING}; awk '$1 == \"probed\" {{ print $2 }}' kprobe_profile"))?;
    Ok(text.trim().parse()?)
}

/// Lines of the function tracer about the function.
fn traced(hooks: &mut Hooks) -> Result<u64> {
    Ok(hooks.machine.ok(&format!("{TRACING}; grep -c '{TRACED} ' trace || true"))?.trim().parse()?)
}

/// Would catch a hook that is lost when Linux writes its own breakpoint or call there, one that hides it from the processor, a count of
/// either that is wrong, and code that stays other than it was.
#[test]
fn kprobes_and_the_function_tracer_come_and_go_on_a_hooked_function() -> Result {
    let mut hooks = Hooks::of(tests::hooks::builder(2).with_guest_program(&tests::guest::program("getppid")).boot()?)?;
    let function = named(&mut hooks.machine, &[TRACED])?[0];
    let bare = through_kcore(&mut hooks.machine, function, 32)?;
    let hook = hooks.epthook(function, "")?;
    // Twice: what was taken off is put on again. Either one comes first.
    let mut expected = 0;
    for round in 0..2_u64 {
        call(&mut hooks)?;
        expected += CALLS;
        assert_eq!(hooks.hits(hook)?, expected);
        hooks
            .machine
            .ok(&format!("{TRACING}; echo 'p:probed {TRACED}' >kprobe_events; echo 1 >events/kprobes/probed/enable"))?;
        assert_ne!(through_kcore(&mut hooks.machine, function, 32)?, bare, "the probe is seen");
        call(&mut hooks)?;
        expected += CALLS;
        assert_eq!((probed(&mut hooks)?, hooks.hits(hook)?), (CALLS, expected), "{round}");
        hooks.machine.ok(&format!("{TRACING}; echo {TRACED} >set_ftrace_filter; echo function >current_tracer"))?;
        hooks.machine.ok(&format!("{TRACING}; echo >trace"))?;
        call(&mut hooks)?;
        expected += CALLS;
        assert_eq!((probed(&mut hooks)?, hooks.hits(hook)?), (2 * CALLS, expected), "{round}");
        assert_eq!(traced(&mut hooks)?, CALLS, "{round}");
        hooks.machine.ok(&format!("{TRACING}; echo 0 >events/kprobes/probed/enable; echo >kprobe_events"))?;
        hooks.machine.ok(&format!("{TRACING}; echo >trace"))?;
        call(&mut hooks)?;
        expected += CALLS;
        assert_eq!((traced(&mut hooks)?, hooks.hits(hook)?), (CALLS, expected), "{round}");
        hooks.machine.ok(&format!("{TRACING}; echo nop >current_tracer; echo >set_ftrace_filter; echo >trace"))?;
        assert_eq!(through_kcore(&mut hooks.machine, function, 32)?, bare, "{round}");
    }
    call(&mut hooks)?;
    assert_eq!(hooks.hits(hook)?, expected + CALLS);
    // The hook goes while the tracer is there.
    hooks.machine.ok(&format!("{TRACING}; echo {TRACED} >set_ftrace_filter; echo function >current_tracer; echo >trace"))?;
    hooks.clear()?;
    call(&mut hooks)?;
    assert_eq!(traced(&mut hooks)?, CALLS);
    hooks.machine.ok(&format!("{TRACING}; echo nop >current_tracer; echo >set_ftrace_filter"))?;
    assert_eq!(through_kcore(&mut hooks.machine, function, 32)?, bare);
    hooks.end()
}
