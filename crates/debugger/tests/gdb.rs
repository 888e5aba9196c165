//! gdb's remote protocol over the model of root: packets as gdb sends them, and what they come to.

use abi::kind::Kind;
use abi::request::{goodbye, op};
use debugger::gdb::{End, Line, Page, serve};
use debugger::news::{Inbox, News};
use debugger::session::{Look, Session};
use debugger::target::Cancel;
use debugger::target::fake::{Fake, Root};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Where the model has code: `call`, behind two returns and what is between.
const CALL: &str = "ffffffff81000004";

/// What came of a conversation.
struct Talk {
    /// Packets that were answered, one for each that was sent; what came before an answer (`O…`) stands before it.
    replies: Vec<String>,
    /// What the server said to its own user.
    told: String,
    end: End,
    root: Root,
}

/// Sends packets, one after the answer to the one before, and hangs up.
fn talk(root: Root, packets: &[&str]) -> Talk {
    let packets: Vec<String> = packets.iter().map(|packet| (*packet).to_owned()).collect();
    talk_freely(root, move |line, _, _| packets.iter().map(|packet| ask(line, packet)).collect())
}

/// Has somebody talk who sees the model, and hangs up.
fn talk_freely(root: Root, say: impl FnOnce(&mut UnixStream, &Mutex<Root>, &Inbox) -> Vec<String> + Send + 'static) -> Talk {
    let (root, inbox, page) = (Arc::new(Mutex::new(root)), Arc::new(Inbox::default()), Page::default());
    let fake = Fake::new(Arc::clone(&root), Arc::clone(&inbox));
    let (console, news) = (Box::new(page.clone()), Arc::clone(&inbox));
    let mut session = Session::over(Box::new(fake), console, Look::default(), inbox, Cancel::default());
    session.attend();
    assert!(page.take().starts_with("connected: model"));
    let (near, far) = UnixStream::pair().unwrap();
    let seen = Arc::clone(&root);
    let client = thread::spawn(move || {
        let mut far = far;
        let replies = say(&mut far, &seen, &news);
        far.shutdown(Shutdown::Both).unwrap();
        replies
    });
    let line = Line { from: Box::new(near.try_clone().unwrap()), to: Box::new(near) };
    let mut told = String::new();
    let end = serve(&mut session, &page, line, &mut |text| told += &format!("{text}\n"));
    let replies = client.join().unwrap();
    let root = root.lock().unwrap().clone();
    Talk { replies, told, end, root }
}

fn send(line: &mut UnixStream, packet: &str) {
    let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
    write!(line, "${packet}#{sum:02x}").unwrap();
}

fn ask(line: &mut UnixStream, packet: &str) -> String {
    send(line, packet);
    answered(line)
}

/// Waits until the model does something.
fn until(root: &Mutex<Root>, what: impl Fn(&Root) -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !what(&root.lock().unwrap()) {
        assert!(Instant::now() < end, "it does not come so far");
        thread::yield_now();
    }
}

fn answered(line: &mut UnixStream) -> String {
    let mut whole = String::new();
    loop {
        let reply = reply(line);
        line.write_all(b"+").unwrap();
        // What a monitor's command prints comes before its answer.
        match reply.strip_prefix('O').filter(|rest| !rest.is_empty() && rest.len() % 2 == 0) {
            Some(printed) => whole += &text(printed),
            None => return whole + &reply,
        }
    }
}

fn reply(line: &mut UnixStream) -> String {
    let mut byte = || {
        let mut one = [0];
        line.read_exact(&mut one).unwrap();
        one[0]
    };
    while byte() != b'$' {}
    let mut reply: Vec<u8> = Vec::new();
    loop {
        match byte() {
            b'#' => break,
            // A repeated byte, as the protocol shortens it.
            b'*' => {
                let (last, count) = (*reply.last().unwrap(), usize::from(byte() - 29));
                reply.extend(std::iter::repeat_n(last, count));
            }
            other => reply.push(other),
        }
    }
    byte();
    byte();
    String::from_utf8(reply).unwrap()
}

