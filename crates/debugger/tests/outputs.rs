//! Outputs at the prompt, over the model of root: real files, sockets and FIFOs, and readers that behave badly.

mod common;

use common::{Prompt, matches, try_line};
use debugger::session::Look;
use debugger::target::fake::Root;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hyperdbg-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fire(prompt: &Prompt, id: u32, text: &str) {
    prompt.root.lock().unwrap().fire(id, text);
}

fn all_of(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A running debuggee, with an output of this kind opened and an event that speaks to it.
fn speaking(kind: &str, address: &str) -> Prompt {
    let mut prompt = Prompt::running();
    prompt.ok(&format!("output create one {kind} {address}"));
    prompt.ok("output open one");
    prompt.ok("!cpuid output {one} script { x = 1; }");
    prompt
}

/// The row of an output: written, waiting, lost.
fn counts(prompt: &mut Prompt) -> [u64; 3] {
    let row = prompt.ok("output")[1].clone();
    let cells: Vec<&str> = row.split_whitespace().collect();
    [3, 5, 6].map(|at| u64::from_str_radix(cells[at].trim_start_matches("0x"), 16).unwrap())
}

/// Would catch bytes that are lost, changed or out of order on their way, what is shown on the screen all the same, and what
/// goes to an output that is not meant.
#[test]
fn what_an_event_says_goes_to_its_outputs_alone() {
    let folder = Folder::new("outputs");
    let (unix, tcp) = (UnixListener::bind(folder.path("socket")).unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let mut prompt = Prompt::running();
    assert_eq!(prompt.ok("output"), ["there are no outputs"]);
    let tcp_address = tcp.local_addr().unwrap().to_string();
    for (name, kind, address) in
        [("log", "file", folder.path("log file")), ("host", "TCP", tcp_address), ("here", "unix", folder.path("socket"))]
    {
        prompt.ok(&format!("output create {name} {kind} \"{address}\""));
        prompt.ok(&format!("OUTPUT Open {name}"));
    }
    prompt.ok("!cpuid output {log, host,here} script { x = 1; }");
    prompt.ok("!tsc output { log } script { x = 1; }");
    prompt.ok("!vmcall script { x = 1; }");
    let readers =
        [thread::spawn(move || all_of(tcp.accept().unwrap().0)), thread::spawn(move || all_of(unix.accept().unwrap().0))];
    let (mut all, mut first) = (String::new(), String::new());
    for number in 0..500 {
        let text = format!("{number} \u{e4} \x1b[1m{}\r\n", "x".repeat(number % 50));
        fire(&prompt, u32::from(number % 3 == 0), &text);
        all += &text;
        if number % 3 != 0 {
            first += &text;
        }
        if number % 7 == 0 {
            fire(&prompt, 2, "to the screen\n");
            assert_eq!(prompt.ok(""), ["event 2, core 0: to the screen"]);
        }
    }
    assert_eq!(prompt.ok(""), Vec::<String>::new());
    for name in ["log", "host", "here"] {
        let closed = prompt.ok(&format!("output close {name}"));
        assert!(closed[0].starts_with(&format!("the output '{name}' is closed; what event")), "{closed:?}");
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap(), first);
    }
    assert_eq!(fs::read_to_string(folder.path("log file")).unwrap(), all);
    let pattern = "log     file  closed    0x1f4  0x{hex}        0     0  0,1     {any}";
    assert!(matches(&[pattern], &prompt.ok("output")[1..2]), "{:#?}", prompt.ok("output"));
}

/// Would catch an ear that brings messages for outputs to the screen, or wakes the prompt for them.
#[test]
fn an_open_prompt_is_not_disturbed_by_what_goes_to_outputs() {
    let folder = Folder::new("ear");
    let mut prompt = speaking("file", &folder.path("log"));
    prompt.session.attend();
    fire(&prompt, 0, "heard\n");
    prompt.session.ear().listen();
    assert!(prompt.inbox.is_empty());
    prompt.ok("output close one");
    assert_eq!(fs::read_to_string(folder.path("log")).unwrap(), "heard\n");
}

/// Would catch objects that cannot be read one by one, or that differ between the screen and an output.
#[test]
fn with_json_an_output_gets_an_object_for_each_message() {
    let folder = Folder::new("json");
    let mut prompt = Prompt::with_look(Root::default(), Look { json: true, colour: false });
    prompt.ok(&format!("output create one file {}", folder.path("log")));
    prompt.ok("output open one");
    prompt.ok("!cpuid output {one} script { x = 1; }");
    prompt.ok("!tsc script { x = 1; }");
    for text in ["a \"quoted\"\nline\n", "part", "\n"] {
        fire(&prompt, 0, text);
        fire(&prompt, 1, text);
    }
    let printed = prompt.ok("");
    prompt.ok("output close one");
    let expected = |event: u32| {
        let message = |text: &str| format!(r#"{{"core":0,"event":{event},"message":"{text}"}}"#);
        [message(r#"a \"quoted\"\nline"#), message("part"), message("")]
    };
    assert_eq!(printed, expected(1));
    let written = fs::read_to_string(folder.path("log")).unwrap();
    assert_eq!(written.lines().collect::<Vec<_>>(), expected(0));
}

/// Would catch a prompt that waits for a reader, and messages that are lost uncounted.
#[test]
fn a_reader_that_takes_nothing_holds_up_nobody_and_what_it_loses_is_told() {
    let folder = Folder::new("slow");
    let listener = UnixListener::bind(folder.path("socket")).unwrap();
    let mut prompt = speaking("unix", &folder.path("socket"));
    let reader = listener.accept().unwrap().0;
    let begun = Instant::now();
    let said = 3000_u64;
    for _ in 0..said {
        fire(&prompt, 0, &"x".repeat(1000));
        assert_eq!(prompt.ok(""), Vec::<String>::new());
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    let [written, waiting, lost] = counts(&mut prompt);
    assert!(lost > 0 && waiting > 0, "{written} {waiting} {lost}");
    assert_eq!(written + waiting + lost, said);
    assert_eq!(prompt.ok("events").last(), Some(&format!("lost by outputs of 0: 0x{lost:x}")));
    // Whoever leaves waits for it within a limit, and says what it did not take.
    prompt.session.leave();
    let printed = prompt.ok("output");
    assert!(
        printed[0].starts_with("0x") && printed[0].ends_with("of the output 'one' did not take them in time"),
        "{printed:#?}"
    );
    drop(reader);
}

/// Would catch a reader that goes away unnoticed, a program that ends by that, and an output that cannot be opened again.
#[test]
fn a_reader_that_goes_away_is_told_and_can_come_back() {
    let folder = Folder::new("gone");
    let listener = UnixListener::bind(folder.path("socket")).unwrap();
    let mut prompt = speaking("namedpipe", &folder.path("socket"));
    drop(listener.accept().unwrap());
    let mut said = 0_u64;
    let begun = Instant::now();
    let told = loop {
        fire(&prompt, 0, "is anybody there\n");
        said += 1;
        let printed = prompt.ok("");
        if !printed.is_empty() {
            break printed;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    };
    assert_eq!(
        told,
        ["the output 'one' is broken: its reader has gone; what is said to it is lost and counted until: output open one"]
    );
    let [written, waiting, lost] = counts(&mut prompt);
    assert_eq!((written, waiting, lost), (0, 0, said));
    assert_eq!(prompt.ok("output").last().map(String::as_str), Some("one is broken: its reader has gone"));
    prompt.ok("output open one");
    fire(&prompt, 0, "back\n");
    prompt.ok("");
    let reader = thread::spawn(move || all_of(listener.accept().unwrap().0));
    prompt.ok("output close one");
    assert_eq!(reader.join().unwrap(), "back\n");
    fire(&prompt, 0, "nobody hears that\n");
    prompt.ok("");
    assert_eq!(counts(&mut prompt), [1, 0, said + 1]);
}

/// Would catch a FIFO that hangs the prompt when it is opened without a reader or written with a slow one.
#[test]
fn a_fifo_is_opened_when_somebody_reads_it() {
    let folder = Folder::new("fifo");
    let path = folder.path("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut prompt = Prompt::running();
    prompt.ok(&format!("output create one namedpipe {path}"));
    assert_eq!(prompt.err("output open one")[0], "err, nobody has the FIFO open to read");
    let reader = Command::new("cat").arg(&path).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while prompt.typed("output open one").1[0] != "the output 'one' is open" {
        assert!(begun.elapsed() < Duration::from_secs(60), "cat opens it");
        thread::yield_now();
    }
    let reader = thread::spawn(move || reader.wait_with_output().unwrap());
    prompt.ok("!cpuid output {one} script { x = 1; }");
    let text = "y".repeat(999) + "\n";
    for _ in 0..300 {
        fire(&prompt, 0, &text);
        prompt.ok("");
    }
    prompt.ok("output close one");
    let output = reader.join().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap() == text.repeat(300));
}

/// Would catch something that is accepted and cannot work, a refusal without its reason, and an offer that is refused.
#[test]
fn what_cannot_work_is_refused_with_its_reason() {
    let folder = Folder::new("refused");
    fs::write(folder.path("plain"), "").unwrap();
    let mut prompt = Prompt::halted();
    for name in ["a", "b", "c", "d", "e", "f", "shut"] {
        prompt.ok(&format!("output create {name} file /dev/null"));
        if name != "shut" {
            prompt.ok(&format!("output open {name}"));
        }
    }
    for (name, kind, address) in [
        ("folder", "file", folder.path("")),
        ("nowhere", "file", folder.path("no/such")),
        ("plain", "namedpipe", folder.path("plain")),
        ("silent", "unix", folder.path("plain")),
        ("refusing", "tcp", "127.0.0.1:1".to_owned()),
    ] {
        prompt.ok(&format!("output create {name} {kind} {address}"));
    }
    for (line, words, offer) in [
        ("output open folder", "the output cannot be opened: it is a directory", None),
        ("output open nowhere", "the output cannot be opened: it does not exist", None),
        ("output open plain", "what is there is no FIFO and no socket", None),
        ("output open silent", "the output cannot be opened: nobody listens there", None),
        ("output open refusing", "the output cannot be opened: nobody listens there", None),
        ("output open a", "the output 'a' is open already", Some("output")),
        ("output close shut", "the output 'shut' is not open", Some("output open shut")),
        ("output close shutt", "there is no output 'shutt'", Some("output close shut")),
        ("output open zzzzzz", "there is no output 'zzzzzz'", Some("output")),
        ("output create a file /tmp/x", "there is an output 'a' already", Some("output")),
        ("output create two.words file /tmp/x", "a name has letters, digits, '-' and '_', 32 of them at most", None),
        ("output create g tcp 9000", "'9000' is no HOST:PORT", Some("output create g tcp 127.0.0.1:9000")),
        ("output create h modul /tmp/x", "couldn't resolve error at 'modul'", None),
        ("output opens shut", "couldn't resolve error at 'opens'", Some("output open shut")),
        ("!cpuid output {shut} script { x = 1; }", "the output 'shut' is not open", Some("output open shut")),
        ("!cpuid output {nobody} script { x = 1; }", "there is no output 'nobody'", Some("output")),
        ("!cpuid output {a, b, c, d, e, f} script { x = 1; }", "an event speaks to 5 outputs at most", None),
        ("!cpuid output {a, b, a} script { x = 1; }", "'a' stands there twice", None),
        ("!cpuid output a script { x = 1; }", "outputs stand in braces", Some("!cpuid output {a} script { x = 1; }")),
        ("!cpuid output { } script { x = 1; }", "something is missing behind '{ }'", None),
        (
            "!cpuid imm no output {a} script { x = 1; }",
            "what is gathered in root (imm no) cannot go to outputs",
            Some("!cpuid imm yes output {a} script { x = 1; }"),
        ),
    ] {
        let printed = prompt.err(line);
        assert_eq!(
            (printed[0].as_str(), try_line(&printed)),
            (format!("err, {words}").as_str(), offer),
            "{line}: {printed:#?}"
        );
        if let Some(offer) = offer.filter(|offer| !offer.starts_with("output close") && !line.starts_with("output close shut"))
        {
            prompt.typed("output close shut");
            prompt.ok(offer);
            prompt.typed("output close shut");
        }
    }
    prompt.ok("!cpuid output {a, b, c, d, e} script { x = 1; }");
    assert_eq!(prompt.err("output create x")[0], "incorrect use of the 'output'");
}

/// Would catch a plan that opens something, or refuses what an earlier line of it would make.
#[test]
fn a_plan_knows_no_outputs() {
    let folder = Folder::new("plan");
    let lines = "output create x file /dev/null\noutput open x\n!cpuid output {x} script { x = 1; }\n";
    fs::write(folder.path("plan.kd"), lines).unwrap();
    let mut prompt = Prompt::halted();
    let printed = prompt.ok(&format!("prealloc plan {}", folder.path("plan.kd")));
    assert!(!printed.iter().any(|line| line.contains("err")), "{printed:#?}");
    assert_eq!(prompt.ok("output"), ["there are no outputs"]);
    prompt.ok(&format!(".script {}", folder.path("plan.kd")));
}

/// Would catch messages of an event that was cleared going where another one speaks that got its number.
#[test]
fn an_event_that_is_cleared_leaves_its_outputs() {
    let folder = Folder::new("cleared");
    let listener = UnixListener::bind(folder.path("socket")).unwrap();
    let mut prompt = speaking("unix", &folder.path("socket"));
    fire(&prompt, 0, "last\n");
    assert_eq!(prompt.ok("events c 0"), ["event 0 cleared"]);
    assert!(prompt.ok("output")[1].contains("  -  "), "nobody speaks to it");
    assert_eq!(prompt.ok("output close one"), ["the output 'one' is closed"]);
    let (stream, _): (UnixStream, _) = listener.accept().unwrap();
    assert_eq!(all_of(stream), "last\n");
}
