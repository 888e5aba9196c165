//! Known weaknesses of hooks elsewhere (facts B.5), as they are not here: each with what happens instead. docs/guide/hook-weaknesses.md says
//! where the others are tried.
use abi::code;
use abi::kind::Kind;
use abi::request::memory::{PHYSICAL, VIRTUAL};
use abi::request::monitor::{EXECUTE, READ, WRITE};
use abi::request::{EventAnswer, EventAsk, event};
use tests::Result;
use tests::hooks::{CROSSING, Hooks, INC, OTHER, PUSH};
use tests::scripting::{accepted, ask, change};

const ROUNDS: u64 = 1000;
const ALL_RIGHT: &str = "0\n0\n";

/// On the first core alone: the order of two cores is anybody's guess.
fn first(ask: EventAsk) -> EventAsk {
    EventAsk { core: 0, ..ask }
}

fn behind(kind: u32) -> EventAsk {
    EventAsk { stage: event::POST, ..ask(kind) }
}

fn skips(kind: u32) -> EventAsk {
    EventAsk { flags: event::SHORT_CIRCUIT, ..ask(kind) }
}

/// Would catch a monitor and hooks of one page of which one is accepted and does nothing, or goes or comes back with another (B.35, B.36);
/// a copy that stays as the page was (B.45); and what is left of them in tables and ledger (B.44).
fn b36_monitors_and_hooks_of_one_page_each_do_what_they_are_for(hooks: &mut Hooks) -> Result {
    let functions = hooks.at.functions;
    let (before, bytes) = (hooks.used()?, read(hooks, functions + INC)?);
    // Registered in both orders: a hook first, then monitors, then a hook.
    let first = hooks.epthook(functions + INC, "")?;
    assert_eq!(hooks.calls(INC, ROUNDS)?, ALL_RIGHT);
    let executed = hooks.monitor(functions + INC, 2, EXECUTE, "")?;
    let reads = hooks.monitor(functions + INC, 2, READ, "")?;
    let writes = hooks.monitor(functions + INC, 1, WRITE, "")?;
    let second = hooks.epthook(functions + PUSH, "")?;
    for offset in [INC, PUSH, OTHER, CROSSING] {
        assert_eq!(hooks.calls(offset, ROUNDS)?, ALL_RIGHT, "{offset:x}");
    }
    let hits = [hooks.hits(first)?, hooks.hits(executed)?, hooks.hits(second)?];
    assert_eq!(hits, [4 * ROUNDS, 2 * ROUNDS, 2 * ROUNDS]);
    assert_eq!((hooks.hits(reads)?, hooks.hits(writes)?), (0, 0));
    assert_eq!(read(hooks, functions + INC)?, bytes);
    assert!(hooks.hits(reads)? > 0, "reads of hooked bytes count");
    // Linux writes there, twice each time: both copies follow, and the monitor sees it.
    set(hooks, "probe", &format!("{INC:x}"))?;
    let written = hooks.hits(writes)?;
    assert!(written > 0);
    assert_eq!(hooks.calls(INC, ROUNDS)?, ALL_RIGHT);
    assert_eq!(set(hooks, "probe", "ffff")?, format!("{}\n", 2 * ROUNDS));
    assert!(hooks.hits(writes)? > written);
    assert_eq!(hooks.calls(INC, ROUNDS)?, ALL_RIGHT);
    assert_eq!(read(hooks, functions + INC)?, bytes);
    assert_eq!(hooks.hits(first)?, 8 * ROUNDS);
    // The first of the page goes; then its monitors; the other hook is what it was.
    change(&mut hooks.wire, event::CLEAR, first)?;
    let (one, other) = (hooks.hits(executed)?, hooks.hits(second)?);
    assert_eq!((hooks.calls(INC, ROUNDS)?.as_str(), hooks.calls(PUSH, ROUNDS)?.as_str()), (ALL_RIGHT, ALL_RIGHT));
    assert_eq!((hooks.hits(executed)?, hooks.hits(second)?), (one + 2 * ROUNDS, other + 2 * ROUNDS));
    for id in [executed, reads, writes] {
        change(&mut hooks.wire, event::CLEAR, id)?;
    }
    assert_eq!((hooks.calls(INC, ROUNDS)?.as_str(), hooks.calls(PUSH, ROUNDS)?.as_str()), (ALL_RIGHT, ALL_RIGHT));
    assert_eq!(hooks.hits(second)?, other + 4 * ROUNDS);
    hooks.clear()?;
    assert_eq!(hooks.used()?, before);
    assert_eq!((hooks.calls(INC, ROUNDS)?.as_str(), hooks.calls(PUSH, ROUNDS)?.as_str()), (ALL_RIGHT, ALL_RIGHT));
    Ok(())
}

