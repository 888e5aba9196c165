//! What events say on its way out: to outputs of the prompt, gathered in root, and lost where nobody fetches it. Everything that
//! is said is somewhere: delivered, or counted as lost.
use abi::request::{EventAsk, event, op};
use lab::{Machine, Mode};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use tests::scripting::{Scripts, ask_for, change, row, said};
use tests::{Result, at_prompt, guest, wire::Wire};

/// A leaf that nobody else asks for.
const LEAF: &str = "12345678";
const LEAF_NUMBER: u64 = 0x1234_5678;
/// Says which one it is, and a byte that is no text.
const NUMBERED: &str = r#"{ .n = .n + 1; printf("%d said \xff\n", .n); }"#;

fn machine() -> Result<Machine> {
    let mut machine = Machine::builder().cpus(2).with_guest_program(&guest::program("instructions")).boot()?;
    machine.load(Mode::Debugger)?;
    Ok(machine)
}

/// What [`NUMBERED`] says in so many runs, from one on.
fn numbered(from: u32, runs: u32) -> Vec<u8> {
    (from..from + runs).flat_map(|n| [format!("{n} said ").as_bytes(), b"\xff\n"].concat()).collect()
}

fn read_all(mut stream: impl Read + Send + 'static) -> JoinHandle<std::io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map(|_| bytes)
    })
}

