//! `prealloc --watch`: on a terminal in place, elsewhere one after the other. The watcher's console moves the reserve itself, so
//! nothing here waits for the clock.

mod common;

use common::Prompt;
use debugger::news::{Inbox, News};
use debugger::session::{Console, Look, Picture, Session, Verdict};
use debugger::target::Cancel;
use debugger::target::fake::{Fake, Root};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens between two drawings or lines, by their number from 0; true if a key is pressed then.
type Meanwhile = Box<dyn FnMut(usize) -> bool + Send>;

/// Everything that was put out: `draw`, `settle` and `print`, in order.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Out {
    fn push(&self, what: &'static str, text: &str) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push((what, text.to_owned()));
        all.iter().filter(|(one, _)| *one == what).count() - 1
    }

    fn of(&self, what: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|(one, _)| *one == what).map(|(_, text)| text.clone()).collect()
    }
}

struct Screen {
    out: Out,
    terminal: bool,
    columns: usize,
    meanwhile: Arc<Mutex<Meanwhile>>,
}

impl Console for Screen {
    fn print(&mut self, text: &str) {
        let number = self.out.push("print", text);
        if !self.terminal {
            (self.meanwhile.lock().unwrap())(number);
        }
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn picture(&mut self) -> Option<Box<dyn Picture>> {
        let drawn = Drawn { out: self.out.clone(), meanwhile: Arc::clone(&self.meanwhile), number: 0, told: false };
        self.terminal.then(|| Box::new(drawn) as Box<dyn Picture>)
    }
}

struct Drawn {
    out: Out,
    meanwhile: Arc<Mutex<Meanwhile>>,
    number: usize,
    told: bool,
}

impl Picture for Drawn {
    fn draw(&mut self, text: &str) {
        (self.number, self.told) = (self.out.push("draw", text), false);
    }

    fn settle(&mut self) {
        self.out.push("settle", "");
    }