/// Would catch what one core notes of an access between both stages and another core overwrites, when both come to one page at once.
fn b42_both_stages_of_two_cores_on_one_page_know_their_own_access(hooks: &mut Hooks) -> Result {
    let data = hooks.at.data;
    // Each core has a word of its own there, reads it, writes it and reads it again.
    let own = format!("if ($context != {data:x} + $core * 100) {{ .strange = .strange + 1; }}");
    let enters = format!("{own} if ($core == 0) {{ .in0 = .in0 + 1; }} else {{ .in1 = .in1 + 1; }}");
    let leaves = format!(
        "{own} if ($core == 0) {{ .out0 = .out0 + 1; if (.in0 != .out0) {{ .odd = .odd + 1; }} }} \
         else {{ .out1 = .out1 + 1; if (.in1 != .out1) {{ .odd = .odd + 1; }} }}"
    );
    let before = hooks.monitor(data, 0x800, READ | WRITE, &enters)?;
    let after = accepted(hooks.ask_monitor(behind(event::MONITOR), (VIRTUAL, data, 0x800), READ | WRITE, &leaves)?)?;
    assert_eq!(hooks.uses("write", 2 * ROUNDS)?, ALL_RIGHT);
    assert_eq!((hooks.hits(before)?, hooks.hits(after)?), (12 * ROUNDS, 12 * ROUNDS));
    for (name, expected) in [(".strange", 0), (".odd", 0), (".in0", 6 * ROUNDS), (".out1", 6 * ROUNDS)] {
        assert_eq!(hooks.scripts.value(&mut hooks.wire, name)?, expected, "{name}");
    }
    hooks.clear()?;
    Ok(())
}

/// Would catch events of one access, or of one instruction, of which the last one alone decides whether it has an effect, that run in
/// another order than that of their registration (B.47), or that are not counted since another one decided.
fn b47_whoever_wants_it_skips_the_access_and_all_are_counted_in_their_order(hooks: &mut Hooks) -> Result {
    let (function, data) = (hooks.at.functions + INC, hooks.at.data);
    let turn = |nth: u64| format!(".order = (.order * 10 + {nth}) & ffffffff;");
    for decides in 0..3_u64 {
        // An execute monitor is among the events of one instruction; it is asked in its turn, too.
        for by_monitor in [false, true] {
            let mut ids = Vec::new();
            for nth in 0..3_u64 {
                let its = |kind| first(if nth == decides { skips(kind) } else { ask(kind) });
                ids.push(accepted(if nth == 1 && by_monitor {
                    hooks.ask_monitor(its(event::MONITOR), (VIRTUAL, function, 1), EXECUTE, &turn(nth + 1))?
                } else {
                    hooks.ask_epthook(its(event::EPTHOOK), function, &turn(nth + 1))?
                })?);
            }
            let none = accepted(hooks.ask_epthook(first(behind(event::EPTHOOK)), function, "")?)?;
            assert_eq!(hooks.calls(INC, 100)?, "100\n0\n", "nothing was added: {decides} decides");
            for id in &ids {
                assert_eq!(hooks.hits(*id)?, 100);
            }
            assert_eq!(hooks.hits(none)?, 0, "nothing fires behind what was skipped");
            assert_eq!(hooks.scripts.value(&mut hooks.wire, ".order & fff")?, 0x123);
            change(&mut hooks.wire, event::DISABLE, ids[usize::try_from(decides)?])?;
            assert_eq!((hooks.calls(INC, 100)?.as_str(), hooks.hits(none)?), (ALL_RIGHT, 100), "nobody wants it now");
            hooks.clear()?;
        }
        let mut ids = Vec::new();
        for nth in 0..3_u64 {
            let its = first(if nth == decides { skips(event::MONITOR) } else { ask(event::MONITOR) });
            ids.push(accepted(hooks.ask_monitor(its, (VIRTUAL, data, 0x800), WRITE, &turn(nth + 4))?)?);
        }
        // One that lets it have its effect after all speaks for itself alone.
        let lets = accepted(hooks.ask_monitor(first(skips(event::MONITOR)), (VIRTUAL, data, 0x800), WRITE, "event_sc(0);")?)?;
        assert_eq!(hooks.uses("write", 100)?, "100\n0\n", "nothing was written: {decides} decides");
        for id in ids.iter().chain([&lets]) {
            assert_eq!(hooks.hits(*id)?, 100);
        }
        assert_eq!(hooks.scripts.value(&mut hooks.wire, ".order & fff")?, 0x456);
        change(&mut hooks.wire, event::DISABLE, ids[usize::try_from(decides)?])?;
        assert_eq!(hooks.uses("write", 100)?, ALL_RIGHT, "nobody wants it now");
        hooks.clear()?;
    }
    Ok(())
}

