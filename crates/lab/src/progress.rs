//! Shows what takes time: a spinner on a terminal, one line for each step elsewhere.
//!
//! A step is announced before it begins. On a terminal a step of less than a second leaves nothing behind; a longer one
//! leaves its line with the time it took. Everything goes to standard error: standard output is the prompt's.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

/// Steps shorter than this leave no line on a terminal.
const WORTH_A_LINE: Duration = Duration::from_secs(1);
/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// Where steps are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A spinner.
    Spinner,
    /// A line for each step.
    Lines,
    /// Nowhere; errors still tell which step failed.
    Silent,
}

/// One step on its way; it ends when this is dropped.
#[must_use = "a step ends when this is dropped"]
pub struct Step {
    bar: Option<ProgressBar>,
    text: String,
    since: Instant,
}

impl Progress {
    /// A spinner if standard error is a terminal, lines otherwise.
    #[must_use]
    pub fn detect() -> Self {
        if stderr().is_terminal() { Self::Spinner } else { Self::Lines }
    }

    /// Begins a step.
    pub fn step(self, text: impl Into<String>) -> Step {
        let text = text.into();
        let bar = match self {
            Self::Spinner => {
                let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner());
                let bar = ProgressBar::new_spinner().with_style(style).with_message(text.clone());
                bar.enable_steady_tick(TURN);
                Some(bar)
            }
            Self::Lines => {
                eprintln!("lab: {text}");
                None
            }
            Self::Silent => None,
        };
        Step { bar, text, since: Instant::now() }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let Some(bar) = &self.bar else { return };
        bar.finish_and_clear();
        let took = self.since.elapsed();
        if took >= WORTH_A_LINE {
            eprintln!("lab: {} ({:.1} s)", self.text, took.as_secs_f32());
        }
    }
}
