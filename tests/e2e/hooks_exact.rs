//! Every call and every write is counted once: on one core, on one beside others that call a neighbour, and on all at once.
use abi::request::monitor::WRITE;
use std::time::Duration;
use tests::Result;
use tests::hooks::{ENDBR, Hooks, INC, NOTHING, OTHER};

/// So many calls take longer than a command may.
const LIMIT: Duration = Duration::from_secs(600);

/// Calls a function on the first core, and another one on the others.
fn calls(hooks: &mut Hooks, offset: u64, rounds: u64, others: u64) -> Result<String> {
    let line = format!("cd /sys/module/hooked/parameters; echo {offset:x} {rounds} {others:x} >go && cat said");
    Ok(hooks.machine.sh_within(&line, LIMIT)?.text())
}

fn writes(hooks: &mut Hooks, rounds: u64) -> Result<String> {
    let line = format!("cd /sys/module/monitored/parameters; echo stored {rounds} >go && cat said");
    Ok(hooks.machine.sh_within(&line, LIMIT)?.text())
}

/// One core alone, then one that calls while all others call a function beside it, then all at once.
fn are_exact(cores: u32, rounds: u64) -> Result {
    let mut hooks = Hooks::new(cores)?;
    let none_wrong = "0\n".repeat(cores as usize);
    for (offset, fast) in [(ENDBR, false), (INC, false), (ENDBR, true), (INC, true)] {
        let function = hooks.at.functions + offset;
        let id = if fast { hooks.fast(function, "")? } else { hooks.epthook(function, "")? };
        assert_eq!(calls(&mut hooks, offset, rounds, NOTHING)?, none_wrong);
        assert_eq!(hooks.hits(id)?, rounds);
        assert_eq!(calls(&mut hooks, offset, rounds, OTHER)?, none_wrong, "a neighbour, too");
        assert_eq!(hooks.hits(id)?, 2 * rounds, "others called a neighbour meanwhile");
        assert_eq!(calls(&mut hooks, offset, rounds, offset)?, none_wrong);
        assert_eq!(hooks.hits(id)?, (2 + u64::from(cores)) * rounds);
        hooks.clear()?;
    }
    let id = hooks.monitor(hooks.at.data + 0x800, 8, WRITE, "")?;
    assert_eq!(writes(&mut hooks, rounds)?, none_wrong);
    assert_eq!(hooks.hits(id)?, u64::from(cores) * rounds);
    hooks.clear()?;
    hooks.end()
}

/// Would catch a call of a hooked function that is lost or counted twice on one core, on both at once, or while the other core is busy with a
/// function beside it; and that one's value, if it were wrong.
#[test]
fn calls_are_so_many_hits_whatever_the_other_core_does() -> Result {
    are_exact(2, 3000)
}

/// Would catch what happens once in some ten thousand times.
#[test]
#[ignore = "nightly: two minutes"]
fn a_hundred_thousand_of_each_are_so_many_hits() -> Result {
    are_exact(2, 100_000)
}

/// Would catch what only more cores than two bring about: one that fetches from a page while three others do, or while its copy is made.
#[test]
#[ignore = "nightly: four cores on two of the machine's"]
fn a_hundred_thousand_on_four_cores_are_so_many_hits() -> Result {
    are_exact(4, 100_000)
}