/// Would catch a range by physical addresses that is taken for a virtual one, or refused because it begins at 0 (B.39); one of a single byte
/// (B.40); and units that a refusal keeps, of a request that fails first, in the middle or at the end (B.33).
fn b39_any_physical_range_from_one_byte_on_is_monitored(hooks: &mut Hooks) -> Result {
    let before = hooks.used()?;
    let at =
        |hooks: &mut Hooks, from, bytes, access| hooks.ask_monitor(ask(event::MONITOR), (PHYSICAL, from, bytes), access, "");
    let first = accepted(at(hooks, 0, 1, READ | WRITE)?)?;
    let word = accepted(at(hooks, 0, 8, READ)?)?;
    let beside = accepted(at(hooks, 8, 1, READ | WRITE)?)?;
    // Linux keeps that frame free; who may read it there reads it by `/dev/mem`.
    hooks.machine.ok("for n in 1 2 3 4 5; do dd if=/dev/mem of=/dev/null bs=8 count=1 2>/dev/null; done")?;
    let hits = [hooks.hits(first)?, hooks.hits(word)?, hooks.hits(beside)?];
    assert!(hits[0] >= 5 && hits[1] >= 5 && hits[2] == 0, "{hits:?}");
    hooks.clear()?;
    // Physical bounds that would be none of virtual addresses, and a byte of a word.
    let physical = hooks.at.physical;
    let last = accepted(at(hooks, physical + 0x807, 1, WRITE)?)?;
    let neighbour = accepted(at(hooks, physical + 0x808, 1, WRITE)?)?;
    assert_eq!(hooks.uses("stored", ROUNDS)?, ALL_RIGHT);
    assert_eq!((hooks.hits(last)?, hooks.hits(neighbour)?), (2 * ROUNDS, 0));
    hooks.clear()?;
    // Behind the end of memory, over it, and over a hole of virtual addresses.
    let (code, answer) = at(hooks, 1 << 52, 8, WRITE)?;
    assert_eq!((code, answer.id), (code::PHYSICAL_INVALID, event::ALL));
    let (code, EventAnswer { bytes, .. }) = hooks.ask_monitor(ask(event::MONITOR), (VIRTUAL, 0x1000, 8), WRITE, "")?;
    assert_eq!((code, bytes), (code::ADDRESS_INVALID, 0x1000));
    let free = hooks.units(Kind::Monitor)?.0;
    let (code, answer) = at(hooks, 0x100_0000, (free + 1) * 0x1000, WRITE)?;
    assert_eq!((code, answer.asked, answer.free), (code::NO_HOOK_PAGE, free + 1, free));
    assert_eq!(hooks.used()?, before);
    Ok(())
}

/// Would catch any of the weaknesses above; and a unit, or a right of a page's, that one of them leaves behind for the next.
#[test]
fn none_of_the_known_weaknesses_is_ours() -> Result {
    let mut hooks = Hooks::new(2)?;
    let before = hooks.used()?;
    for weakness in [
        b36_monitors_and_hooks_of_one_page_each_do_what_they_are_for,
        b39_any_physical_range_from_one_byte_on_is_monitored,
        b42_both_stages_of_two_cores_on_one_page_know_their_own_access,
        b47_whoever_wants_it_skips_the_access_and_all_are_counted_in_their_order,
    ] {
        weakness(&mut hooks)?;
        assert_eq!(hooks.used()?, before);
    }
    hooks.end()
}

/// Bytes as the kernel reads them.
fn read(hooks: &mut Hooks, address: u64) -> Result<String> {
    set(hooks, "read", &format!("{address:x} 16"))
}

/// Sets a parameter of the module, and reads it.
fn set(hooks: &mut Hooks, parameter: &str, value: &str) -> Result<String> {
    let line = format!("cd /sys/module/hooked/parameters; echo '{value}' >{parameter} && cat {parameter}");
    Ok(hooks.machine.ok(&line)?)
}
