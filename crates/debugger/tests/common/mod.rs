//! A prompt over the model of root, and a comparison with wildcards.
#![allow(dead_code, reason = "each test file uses its own part")]

use debugger::host::texts::Texts;
use debugger::news::Inbox;
use debugger::session::{Console, Look, Session, Verdict};
use debugger::target::Cancel;
use debugger::target::fake::{Fake, Root};
use std::sync::{Arc, Mutex};

/// What was printed.
#[derive(Clone)]
pub struct Page {
    lines: Arc<Mutex<Vec<String>>>,
    columns: usize,
}

impl Default for Page {
    fn default() -> Self {
        Page { lines: Arc::default(), columns: 1000 }
    }
}

impl Page {
    /// What was printed since the last time.
    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}

impl Console for Page {
    fn print(&mut self, text: &str) {
        self.lines.lock().unwrap().extend(text.lines().map(str::to_owned));
    }

    fn columns(&self) -> usize {
        self.columns
    }
}

/// A prompt, its model and what was printed.
pub struct Prompt {
    pub session: Session,
    pub root: Arc<Mutex<Root>>,
    pub inbox: Arc<Inbox>,
    pub cancel: Cancel,
    page: Page,
}

impl Prompt {
    pub fn new(root: Root) -> Self {
        Self::with_look(root, Look::default())
    }

    pub fn with_look(root: Root, look: Look) -> Self {
        // So wide that a list is one line.
        Self::on(root, look, 1000)
    }

    /// On a screen of so many columns.
    pub fn on(root: Root, look: Look, columns: usize) -> Self {
        let page = Page { lines: Arc::default(), columns };
        let (root, inbox, cancel) = (Arc::new(Mutex::new(root)), Arc::new(Inbox::default()), Cancel::default());
        let fake = Fake::new(Arc::clone(&root), Arc::clone(&inbox));
        let session = Session::over(Box::new(fake), Box::new(page.clone()), look, Arc::clone(&inbox), cancel.clone());
        let mut prompt = Self { session, root, inbox, cancel, page };
        prompt.session.is_on(Texts::recorded(include_str!("../hosts/epyc-qemu.txt")));
        prompt.session.attend();
        prompt.page.lines.lock().unwrap().clear();
        prompt
    }

    /// Another prompt at the same machine.
    pub fn beside(other: &Prompt) -> Self {
        let page = Page { lines: Arc::default(), columns: 1000 };
        let (root, inbox, cancel) = (Arc::clone(&other.root), Arc::new(Inbox::default()), Cancel::default());
        let fake = Fake::new(Arc::clone(&root), Arc::clone(&inbox));
        let console = Box::new(page.clone());
        let session = Session::over(Box::new(fake), console, Look::default(), Arc::clone(&inbox), cancel.clone());
        let mut prompt = Self { session, root, inbox, cancel, page };
        prompt.session.attend();
        prompt.page.lines.lock().unwrap().clear();
        prompt
    }

    /// Halted in debugger mode.
    pub fn halted() -> Self {
        Self::new(Root { halted: true, ..Root::default() })
    }

    /// Running in debugger mode.
    pub fn running() -> Self {
        Self::new(Root::default())
    }

    /// This machine's own, in VMI mode.
    pub fn vmi() -> Self {
        Self::new(Root { link: false, ..Root::default() })
    }

    /// Types one line and returns what was printed.
    pub fn typed(&mut self, line: &str) -> (Verdict, Vec<String>) {
        let verdict = self.session.run(line);
        (verdict, std::mem::take(&mut *self.page.lines.lock().unwrap()))
    }

    /// Types a line that must be done.
    pub fn ok(&mut self, line: &str) -> Vec<String> {
        let (verdict, printed) = self.typed(line);
        assert_eq!(verdict, Verdict::Done, "{line}: {printed:#?}");
        printed
    }

    /// Types a line that must be refused.
    pub fn err(&mut self, line: &str) -> Vec<String> {
        let (verdict, printed) = self.typed(line);
        assert_eq!(verdict, Verdict::Failed, "{line}: {printed:#?}");
        printed
    }
}

/// The line that a refusal offers.
pub fn try_line(printed: &[String]) -> Option<&str> {
    printed.iter().find_map(|line| line.strip_prefix("     try: "))
}

/// Whether lines are those of a pattern: `{hex}` stands for hex digits, `{any}` for anything in a line, and a line of
/// `{any}` alone for any lines.
pub fn matches(pattern: &[&str], lines: &[String]) -> bool {
    match (pattern.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((&"{any}", rest)), _) => (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..])),
        (Some((first, rest)), Some((line, lines))) => line_matches(first, line) && matches(rest, lines),
        _ => false,
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("{any}") {
        return line.char_indices().map(|(at, _)| at).chain([line.len()]).any(|at| line_matches(rest, &line[at..]));
    }
    if let Some(rest) = pattern.strip_prefix("{hex}") {
        let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_hexdigit()).len();
        return (1..=digits).any(|taken| line_matches(rest, &line[taken..]));
    }
    match (pattern.chars().next(), line.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) => a == b && line_matches(&pattern[a.len_utf8()..], &line[b.len_utf8()..]),
        _ => false,
    }
}
