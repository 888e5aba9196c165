//! `prealloc --watch`: the ledger, again and again.
//!
//! On a terminal it is drawn in place, what changed is marked, and CTRL+C or any key ends it. Elsewhere one ledger follows the
//! other whenever something has changed, until CTRL+C. **Cost**: two requests each half second.

use crate::answer::Answer;
use crate::error::Error;
use crate::ledger::Shown;
use crate::line::Line;
use crate::session::{Picture, Session, State};
use std::time::{Duration, Instant};

/// How long a key is waited for before CTRL+C and news are looked at.
const TICK: Duration = Duration::from_millis(50);

/// Shows the ledger until somebody has seen enough.
pub(crate) fn run(session: &mut Session, line: &Line) -> Result<Answer, Error> {
    let look = session.look();
    let picture = if look.json { None } else { session.console().picture() };
    let last = match picture {
        Some(mut picture) => draw(session, picture.as_mut(), look.colour)?,
        None => list(session, line)?,
    };
    // For people it stands there already; programs learn by this that no more follow.
    Ok(Answer { text: String::new(), ..Answer::of(&last) })
}

fn draw(session: &mut Session, picture: &mut dyn Picture, colour: bool) -> Result<Shown, Error> {
    let mut before: Option<Shown> = None;
    loop {
        let now = Shown::read(session)?;
        let marks = before.as_ref().filter(|_| colour);
        picture.draw(&format!("{}\n{}", now.drawn(marks, true), last_line(session, "any key ends this")));
        let end = Instant::now() + session.watch_pace();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if session.is_cancelled() || picture.key(left.min(TICK)) {
                return Ok(now);
            }
            if session.has_news() {
                picture.settle();
                session.attend();
            }
            if left.is_zero() {
                break;
            }
        }
        before = Some(now);
    }
}

fn list(session: &mut Session, line: &Line) -> Result<Shown, Error> {
    let mut before: Option<Shown> = None;
    loop {
        let now = Shown::read(session)?;
        if before.as_ref() != Some(&now) {
            let mut answer = Answer::of(&now);
            if before.is_some() {
                answer.text.insert(0, '\n');
            } else if matches!(session.state(), State::Halted(_)) {
                let said = last_line(session, "CTRL+C ends this");
                answer.text += &format!("\n{said}");
                session.note_for_programs(said);
            }
            session.print_more(line, &answer);
        }
        if session.is_cancelled() || session.sleep(session.watch_pace()).is_err() {
            return Ok(now);
        }
        before = Some(now);
    }
}

fn last_line(session: &Session, how_it_ends: &str) -> String {
    match session.state() {
        State::Halted(_) => format!("the debuggee is halted, so nothing changes by itself; {how_it_ends}"),
        _ => how_it_ends.to_owned(),
    }
}
