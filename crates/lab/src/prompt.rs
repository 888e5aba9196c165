//! A user at the prompt: a real `hyperdbg` on a terminal, typed at and read.
//!
//! **Holds always**
//! - U1: an answer is what stands between the line that was typed and the next prompt, as a user sees it.
//! - U2: what comes unasked while one types does not end an answer: the typed line is waited for before Enter.
//! - U3: every wait has a limit; its error shows the whole session and what became of the guest.

use crate::{
    child::Child,
    control::Job,
    error::{Error, Fault},
    process::Process,
    screen::{COLUMNS, ROWS, Screen},
};
use rustix::{
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::Path,
    process::{Command, ExitStatus},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a command at the prompt may take, unless said otherwise.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// What a command at the prompt answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The lines between the command and the next prompt, without blanks at their ends.
    pub lines: Vec<String>,
    /// The prompt that came then: `0: kHyperDbg> ` or `HyperDbg> `.
    pub prompt: String,
}

impl Answer {
    /// The lines as one text, without empty lines at its ends.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join("\n").trim_matches('\n').to_owned()
    }
}

/// A program's output, read by a thread of its own as it comes.
#[derive(Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    screen: Screen,
    raw: Vec<u8>,
    closed: bool,
}

impl Feed {
    /// Reads until the other side closes.
    pub(crate) fn start(mut source: impl Read + Send + 'static) -> Arc<Self> {
        let feed = Arc::new(Self::default());
        let filled = Arc::clone(&feed);
        thread::spawn(move || {
            let mut room = [0; 4096];
            loop {
                // A pty whose last user is gone gives EIO; that is an end like any other.
                let count = source.read(&mut room).unwrap_or(0);
                let mut state = filled.lock();
                state.closed = count == 0;
                state.raw.extend_from_slice(&room[..count]);
                state.screen.feed(&room[..count]);
                filled.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        feed
    }

    /// Forgets what there was: a new session on the same line.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.screen = Screen::default();
        state.raw.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` finds something; `None` at the limit or the end of the output.
    fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            let found = look(&state);
            let left = until.saturating_duration_since(Instant::now());
            if found.is_some() || state.closed || left.is_zero() {
                return found;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Where the program runs.
enum Place {
    /// On the host, on a pty of ours.
    Host(Child),
    /// In the guest, on its `/dev/ttyS3`.
    Guest(Job),
}

/// A session with `hyperdbg`.
pub struct Prompt {
    feed: Arc<Feed>,
    writer: Box<dyn Write + Send>,
    place: Place,
    guest: Option<Arc<Process>>,
    limit: Duration,
}

impl Prompt {
    /// Starts a program on a terminal of its own. It is told to keep its files in `home`.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn start(program: &Path, arguments: &[&str], home: &Path) -> Result<Self, Error> {
        Self::on_host(program, arguments, home, None)
    }

    pub(crate) fn on_host(program: &Path, arguments: &[&str], home: &Path, guest: Option<Arc<Process>>) -> Result<Self, Error> {
        let unstarted = |source: io::Error| Error::Start { command: program.display().to_string(), source };
        let (master, terminal) = open_terminal().map_err(unstarted)?;
        // setsid makes the terminal the session's own, env lets CTRL+C through even where ours is ignored (a job in the
        // background), then setpriv ties the process to ours; each becomes the next.
        let mut command = Command::new("setsid");
        command
            .args(["-c", "env", "--default-signal=INT", "setpriv", "--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments);
        command.env("HOME", home).env("TERM", "xterm").env_remove("NO_COLOR");
        for variable in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(variable);
        }
        let duplicate = || terminal.try_clone().map_err(unstarted);
        command.stdin(duplicate()?).stdout(duplicate()?).stderr(duplicate()?);
        let child = Child::start_session(command)?;
        drop(terminal);
        let reader = File::from(master.try_clone().map_err(unstarted)?);
        Ok(Self {
            feed: Feed::start(reader),
            writer: Box::new(File::from(master)),
            place: Place::Host(child),
            guest,
            limit: ANSWER_LIMIT,
        })
    }

    pub(crate) fn in_guest(feed: Arc<Feed>, writer: Box<dyn Write + Send>, job: Job, guest: Arc<Process>) -> Self {
        Self { feed, writer, place: Place::Guest(job), guest: Some(guest), limit: ANSWER_LIMIT }
    }

    fn limit(&self) -> Duration {
        self.limit * self.guest.as_ref().map_or(1, |guest| guest.vendor().slowness())
    }

    /// Changes how long answers may take.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Types a command and Enter, and waits for the next prompt.
    ///
    /// # Errors
    /// An error with the whole session if no prompt stands there now, or none comes back.
    pub fn type_line(&mut self, line: &str) -> Result<Answer, Error> {
        let row = self.enter(line)?;
        self.answer_after(row, line)
    }

    /// Types a command and Enter, and does not wait for its answer; see [`Prompt::wait_prompt`] and [`Prompt::wait_text`].
    /// The row at which it was typed.
    ///
    /// # Errors
    /// As [`Prompt::type_line`].
    pub fn enter(&mut self, line: &str) -> Result<usize, Error> {
        let prompt = self.wait_prompt()?;
        let typed = format!("{prompt}{line}");
        self.send(line.as_bytes())?;
        let row = self.expect(&format!("{line:?} as typed"), |state| {
            (state.screen.before_cursor() == typed).then(|| state.screen.row())
        })?;
        self.send(b"\r")?;
        Ok(row)
    }

    /// Waits for a prompt below a row where `line` was typed; what stands between.
    ///
    /// # Errors
    /// As [`Prompt::type_line`].
    pub fn answer_after(&mut self, row: usize, line: &str) -> Result<Answer, Error> {
        self.expect(&format!("a prompt after {line:?}"), |state| {
            let screen = &state.screen;
            let prompt = prompt_of(&screen.before_cursor()).filter(|_| screen.row() > row)?;
            Some(Answer { lines: (row + 1..screen.row()).map(|row| screen.line(row)).collect(), prompt })
        })
    }

    /// Waits for a prompt with nothing typed at it; the prompt.
    ///
    /// # Errors
    /// An error with the whole session if none comes.
    pub fn wait_prompt(&mut self) -> Result<String, Error> {
        self.expect("a prompt", |state| prompt_of(&state.screen.before_cursor()))
    }

    /// Waits for a text anywhere from a row on; the row where it is.
    ///
    /// # Errors
    /// An error with the whole session if it does not come.
    pub fn wait_text(&mut self, from: usize, text: &str) -> Result<usize, Error> {
        self.expect(&format!("{text:?}"), |state| {
            (from..state.screen.rows()).find(|row| state.screen.line(*row).contains(text))
        })
    }

    /// Types keys as they are: `\t`, `\x03` (Ctrl-C), `\x04` (Ctrl-D), escape sequences.
    ///
    /// # Errors
    /// An error with the whole session if the terminal is gone.
    pub fn send(&mut self, keys: &[u8]) -> Result<(), Error> {
        let sent = self.writer.write_all(keys).and_then(|()| self.writer.flush());
        sent.map_err(|error| self.fault(Fault::Socket { what: format!("the terminal: {error}\n{}", self.session()) }))
    }

    /// Types Ctrl-C.
    ///
    /// # Errors
    /// As [`Prompt::send`].
    pub fn ctrl_c(&mut self) -> Result<(), Error> {
        self.send(b"\x03")
    }

    /// The row of the cursor now.
    #[must_use]
    pub fn row(&self) -> usize {
        self.feed.lock().screen.row()
    }

    /// What stands before the cursor now: the prompt and what was typed.
    #[must_use]
    pub fn before_cursor(&self) -> String {
        self.feed.lock().screen.before_cursor()
    }

    /// The whole session, as a user sees it.
    #[must_use]
    pub fn session(&self) -> String {
        self.feed.lock().screen.text_from(0)
    }

    /// Every byte the program wrote.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.feed.lock().raw.clone()
    }

    /// The number of the program's process on the host; `None` for one in the guest.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        match &self.place {
            Place::Host(child) => Some(child.id()),
            Place::Guest(_) => None,
        }
    }

    /// The job in the guest that is this session; [`crate::Machine::wait_job`] tells its end. `None` on the host.
    #[must_use]
    pub fn job(&self) -> Option<Job> {
        match &self.place {
            Place::Host(_) => None,
            Place::Guest(job) => Some(*job),
        }
    }

    /// Waits for the end of a program on the host.
    ///
    /// # Errors
    /// An error with the whole session if it still runs after the limit, or runs in the guest.
    pub fn wait_end(&mut self) -> Result<ExitStatus, Error> {
        let limit = self.limit();
        let ended = match &mut self.place {
            Place::Host(child) => child.wait_within(limit),
            Place::Guest(_) => None,
        };
        ended.ok_or_else(|| self.late("the end of hyperdbg"))
    }

    /// Waits until the screen shows something.
    ///
    /// # Errors
    /// An error with the whole session if it does not come.
    fn expect<T>(&mut self, awaited: &str, look: impl FnMut(&State) -> Option<T>) -> Result<T, Error> {
        let found = self.feed.wait(self.limit(), look);
        found.ok_or_else(|| self.late(awaited))
    }

    fn late(&self, awaited: &str) -> Error {
        let ended = if self.feed.lock().closed { " (hyperdbg has ended)" } else { "" };
        let awaited = format!("{awaited}{ended}");
        self.fault(Fault::Late { awaited, limit: self.limit(), seen: self.session() })
    }

    fn fault(&self, fault: Fault) -> Error {
        match &self.guest {
            Some(guest) => guest.fault(fault),
            None => Error::Prompt(fault),
        }
    }
}

/// The prompt, if that is all there is.
fn prompt_of(text: &str) -> Option<String> {
    const HALTED: &str = ": kHyperDbg> ";
    let core = text.strip_suffix(HALTED);
    let numbered = core.is_some_and(|core| !core.is_empty() && core.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (numbered || text == "HyperDbg> ").then(|| text.to_owned())
}

/// A new pty: our end and the program's.
fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&master)?;
    let terminal = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    tcsetwinsize(&terminal, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((master, terminal))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell script in hyperdbg's place.
    fn script(text: &str) -> Prompt {
        let mut prompt = Prompt::start(Path::new("/bin/sh"), &["-c", text], Path::new("/")).unwrap();
        prompt.set_limit(Duration::from_secs(20));
        prompt
    }

    /// Would catch a prompt that is taken for one inside an answer, or not found because of a core's number.
    #[test]
    fn prompts_are_known_by_their_whole_line() {
        for text in ["0: kHyperDbg> ", "1f: kHyperDbg> ", "HyperDbg> "] {
            assert_eq!(prompt_of(text).as_deref(), Some(text));
        }
        for text in ["", "kHyperDbg> ", ": kHyperDbg> ", "g: kHyperDbg> ", "HyperDbg> x", "0: kHyperDbg>"] {
            assert_eq!(prompt_of(text), None, "{text:?}");
        }
    }

    /// Would catch an answer that holds the echo or the next prompt, or ends at the first byte of the prompt.
    #[test]
    fn an_answer_is_what_stands_between_two_prompts() {
        let mut prompt = script(
            "n=0; while printf '%x: kHyperDbg> ' $n; do read line || exit 3; echo \"you said $line\"; echo; n=$((n+15)); done",
        );
        let answer = prompt.type_line("prealloc monitor 10").unwrap();
        assert_eq!(answer.text(), "you said prealloc monitor 10");
        assert_eq!(answer.prompt, "f: kHyperDbg> ");
        assert_eq!(prompt.type_line("g").unwrap().prompt, "1e: kHyperDbg> ");
        prompt.send(b"\x04").unwrap();
        assert_eq!(prompt.wait_end().unwrap().code(), Some(3));
    }

    /// Would catch Ctrl-C that does not reach the program: its terminal is not its session's.
    #[test]
    fn ctrl_c_reaches_the_program_and_the_end_is_told_at_once() {
        let mut prompt = script("trap 'echo interrupted; exit 5' INT; printf 'HyperDbg> '; while :; do read line; done");
        prompt.wait_prompt().unwrap();
        prompt.ctrl_c().unwrap();
        prompt.wait_text(0, "interrupted").unwrap();
        assert_eq!(prompt.wait_end().unwrap().code(), Some(5));
        prompt.set_limit(Duration::from_secs(3600));
        let error = prompt.type_line("g").unwrap_err().to_string();
        assert!(error.contains("hyperdbg has ended") && error.contains("HyperDbg> ^Cinterrupted"), "{error}");
    }
}