    fn key(&mut self, _: Duration) -> bool {
        !std::mem::replace(&mut self.told, true) && (self.meanwhile.lock().unwrap())(self.number)
    }
}

/// Watches with this line until `meanwhile` ends it.
fn watch(
    line: &str,
    look: Look,
    terminal: bool,
    columns: usize,
    root: Root,
    mut meanwhile: impl FnMut(usize, &mut Root, &Inbox, &Cancel) -> bool + Send + 'static,
) -> (Verdict, Out) {
    let (root, inbox, cancel, out) =
        (Arc::new(Mutex::new(root)), Arc::new(Inbox::default()), Cancel::default(), Out::default());
    let meanwhile: Meanwhile = Box::new({
        let (root, inbox, cancel) = (Arc::clone(&root), Arc::clone(&inbox), cancel.clone());
        move |number| meanwhile(number, &mut root.lock().unwrap(), &inbox, &cancel)
    });
    let fake = Fake::new(root, Arc::clone(&inbox));
    while inbox.take(Duration::ZERO).is_some() {}
    let screen = Screen { out: out.clone(), terminal, columns, meanwhile: Arc::new(Mutex::new(meanwhile)) };
    let mut session = Session::over(Box::new(fake), Box::new(screen), look, inbox, cancel);
    session.set_watch_pace(Duration::from_millis(1));
    (session.run(line), out)
}

fn press(cancel: &Cancel) {
    cancel.flag().store(true, std::sync::atomic::Ordering::Relaxed);
}

const COLOUR: Look = Look { json: false, colour: true };

/// Would catch a watch that a key does not end, that marks nothing, or that marks what stayed as it was.
#[test]
fn on_a_terminal_it_is_drawn_in_place_and_what_changed_is_marked_until_a_key() {
    for line in ["prealloc --watch", "prealloc watch", "PREALLOC WATCH"] {
        let root = Root { link: false, ..Root::default() };
        let (verdict, out) = watch(line, COLOUR, true, 100, root, |number, root, _, _| {
            if number == 0 {
                root.rows[4].refused = 7;
                root.bank_free -= 1;
            }
            number == 2
        });
        let drawn = out.of("draw");
        assert_eq!((verdict, drawn.len(), out.of("print").len()), (Verdict::Done, 3, 0), "{drawn:#?}");
        assert!(!drawn[0].contains('\x1b') && !drawn[2].contains('\x1b'), "{drawn:#?}");
        let marked: Vec<&str> = drawn[1].split("\x1b[1;33m").skip(1).filter_map(|rest| rest.split('\x1b').next()).collect();
        assert_eq!((marked.len(), marked[0], marked[1].starts_with("pages: ")), (2, "0x7", true), "{marked:#?}");
        assert_eq!(drawn[0].lines().last(), Some("any key ends this"));
    }
}

/// Would catch colours for who wants none, or a drawing that is higher than a screen of 24 rows.
#[test]
fn without_colour_there_is_none_and_a_narrow_screen_shows_what_moves() {
    let (_, out) = watch("prealloc --watch", Look::default(), true, 80, Root::default(), |number, root, _, _| {
        root.rows[0].refused += 1;
        number == 1
    });
    let drawn = out.of("draw");
    assert!(drawn.iter().all(|text| !text.contains('\x1b') && text.lines().count() < 24), "{drawn:#?}");
    assert!(drawn[0].lines().all(|line| line.len() <= 80) && drawn[0].contains("refilled"));
}

/// Would catch a halted machine that is watched for ever without a word, or a CTRL+C that is a failure.
#[test]
fn a_halted_machine_can_be_watched_and_ctrl_c_ends_it() {
    let root = Root { halted: true, ..Root::default() };
    let (verdict, out) = watch("prealloc --watch", COLOUR, true, 100, root, |_, root, inbox, cancel| {
        if let Some(halted) = (root.rows[0].refused == 0).then(abi::request::Halted::default) {
            root.rows[0].refused = 1;
            inbox.push(News::Halted(halted));
        } else {
            press(cancel);
        }
        false
    });
    assert_eq!(verdict, Verdict::Done);
    let drawn = out.of("draw");
    assert_eq!(
        drawn[1].lines().last(),
        Some("the debuggee is halted, so nothing changes by itself; any key ends this"),
        "{drawn:#?}"
    );
    let order: Vec<&str> = out.0.lock().unwrap().iter().map(|(what, _)| *what).collect();
    assert_eq!(order[..3], ["draw", "settle", "print"], "news come below the drawing");
}

/// Would catch a log that repeats what did not change, or that holds escape sequences.
#[test]
fn elsewhere_a_ledger_follows_when_something_changed() {
    let (verdict, out) = watch("prealloc --watch", Look::default(), false, 100, Root::default(), |number, root, _, cancel| {
        match number {
            0 => root.rows[0].refused = 1,
            _ => press(cancel),
        }
        false
    });
    let printed = out.of("print");
    assert_eq!((verdict, printed.len()), (Verdict::Done, 2), "{printed:#?}");
    assert!(printed[0].starts_with("type ") && printed[1].starts_with("\ntype "), "{printed:#?}");
    assert!(!printed.concat().contains('\x1b'));
}

/// Would catch a program that cannot tell whether more will come.
#[test]
fn programs_get_one_object_for_each_change_and_a_last_one() {
    let look = Look { json: true, colour: false };
    let root = Root { link: false, ..Root::default() };
    // On a terminal, too, JSON is for programs.
    let (_, out) = watch("prealloc watch", look, false, 80, root, |number, root, _, cancel| {
        match number {
            0 => root.rows[0].refused = 1,
            _ => press(cancel),
        }
        false
    });
    let values: Vec<Value> = out.of("print").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.len(), 3);
    assert!(values[..2].iter().all(|value| value["more"] == true && value["command"] == "prealloc watch"));
    assert_eq!((values[2].get("more"), &values[2]["result"]), (None, &values[1]["result"]));
    assert_eq!(values[1]["result"]["types"][0]["refused"], 1);
}

/// Would catch a watch that goes on although the debuggee is gone.
#[test]
fn a_target_that_refuses_ends_it_with_the_reason() {
    let (verdict, out) = watch("prealloc watch", COLOUR, true, 100, Root::default(), |_, root, _, _| {
        root.loaded = false;
        false
    });
    assert_eq!(verdict, Verdict::Failed);
    assert!(out.of("print")[0].contains("the hypervisor is not loaded on the debuggee"));
    let mut prompt = Prompt::new(Root { loaded: false, ..Root::default() });
    prompt.err("prealloc watch");
}
