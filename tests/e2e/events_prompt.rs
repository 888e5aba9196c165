//! Events, typed: set while halted, heard while the debuggee runs, refused with words, and gone when they are cleared.
use lab::{Machine, Mode, Prompt};
use tests::{Result, at_prompt, guest};

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
const SUCCESS: &str = "the requested pools are allocated and reserved";
/// A leaf that nobody else asks for.
const LEAF: &str = "12345678";

fn machine() -> Result<Machine> {
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest::program("instructions")).boot()?;
    machine.load(Mode::Debugger)?;
    Ok(machine)
}

/// The prompt of a halted machine, behind an answer that it ends with.
fn text(kd: &mut Prompt, line: &str) -> Result<String> {
    let answer = kd.type_line(line)?;
    assert!(answer.prompt.ends_with(": kHyperDbg> "), "{line}: {}", answer.prompt);
    Ok(answer.text())
}

/// Would catch an event that needs the debuggee to run before it is set, words of a script that are lost, torn or said by
/// another, and an event that goes on after it was cleared.
#[test]
fn an_event_speaks_above_the_prompt_while_the_debuggee_runs() -> Result {
    let mut machine = machine()?;
    let mut kd = machine.debugger(&["--pause"])?;
    let script =
        format!("!cpuid {LEAF} core 1 script {{ .n = .n + 1; printf(\"%s asks leaf %x, %d\\n\", $pname, @eax, .n); }}");
    let answer = text(&mut kd, &script)?;
    assert!(answer.starts_with("event 0 registered: regular-event, program of 0x"), "{answer}");
    assert!(text(&mut kd, "events")?.contains("(enabled)"));
    let row = kd.enter("g")?;
    let row = at_prompt::wait_running(&mut kd, row + 1)?;
    machine.ok(&format!("instructions cpuid {LEAF} 3"))?;
    kd.wait_text(row, &format!("instructions asks leaf {LEAF}, 3"))?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    drop(kd);

    let mut kd = machine.debugger(&["--pause"])?;
    let listed = text(&mut kd, "events")?;
    assert!(listed.contains("0x3") && listed.contains("(registered elsewhere)"), "{listed}");
    assert_eq!(text(&mut kd, "events c 0")?, "event 0 cleared");
    assert_eq!(text(&mut kd, "events c 0")?.lines().next().map(|line| line.ends_with("(c0000000)")), Some(true));
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    machine.ok(&format!("instructions cpuid {LEAF} 3"))?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a budget of another size than HyperDbg's, a refusal without the documentation's number, a line that is offered
/// and does not help, a script that is registered with a mistake in it, and an expression that root answers falsely.
#[test]
fn what_cannot_be_registered_is_refused_with_the_line_that_helps() -> Result {
    let mut machine = machine()?;
    let mut kd = machine.debugger(&["--pause"])?;
    for nth in 0..20 {
        let answer = text(&mut kd, &format!("!msrread c00000{:x} script {{ print($pid); }}", 0x80 + nth))?;
        assert!(answer.starts_with(&format!("event {nth:x} registered: regular-event")), "{answer}");
    }
    let one_more = format!("!cpuid {LEAF} script {{ print($pid); }}");
    let refused = text(&mut kd, &one_more)?;
    assert!(refused.starts_with("err, no regular-event left: 0x1 asked, 0x0 of 0x14 free (c0000042)"), "{refused}");
    assert!(refused.ends_with("try: prealloc regular-event 1"), "{refused}");
    assert_eq!(text(&mut kd, "prealloc regular-event 1")?, SUCCESS);
    assert!(text(&mut kd, &one_more)?.starts_with("event 14 registered"));
    let mistake = text(&mut kd, "!cpuid script { x = @rxa; }")?;
    assert!(mistake.contains("there is no register rxa") && mistake.contains("try: !cpuid script { x = @rax; }"), "{mistake}");
    assert_eq!(text(&mut kd, "events c all")?, "0x15 events cleared");
    assert_eq!(text(&mut kd, "? poi(@rsp) - poi(@rsp) + 2a")?, "2a");
    let bad = text(&mut kd, "? poi(8)")?;
    assert!(bad.starts_with("err, ") && bad.contains('8'), "{bad}");

    // Without a script it halts: where it stands, and by its name.
    assert!(text(&mut kd, &format!("!cpuid {LEAF} core 0"))?.starts_with("event 0 registered"));
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    let job = machine.spawn(&format!("instructions cpuid {LEAF} 1"))?;
    let row = kd.wait_text(row, "halted on core 0: event 0 (pre)")?;
    kd.wait_text(row, "0f a2")?;
    kd.wait_prompt()?;
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    assert!(machine.wait_job(job, LIMIT)?.ok());
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