fn text(hex: &str) -> String {
    let bytes = hex.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

fn monitor(line: &str) -> String {
    let hex: String = line.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("qRcmd,{hex}")
}

/// Would catch a machine that runs while gdb looks at it, or stays halted when gdb is gone, however it goes.
#[test]
fn it_is_halted_for_as_long_as_gdb_is_there() {
    for (packets, end) in [(&["?", "D"][..], End::Detached), (&["?"], End::Lost), (&[], End::Lost), (&["vCont?"], End::Lost)] {
        let Talk { end: was, root, .. } = talk(Root::default(), packets);
        assert_eq!((was, root.halted), (end, false), "{packets:?}");
        let asked: Vec<u32> = root.asked.into_iter().filter(|asked| [op::PAUSE, op::GO].contains(asked)).collect();
        assert_eq!(asked, [op::PAUSE, op::PAUSE, op::GO], "{packets:?}");
    }
}

/// Would catch a breakpoint that can be read, one that stays when gdb is gone, and one of somebody else's that goes with gdb's.
#[test]
fn what_gdb_set_goes_with_it() {
    let set = [&*format!("Z0,{CALL},1"), "Z1,ffffffff81000002,1", "Z2,ffff888000000100,8", "Z3,ffff888000000110,10"];
    let bytes = format!("m{CALL},1");
    let Talk { replies, root, told, .. } =
        talk(Root::default(), &[set[0], set[1], set[2], set[3], &bytes, &monitor("bp ffffffff81000001"), &monitor("bl")]);
    assert_eq!(replies[..5], ["OK", "OK", "OK", "OK", "e8"], "{told}");
    assert!(replies[6].contains("bp ffffffff81000001") && replies[6].ends_with("OK"), "{}", replies[6]);
    assert_eq!(root.events.rows.len(), 0);

    let taken = format!("z0,{CALL},1");
    let Talk { replies, told, .. } = talk(Root::default(), &[set[0], &taken, &taken, "z2,ffff888000000100,8"]);
    assert_eq!(replies, ["OK", "OK", "E16", "E16"], "what is not there cannot be taken away: {told}");
}

/// Would catch a refusal of which gdb does not hear, or whose reason and help nobody reads.
#[test]
fn a_refusal_is_an_error_for_gdb_and_a_sentence_for_who_serves_it() {
    let mut root = Root::default();
    let row = &mut root.rows[Kind::Breakpoint.index()];
    (row.free, row.used) = (0, row.reserved);
    let Talk { replies, told, .. } = talk(root, &[&format!("Z0,{CALL},1"), "Z0,10,1", "P2d=0100000000000000"]);
    assert_eq!(replies, ["E16", "E16", "E16"]);
    assert!(told.contains("err, no breakpoint left") && told.contains("try: prealloc breakpoint 1"), "{told}");
    assert!(told.contains("nothing is mapped at 10"), "{told}");
    assert!(told.contains("this register can only be looked at"), "{told}");
}

/// Would catch a register that is another's, one of another core, and a value that does not arrive.
#[test]
fn registers_are_those_of_the_core_that_gdb_means() {
    let packets = ["Hg1", "p10", "Hg2", "p0", "P0=efcdab9078563412", "p0", "Hg1", "p0", "p18"];
    let Talk { replies, told, .. } = talk(Root::default(), &packets);
    assert_eq!(replies[1], "00000081ffffffff", "rip: {told}");
    assert_eq!(replies[3], "0100000000000000", "the model's core 1 has its number in rax");
    assert_eq!(replies[7], "1000000000000000", "{told}");
    assert_eq!(replies[8], "x".repeat(20), "a register of the floating-point unit is not known");
    let Talk { replies, told, .. } = talk(Root::default(), &["Hg1", "P3=efcdab9078563412", "p3", "g"]);
    assert_eq!(replies[1..3], ["OK", "efcdab9078563412"], "{told}");
    assert_eq!(&replies[3][48..64], "efcdab9078563412");
}

/// Would catch bytes that are made up behind the end of what is mapped, and a write that goes elsewhere.
#[test]
fn memory_ends_where_it_is_not_mapped() {
    let packets = ["mffffffff81000000,4", "mffffffff81000ffe,8", "m10,8", "Mffff888000000100,2:4142", "mffff888000000100,3"];
    let Talk { replies, told, .. } = talk(Root::default(), &packets);
    assert_eq!(replies[1].len(), 4, "two bytes, up to the end of the page: {replies:?}");
    assert_eq!((replies[2].as_str(), replies[3].as_str()), ("E0e", "OK"), "{told}");
    assert!(replies[4].starts_with("4142"), "{replies:?}");
    assert_eq!(told, "", "gdb looks for much that is not there");
}

/// Would catch a core that gdb does not hear of, one that is not there, and a name that is not shown.
#[test]
fn threads_are_cores() {
    let root = Root { cores: 3, offline: Some(1), core: 2, ..Root::default() };
    let Talk { replies, told, .. } = talk(root, &["qfThreadInfo", "qThreadExtraInfo,1", "T1", "T2"]);
    assert_eq!(replies[0], "m03,01,04", "the one that commands refer to first, and not the one that is offline");
    assert_eq!(text(&replies[1]), "CPU 0 [bash]", "{told}");
    assert!(replies[2] == "OK" && replies[3].starts_with('E'), "{replies:?}");
}

/// Would catch a step of another core, or one that lets others run although gdb asked for it alone.
#[test]
fn a_step_is_of_one_core_and_the_others_run_or_do_not() {
    let Talk { replies, root, told, .. } = talk(Root::default(), &["vCont;s:2;c", "p10", "vCont;s:1"]);
    assert!(replies[0].starts_with("T05thread:") && replies[0].contains("2;"), "{replies:?} {told}");
    assert!(replies[2].starts_with("T05thread:") && replies[2].contains("1;"), "{replies:?}");
    assert_eq!(root.asked.iter().filter(|asked| **asked == op::STEP).count(), 2);
}

/// Would catch a line that lets the machine run while gdb believes it halted, and an answer that gdb does not get.
#[test]
fn lines_of_the_prompts_are_typed_but_for_those_that_gdb_must_know_of() {
    let lines = ["r rip", "g", "t 10", "unload", "? 1 + 1", "nonsense"].map(monitor);
    let packets: Vec<&str> = lines.iter().map(String::as_str).collect();
    let Talk { replies, root, .. } = talk(Root::default(), &packets);
    assert!(replies[0].contains("rip=ffffffff81000000"), "{replies:?}");
    assert!(replies[1].contains("try: continue") && replies[2].contains("try: stepi"), "{replies:?}");
    assert!(replies[3].contains("detach") && replies[4].starts_with("2\n") && replies[5].contains("no command"), "{replies:?}");
    assert!(!root.asked.contains(&op::STEP) && !root.asked.contains(&op::UNLOAD));
}

/// Would catch CTRL+C that halts nothing, and one that comes too late and is taken for the next halt while the machine runs.
#[test]
fn ctrl_c_halts_what_runs_and_nothing_else() {
    let Talk { replies, root, .. } = talk_freely(Root::default(), |line, root, _| {
        // It is halted when this is answered.
        ask(line, "?");
        line.write_all(&[3]).unwrap();
        send(line, "vCont;c");
        until(root, |root| !root.halted);
        let ran = format!("{}", !root.lock().unwrap().halted);
        line.write_all(&[3]).unwrap();
        vec![ran, answered(line), ask(line, "p10")]
    });
    assert_eq!((replies[0].as_str(), replies[2].as_str()), ("true", "00000081ffffffff"));
    assert!(replies[1].starts_with("T02thread:"), "{replies:?}");
    assert!(!root.halted);
}

/// Would catch a gdb that waits for ever for a machine that is not there any more.
#[test]
fn a_debuggee_that_goes_away_has_ended() {
    let Talk { replies, end, told, .. } = talk_freely(Root::default(), |line, root, news| {
        ask(line, "?");
        send(line, "vCont;c");
        until(root, |root| !root.halted);
        news.push(News::Goodbye(goodbye::REBOOT));
        vec![answered(line)]
    });
    assert_eq!((replies[0].as_str(), end), ("W00", End::Gone));
    assert!(told.contains("the debuggee is rebooting"), "{told}");
}

/// Would catch a server that goes down with what no gdb says.
#[test]
fn what_is_no_packet_ends_the_talk_and_the_machine_runs() {
    for noise in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        &[0xff; 300],
        b"$vCont;s#b8",
        b"$\x00\x01#01",
        b"-",
        b"$m,#00",
        b"$Z0,x,1#00",
        b"$G00#d7",
    ] {
        let noise = noise.to_vec();
        let Talk { root, .. } = talk_freely(Root::default(), move |line, _, _| {
            // It may have hung up before all of it came.
            let _ = line.write_all(&noise);
            Vec::new()
        });
        assert!(!root.halted);
    }
}
