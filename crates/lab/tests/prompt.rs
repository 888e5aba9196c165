//! Typing at a real `hyperdbg` in front of a real kernel: what the end-to-end tests stand on.
use lab::{Error, Machine, Mode};

/// Would catch a prompt that cannot be typed at from the host, and a guest that does not live on behind it.
#[test]
fn a_user_on_the_host_halts_the_guest_and_lets_it_go() -> Result<(), Error> {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Debugger)?;
    let mut prompt = machine.debugger(&["--pause"])?;
    assert_eq!(prompt.wait_prompt()?, "0: kHyperDbg> ");
    let answer = prompt.type_line("prealloc monitor 10")?;
    assert_eq!(answer.text(), "the requested pools are allocated and reserved");
    let halted = machine.spawn("echo alive")?;
    assert!(machine.job_ended(halted)?.is_none(), "nothing runs in a halted guest");
    prompt.enter("g")?;
    assert_eq!(machine.wait_job(halted, lab::machine::COMMAND_LIMIT)?.text(), "alive\n");
    machine.console_is_healthy()
}

/// Would catch a terminal in the guest that eats what is typed or shown, or cannot be used twice.
#[test]
fn a_user_in_the_guest_has_a_terminal_there() -> Result<(), Error> {
    let mut machine = Machine::builder().boot()?;
    machine.load(Mode::Vmi)?;
    for _ in 0..2 {
        let mut prompt = machine.vmi(&[])?;
        assert_eq!(prompt.wait_prompt()?, "HyperDbg> ");
        let answer = prompt.type_line("prealloc regular-event 10")?;
        assert_eq!(answer.text(), "the requested pools are allocated and reserved");
        prompt.send(b"\x04")?;
        let job = prompt.job().expect("it runs in the guest");
        assert_eq!(machine.wait_job(job, lab::machine::COMMAND_LIMIT)?.status, 0);
    }
    machine.console_is_healthy()
}
