//! What events say: fetched from root while there are events, and printed above the prompt.
//!
//! **Holds always**
//! - M1: messages are printed in the order in which root told them: whoever fetches puts them into the inbox before another
//!   can fetch.
//! - M2: nothing is fetched where no event is known, and never beside another request.
//! - M3: lost messages are told with their number.
//!
//! **Callers**: the session at the beginning and end of each line and while it sleeps; a thread, while a prompt is open
//! ([`Ear::listen`]). **Proof**: `tests/events.rs`.

use super::Session;
use crate::answer;
use crate::error::Error;
use crate::news::{Inbox, Message, News};
use crate::outputs::Outputs;
use crate::state::State;
use crate::target::{Cancel, Mode, Target};
use abi::code;
use abi::request::{self, EventChange, event, op};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError, Weak};
use zerocopy::{FromBytes, IntoBytes};

/// Answers that are fetched at once: with so many waiting, what comes after them can wait for the next look.
const ANSWERS_MAX: usize = 64;

/// Somebody who fetches messages while a prompt is open.
#[derive(Clone)]
pub struct Ear {
    /// Whoever still listens when the session ends does not keep its line open.
    target: Weak<Mutex<Box<dyn Target>>>,
    inbox: Arc<Inbox>,
    wanted: Arc<AtomicBool>,
    outputs: Outputs,
}

impl Ear {
    pub(super) fn new(target: &Arc<Mutex<Box<dyn Target>>>, inbox: Arc<Inbox>, outputs: Outputs) -> Self {
        Self { target: Arc::downgrade(target), inbox, wanted: Arc::default(), outputs }
    }

    /// Whether there is something to listen to.
    pub(super) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Fetches what events said, if there may be something and nobody asks for anything else. What goes wrong is for the
    /// next command to say.
    pub fn listen(&self) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let Some(target) = self.target.upgrade() else { return };
        let mut target = match target.try_lock() {
            Ok(target) => target,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Whoever had the line meanwhile may not want it any more: an event that is registered has no outputs yet.
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        // CTRL+C is pressed to end something else.
        if !fetch(&mut **target, &self.inbox, &self.outputs, &Cancel::default()) {
            self.want(false);
        }
    }
}

/// Fetches all there is: to the outputs of the events, else into the inbox. False: root did not answer, or not in a way that makes sense.
fn fetch(target: &mut dyn Target, inbox: &Inbox, outputs: &Outputs, cancel: &Cancel) -> bool {
    let (mut messages, mut lost, mut heard) = (Vec::new(), 0_u64, true);
    for _ in 0..ANSWERS_MAX {
        let answer = match target.call(op::MESSAGES, &[], cancel) {
            Ok((code::SUCCESS, body)) => body,
            _ => Vec::new(),
        };
        let Ok((head, records)) = request::Messages::read_from_prefix(&answer) else {
            heard = false;
            break;
        };
        lost = lost.saturating_add(head.lost);
        heard = read(&head, records, &mut messages).is_some();
        if !heard || head.more == 0 {
            break;
        }
    }
    let messages = outputs.bring(messages);
    if !messages.is_empty() || lost > 0 {
        inbox.push(News::Said { messages, lost });
    }
    heard
}

/// Reads the records of an answer.
fn read(head: &request::Messages, mut rest: &[u8], messages: &mut Vec<Message>) -> Option<()> {
    for _ in 0..head.count {
        let (message, behind) = request::Message::read_from_prefix(rest).ok()?;
        let bytes = usize::from(message.bytes);
        let text = behind.get(..bytes)?.to_vec();
        rest = behind.get(bytes.next_multiple_of(8)..)?;
        let event = (message.event != event::ALL).then_some(message.event);
        messages.push(Message { event, core: message.core, text });
    }
    Some(())
}

impl Session {
    /// For whoever listens while a prompt is open.
    #[must_use]
    pub fn ear(&self) -> Ear {
        self.ear.clone()
    }

    /// Whether events may have something to say.
    pub(super) fn listens(&self) -> bool {
        let there = match self.mode() {
            Mode::Vmi => self.hello.is_some(),
            Mode::Debugger => matches!(self.state, State::Running | State::Halted(_)),
        };
        there && !self.deaf && !self.book.events.is_empty()
    }

