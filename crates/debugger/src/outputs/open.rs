//! How an output is opened: within a limit, whatever is at its other end.
//!
//! **Holds always**: what comes back never blocks a writer for longer than [`WRITE_LIMIT`].

use super::{Kind, Wrong};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What is written to.
pub(crate) type End = Box<dyn Write + Send>;

/// How long a host may take to answer, its name included.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How long a write may wait for a socket's reader.
const WRITE_LIMIT: Duration = Duration::from_millis(100);
/// How long an answer is waited for before CTRL+C is looked at.
const TICK: Duration = Duration::from_millis(50);

/// Opens it; `None` if CTRL+C was pressed.
pub(crate) fn within(kind: Kind, address: &str, is_cancelled: impl Fn() -> bool) -> Option<Result<End, Wrong>> {
    let address = address.to_owned();
    begin(CONNECT_LIMIT, is_cancelled, move || open(kind, &address))
}

fn begin(
    limit: Duration,
    is_cancelled: impl Fn() -> bool,
    open: impl FnOnce() -> Result<End, Wrong> + Send + 'static,
) -> Option<Result<End, Wrong>> {
    let (tell, told) = channel();
    // A name that nobody resolves and a socket whose queue is full would hold up the prompt: this thread waits for them. If
    // it is late, nobody takes what it opened, and that is closed.
    let begun = thread::Builder::new().name("output".to_owned()).spawn(move || tell.send(open()));
    if let Err(why) = begun {
        return Some(Err(Wrong::Cannot(why.kind())));
    }
    let until = Instant::now() + limit;
    loop {
        match told.recv_timeout(TICK) {
            Ok(opened) => return Some(opened),
            Err(RecvTimeoutError::Disconnected) => return Some(Err(Wrong::Cannot(ErrorKind::Other))),
            Err(RecvTimeoutError::Timeout) if is_cancelled() => return None,
            Err(RecvTimeoutError::Timeout) if Instant::now() >= until => {
                return Some(Err(Wrong::Silent(limit.as_secs())));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Whether this is `HOST:PORT`.
pub(crate) fn is_host(address: &str) -> bool {
    let parts = address.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0))
}

fn open(kind: Kind, address: &str) -> Result<End, Wrong> {
    let cannot = |why: io::Error| Wrong::Cannot(why.kind());
    match kind {
        Kind::File => file(address, OFlags::CREATE | OFlags::APPEND),
        Kind::Unix => unix(address).map_err(cannot),
        Kind::Tcp => tcp(address).map_err(cannot),
        Kind::NamedPipe => match fs::metadata(address).map_err(cannot)?.file_type() {
            it if it.is_fifo() => file(address, OFlags::empty()),
            it if it.is_socket() => unix(address).map_err(cannot),
            _ => Err(Wrong::NotAPipe),
        },
    }
}

/// A file, or a FIFO that somebody reads. Without waiting for one: else a FIFO that nobody reads would hang for ever.
fn file(path: &str, flags: OFlags) -> Result<End, Wrong> {
    let flags = flags | OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => Ok(Box::new(File::from(file))),
        Err(Errno::NXIO) => Err(Wrong::NoReader),
        Err(why) => Err(Wrong::Cannot(io::Error::from(why).kind())),
    }
}

fn unix(path: &str) -> io::Result<End> {
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    Ok(Box::new(stream))
}

fn tcp(host: &str) -> io::Result<End> {
    let mut last = ErrorKind::NotFound.into();
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE_LIMIT))?;
                return Ok(Box::new(stream));
            }
            Err(why) => last = why,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Would catch a prompt that waits for a host that never answers, or that cannot be interrupted while it does.
    #[test]
    fn who_does_not_answer_is_given_up() {
        let (never, nothing) = channel::<()>();
        let opening = move || {
            let _ = nothing.recv();
            Err(Wrong::NotAPipe)
        };
        let begun = Instant::now();
        assert!(matches!(begin(Duration::from_millis(100), || false, opening), Some(Err(Wrong::Silent(0)))));
        assert!(begin(Duration::from_secs(3600), || true, || Err(Wrong::NotAPipe)).is_none_or(|opened| opened.is_err()));
        assert!(begun.elapsed() < Duration::from_secs(60));
        drop(never);
    }
}
