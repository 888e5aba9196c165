//! A debuggee of our own: the model of root behind the link's own server, on a unix socket, with a line that can be bad.
#![allow(dead_code, reason = "each test file uses its own part")]

use abi::request::{self, op};
use debugger::target::fake::Root;
use link::{Received, Server};
use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs, process};

/// How long anything may take that a test waits for.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How often the debuggee looks up from its line.
const TICK: Duration = Duration::from_millis(5);
/// How often it repeats a notice.
const NOTICE: Duration = Duration::from_millis(100);

/// What a test has it do.
pub enum Do {
    /// Say goodbye, be silent for a while, come up with another boot id.
    Reboot,
    /// Become another load without a word: the line is cut, too.
    RebootUnheard,
    /// Cut the line; the next prompt that connects is served.
    Cut,
    /// Answer nothing any more.
    Mute,
    /// Drop or corrupt this many of a hundred frames, both ways.
    Lose(u32),
    /// Say these words as root's last.
    LastWords(&'static str),
    End,
}

/// What a debuggee speaks over. What is written at once fits its buffer.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Where it gets one, if there is one now.
pub type Accept = Box<dyn FnMut() -> Option<Box<dyn Stream>> + Send>;

/// A debuggee.
pub struct Debuggee {
    pub path: PathBuf,
    root: Arc<Mutex<Root>>,
    orders: SyncSender<Do>,
    spoilt: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Debuggee {
    pub fn new(root: Root) -> Self {
        let path = scratch("sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let accept = move || {
            let (stream, _) = listener.accept().ok()?;
            stream.set_nonblocking(true).ok()?;
            Some(Box::new(stream) as Box<dyn Stream>)
        };
        Self::over(root, path, Box::new(accept))
    }

    /// A debuggee on any line that does not block.
    pub fn over(root: Root, path: PathBuf, accept: Accept) -> Self {
        let (root, spoilt, heard) = (Arc::new(Mutex::new(root)), Arc::default(), Arc::default());
        // Without room: an order is taken before the test goes on.
        let (orders, received) = sync_channel(0);
        let line = Line {
            accept,
            stream: None,
            server: Server::new(1),
            root: Arc::clone(&root),
            orders: received,
            spoilt: Arc::clone(&spoilt),
            heard: Arc::clone(&heard),
            lose: 0,
            random: 0x9e37_79b9,
            mute: false,
            notice_at: Instant::now(),
        };
        let thread = Some(thread::spawn(move || line.run()));
        Self { path, root, orders, spoilt, heard, thread }
    }

    pub fn order(&self, order: Do) {
        self.orders.send(order).unwrap();
    }

    pub fn root(&self) -> MutexGuard<'_, Root> {
        self.root.lock().unwrap()
    }

    /// Requests that arrived, answered or not.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Frames that were dropped or corrupted.
    pub fn spoilt(&self) -> u64 {
        self.spoilt.load(Ordering::Relaxed)
    }
}

impl Drop for Debuggee {
    fn drop(&mut self) {
        let _ = self.orders.send(Do::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

struct Line {
    accept: Accept,
    stream: Option<Box<dyn Stream>>,
    server: Server,
    root: Arc<Mutex<Root>>,
    orders: Receiver<Do>,
    spoilt: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
    lose: u32,
    random: u32,
    mute: bool,
    notice_at: Instant,
}

impl Line {
    fn run(mut self) {
        loop {
            match self.orders.try_recv() {
                Ok(Do::End) | Err(TryRecvError::Disconnected) => return,
                Ok(order) => self.obey(&order),
                Err(TryRecvError::Empty) => {}
            }
            if self.stream.is_none() {
                self.stream = (self.accept)();
            }
            if !self.read() {
                thread::park_timeout(TICK);
            }
            self.tell();
            self.write();
        }
    }

    fn obey(&mut self, order: &Do) {
        match order {
            Do::Reboot => {
                let [goodbye, up] = self.root.lock().unwrap().reboot();
                self.server.datagram(&goodbye).unwrap();
                self.write();
                self.server.restart(2);
                self.server.datagram(&up).unwrap();
            }
            Do::RebootUnheard => {
                self.root.lock().unwrap().reboot();
                self.server.restart(3);
                self.stream = None;
            }
            Do::Cut => self.stream = None,
            Do::Mute => self.mute = true,
            Do::Lose(percent) => self.lose = *percent,
            Do::LastWords(words) => {
                let mut message = vec![0x02, 0x01, 0, 0];
                message.extend(u32::try_from(words.len()).unwrap().to_le_bytes());
                message.extend(words.bytes());
                self.server.datagram(&message).unwrap();
                self.write();
                self.mute = true;
            }
            Do::End => {}
        }
    }

    /// False if there was nothing to read.
    fn read(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let mut room = [0; 8192];
        let bytes = match stream.read(&mut room) {
            Ok(0) => {
                self.stream = None;
                return false;
            }
            Ok(bytes) => bytes,
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return false,
            Err(_) => {
                self.stream = None;
                return false;
            }
        };
        if !self.spoil(&mut room[..bytes]) {
            return true;
        }
        for byte in &room[..bytes] {
            if self.server.receive(*byte) != Some(Received::Request) {
                continue;
            }
            // That somebody is there is said by no line that is typed.
            let attends = request::split(self.server.request()).is_some_and(|(head, _)| head.code == op::ATTEND);
            self.heard.fetch_add(u64::from(!attends), Ordering::Relaxed);
            if attends || !self.mute {
                let answer = self.root.lock().unwrap().answer(self.server.request());
                self.server.answer(&answer).unwrap();
            }
        }
        true
    }

    fn tell(&mut self) {
        if !self.server.notice_pending()
            && let Some(notice) = self.root.lock().unwrap().notices.pop_front()
        {
            self.server.notice(&notice).unwrap();
        } else if self.notice_at.elapsed() >= NOTICE {
            self.server.notice_again();
            self.notice_at = Instant::now();
        }
    }

    fn write(&mut self) {
        while !self.server.outgoing().is_empty() {
            let mut frame = self.server.outgoing().to_vec();
            self.server.sent(frame.len());
            let sent = self.spoil(&mut frame);
            if let Some(stream) = &mut self.stream
                && sent
                && stream.write_all(&frame).is_err()
            {
                self.stream = None;
            }
        }
    }

    /// False if the frame is lost; it may be corrupted.
    fn spoil(&mut self, frame: &mut [u8]) -> bool {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let dice = self.random >> 16;
        if dice % 100 >= self.lose {
            return true;
        }
        self.spoilt.fetch_add(1, Ordering::Relaxed);
        let middle = frame.len() / 2;
        frame[middle] ^= 0x55;
        !dice.is_multiple_of(3)
    }
}

/// A path of this process's own.
pub fn scratch(what: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("hyperdbg-test-{}-{number}.{what}", process::id()))
}

/// The program, without a terminal.
pub fn hyperdbg() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hyperdbg"));
    command.stdin(process::Stdio::null());
    command
}

/// Runs lines by `-x` over a debuggee.
pub fn run_over(path: impl AsRef<OsStr>, lines: &[&str]) -> Output {
    let mut command = hyperdbg();
    command.arg("--remote").arg(path);
    for line in lines {
        command.args(["-x", line]);
    }
    command.output().unwrap()
}

/// What was printed.
pub fn printed(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {LIMIT:?}");
        thread::park_timeout(TICK);
    }
}