    /// Fetches what events said, if there are any.
    pub(super) fn hear(&mut self) {
        if self.listens() {
            self.hear_all();
        }
    }

    /// Fetches what events and evaluations said, known or not, and prints it.
    pub(crate) fn hear_all(&mut self) {
        self.fetch();
        for news in self.inbox.take_said() {
            self.show(&news);
        }
    }

    /// Until the line is done, nobody fetches but this thread: an event that is registered has no outputs yet.
    pub(crate) fn hear_alone(&mut self) {
        self.ear.want(false);
    }

    /// Clears events, if there are any, so that nothing is said any more, and fetches what they said.
    pub(crate) fn hear_the_last_of_events(&mut self) -> Result<(), Error> {
        if self.listens() {
            let all = EventChange { what: event::CLEAR, id: event::ALL };
            self.call(op::EVENT_CHANGE, all.as_bytes())?;
            self.hear_all();
            self.book.clear(event::ALL);
        }
        Ok(())
    }

    /// What goes wrong is for the next command to say.
    fn fetch(&mut self) {
        let cancel = self.cancel.clone();
        let heard = fetch(&mut **self.target(), &self.inbox, &self.outputs, &cancel);
        self.deaf = !heard;
    }

    /// Closes the outputs, and tells what was lost by that.
    pub(super) fn close_outputs(&mut self) {
        for (name, lost) in self.outputs.close_all() {
            let text = crate::say::outputs::lost_at_the_end(&name, lost);
            let text = if self.look.json { answer::json_notice("messages-lost", &text) } else { text };
            self.console.print(&text);
        }
    }

    /// The text of an evaluation that says one message; what else was said is printed. `None` if another prompt fetched it.
    pub(crate) fn hear_evaluation(&mut self) -> Option<String> {
        self.fetch();
        let mut text = None;
        for mut news in self.inbox.take_said() {
            if let News::Said { messages, .. } = &mut news
                && let Some(at) = messages.iter().rposition(|message| message.event.is_none())
            {
                text = Some(messages.remove(at).line());
            }
            self.show(&news);
        }
        text
    }

    /// What an event said before it halted the machine is printed before the halt.
    pub(super) fn hear_before_a_halt(&mut self) {
        if self.mode() == Mode::Debugger {
            self.hear_all();
        }
    }

    /// Prints messages line by line. What a script prints in parts is one line here; who said it stands before it where
    /// that could be in doubt.
    pub(super) fn show_said(&mut self, messages: &[Message], lost: u64) {
        if lost > 0 {
            let are = if lost == 1 { "message was" } else { "messages were" };
            let text = format!("0x{lost:x} {are} lost: events said more than could be fetched");
            let text = if self.look.json { answer::json_notice("messages-lost", &text) } else { text };
            self.console.print(&text);
        }
        if self.look.json {
            for message in messages {
                self.console.print(&answer::json_message(message.event, message.core, &message.line()));
            }
            return;
        }
        let (mut lines, mut begun) = (Vec::new(), Vec::<Message>::new());
        for Message { event, core, text } in messages {
            let same = |one: &Message| one.event == *event && one.core == *core;
            let mut whole = begun.iter().position(same).map_or_else(Vec::new, |at| begun.remove(at).text);
            whole.extend_from_slice(text);
            let mut rest = whole.as_slice();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                lines.push(self.said(*event, *core, &rest[..end]));
                rest = &rest[end + 1..];
            }
            if !rest.is_empty() {
                begun.push(Message { event: *event, core: *core, text: rest.to_vec() });
            }
        }
        lines.extend(begun.iter().map(|Message { event, core, text }| self.said(*event, *core, text)));
        // One empty line alone says nothing.
        let text = lines.join("\n");
        if !text.is_empty() {
            self.console.print(&text);
        }
    }

    fn said(&self, event: Option<u32>, core: u16, line: &[u8]) -> String {
        let line = &String::from_utf8_lossy(line);
        match event {
            Some(event) if self.book.events.len() > 1 => format!("event {event:x}, core {core:x}: {}", shown(line)),
            _ => shown(line),
        }
    }
}

/// A line as a terminal may get it: what a debuggee prints must not move its cursor.
fn shown(line: &str) -> String {
    line.trim_end_matches('\r').chars().map(|c| if c.is_control() && c != '\t' { '.' } else { c }).collect()
}