/// Would catch bytes that are lost, torn, doubled or out of order between a script in root and a file, a host or a socket, what
/// stands on the screen all the same, and a prompt that is held up.
#[test]
fn what_an_event_says_arrives_at_its_outputs_byte_for_byte() -> Result {
    let mut machine = machine()?;
    let folder = machine.folder().to_path_buf();
    let (log, socket) = (folder.join("events.log"), folder.join("events.sock"));
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0")?, UnixListener::bind(&socket)?);
    let mut kd = machine.debugger(&["--pause"])?;
    for (name, kind, address) in [
        ("log", "file", log.display().to_string()),
        ("host", "tcp", tcp.local_addr()?.to_string()),
        ("here", "unix", socket.display().to_string()),
    ] {
        assert_eq!(
            kd.type_line(&format!("output create {name} {kind} {address}"))?.text(),
            format!("the output '{name}' is created")
        );
        assert_eq!(kd.type_line(&format!("output open {name}"))?.text(), format!("the output '{name}' is open"));
    }
    let readers = [read_all(tcp.accept()?.0), read_all(unix.accept()?.0)];
    let refused = kd.type_line(&format!("!cpuid {LEAF} output {{logg}} script {{ print(1); }}"))?.text();
    assert!(refused.contains("there is no output 'logg'") && refused.contains("output {log}"), "{refused}");
    let registered = kd.type_line(&format!("!cpuid {LEAF} core 1 output {{log, host, here}} script {NUMBERED}"))?.text();
    assert!(registered.starts_with("event 0 registered"), "{registered}");
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    machine.ok(&format!("instructions cpuid {LEAF} 700"))?;
    kd.send(b"pause\r")?;
    kd.wait_prompt()?;
    for name in ["log", "host", "here"] {
        let closed = kd.type_line(&format!("output close {name}"))?.text();
        assert!(closed.starts_with(&format!("the output '{name}' is closed; what event 0 says is lost")), "{closed}");
    }
    let listed = kd.type_line("output")?.text();
    assert!(listed.lines().skip(1).all(|line| line.contains("closed    0x2bc")), "700 messages each:\n{listed}");
    assert!(!kd.session().contains("700 said"), "nothing on the screen");
    let expected = numbered(1, 700);
    assert!(std::fs::read(&log)? == expected, "the file");
    for reader in readers {
        assert!(reader.join().map_err(|_| "a reader died")?? == expected, "a socket");
    }
    let row = kd.enter("g")?;
    at_prompt::wait_running(&mut kd, row + 1)?;
    drop(kd);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch objects that are not one a line and one a message, in an output or on standard output.
#[test]
fn with_json_each_message_is_an_object() -> Result {
    let mut machine = machine()?;
    let log = machine.folder().join("events.ndjson");
    let mut prompt = machine.debugger_command()?.arg("--json").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut keys, screen) = (prompt.stdin.take().ok_or("no stdin")?, prompt.stdout.take().ok_or("no stdout")?);
    let mut screen = BufReader::new(screen).lines();
    let mut type_line = |line: &str| -> Result<serde_json::Value> {
        writeln!(keys, "{line}")?;
        loop {
            let answer: serde_json::Value = serde_json::from_str(&screen.next().ok_or("the prompt ended")??)?;
            if answer["command"] == line {
                return Ok(answer);
            }
            assert!(answer["message"] == "to the screen\n".trim_end() && answer["event"] == 1, "{answer}");
        }
    };
    for line in [
        format!("output create json file {}", log.display()),
        "output open json".to_owned(),
        format!(r#"!cpuid {LEAF} core 1 output {{json}} script {{ .n = .n + 1; printf("%d \"a\"\nb\n", .n); }}"#),
        format!(r#"!cpuid {LEAF} core 0 script {{ printf("to the screen\n"); }}"#),
    ] {
        assert_eq!(type_line(&line)?["ok"], true, "{line}");
    }
    machine.ok(&format!("instructions cpuid {LEAF} 100"))?;
    assert_eq!(type_line("events c all")?["result"]["count"], 2);
    assert_eq!(type_line("output close json")?["ok"], true);
    assert_eq!(type_line("exit")?["ok"], true);
    assert!(prompt.wait()?.success());
    let text = std::fs::read_to_string(log)?;
    assert_eq!(text.lines().count(), 100);
    for (number, line) in (1..).zip(text.lines()) {
        let object: serde_json::Value = serde_json::from_str(line)?;
        assert_eq!(object, serde_json::json!({ "message": format!("{number} \"a\"\nb"), "core": 1, "event": 0 }));
    }
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch messages that gather and are fetched one by one all the same, and any that stay behind at the end: when a script
/// calls flush() or disables the event, when the prompt does, when the machine halts, when it is cleared.
#[test]
fn gathered_messages_take_few_fetches_and_none_stays_behind() -> Result {
    const ROUNDS: u32 = 60;
    const IN_A_ROUND: u32 = 5;
    let mut machine = machine()?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let mut brought = Vec::new();
    for flags in [0, event::GATHER] {
        let mut scripts = Scripts::default();
        let plain = ask_for(event::CPUID, LEAF_NUMBER);
        let ask = EventAsk { flags: plain.flags | flags, core: 1, ..plain };
        let script = r#".n = .n + 1; printf("message %d of an event that has much to say about itself\n", .n);"#;
        let id = scripts.added(&mut wire, ask, script)?;
        assert_eq!(scripts.value(&mut wire, ".n = 0")?, 0);
        let (mut fetches, mut texts) = (0, Vec::new());
        let mut hear = |wire: &mut Wire, texts: &mut Vec<String>| -> Result {
            let heard = said(wire)?;
            assert_eq!(heard.lost, 0);
            fetches += u32::from(!heard.texts.is_empty());
            texts.extend(heard.texts.into_iter().map(|line| line.text));
            Ok(())
        };
        for _ in 0..ROUNDS {
            machine.ok(&format!("instructions cpuid {LEAF} {IN_A_ROUND}"))?;
            hear(&mut wire, &mut texts)?;
        }
        let mut all = ROUNDS * IN_A_ROUND;
        assert_eq!(change(&mut wire, event::DISABLE, id)?, 1);
        hear(&mut wire, &mut texts)?;
        assert_eq!(texts.len(), all as usize, "disabled");
        brought.push(fetches);

        change(&mut wire, event::ENABLE, id)?;
        let flusher = scripts.added(&mut wire, EventAsk { core: 1, ..ask_for(event::CPUID, LEAF_NUMBER + 1) }, "flush();")?;
        let script = format!("event_disable({id:x});");
        scripts.added(&mut wire, EventAsk { core: 1, ..ask_for(event::CPUID, LEAF_NUMBER + 2) }, &script)?;
        let mut last = Vec::new();
        for end in ["flush", "halt", "script", "clear"] {
            machine.ok(&format!("instructions cpuid {LEAF} 3"))?;
            all += 3;
            match end {
                "flush" => drop(machine.ok(&format!("instructions cpuid {:x} 1", LEAF_NUMBER + 1))?),
                "halt" => drop(wire.pause()?),
                "script" => drop(machine.ok(&format!("instructions cpuid {:x} 1", LEAF_NUMBER + 2))?),
                _ => drop(change(&mut wire, event::CLEAR, event::ALL)?),
            }
            let heard = said(&mut wire)?;
            last.extend(heard.texts.into_iter().map(|line| line.text));
            assert_eq!((texts.len() + last.len(), heard.lost), (all as usize, 0), "{end}");
            match end {
                "halt" => wire.go()?,
                "script" => assert_eq!(change(&mut wire, event::ENABLE, id)?, 1),
                _ => {}
            }
        }
        assert_eq!(flusher, id + 1);
        texts.extend(last);
        for (number, text) in (1..).zip(&texts) {
            assert_eq!(*text, format!("message {number} of an event that has much to say about itself\n"));
        }
    }
    let [at_once, gathered] = brought[..] else { return Err("two runs".into()) };
    assert_eq!(at_once, ROUNDS, "each round is fetched");
    // 300 messages of 72 bytes with their heads, 56 to 4 KiB, and the rest.
    assert_eq!(gathered, 6, "of {ROUNDS} rounds");
    drop(wire);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}

/// Would catch a loss that is not counted, counted twice, or counted for another event, when nobody fetches for too long.
#[test]
fn what_is_said_is_delivered_or_counted_as_lost_to_the_last_message() -> Result {
    const RUNS: u64 = 3000;
    let mut machine = machine()?;
    let mut wire = Wire::connect(&machine.link_path())?;
    let mut scripts = Scripts::default();
    let mut ids = Vec::new();
    for flags in [0, event::GATHER, 0] {
        let plain = ask_for(event::CPUID, LEAF_NUMBER);
        let script = r#"printf("what event %d says\n", $event_id);"#;
        ids.push(scripts.added(&mut wire, EventAsk { flags: plain.flags | flags, ..plain }, script)?);
    }
    drop(wire);
    machine.ok(&format!("instructions cpuid {LEAF} {RUNS}"))?;
    let mut wire = Wire::connect(&machine.link_path())?;
    for id in &ids {
        change(&mut wire, event::DISABLE, *id)?;
    }
    let heard = said(&mut wire)?;
    let mut lost = 0;
    for id in ids {
        let events = row(&mut wire, id)?;
        let delivered = heard.texts.iter().filter(|line| line.event == id).count() as u64;
        assert_eq!(events.hits, 2 * RUNS, "both cores");
        assert_eq!(delivered + events.lost, events.hits, "event {id}: {delivered} delivered, {} lost", events.lost);
        assert!(delivered > 0 && events.lost > 0, "event {id}: {delivered} delivered, {} lost", events.lost);
        lost += events.lost;
    }
    assert_eq!(heard.lost, lost, "told with the next fetch, once");
    assert!(heard.texts.iter().all(|line| line.text == format!("what event {} says\n", line.event)));
    assert_eq!(said(&mut wire)?.lost, 0);
    wire.ask(
        op::EVENT_CHANGE,
        zerocopy::IntoBytes::as_bytes(&abi::request::EventChange { what: event::CLEAR, id: event::ALL }),
    )?;
    drop(wire);
    machine.hyperdbg_ok(&["unload"])?;
    Ok(machine.console_is_healthy()?)
}
