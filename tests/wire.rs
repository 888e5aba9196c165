//! A debugger without a prompt: requests and notices of the link, as bytes, for tests that count them.
//!
//! One [`Wire`] is one client: the link's own [`Client`] over the socket at which QEMU waits. It sends and reads only
//! while a call of it runs; each of its waits has a limit.

use crate::Result;
use abi::code;
use abi::request::{self, Halted, MESSAGE_BYTES_MAX, Number, notice, op};
use lab::Vendor;
use link::{Client, Event};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use zerocopy::{FromBytes, IntoBytes};

/// How long a read of the socket blocks before the clock is looked at.
const SLICE: Duration = Duration::from_millis(20);

/// One client of the link.
pub struct Wire {
    stream: UnixStream,
    client: Client,
    begun: Instant,
    slowness: u32,
    told: VecDeque<(u32, Vec<u8>)>,
}

enum Came {
    Answer(Vec<u8>),
    Forgotten,
    Nothing,
}

impl Wire {
    /// Connects to a guest's link ([`lab::Machine::link_path`]), or to whatever stands before it.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(SLICE))?;
        // Every hasher of the standard library begins with a random key: a number that differs each time.
        let random = RandomState::new().build_hasher().finish();
        #[expect(clippy::cast_possible_truncation, reason = "any part of it will do")]
        let client = Client::new(random as u32);
        let slowness = Vendor::usual()?.slowness();
        Ok(Self { stream, client, begun: Instant::now(), slowness, told: VecDeque::new() })
    }

    /// Asks and waits for the answer: its code and body.
    ///
    /// # Errors
    /// If none comes within the link's own limit, or root does not know the session any more.
    pub fn ask(&mut self, what: u32, body: &[u8]) -> Result<(u32, Vec<u8>)> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let bytes = request::write(&mut message, what, body).ok_or("a request longer than a message")?;
        let now = self.now_ms();
        self.client.request(now, &message[..bytes]).map_err(|why| format!("cannot ask: {why:?}"))?;
        loop {
            match self.turn()? {
                Came::Answer(answer) => {
                    let (head, body) = request::split(&answer).ok_or("an answer without a whole head")?;
                    return Ok((head.code, body.to_vec()));
                }
                Came::Forgotten => return Err("root does not know this session".into()),
                Came::Nothing => {}
            }
            let now = self.now_ms();
            if let Some(silent) = self.client.poll(now) {
                return Err(format!("request {what} got no answer: {silent:?}").into());
            }
        }
    }

    /// As [`Wire::ask`] for a request that must succeed and is answered by one structure.
    ///
    /// # Errors
    /// As [`Wire::ask`]; another code than success, or a body of another size.
    pub fn get<T: FromBytes>(&mut self, what: u32, body: &[u8]) -> Result<T> {
        let (code, body) = self.ask(what, body)?;
        if code != code::SUCCESS {
            return Err(format!("request {what} was answered by {code:#x}").into());
        }
        request::body(&body).ok_or_else(|| format!("the answer to request {what} has {} bytes", body.len()).into())
    }

    /// Halts every core.
    ///
    /// # Errors
    /// As [`Wire::get`].
    pub fn pause(&mut self) -> Result<Halted> {
        self.get(op::PAUSE, &[])
    }

    /// Lets every core run.
    ///
    /// # Errors
    /// As [`Wire::get`].
    pub fn go(&mut self) -> Result {
        self.get::<[u8; 0]>(op::GO, &[]).map(drop)
    }

    /// Selects a core of a halted machine.
    ///
    /// # Errors
    /// As [`Wire::get`].
    pub fn select(&mut self, core: u64) -> Result<Halted> {
        self.get(op::CORE_SELECT, Number { value: core }.as_bytes())
    }

    /// The next thing root tells unasked, code and body; `None` if nothing comes within the limit.
    ///
    /// # Errors
    /// If the socket is closed.
    pub fn told(&mut self, limit: Duration) -> Result<Option<(u32, Vec<u8>)>> {
        let until = Instant::now() + limit;
        while self.told.is_empty() && Instant::now() < until {
            self.turn()?;
        }
        Ok(self.told.pop_front())
    }

    /// The next thing root tells, which must be that every core is halted.
    ///
    /// # Errors
    /// If it tells something else, or nothing within the limit.
    pub fn halted(&mut self, limit: Duration) -> Result<Halted> {
        match self.told(limit)? {
            Some((notice::HALTED, body)) => request::body(&body).ok_or_else(|| "a short notice".into()),
            Some((code, body)) => Err(format!("told {code:#x} with {} bytes, not that it is halted", body.len()).into()),
            None => Err(format!("not told within {limit:?} that it is halted").into()),
        }
    }

    /// Writes bytes to the line as they are, past the client.
    ///
    /// # Errors
    /// If the socket is closed.
    pub fn raw(&mut self, bytes: &[u8]) -> Result {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The version of the next frame of root's, whatever it says.
    ///
    /// # Errors
    /// If none comes within the limit.
    pub fn next_version(&mut self, limit: Duration) -> Result<u8> {
        let until = Instant::now() + limit;
        let (mut frame, mut byte) = (Vec::new(), [0]);
        while Instant::now() < until {
            match self.stream.read(&mut byte) {
                Ok(1) if byte[0] != 0 => frame.push(byte[0]),
                // COBS: a code byte, then data; no version is 0, so it stands as it is.
                Ok(1) if frame.len() > 1 => return Ok(frame[1]),
                Ok(1) => {}
                Ok(_) => return Err("the line was closed at its other end".into()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(format!("no frame within {limit:?}").into())
    }

    /// The frame in which the client would send this request, as it would stand on the line; it is not sent.
    ///
    /// # Errors
    /// If a request waits for its answer.
    pub fn frame_of(&mut self, what: u32, body: &[u8]) -> Result<Vec<u8>> {
        let mut message = [0; MESSAGE_BYTES_MAX];
        let bytes = request::write(&mut message, what, body).ok_or("a request longer than a message")?;
        let now = self.now_ms();
        self.client.request(now, &message[..bytes]).map_err(|why| format!("cannot ask: {why:?}"))?;
        let frame = self.client.outgoing().to_vec();
        self.client.sent(frame.len());
        self.client.cancel();
        Ok(frame)
    }

    /// Sends what waits and takes what came; waits for [`SLICE`] at most.
    fn turn(&mut self) -> Result<Came> {
        while !self.client.outgoing().is_empty() {
            let sent = self.stream.write(self.client.outgoing())?;
            self.client.sent(sent);
        }
        let mut room = [0; 4096];
        let mut bytes = match self.stream.read(&mut room) {
            Ok(0) => return Err("the line was closed at its other end".into()),
            Ok(count) => &room[..count],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                return Ok(Came::Nothing);
            }
            Err(error) => return Err(error.into()),
        };
        let mut came = Came::Nothing;
        while let Some(event) = self.client.receive(&mut bytes) {
            match event {
                Event::Answer(answer) => came = Came::Answer(answer.to_vec()),
                Event::Forgotten => came = Came::Forgotten,
                Event::Notice(message) | Event::Datagram(message) => {
                    let (head, body) = request::split(message).ok_or("something told without a whole head")?;
                    self.told.push_back((head.code, body.to_vec()));
                }
                Event::OtherVersion { theirs } => return Err(format!("root speaks version {theirs} of the link").into()),
            }
        }
        // An acknowledgement of what was just told leaves at once.
        while !self.client.outgoing().is_empty() {
            let sent = self.stream.write(self.client.outgoing())?;
            self.client.sent(sent);
        }
        Ok(came)
    }

    /// The clock by which a frame is sent again and root given up: the host's, or slower for a slow guest.
    fn now_ms(&self) -> u64 {
        u64::try_from((self.begun.elapsed() / self.slowness).as_millis()).unwrap_or(u64::MAX)
    }
}
