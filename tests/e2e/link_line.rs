//! The line to the debuggee at its worst: frames lost, cut and changed, garbage, another version, a machine that reboots.
use abi::request::{Hello, Ledger, Number, op};
use lab::{Machine, Mode, Vendor};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tests::noisy_line::{self, Random};
use tests::{Result, at_prompt, wire::Wire};
use zerocopy::IntoBytes;

const LIMIT: Duration = Duration::from_secs(60);

/// Would catch a request that is executed twice because its answer was lost, or not at all, and a session that ends
/// because of noise: fifty commands of a real prompt over a line that spoils one frame in ten.
#[test]
fn fifty_commands_over_a_line_that_spoils_one_frame_in_ten_are_each_done_once() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let proxy = machine.folder().join("noisy.sock");
    let noise = noisy_line::start(proxy.clone(), &machine.link_path(), 10, 0x5eed)?;
    let mut command = Command::new(machine.debugger_command()?.get_program());
    command.args(["--remote", &format!("unix:{}", proxy.display()), "--wait", "30", "--json"]);
    for _ in 0..10 {
        for line in ["pause", "prealloc regular-event 1", "r", "~", "g"] {
            command.args(["-x", line]);
        }
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));

    let mut wire = Wire::connect(&machine.link_path())?;
    let ledger: Ledger = wire.get(op::LEDGER, &[])?;
    let kind = abi::kind::Kind::RegularEvent;
    assert_eq!(ledger.kinds[kind.index()].kept, 10, "ten times one, whatever the line did");
    assert_eq!(wire.get::<Hello>(op::HELLO, &[])?.halted, 0);
    let (frames, spoilt) = (noise.frames.load(Relaxed), noise.spoilt.load(Relaxed));
    assert!(frames > 100 && spoilt > 5, "{spoilt} of {frames} frames were spoilt: too few to prove anything");
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch bytes that confuse root for longer than a frame: garbage of every kind, a client of another version, two
/// clients in turn.
#[test]
fn garbage_and_strangers_on_the_line_are_survived() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let hello: Hello = wire.get(op::HELLO, &[])?;
    let mut random = Random(7);
    for round in 0..20 {
        let length = random.below(6000);
        let garbage: Vec<u8> = (0..length).map(|_| random.next().to_le_bytes()[0]).collect();
        wire.raw(&garbage)?;
        let again: Hello = wire.get(op::HELLO, &[]).map_err(|error| format!("after {round} pieces of garbage: {error:?}"))?;
        assert_eq!(again, hello);
    }
    // Requests that are whole frames, and no requests.
    for (what, body) in [(0, &[][..]), (u32::MAX, &[]), (op::PREALLOC, &[1, 2, 3]), (op::CORE_SELECT, &[0; 9])] {
        let (code, rest) = wire.ask(what, body)?;
        assert!(code > 0xc000_0000 && code != abi::code::SUCCESS && rest.is_empty(), "request {what}: {code:#x}");
    }
    assert_eq!(wire.ask(op::EXITS, Number { value: 9 }.as_bytes())?.0, abi::code::CORE_INVALID);

    drop(wire);
    let mut next = Wire::connect(&machine.link_path())?;
    assert_eq!(next.get::<Hello>(op::HELLO, &[])?, hello);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a client of another version that waits for ever without knowing why: root's answer says its own version.
#[test]
fn a_client_of_another_version_learns_whom_it_talks_to() -> Result {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let hello: Hello = wire.get(op::HELLO, &[])?;
    let stranger = link::VERSION + 1;
    wire.raw(&frame_of_version(stranger))?;
    let version = wire.next_version(LIMIT)?;
    assert_eq!(version, link::VERSION);
    assert_eq!(wire.get::<Hello>(op::HELLO, &[])?, hello, "and it is no harm to the others");
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// A whole frame of another version: all that is known of it is its first byte, its CRC and how it is wrapped.
fn frame_of_version(version: u8) -> Vec<u8> {
    let mut raw = vec![version, 0xaa, 0xbb, 0xcc];
    raw.extend(crc_32c(&raw).to_le_bytes());
    assert!(!raw.contains(&0), "one block of COBS");
    let mut frame = vec![0, u8::try_from(raw.len() + 1).unwrap_or(u8::MAX)];
    frame.extend(raw);
    frame.push(0);
    frame
}

/// CRC-32C, bit by bit (RFC 3720, appendix B.4).
fn crc_32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 })
    })
}

/// Would catch a prompt that is lost with the machine it debugs: told of a reboot, surprised by a reset, it waits and
/// works again once the hypervisor is loaded.
#[test]
fn a_prompt_outlives_a_reboot_and_a_reset_of_the_debuggee() -> Result {
    let mut machine = Machine::builder().reboots().boot()?;
    machine.load(Mode::Debugger)?;
    let mut prompt = machine.debugger(&[])?;
    let mut row = at_prompt::wait_running(&mut prompt, 0)?;

    machine.wait_reboot(|machine| {
        let _it_takes_its_answer_along = machine.spawn("reboot -f")?;
        Ok(())
    })?;
    row = prompt.wait_text(row, "the debuggee is rebooting; waiting for it")?;
    machine.load(Mode::Debugger)?;
    row = prompt.wait_text(row, "the debuggee is back")?;
    let pause = at_prompt::enter_running(&mut prompt, "pause")?;
    assert!(prompt.answer_after(pause, "pause")?.text().contains(": pause"));
    let go = prompt.enter("g")?;
    at_prompt::wait_running(&mut prompt, go)?;

    machine.wait_reboot(|machine| match machine.vendor() {
        Vendor::Amd => machine.qmp("system_reset", &serde_json::json!({})).map(drop),
        // Bochs has no monitor; Linux resets the machine and tells nobody.
        Vendor::Intel => machine.spawn("echo b >/proc/sysrq-trigger").map(drop),
    })?;
    machine.load(Mode::Debugger)?;
    prompt.wait_text(row, "the debuggee was started again meanwhile; it is back")?;
    let pause = at_prompt::enter_running(&mut prompt, "pause")?;
    assert!(prompt.answer_after(pause, "pause")?.text().contains(": pause"));
    let go = prompt.enter("g")?;
    at_prompt::wait_running(&mut prompt, go)?;
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
